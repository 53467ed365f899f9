/** Placement: which worker takes a call, what waits in the queue until one has room, and what runs here instead. */
#include "client/calls.h"

#include "base/fds.h"
#include "client/lease.h"
#include "client/link.h"
#include "client/result.h"
#include "client/trace.h"

#define QUEUE_LOOK_MAX    64u   /* queued calls looked at in one round */
#define COPY_LOCKED_BYTES 4096u /* larger arguments are copied without the lock */

enum pick { PICK_OK, PICK_FULL, PICK_UNRESOLVED, PICK_NONE };

/** May the link serve the call at all? *why_out says why not. */
static bool eligible(const struct sublet_call *call, const struct link *link, sublet_status *why_out)
{
    if (call->worker >= (int32_t)link->workers)
        *why_out = SUBLET_ERR_INVALID;
    else if (link->functions[call->function->number].state == LINK_REFUSED)
        *why_out = link->functions[call->function->number].why;
    else
        return true;
    return false;
}

/** The least loaded worker with less than `depth` calls, an idle one of the first lease best of all. */
static enum pick pick(const struct sublet_call *call, uint32_t depth, struct link **link_out, uint32_t *worker_out,
                      sublet_status *why_out)
{
    struct link *best = NULL, *unresolved = NULL;
    uint32_t best_worker = 0, least = UINT32_MAX;
    bool full = false;
    *why_out = call->lease == NULL ? SUBLET_ERR_BUSY : SUBLET_ERR_REVOKED;
    for (struct sublet_lease *lease = call->session->leases; lease != NULL && least > 0; lease = lease->next) {
        struct link *link = lease->link;
        if (link == NULL || link->transport == NULL || (call->lease != NULL && lease != call->lease))
            continue;
        int lost = atomic_load_explicit(&link->lost, memory_order_relaxed);
        if (lost != 0) {
            *why_out = call->lease == NULL ? SUBLET_ERR_BUSY : (sublet_status)lost;
            continue;
        }
        if (lease->state == SUBLET_LEASE_DRAINING && call->lease == NULL)
            continue;
        if (!eligible(call, link, why_out))
            continue;
        enum link_resolution known = link->functions[call->function->number].state;
        if (known == LINK_UNRESOLVED)
            unresolved = unresolved == NULL ? link : unresolved;
        full |= known == LINK_RESOLVING;
        if (known != LINK_RESOLVED)
            continue;
        full = true;
        uint32_t limit = depth < link->slots ? depth : link->slots;
        uint32_t first = call->worker < 0 ? 0 : (uint32_t)call->worker;
        uint32_t end = call->worker < 0 ? link->workers : first + 1;
        for (uint32_t worker = first; worker < end && least > 0; worker++)
            if (link->worker_busy[worker] < limit && link->worker_busy[worker] < least) {
                least = link->worker_busy[worker];
                best = link;
                best_worker = worker;
            }
    }
    *link_out = best != NULL ? best : unresolved;
    *worker_out = best_worker;
    if (best != NULL)
        return PICK_OK;
    if (unresolved != NULL)
        return PICK_UNRESOLVED;
    return full ? PICK_FULL : PICK_NONE;
}

/** Puts a call onto a worker. The slot is there: pick said so. */
static void start(struct sublet_call *call, struct link *link, uint32_t worker, bool may_unlock)
{
    if (link->transport->start(link, worker, call, link->functions[call->function->number].id) != SUBLET_OK) {
        calls_queue(call, true);
        return;
    }
    call->state = CALL_RUNNING;
    call->link = link;
    link->busy++;
    link->worker_busy[worker]++;
    bool may_fill_unlocked = link->transport->fill_unlocked && call->slot != CONTROL_SLOT_STREAM;
    if (!may_unlock || !may_fill_unlocked || call->in_bytes <= COPY_LOCKED_BYTES) {
        link->transport->fill(link, call);
        return;
    }
    struct sublet_session *session = call->session;
    link->transport->claim(link, call);
    link->refs++;
    pthread_mutex_unlock(&session->lock);
    link->transport->fill(link, call);
    pthread_mutex_lock(&session->lock);
    link->transport->unclaim(link, call);
    if (atomic_load(&link->lost) != 0) {
        link->transport->remove(link, call);
        calls_move(call, (sublet_status)atomic_load(&link->lost));
    }
    link_unref(link);
}

static void place(struct sublet_call *call, bool front)
{
    struct link *link;
    uint32_t worker;
    sublet_status why;
    enum pick found;
    calls_unqueue(call);
    while ((found = pick(call, UINT32_MAX, &link, &worker, &why)) == PICK_UNRESOLVED) {
        link_resolve(link, call->function);
        if (call->state == CALL_DONE) /* ended while the lock was dropped */
            return;
    }
    if (found == PICK_OK)
        start(call, link, worker, true);
    else if (found == PICK_NONE && (call->lease != NULL || (call->flags & SUBLET_CALL_NO_LOCAL) != 0))
        calls_finish(call, call->deadline_ns != 0 && now_ns() >= call->deadline_ns ? SUBLET_ERR_TIMEOUT : why, 0);
    else
        calls_queue(call, front);
}

void calls_place(struct sublet_call *call)
{
    place(call, true);
}

void calls_place_last(struct sublet_call *call)
{
    place(call, false);
}

bool calls_place_now(struct sublet_call *call, uint32_t depth)
{
    struct link *link;
    uint32_t worker;
    sublet_status why;
    enum pick found;
    while ((found = pick(call, depth, &link, &worker, &why)) == PICK_UNRESOLVED)
        link_resolve(link, call->function);
    if (found != PICK_OK)
        return false;
    start(call, link, worker, true);
    return true;
}

void calls_serve_queue(struct sublet_session *session)
{
    struct sublet_call *call = session->calls.first, *next;
    const struct sublet_function_ref *full = NULL; /* no worker has room for any call of it */
    for (uint32_t looked = 0; call != NULL && looked < QUEUE_LOOK_MAX; call = next, looked++) {
        struct link *link;
        uint32_t worker;
        sublet_status why;
        next = call->next;
        if (call->function == full && call->lease == NULL)
            continue;
        enum pick found = pick(call, UINT32_MAX, &link, &worker, &why);
        if (found == PICK_FULL && call->lease == NULL)
            full = call->function;
        if (found == PICK_OK) {
            calls_unqueue(call);
            start(call, link, worker, false);
        } else if (found == PICK_NONE && (call->lease != NULL || (call->flags & SUBLET_CALL_NO_LOCAL) != 0)) {
            calls_unqueue(call);
            calls_finish(call, why, 0);
        }
    }
}

bool calls_run_here(struct sublet_call *call)
{
    struct link *link;
    uint32_t worker;
    sublet_status why;
    if (call->state != CALL_QUEUED || call->lease != NULL || (call->flags & SUBLET_CALL_NO_LOCAL) != 0 ||
        pick(call, UINT32_MAX, &link, &worker, &why) != PICK_NONE)
        return false;
    size_t bytes = 0;
    calls_unqueue(call);
    call->state = CALL_HERE;
    pthread_mutex_unlock(&call->session->lock);
    if (call->trace != NULL)
        trace_begin_here(call->trace);
    sublet_status status = result_run_here(call, &bytes);
    if (call->trace != NULL)
        call->trace->seen = cycles();
    pthread_mutex_lock(&call->session->lock);
    if (call->ending || (call->deadline_ns != 0 && now_ns() > call->deadline_ns))
        status = SUBLET_ERR_TIMEOUT;
    calls_finish(call, status, status == SUBLET_OK || status == SUBLET_ERR_TOO_LARGE ? bytes : 0);
    return true;
}
