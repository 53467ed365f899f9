/**
 * How threads wait for calls: first they poll, since most answers come soon, then they sleep in slices. A slice is
 * bounded, so that a lost lease, a deadline or a free worker is noticed whatever happens to the one who would wake us.
 */
#include <poll.h>
#include <sched.h>
#include <time.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/link.h"

#define SPINS_PER_LOOK 64u                /* polls between two looks at the clock, and at others on this core */
#define SLICE_NS       UINT64_C(20000000) /* longest sleep of a thread that will be woken */
#define SLICE_LAST_NS  UINT64_C(1000000)  /* longest sleep of one that must look for itself */
#define SLICE_FIRST_NS UINT64_C(20000)
#define POLLED_MAX     64u

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a != 0 && (b == 0 || a < b) ? a : b;
}

/** When the call itself needs us, 0 = never. */
static uint64_t due(const struct sublet_call *call)
{
    return call->ending ? call->cancel_ns : call->deadline_ns;
}

/** Sleeps get longer with the time already waited: the delay they add stays a small part of it. */
static uint64_t slice(uint64_t now, uint64_t since_ns, uint64_t longest, uint64_t until_ns)
{
    uint64_t nap = (now - since_ns) / 8;
    nap = nap < SLICE_FIRST_NS ? SLICE_FIRST_NS : nap > longest ? longest : nap;
    if (until_ns != 0 && now + nap > until_ns)
        nap = until_ns > now ? until_ns - now : 0;
    return nap;
}

/** Claimed, no lock: polls for a while; true when the call may have been answered. */
static bool spin(struct link *link, const struct sublet_call *call, uint64_t until_ns, bool long_enough)
{
    for (;;) {
        for (uint32_t i = 0; i < (long_enough ? 1 : SPINS_PER_LOOK); i++) {
            if (link->transport->ready(link, call) || atomic_load_explicit(&link->lost, memory_order_relaxed) != 0)
                return true;
            ring_relax();
        }
        if (long_enough || now_ns() >= until_ns)
            return false;
        sched_yield(); /* the worker may share this core */
    }
}

/** One round of waiting for a call that runs on a link. Drops the lock. */
static void watch(struct sublet_call *call, uint64_t since_ns, uint64_t until_ns, bool again)
{
    struct sublet_session *session = call->session;
    struct link *link = call->link;
    if (!link->transport->claim(link, call)) { /* another thread receives, and wakes us */
        uint64_t now = now_ns();
        session_sleep(session, now + slice(now, since_ns, SLICE_LAST_NS, until_ns));
        calls_progress(session);
        return;
    }
    /* With calls in the queue this thread also looks for workers that became free. */
    uint64_t longest = session->calls.queued > 0 ? SLICE_LAST_NS : SLICE_NS;
    uint64_t spin_end_ns = earliest(until_ns, since_ns + session->spin_ns);
    link->refs++;
    pthread_mutex_unlock(&session->lock);
    if (!spin(link, call, spin_end_ns, again)) {
        uint64_t now = now_ns(), nap = longest;
        if (longest < SLICE_NS)
            nap = slice(now, since_ns, longest, until_ns);
        else if (until_ns != 0 && now + nap > until_ns)
            nap = until_ns > now ? until_ns - now : 0;
        if (nap > 0)
            link->transport->sleep(link, call, nap);
    }
    pthread_mutex_lock(&session->lock);
    link->transport->unclaim(link, call);
    if (call->state == CALL_RUNNING && call->link == link) {
        link->transport->take(link, call);
        int lost = atomic_load(&link->lost);
        if (lost != 0 && call->state == CALL_RUNNING && call->link == link) {
            link->transport->remove(link, call);
            calls_move(call, (sublet_status)lost);
        }
    }
    link_unref(link);
    if (session->calls.waiters > 0) /* one of those may receive now */
        pthread_cond_broadcast(&session->changed);
}

sublet_status calls_wait(struct sublet_call *call, uint64_t end_ns)
{
    return calls_wait_since(call, now_ns(), end_ns);
}

sublet_status calls_wait_since(struct sublet_call *call, uint64_t since_ns, uint64_t end_ns)
{
    struct sublet_session *session = call->session;
    for (bool again = false;; again = true) {
        if (call->state != CALL_DONE && (call->ending || call->deadline_ns != 0))
            calls_keep_deadline(call);
        if (session->calls.queued > 0)
            calls_progress(session);
        if (call->state == CALL_QUEUED)
            calls_place(call);
        if (call->state == CALL_DONE)
            return SUBLET_OK;
        if (end_ns != 0 && now_ns() >= end_ns)
            return SUBLET_ERR_TIMEOUT;
        uint64_t until_ns = earliest(end_ns, due(call));
        if (call->state == CALL_RUNNING)
            watch(call, since_ns, until_ns, again);
        else if (call->state == CALL_HERE) {
            uint64_t now = now_ns();
            session_sleep(session, earliest(end_ns, now + SLICE_NS));
        } else if (!calls_run_here(call))
            calls_wait_round(session, &call, 1, since_ns, until_ns);
    }
}

void calls_wait_round(struct sublet_session *session, struct sublet_call *const *calls, size_t count, uint64_t since_ns,
                      uint64_t end_ns)
{
    struct pollfd polled[POLLED_MAX];
    nfds_t watched = 0;
    uint64_t until_ns = end_ns;
    for (size_t i = 0; i < count; i++) {
        if (calls[i] == NULL || calls[i]->state == CALL_DONE)
            continue;
        until_ns = earliest(until_ns, due(calls[i]));
        struct link *link = calls[i]->state == CALL_RUNNING ? calls[i]->link : NULL;
        int fd = link == NULL ? -1 : link->transport->pollable(link, calls[i]);
        /* Only a hint: whatever becomes of the descriptor while we sleep, the next round looks at the calls. */
        if (fd >= 0 && watched < POLLED_MAX && (watched == 0 || polled[watched - 1].fd != fd))
            polled[watched++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    pthread_mutex_unlock(&session->lock);
    uint64_t now = now_ns();
    if (now - since_ns < session->spin_ns) {
        for (uint32_t i = 0; i < SPINS_PER_LOOK / 4; i++)
            ring_relax();
        sched_yield();
    } else {
        uint64_t nap = slice(now, since_ns, SLICE_LAST_NS, until_ns);
        struct timespec limit = {.tv_sec = (time_t)(nap / 1000000000u), .tv_nsec = (long)(nap % 1000000000u)};
        ppoll(polled, watched, &limit, NULL);
    }
    pthread_mutex_lock(&session->lock);
    calls_progress(session);
}
