/** Deadlines and cancelling: the executor ends the call and says so, or counts as lost when it does not. */
#include "client/calls.h"

#include "base/fds.h"
#include "client/lease.h"
#include "client/link.h"

#define GIVE_UP_NS      UINT64_C(2000000000) /* for an executor to end a call */
#define CANCEL_FIRST_NS UINT64_C(10000000)
#define CANCEL_LAST_NS  UINT64_C(200000000)
#define STRAY_NS        UINT64_C(5000000)

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
        calls_unqueue(call);
        calls_finish(call, SUBLET_ERR_TIMEOUT, 0);
        return;
    }
    struct link *link = call->link;
    if (link == NULL) { /* a thread looks for a worker for it */
        call->cancel_ns = now + CANCEL_FIRST_NS;
        return;
    }
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
