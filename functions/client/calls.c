#include "client/calls.h"

#include "base/fds.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/link.h"

#define QUEUE_LOOK_MAX    64u                  /* queued calls looked at in one round */
#define GIVE_UP_NS        UINT64_C(2000000000) /* for an executor to end a call */
#define CANCEL_FIRST_NS   UINT64_C(10000000)
#define CANCEL_LAST_NS    UINT64_C(200000000)
#define STRAY_NS          UINT64_C(5000000)
#define COPY_LOCKED_BYTES 4096u /* larger arguments are copied without the lock */

static void queue_push(struct sublet_call *call, bool front)
{
    struct calls *calls = &call->session->calls;
    call->state = CALL_QUEUED;
    call->link = NULL;
    call->next = front ? calls->first : NULL;
    if (calls->first == NULL)
        calls->first = calls->last = call;
    else if (front)
        calls->first = call;
    else {
        calls->last->next = call;
        calls->last = call;
    }
    calls->queued++;
}

static void queue_remove(struct sublet_call *call)
{
    struct calls *calls = &call->session->calls;
    struct sublet_call *before = NULL;
    for (struct sublet_call *at = calls->first; at != NULL; before = at, at = at->next) {
        if (at != call)
            continue;
        if (before == NULL)
            calls->first = call->next;
        else
            before->next = call->next;
        if (calls->last == call)
            calls->last = before;
        calls->queued--;
        return;
    }
}

void calls_finish(struct sublet_call *call, sublet_status status, size_t result_bytes)
{
    struct calls *calls = &call->session->calls;
    call->node = call->link != NULL ? call->link->node : "";
    call->link = NULL;
    call->status = status;
    call->result_bytes = result_bytes;
    call->state = CALL_DONE;
    if (call->timed) {
        call->timed = false;
        calls->timed--;
    }
    if (calls->waiters > 0)
        pthread_cond_broadcast(&call->session->changed);
}

void calls_move(struct sublet_call *call, sublet_status status)
{
    if (call->ending)
        calls_finish(call, SUBLET_ERR_TIMEOUT, 0);
    else if (call->lease != NULL || (call->flags & SUBLET_CALL_ONCE) != 0)
        calls_finish(call, status, 0);
    else if (call->moves_back) {
        call->moved = true;
        calls_finish(call, status, 0);
    } else
        queue_push(call, true);
}

enum pick { PICK_OK, PICK_FULL, PICK_UNRESOLVED, PICK_NONE };

/** May the link serve the call at all? *why_out says why not. */
static bool eligible(const struct sublet_call *call, const struct link *link, sublet_status *why_out)
{
    if (call->worker >= (int32_t)link->workers)
        *why_out = SUBLET_ERR_INVALID;
    else if (call->in_bytes > link->in_bytes)
        *why_out = SUBLET_ERR_TOO_LARGE;
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
        queue_push(call, true);
        return;
    }
    call->state = CALL_RUNNING;
    call->link = link;
    link->busy++;
    link->worker_busy[worker]++;
    if (!may_unlock || !link->transport->fill_unlocked || call->in_bytes <= COPY_LOCKED_BYTES) {
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
    if (call->state == CALL_QUEUED && call->session->calls.queued > 0)
        queue_remove(call);
    while ((found = pick(call, UINT32_MAX, &link, &worker, &why)) == PICK_UNRESOLVED)
        link_resolve(link, call->function);
    if (found == PICK_OK)
        start(call, link, worker, true);
    else if (found == PICK_NONE && (call->lease != NULL || (call->flags & SUBLET_CALL_NO_LOCAL) != 0))
        calls_finish(call, call->deadline_ns != 0 && now_ns() >= call->deadline_ns ? SUBLET_ERR_TIMEOUT : why, 0);
    else
        queue_push(call, front);
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

/** Starts what is queued as far as there is room. Nothing here drops the lock. */
static void serve_queue(struct sublet_session *session)
{
    struct sublet_call *call = session->calls.first, *next;
    for (uint32_t looked = 0; call != NULL && looked < QUEUE_LOOK_MAX; call = next, looked++) {
        struct link *link;
        uint32_t worker;
        sublet_status why;
        next = call->next;
        enum pick found = pick(call, UINT32_MAX, &link, &worker, &why);
        if (found == PICK_OK) {
            queue_remove(call);
            start(call, link, worker, false);
        } else if (found == PICK_NONE && (call->lease != NULL || (call->flags & SUBLET_CALL_NO_LOCAL) != 0)) {
            queue_remove(call);
            calls_finish(call, why, 0);
        }
    }
}

void calls_progress(struct sublet_session *session)
{
    for (struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        struct link *link = lease->link;
        if (link == NULL || link->transport == NULL || link->busy == 0)
            continue;
        link->refs++; /* it may turn out to be lost */
        link->transport->progress(link);
        int lost = atomic_load(&link->lost);
        for (struct sublet_call *call; lost != 0 && (call = link->transport->strip(link)) != NULL;)
            calls_move(call, (sublet_status)lost);
        link_unref(link);
    }
    if (session->calls.queued > 0)
        serve_queue(session);
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
    queue_remove(call);
    call->state = CALL_HERE;
    pthread_mutex_unlock(&call->session->lock);
    sublet_status status =
        function_run(call->function, call->in, call->in_bytes, call->out, call->out_capacity, call->timeout_ns, &bytes);
    pthread_mutex_lock(&call->session->lock);
    if (call->ending || (call->deadline_ns != 0 && now_ns() > call->deadline_ns))
        status = SUBLET_ERR_TIMEOUT;
    calls_finish(call, status, status == SUBLET_OK ? bytes : 0);
    return true;
}

/** Sends one CANCEL and waits until the executor has done it. Drops the lock. */
static void send_cancel(struct link *link, const struct control_cancel *cancel)
{
    struct sublet_session *session = link->session;
    link->refs++;
    pthread_mutex_unlock(&session->lock);
    (void)link_control(link, CONTROL_CANCEL, cancel, sizeof(*cancel), NULL, 0, NULL, 0, now_ns() + GIVE_UP_NS);
    pthread_mutex_lock(&session->lock);
    link_unref(link);
}

static void begin_ending(struct sublet_call *call)
{
    if (call->ending || call->state == CALL_DONE)
        return;
    call->ending = true;
    call->cancel_ns = now_ns();
    call->give_up_ns = call->cancel_ns + GIVE_UP_NS;
    call->backoff_ns = CANCEL_FIRST_NS;
}

void calls_keep_deadline(struct sublet_call *call)
{
    uint64_t now = now_ns();
    if (call->deadline_ns != 0 && now >= call->deadline_ns)
        begin_ending(call);
    if (!call->ending || call->state == CALL_DONE || call->state == CALL_HERE)
        return;
    if (call->state == CALL_QUEUED) {
        queue_remove(call);
        calls_finish(call, SUBLET_ERR_TIMEOUT, 0);
        return;
    }
    struct link *link = call->link;
    if (!call->claimed)
        link->transport->take(link, call);
    if (call->state != CALL_RUNNING || now < call->cancel_ns || atomic_load(&link->lost) != 0)
        return;
    struct control_cancel cancel;
    if (now >= call->give_up_ns)
        link_lost(link, SUBLET_ERR_LOST);
    else if (link->transport->detach(link, call))
        calls_finish(call, SUBLET_ERR_TIMEOUT, 0);
    else {
        call->cancel_ns = now + call->backoff_ns;
        call->backoff_ns = call->backoff_ns * 2 < CANCEL_LAST_NS ? call->backoff_ns * 2 : CANCEL_LAST_NS;
        if (link->transport->name(link, call, &cancel)) {
            call->pins++;
            send_cancel(link, &cancel);
            if (--call->pins == 0)
                pthread_cond_broadcast(&call->session->changed);
        }
    }
}

void calls_end_early(struct sublet_call *call)
{
    begin_ending(call);
    calls_keep_deadline(call);
}

/** Calls that their caller gave up and that now hold a connection up. */
static bool cancel_strays(struct sublet_session *session)
{
    bool more = false;
    struct control_cancel cancel;
    for (struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        struct link *link = lease->link;
        if (link == NULL || link->transport == NULL || link->transport->stray == NULL || atomic_load(&link->lost) != 0)
            continue;
        if (link->transport->stray(link, &cancel)) {
            send_cancel(link, &cancel);
            return true; /* the lock was dropped: what comes next may have gone */
        }
        more |= link->transport->has_strays(link);
    }
    return more;
}

uint64_t calls_tick(struct sublet_session *session)
{
    uint64_t next = UINT64_MAX;
    if (cancel_strays(session)) {
        calls_progress(session);
        next = now_ns() + STRAY_NS;
    }
    struct sublet_call *call = session->calls.timed > 0 ? session->calls.all : NULL;
    if (call != NULL)
        calls_progress(session);
    while (call != NULL && call->watched) { /* those with a deadline stand first */
        uint64_t due = call->ending ? call->cancel_ns : call->deadline_ns;
        if (call->state == CALL_DONE || call->state == CALL_HERE || call->claimed) {
            call = call->all_next;
            continue;
        }
        if (now_ns() >= due) {
            call->pins++; /* it cannot be freed while the lock is dropped */
            calls_keep_deadline(call);
            due = call->ending ? call->cancel_ns : call->deadline_ns;
            if (--call->pins == 0)
                pthread_cond_broadcast(&session->changed);
            if (call->state != CALL_DONE && due < next)
                next = due;
            call = call->all_next;
            continue;
        }
        next = due < next ? due : next;
        call = call->all_next;
    }
    return next;
}

void calls_forget_lease(struct sublet_session *session, const struct sublet_lease *lease)
{
    struct sublet_call *next;
    for (struct sublet_call *call = session->calls.first; call != NULL; call = next) {
        next = call->next;
        if (call->lease != lease)
            continue;
        queue_remove(call);
        calls_finish(call, SUBLET_ERR_REVOKED, 0);
    }
}

void calls_end_all(struct sublet_session *session)
{
    while (session->calls.first != NULL) {
        struct sublet_call *call = session->calls.first;
        queue_remove(call);
        calls_finish(call, SUBLET_ERR_REVOKED, 0);
    }
}
