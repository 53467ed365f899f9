/**
 * Calls over the ring that this process and a worker of the same node share (fabric/ring.h).
 *
 * A slot belongs to one call from ring_acquire to ring_release, both under the lock. In between only the call's
 * claimant, or a thread that holds the lock while nobody has claimed it, looks at the slot: so next_seq of a slot is
 * never written while somebody else reads it. A slot that a buffer holds belongs to the buffer's owner, without the
 * lock, unless its call was adopted: then it is a call like any other, but its slot and memory stay the buffer's.
 */
#include "client/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/trace.h"

struct ring_worker {
    struct ring ring;
    int wake_fd;
    uint32_t held; /* slots of buffers */
    struct sublet_call *calls[RING_SLOTS_MAX];
};

static struct ring *ring_of(const struct link *link, const struct sublet_call *call)
{
    return &link->rings[call->on_worker].ring;
}

static void ring_fill(struct link *link, struct sublet_call *call)
{
    struct ring *ring = ring_of(link, call);
    uint32_t capacity = (uint32_t)(call->out_capacity < link->out_bytes ? call->out_capacity : link->out_bytes);
    uint32_t flags = (call->in_bytes <= RING_INLINE_BYTES ? RING_IN_LINE : 0) |
                     (call->out_capacity <= RING_INLINE_BYTES ? RING_OUT_LINE : 0);
    if (call->trace != NULL)
        flags |= trace_begin_ring(call->trace, link->traces) ? RING_TRACE : 0;
    if (call->in_bytes > 0)
        memcpy((flags & RING_IN_LINE) != 0 ? ring_in_line(ring, call->slot) : ring_in(ring, call->slot), call->in,
               call->in_bytes);
    if (call->trace != NULL)
        call->trace->sent = cycles();
    /* Bounded by pick(): size and capacity fit, so this cannot fail. */
    (void)ring_submit_flags(ring, call->slot, link->functions[call->function->number].id, (uint32_t)call->in_bytes,
                            capacity, call->timeout_ns, flags);
    call->sequence = ring->next_seq[call->slot];
}

static sublet_status ring_start(struct link *link, uint32_t worker, struct sublet_call *call, uint32_t function)
{
    (void)function;
    uint32_t slot;
    sublet_status status = ring_acquire(&link->rings[worker].ring, &slot);
    if (status != SUBLET_OK)
        return status;
    call->on_worker = worker;
    call->slot = slot;
    call->sequence = 0;
    link->rings[worker].calls[slot] = call;
    return SUBLET_OK;
}

/** Frees the slot of a call, unless it is its buffer's. */
static void leave(struct link *link, struct sublet_call *call)
{
    struct ring_worker *worker = &link->rings[call->on_worker];
    worker->calls[call->slot] = NULL;
    link->busy--;
    if (call->held != NULL)
        return;
    ring_release(&worker->ring, call->slot);
    link->worker_busy[call->on_worker]--;
}

bool ring_link_hold(struct link *link, int32_t worker, struct ring_place *out)
{
    struct ring_worker *best = NULL;
    uint32_t best_number = 0;
    uint32_t first = worker < 0 ? 0 : (uint32_t)worker, end = worker < 0 ? link->workers : first + 1;
    for (uint32_t i = first; link->rings != NULL && i < end && i < link->workers; i++) {
        struct ring_worker *at = &link->rings[i];
        /* One slot is never held: other calls must get through. */
        if (at->held + 1 < link->slots && link->worker_busy[i] < link->slots &&
            (best == NULL || at->held < best->held)) {
            best = at;
            best_number = i;
        }
    }
    if (best == NULL || ring_acquire(&best->ring, &out->number) != SUBLET_OK)
        return false;
    best->held++;
    link->worker_busy[best_number]++;
    link->refs++;
    out->link = link;
    out->worker = best_number;
    ring_slot_of(&best->ring, out->number, &out->slot);
    out->base = (unsigned char *)out->slot.request;
    out->base_bytes = best->ring.header.slot_stride;
    out->in = ring_in(&best->ring, out->number);
    out->out = ring_out(&best->ring, out->number);
    out->in_line = ring_in_line(&best->ring, out->number);
    out->out_line = ring_out_line(&best->ring, out->number);
    return true;
}

void ring_link_let_go(const struct ring_place *place)
{
    struct ring_worker *worker = &place->link->rings[place->worker];
    worker->ring.next_seq[place->number] = place->slot.sequence;
    ring_release(&worker->ring, place->number);
    worker->held--;
    place->link->worker_busy[place->worker]--;
    link_unref(place->link);
}

void ring_link_adopt(const struct ring_place *place, struct sublet_call *call)
{
    struct ring_worker *worker = &place->link->rings[place->worker];
    worker->ring.next_seq[place->number] = place->slot.sequence;
    worker->calls[place->number] = call;
    place->link->busy++;
    call->link = place->link;
    call->on_worker = place->worker;
    call->slot = place->number;
    call->sequence = place->slot.sequence;
}

static void ring_take(struct link *link, struct sublet_call *call)
{
    sublet_status status;
    uint32_t size;
    struct ring *ring = ring_of(link, call);
    if (call->sequence == 0 || !ring_test(ring, call->slot, &status, &size))
        return;
    if (call->trace != NULL)
        trace_take_ring(call->trace, ring, call->slot);
    if (status == SUBLET_OK && size > call->out_capacity)
        status = SUBLET_ERR_TOO_LARGE;
    if (status == SUBLET_OK && size > 0 && call->held == NULL)
        memcpy(call->out,
               call->out_capacity <= RING_INLINE_BYTES ? ring_out_line(ring, call->slot) : ring_out(ring, call->slot),
               size);
    size_t needed = status == SUBLET_ERR_TOO_LARGE ? ring_needed(ring, call->slot) : 0;
    leave(link, call);
    link->calls++;
    if (status == SUBLET_ERR_CRASHED && link_gone(link))
        calls_move(call, SUBLET_ERR_LOST); /* the worker died with its executor, not of the function */
    else
        calls_finish(call, status, status == SUBLET_OK ? size : needed);
}

static bool ring_claim_call(struct link *link, struct sublet_call *call)
{
    (void)link;
    if (call->claimed)
        return false;
    call->claimed = true;
    return true;
}

static void ring_unclaim(struct link *link, struct sublet_call *call)
{
    (void)link;
    call->claimed = false;
}

static bool ring_ready(struct link *link, const struct sublet_call *call)
{
    sublet_status status;
    uint32_t size;
    return ring_test(ring_of(link, call), call->slot, &status, &size);
}

static void ring_sleep_call(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    if (call->trace != NULL)
        call->trace->slept = true;
    ring_sleep(ring_of(link, call), call->slot, timeout_ns);
}

/** The first call at or after (worker, slot) that nobody has claimed. */
static struct sublet_call *next_call(struct link *link, uint32_t *worker, uint32_t *slot)
{
    for (; *worker < link->workers; (*worker)++, *slot = 0) {
        if (link->worker_busy[*worker] == 0)
            continue;
        for (; *slot < link->rings[*worker].ring.header.slots; (*slot)++) {
            struct sublet_call *call = link->rings[*worker].calls[*slot];
            if (call != NULL && !call->claimed)
                return call;
        }
    }
    return NULL;
}

static void ring_progress(struct link *link)
{
    struct sublet_call *call;
    uint32_t worker = 0, slot = 0;
    for (; link->rings != NULL && (call = next_call(link, &worker, &slot)) != NULL; slot++)
        ring_take(link, call);
}

static struct sublet_call *ring_strip(struct link *link)
{
    uint32_t worker = 0, slot = 0;
    struct sublet_call *call = link->rings == NULL ? NULL : next_call(link, &worker, &slot);
    if (call != NULL)
        leave(link, call);
    return call;
}

static bool ring_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    (void)link;
    if (call->sequence == 0)
        return false;
    *cancel = (struct control_cancel){.worker = call->on_worker, .slot = call->slot, .sequence = call->sequence};
    return true;
}

static bool ring_detach(struct link *link, struct sublet_call *call)
{
    (void)link;
    (void)call;
    return false; /* CANCEL answers at once for one that has not begun */
}

static int ring_pollable(struct link *link, const struct sublet_call *call)
{
    (void)link;
    (void)call;
    return -1;
}

static void ring_close(struct link *link)
{
    for (uint32_t i = 0; link->rings != NULL && i < link->workers; i++) {
        if (link->rings[i].ring.base == NULL)
            continue;
        ring_unmap(&link->rings[i].ring);
        close(link->rings[i].wake_fd);
    }
    free(link->rings);
    link->rings = NULL;
}

const struct transport ring_transport = {
    .start = ring_start,
    .fill = ring_fill,
    .fill_unlocked = true,
    .claim = ring_claim_call,
    .unclaim = ring_unclaim,
    .ready = ring_ready,
    .sleep = ring_sleep_call,
    .take = ring_take,
    .progress = ring_progress,
    .strip = ring_strip,
    .remove = leave,
    .name = ring_name,
    .detach = ring_detach,
    .pollable = ring_pollable,
    .close = ring_close,
};

sublet_status ring_link_open(struct link *link, const int *fds)
{
    link->rings = calloc(link->workers, sizeof(*link->rings));
    if (link->rings == NULL)
        return SUBLET_ERR_NO_MEMORY;
    sublet_status status = SUBLET_OK;
    for (uint32_t i = 0; i < link->workers && status == SUBLET_OK; i++) {
        struct ring *ring = &link->rings[i].ring;
        status = ring_attach(fds[2 * i], fds[2 * i + 1], ring);
        if (status == SUBLET_OK && (ring->header.slots < link->slots || ring->header.in_bytes < link->in_bytes ||
                                    ring->header.out_bytes < link->out_bytes)) {
            ring_unmap(ring);
            status = SUBLET_ERR_INVALID;
        }
    }
    if (status != SUBLET_OK) {
        for (uint32_t i = 0; i < link->workers; i++)
            ring_unmap(&link->rings[i].ring);
        free(link->rings);
        link->rings = NULL;
        return status;
    }
    for (uint32_t i = 0; i < link->workers; i++) {
        close(fds[2 * i]); /* mapped: the descriptor has done its work */
        link->rings[i].wake_fd = fds[2 * i + 1];
    }
    link->transport = &here_transport;
    return SUBLET_OK;
}
