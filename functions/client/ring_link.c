/**
 * Calls over the ring that this process and a worker of the same node share (fabric/ring.h).
 *
 * A slot belongs to one call from ring_acquire to ring_release, both under the lock. In between only the call's
 * claimant, or a thread that holds the lock while nobody has claimed it, looks at the slot: so next_seq of a slot is
 * never written while somebody else reads it.
 */
#include "client/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"

struct ring_worker {
    struct ring ring;
    int wake_fd;
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
    if (call->in_bytes > 0)
        memcpy(ring_in(ring, call->slot), call->in, call->in_bytes);
    /* Bounded by pick(): size and capacity fit, so this cannot fail. */
    (void)ring_submit(ring, call->slot, link->functions[call->function->number].id, (uint32_t)call->in_bytes, capacity,
                      call->timeout_ns);
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

/** Frees the slot of a call. */
static void leave(struct link *link, struct sublet_call *call)
{
    struct ring_worker *worker = &link->rings[call->on_worker];
    worker->calls[call->slot] = NULL;
    ring_release(&worker->ring, call->slot);
    link->busy--;
    link->worker_busy[call->on_worker]--;
}

static void ring_take(struct link *link, struct sublet_call *call)
{
    sublet_status status;
    uint32_t size;
    struct ring *ring = ring_of(link, call);
    if (call->sequence == 0 || !ring_test(ring, call->slot, &status, &size))
        return;
    if (status == SUBLET_OK && size > call->out_capacity)
        status = SUBLET_ERR_TOO_LARGE;
    if (status == SUBLET_OK && size > 0)
        memcpy(call->out, ring_out(ring, call->slot), size);
    leave(link, call);
    link->calls++;
    if (status == SUBLET_ERR_CRASHED && link_gone(link))
        calls_move(call, SUBLET_ERR_LOST); /* the worker died with its executor, not of the function */
    else
        calls_finish(call, status, status == SUBLET_OK ? size : 0);
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
    link->transport = &ring_transport;
    return SUBLET_OK;
}
