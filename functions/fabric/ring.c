#include "fabric/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PENDING_OFFSET  64u
#define SLEEPING_OFFSET 128u
#define SEALS           (F_SEAL_SHRINK | F_SEAL_GROW)

static _Atomic uint64_t *pending_of(const struct ring *ring)
{
    return (_Atomic uint64_t *)(void *)(ring->base + PENDING_OFFSET);
}

static _Atomic uint32_t *sleeping_of(const struct ring *ring)
{
    return (_Atomic uint32_t *)(void *)(ring->base + SLEEPING_OFFSET);
}

static unsigned char *slot_of(const struct ring *ring, uint32_t slot)
{
    return ring->base + RING_SLOTS_OFFSET + slot * ring->header.slot_stride;
}

static struct ring_request *request_of(const struct ring *ring, uint32_t slot)
{
    return (struct ring_request *)(void *)slot_of(ring, slot);
}

static struct ring_response *response_of(const struct ring *ring, uint32_t slot)
{
    return (struct ring_response *)(void *)(slot_of(ring, slot) + RING_LINE);
}

static _Atomic uint32_t *atomic_word(uint32_t *word)
{
    return (_Atomic uint32_t *)(void *)word;
}

static uint64_t slot_mask(const struct ring *ring)
{
    return ring->header.slots == 64 ? ~UINT64_C(0) : (UINT64_C(1) << ring->header.slots) - 1;
}

sublet_status ring_create(uint32_t slots, uint64_t in_bytes, uint64_t out_bytes, int wake_fd, struct ring *ring,
                          int *fd_out)
{
    struct ring_header header;
    sublet_status status = ring_header_make(slots, in_bytes, out_bytes, &header);
    if (status != SUBLET_OK)
        return status;
    status = SUBLET_ERR_SYSTEM;
    int fd = memfd_create("sublet-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return status;
    if (ftruncate(fd, (off_t)header.total_bytes) != 0 || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) != 0)
        goto close_fd;
    void *base = mmap(NULL, header.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        goto close_fd;
    memcpy(base, &header, sizeof(header));
    memset(ring, 0, sizeof(*ring));
    ring->header = header;
    ring->base = base;
    ring->wake_fd = wake_fd;
    ring->free = slot_mask(ring);
    *fd_out = fd;
    return SUBLET_OK;
close_fd:
    close(fd);
    return status;
}

sublet_status ring_attach(int fd, int wake_fd, struct ring *ring)
{
    struct stat info;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return SUBLET_ERR_INVALID;
    if (fstat(fd, &info) != 0 || info.st_size < (off_t)RING_SLOTS_OFFSET)
        return SUBLET_ERR_INVALID;
    void *base = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_SYSTEM;
    struct ring_header header;
    memcpy(&header, base, sizeof(header));
    sublet_status status = ring_header_check(&header, (uint64_t)info.st_size);
    if (status == SUBLET_OK && header.total_bytes != (uint64_t)info.st_size)
        status = SUBLET_ERR_INVALID;
    if (status != SUBLET_OK) {
        munmap(base, (size_t)info.st_size);
        return status;
    }
    memset(ring, 0, sizeof(*ring));
    ring->header = header;
    ring->base = base;
    ring->wake_fd = wake_fd;
    ring->free = slot_mask(ring);
    return SUBLET_OK;
}

void ring_unmap(struct ring *ring)
{
    if (ring->base != NULL)
        munmap(ring->base, ring->header.total_bytes);
    ring->base = NULL;
}

sublet_status ring_acquire(struct ring *ring, uint32_t *slot_out)
{
    if (ring->free == 0)
        return SUBLET_ERR_BUSY;
    uint32_t slot = (uint32_t)__builtin_ctzll(ring->free);
    ring->free &= ring->free - 1;
    *slot_out = slot;
    return SUBLET_OK;
}

void ring_release(struct ring *ring, uint32_t slot)
{
    ring->free |= (UINT64_C(1) << slot) & slot_mask(ring);
}

void *ring_in(struct ring *ring, uint32_t slot)
{
    return slot_of(ring, slot) + 2 * RING_LINE;
}

void *ring_out(struct ring *ring, uint32_t slot)
{
    return slot_of(ring, slot) + 2 * RING_LINE + ring->header.in_bytes;
}

sublet_status ring_submit(struct ring *ring, uint32_t slot, uint32_t function, uint32_t size, uint32_t out_capacity,
                          uint64_t timeout_ns)
{
    if (slot >= ring->header.slots)
        return SUBLET_ERR_INVALID;
    if (size > ring->header.in_bytes || out_capacity > ring->header.out_bytes)
        return SUBLET_ERR_TOO_LARGE;
    uint32_t sequence = ring->next_seq[slot] + 1;
    if (sequence == 0)
        sequence = 1;
    ring->next_seq[slot] = sequence;
    struct ring_request *request = request_of(ring, slot);
    request->sequence = sequence;
    request->function = function;
    request->size = size;
    request->out_capacity = out_capacity;
    request->timeout_ns = timeout_ns;
    /* Sequentially consistent: orders the request before the bit, and the bit before the look at the sleeper.
     */
    atomic_fetch_or(pending_of(ring), UINT64_C(1) << slot);
    if (atomic_load(sleeping_of(ring)) != 0) {
        uint64_t one = 1;
        ssize_t written;
        do
            written = write(ring->wake_fd, &one, sizeof(one));
        while (written < 0 && errno == EINTR);
        /* EAGAIN: the counter is full, so the worker is awake or will be. */
    }
    return SUBLET_OK;
}

bool ring_test(struct ring *ring, uint32_t slot, sublet_status *status_out, uint32_t *size_out)
{
    struct ring_response *response = response_of(ring, slot);
    if (atomic_load_explicit(atomic_word(&response->sequence), memory_order_acquire) != ring->next_seq[slot])
        return false;
    uint32_t status = atomic_load_explicit(atomic_word(&response->status), memory_order_relaxed);
    uint32_t size = atomic_load_explicit(atomic_word(&response->size), memory_order_relaxed);
    if (status >= SUBLET_STATUS_COUNT || size > ring->header.out_bytes) {
        status = SUBLET_ERR_INVALID; /* the peer scribbles */
        size = 0;
    }
    *status_out = (sublet_status)status;
    *size_out = size;
    return true;
}

void ring_sleep(struct ring *ring, uint32_t slot, uint64_t timeout_ns)
{
    struct ring_response *response = response_of(ring, slot);
    uint32_t seen = atomic_load(atomic_word(&response->sequence));
    if (seen == ring->next_seq[slot])
        return;
    atomic_store(atomic_word(&response->client_sleeping), 1);
    if (atomic_load(atomic_word(&response->sequence)) == seen) {
        struct timespec limit = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                                 .tv_nsec = (long)(timeout_ns % 1000000000u)};
        syscall(SYS_futex, &response->sequence, FUTEX_WAIT, seen, &limit, NULL, 0);
    }
    atomic_store(atomic_word(&response->client_sleeping), 0);
}

uint64_t ring_pending(const struct ring *ring)
{
    return atomic_load_explicit(pending_of(ring), memory_order_acquire) & slot_mask(ring);
}

bool ring_claim(struct ring *ring, uint32_t slot)
{
    uint64_t bit = (UINT64_C(1) << slot) & slot_mask(ring);
    return (atomic_fetch_and(pending_of(ring), ~bit) & bit) != 0;
}

uint32_t ring_sequence(const struct ring *ring, uint32_t slot)
{
    return atomic_load_explicit(atomic_word(&request_of(ring, slot)->sequence), memory_order_relaxed);
}

bool ring_answered(const struct ring *ring, uint32_t slot, uint32_t sequence)
{
    return atomic_load(atomic_word(&response_of(ring, slot)->sequence)) == sequence;
}

sublet_status ring_read(struct ring *ring, uint32_t slot, struct ring_call *call_out)
{
    struct ring_request copy;
    memcpy(&copy, request_of(ring, slot), sizeof(copy));
    __asm__ volatile("" ::: "memory"); /* the copy is what is checked and used, never the mapping again */
    call_out->slot = slot;
    call_out->sequence = copy.sequence;
    call_out->function = copy.function;
    call_out->size = copy.size;
    call_out->out_capacity = copy.out_capacity;
    call_out->timeout_ns = copy.timeout_ns;
    call_out->in = ring_in(ring, slot);
    call_out->out = ring_out(ring, slot);
    if (copy.size > ring->header.in_bytes || copy.out_capacity > ring->header.out_bytes)
        return SUBLET_ERR_TOO_LARGE;
    return SUBLET_OK;
}

void ring_answer(struct ring *ring, uint32_t slot, uint32_t sequence, sublet_status status, uint32_t size)
{
    struct ring_response *response = response_of(ring, slot);
    atomic_store_explicit(atomic_word(&response->status), (uint32_t)status, memory_order_relaxed);
    atomic_store_explicit(atomic_word(&response->size), size, memory_order_relaxed);
    atomic_store(atomic_word(&response->sequence), sequence);
    if (atomic_load(atomic_word(&response->client_sleeping)) != 0)
        syscall(SYS_futex, &response->sequence, FUTEX_WAKE, 1, NULL, NULL, 0);
}

bool ring_announce_sleep(struct ring *ring)
{
    atomic_store(sleeping_of(ring), 1);
    return (atomic_load(pending_of(ring)) & slot_mask(ring)) != 0;
}

void ring_announce_awake(struct ring *ring)
{
    atomic_store(sleeping_of(ring), 0);
}
