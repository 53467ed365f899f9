/**
 * A slot as the one sees it who has it for itself: what a call needs of the ring, at fixed addresses, so that nothing
 * is computed and nobody else is asked. Who owns a slot may use it without a lock; a slot has one user at a time.
 */
#ifndef SUBLET_FABRIC_RING_SLOT_H
#define SUBLET_FABRIC_RING_SLOT_H

#include "fabric/ring.h"

struct ring_slot {
    struct ring_request *request;
    struct ring_response *response;
    _Atomic uint64_t *pending;
    _Atomic uint32_t *sleep;
    uint64_t bit;
    uint32_t sequence; /* of the last request */
    uint32_t function;
    uint32_t out_capacity;
    uint32_t flags;
    uint64_t timeout_ns;
    int wake_fd;
};

/** The slot's addresses and its last sequence; what is called, and with what limits, is for the owner to fill in. */
void ring_slot_of(struct ring *ring, uint32_t slot, struct ring_slot *out);

/** Writes the next request; the owner has bounded the size. Nobody sees it before ring_slot_publish. */
static inline void ring_slot_write(struct ring_slot *slot, uint32_t size)
{
    uint32_t sequence = slot->sequence + 1;
    slot->sequence = sequence == 0 ? 1 : sequence;
    struct ring_request *request = slot->request;
    request->sequence = slot->sequence;
    request->function = slot->function;
    request->size = size;
    request->out_capacity = slot->out_capacity;
    request->timeout_ns = slot->timeout_ns;
    request->flags = slot->flags;
}

/** Publishes the requests of the slots in `bits`, all of this slot's ring, and wakes the worker if it sleeps. */
static inline void ring_slot_publish(const struct ring_slot *slot, uint64_t bits)
{
    /* Sequentially consistent: orders the request before the bit, and the bit before the look at the sleeper. */
    atomic_fetch_or(slot->pending, bits);
    if (atomic_load(slot->sleep) != RING_AWAKE)
        ring_wake(slot->sleep, slot->wake_fd);
}

/** Has the answer to the last request arrived? */
static inline bool ring_slot_ready(const struct ring_slot *slot)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&slot->response->sequence;
    return atomic_load_explicit(word, memory_order_acquire) == slot->sequence;
}

/** The same, and takes status and size, bounded: the peer may scribble. */
static inline bool ring_slot_test(const struct ring_slot *slot, sublet_status *status_out, uint32_t *size_out)
{
    if (!ring_slot_ready(slot))
        return false;
    const _Atomic uint32_t *words = (const _Atomic uint32_t *)(const void *)slot->response;
    uint32_t status = atomic_load_explicit(&words[1], memory_order_relaxed);
    uint32_t size = atomic_load_explicit(&words[2], memory_order_relaxed);
    /* No worker answers BUSY: to whoever tests a call it says that the call still runs. */
    bool lies = status >= SUBLET_STATUS_COUNT || status == SUBLET_ERR_BUSY || size > slot->out_capacity;
    *status_out = lies ? SUBLET_ERR_INVALID : (sublet_status)status;
    *size_out = lies ? 0 : size;
    return true;
}

/** Takes the last request back; false when a worker has begun it, or answered it. */
static inline bool ring_slot_withdraw(const struct ring_slot *slot)
{
    return (atomic_fetch_and(slot->pending, ~slot->bit) & slot->bit) != 0;
}

#endif
