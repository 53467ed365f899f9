/** The life of a call: queued, finished, moved when its link is lost; and the turn that all progress is made of. */
#include "client/calls.h"

#include "client/buffer.h"
#include "client/lease.h"
#include "client/link.h"

void calls_queue(struct sublet_call *call, bool front)
{
    struct calls *calls = &call->session->calls;
    call->state = CALL_QUEUED;
    call->link = NULL;
    call->before = front ? NULL : calls->last;
    call->next = front ? calls->first : NULL;
    *(call->before == NULL ? &calls->first : &call->before->next) = call;
    *(call->next == NULL ? &calls->last : &call->next->before) = call;
    calls->queued++;
    call->queued = true;
}

void calls_unqueue(struct sublet_call *call)
{
    struct calls *calls = &call->session->calls;
    if (!call->queued)
        return;
    call->queued = false;
    *(call->before == NULL ? &calls->first : &call->before->next) = call->next;
    *(call->next == NULL ? &calls->last : &call->next->before) = call->before;
    calls->queued--;
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
    bool apart = call->held == NULL || buffer_leave_ring(call->held);
    if (call->ending)
        calls_finish(call, SUBLET_ERR_TIMEOUT, 0);
    else if (!apart || call->lease != NULL || (call->flags & SUBLET_CALL_ONCE) != 0)
        calls_finish(call, status, 0);
    else if (call->moves_back) {
        call->moved = true;
        calls_finish(call, status, 0);
    } else
        calls_queue(call, true);
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
        calls_serve_queue(session);
}

bool calls_look(struct sublet_call *call)
{
    if (call->state != CALL_DONE && (call->ending || call->deadline_ns != 0))
        calls_keep_deadline(call);
    if (call->state != CALL_DONE)
        calls_progress(call->session);
    if (call->state == CALL_QUEUED)
        calls_place(call);
    if (call->state == CALL_QUEUED)
        (void)calls_run_here(call);
    return call->state == CALL_DONE;
}

void calls_forget_lease(struct sublet_session *session, const struct sublet_lease *lease)
{
    struct sublet_call *next;
    for (struct sublet_call *call = session->calls.first; call != NULL; call = next) {
        next = call->next;
        if (call->lease != lease)
            continue;
        calls_unqueue(call);
        calls_finish(call, SUBLET_ERR_REVOKED, 0);
    }
}

void calls_end_all(struct sublet_session *session)
{
    while (session->calls.first != NULL) {
        struct sublet_call *call = session->calls.first;
        calls_unqueue(call);
        calls_finish(call, SUBLET_ERR_REVOKED, 0);
    }
}
