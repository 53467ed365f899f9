/** Accesses of a stranger to a region: whatever the bytes, nothing outside of the region is touched. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executor/region.h"
#include "wire/stream.h"

#define BYTES UINT64_C(65536)

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/** The region between two pages that nobody may touch. */
static unsigned char *make_region(void)
{
    unsigned char *base = mmap(NULL, BYTES + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(base != MAP_FAILED && mprotect(base + 4096, BYTES, PROT_READ | PROT_WRITE) == 0);
    return base + 4096;
}

/** The next access of the input, its numbers bent towards what is allowed so that most of them are served. */
static size_t access_of(const uint8_t *data, size_t size, struct stream_access *access)
{
    if (size < sizeof(*access))
        return 0;
    memcpy(access, data, sizeof(*access));
    if ((access->sequence & 7) != 0) {
        access->operation = 1 + access->operation % (STREAM_OPERATION_END - 1);
        access->offset %= BYTES;
        access->size %= 512;
        access->count %= 16;
        if (access->operation == STREAM_ADD || access->operation == STREAM_SWAP) {
            access->size = 8;
            access->offset &= ~UINT64_C(7);
        }
    }
    return sizeof(*access);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct region region;
    int fds[2];
    if (region.base == NULL)
        region.base = make_region();
    region.bytes = BYTES;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    must(region_serve(&region, fds[0]) == SUBLET_OK);
    for (size_t at = 0; at < size;) {
        struct stream_access access;
        char answers[8192];
        size_t head = access_of(data + at, size - at, &access);
        if (head == 0 || send(fds[1], &access, head, MSG_NOSIGNAL) < 0)
            break;
        at += head;
        size_t rest = size - at < access.size % 2048 ? size - at : access.size % 2048;
        if (send(fds[1], data + at, rest, MSG_NOSIGNAL) < 0)
            break;
        at += rest;
        while (recv(fds[1], answers, sizeof(answers), MSG_DONTWAIT) > 0) {
        }
    }
    shutdown(fds[1], SHUT_WR);
    char answers[8192];
    while (recv(fds[1], answers, sizeof(answers), 0) > 0) {
    }
    close(fds[1]);
    while (atomic_load(&region.streams) > 0)
        sched_yield();
    return 0;
}
