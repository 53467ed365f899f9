#include "fabric/ring_slot.h"

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

#include "base/probes.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static _Atomic uint64_t *pending_of(const struct ring *ring)
{
    return (_Atomic uint64_t *)(void *)(ring->base + RING_PENDING_OFFSET);
}

static struct ring_sleeper *sleeper_of(const struct ring *ring)
{
    return (struct ring_sleeper *)(void *)(ring->base + RING_SLEEP_OFFSET);
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

static _Atomic uint32_t *sleep_of(const struct ring *ring)
{
    return atomic_word(&sleeper_of(ring)->sleep);
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

void *ring_in_line(struct ring *ring, uint32_t slot)
{
    return slot_of(ring, slot) + RING_INLINE_OFFSET;
}

void *ring_out_line(struct ring *ring, uint32_t slot)
{
    return slot_of(ring, slot) + RING_LINE + RING_INLINE_OFFSET;
}

void ring_wake(_Atomic uint32_t *sleep, int wake_fd)
{
    struct ring_sleeper *sleeper = (struct ring_sleeper *)(void *)sleep;
    uint64_t one = 1;
    ssize_t written;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t when = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    atomic_store_explicit((_Atomic uint64_t *)(void *)&sleeper->wake_ns, when, memory_order_relaxed);
    if (atomic_load(sleep) >= RING_SLEEP_FUTEX) {
        /* Changed first: one that has not gone to sleep yet does not. WOKEN wakes, too: the one who set it may not
         * have come to its call. */
        atomic_store(sleep, RING_FUTEX_WOKEN);
        syscall(SYS_futex, sleep, FUTEX_WAKE, 1, NULL, NULL, 0);
        return;
    }
    do
        written = write(wake_fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so the worker is awake or will be. */
}

sublet_status ring_submit(struct ring *ring, uint32_t slot, uint32_t function, uint32_t size, uint32_t out_capacity,
                          uint64_t timeout_ns)
{
    return ring_submit_flags(ring, slot, function, size, out_capacity, timeout_ns, 0);
}

sublet_status ring_submit_flags(struct ring *ring, uint32_t slot, uint32_t function, uint32_t size,
                                uint32_t out_capacity, uint64_t timeout_ns, uint32_t flags)
{
    if (slot >= ring->header.slots)
        return SUBLET_ERR_INVALID;
    if (size > ring->header.in_bytes || out_capacity > ring->header.out_bytes)
        return SUBLET_ERR_TOO_LARGE;
    struct ring_slot one;
    ring_slot_of(ring, slot, &one);
    one.function = function;
    one.out_capacity = out_capacity;
    one.timeout_ns = timeout_ns;
    one.flags = flags;
    ring_slot_write(&one, size);
    ring->next_seq[slot] = one.sequence;
    ring_slot_publish(&one, one.bit);
    return SUBLET_OK;
}

void ring_slot_of(struct ring *ring, uint32_t slot, struct ring_slot *out)
{
    *out = (struct ring_slot){
        .request = request_of(ring, slot),
        .response = response_of(ring, slot),
        .pending = pending_of(ring),
        .sleep = sleep_of(ring),
        .bit = UINT64_C(1) << slot,
        .sequence = ring->next_seq[slot],
        .wake_fd = ring->wake_fd,
    };
}

bool ring_test(struct ring *ring, uint32_t slot, sublet_status *status_out, uint32_t *size_out)
{
    struct ring_slot one;
    ring_slot_of(ring, slot, &one);
    one.out_capacity = ring->header.out_bytes;
    return ring_slot_test(&one, status_out, size_out);
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
        PROBE1(client_sleep, slot);
        syscall(SYS_futex, &response->sequence, FUTEX_WAIT, seen, &limit, NULL, 0);
        PROBE1(client_wake, slot);
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

void ring_give_back(struct ring *ring, uint32_t slot)
{
    struct ring_slot one;
    ring_slot_of(ring, slot, &one);
    ring_slot_publish(&one, one.bit);
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
    call_out->in = (copy.flags & RING_IN_LINE) != 0 ? ring_in_line(ring, slot) : ring_in(ring, slot);
    call_out->lined = (copy.flags & RING_OUT_LINE) != 0;
    call_out->traced = (copy.flags & RING_TRACE) != 0;
    call_out->out = call_out->lined ? call_out->line : ring_out(ring, slot);
    call_out->end = slot_of(ring, slot) + ring->header.slot_stride - RING_SLOT_ALIGN;
    if ((copy.flags & ~RING_FLAGS_KNOWN) != 0)
        return SUBLET_ERR_INVALID;
    uint32_t in_most = (copy.flags & RING_IN_LINE) != 0 ? RING_INLINE_BYTES : ring->header.in_bytes;
    uint32_t out_most = call_out->lined ? RING_INLINE_BYTES : ring->header.out_bytes;
    if (copy.size > in_most || copy.out_capacity > out_most)
        return SUBLET_ERR_TOO_LARGE;
    return SUBLET_OK;
}

void ring_guard(const struct ring *ring)
{
    for (uint32_t slot = 0; slot < ring->header.slots; slot++)
        /* Where it cannot be done, the bytes before that page still tell of an overrun. */
        (void)mprotect(slot_of(ring, slot + 1) - RING_SLOT_ALIGN, RING_SLOT_ALIGN, PROT_NONE);
}

void ring_put_line(struct ring *ring, uint32_t slot, const void *bytes, uint32_t size)
{
    memcpy(ring_out_line(ring, slot), bytes, size <= RING_INLINE_BYTES ? size : RING_INLINE_BYTES);
}

void ring_put_needed(struct ring *ring, uint32_t slot, uint64_t bytes)
{
    atomic_store_explicit((_Atomic uint64_t *)(void *)(slot_of(ring, slot) + RING_LINE + RING_NEEDED_OFFSET), bytes,
                          memory_order_relaxed);
}

uint64_t ring_needed(const struct ring *ring, uint32_t slot)
{
    return atomic_load_explicit((_Atomic uint64_t *)(void *)(slot_of(ring, slot) + RING_LINE + RING_NEEDED_OFFSET),
                                memory_order_relaxed);
}

static _Atomic uint64_t *trace_of(const struct ring *ring, uint32_t slot)
{
    unsigned char *end = slot_of(ring, slot) + ring->header.slot_stride - RING_SLOT_ALIGN;
    return (_Atomic uint64_t *)(void *)(end - sizeof(struct ring_trace));
}

void ring_put_trace(struct ring *ring, uint32_t slot, const struct ring_trace *trace)
{
    uint64_t words[sizeof(*trace) / sizeof(uint64_t)];
    memcpy(words, trace, sizeof(words));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        atomic_store_explicit(&trace_of(ring, slot)[i], words[i], memory_order_relaxed);
}

void ring_get_trace(const struct ring *ring, uint32_t slot, struct ring_trace *trace_out)
{
    uint64_t words[sizeof(*trace_out) / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        words[i] = atomic_load_explicit(&trace_of(ring, slot)[i], memory_order_relaxed);
    memcpy(trace_out, words, sizeof(words));
}

void ring_prefetch(const struct ring *ring, uint32_t slot)
{
    __builtin_prefetch(request_of(ring, slot), 0);
    __builtin_prefetch(response_of(ring, slot), 1);
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

bool ring_announce_sleep(struct ring *ring, enum ring_sleep how)
{
    atomic_store(sleep_of(ring), (uint32_t)how);
    return (atomic_load(pending_of(ring)) & slot_mask(ring)) != 0;
}

void ring_announce_awake(struct ring *ring)
{
    atomic_store(sleep_of(ring), RING_AWAKE);
}

uint32_t *ring_sleep_word(const struct ring *ring)
{
    return &sleeper_of(ring)->sleep;
}

uint64_t ring_wake_ns(const struct ring *ring)
{
    return atomic_load_explicit((_Atomic uint64_t *)(void *)&sleeper_of(ring)->wake_ns, memory_order_relaxed);
}
