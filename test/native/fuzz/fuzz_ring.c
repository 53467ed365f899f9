/** A worker's reading of a ring in which the client has scribbled, and a client's of one whose header lies. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fabric/ring.h"

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void touch(const void *bytes, uint32_t size)
{
    volatile unsigned char sum = 0;
    if (size > 0)
        sum = (unsigned char)(((const unsigned char *)bytes)[0] ^ ((const unsigned char *)bytes)[size - 1]);
    (void)sum;
}

static void serve(const uint8_t *data, size_t size)
{
    struct ring ring = {.wake_fd = -1};
    must(ring_header_make(1 + data[0] % 16, data[1] % 8 * 64u, data[2] % 8 * 64u, &ring.header) == SUBLET_OK);
    size_t room = ring.header.total_bytes;
    ring.base = aligned_alloc(4096, (room + 4095) / 4096 * 4096); /* memory whose borders the sanitizer knows */
    must(ring.base != NULL);
    memset(ring.base, 0, RING_SLOTS_OFFSET);
    for (uint32_t slot = 0; slot < ring.header.slots; slot++)
        memset(ring.base + RING_SLOTS_OFFSET + slot * ring.header.slot_stride, 0, 2 * RING_LINE);
    memcpy(ring.base, data + 3, size - 3 < 192 ? size - 3 : 192); /* header, pending, sleeping */
    for (size_t at = 195, slot = 0; at < size; at += 64, slot++) {
        size_t to = RING_SLOTS_OFFSET + slot * ring.header.slot_stride, here = size - at < 64 ? size - at : 64;
        if (slot >= ring.header.slots || to + here > room)
            break;
        memcpy(ring.base + to, data + at, here);
    }
    for (uint64_t pending = ring_pending(&ring); pending != 0; pending &= pending - 1) {
        struct ring_call call;
        uint32_t slot = (uint32_t)__builtin_ctzll(pending);
        must(slot < ring.header.slots && ring_claim(&ring, slot));
        if (ring_read(&ring, slot, &call) == SUBLET_OK) {
            touch(call.in, call.size);
            touch(call.out, call.out_capacity);
            must((const unsigned char *)call.in + call.size <= ring.base + room);
            if (call.lined)
                must(call.out == call.line && call.out_capacity <= sizeof(call.line));
            else
                must((const unsigned char *)call.out + call.out_capacity <= ring.base + room);
        }
        ring_answer(&ring, slot, call.sequence, SUBLET_OK, 0);
        uint32_t answer_size;
        sublet_status status;
        if (ring_test(&ring, slot, &status, &answer_size))
            must(answer_size <= ring.header.out_bytes && status < SUBLET_STATUS_COUNT);
    }
    must(ring_pending(&ring) == 0);
    free(ring.base);
}

static void attach(const uint8_t *data, size_t size)
{
    struct ring ring;
    size_t bytes = 8192u << (data[0] % 8);
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    must(write(fd, data + 1, size - 1 < 4096 ? size - 1 : 4096) >= 0);
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    if (ring_attach(fd, -1, &ring) == SUBLET_OK) {
        must(ring.header.total_bytes == bytes && ring.header.slots > 0 && ring.header.slots <= RING_SLOTS_MAX);
        uint32_t last = ring.header.slots - 1u;
        touch(ring_in(&ring, last), ring.header.in_bytes);
        touch(ring_out(&ring, last), ring.header.out_bytes);
        ring_unmap(&ring);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    if (data[3] % 16 == 0) /* a memfd and its mapping are slow */
        attach(data, size);
    else
        serve(data, size);
    return 0;
}
