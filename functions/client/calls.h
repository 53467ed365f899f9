/**
 * Calls: where each one runs, what becomes of it when its lease goes, and how its deadline is kept.
 *
 *   QUEUED ──a worker has room──► RUNNING ──answer──► DONE
 *     ▲  └──nobody lends: here, in a waiting thread─────►┘
 *     └──lease gone, and it may run again──┘
 *
 * Threads that wait make the progress; no thread serves the others. A thread that waits for a call claims it and then
 * polls, later sleeps, without the lock; nobody else takes the call's answer meanwhile. All functions: lock held.
 */
#ifndef SUBLET_CLIENT_CALLS_H
#define SUBLET_CLIENT_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/library.h"
#include "client/session.h"

struct link;

enum call_state { CALL_QUEUED, CALL_HERE, CALL_RUNNING, CALL_DONE };

struct sublet_call {
    struct sublet_session *session;
    struct sublet_function_ref *function;
    const void *in;
    void *out;
    size_t in_bytes;
    size_t out_capacity;
    bool allocates; /* `out` is the library's to make, of up to out_capacity bytes (result.h) */
    uint32_t flags;
    int32_t worker;                   /* -1 = any */
    const struct sublet_lease *lease; /* pinned to it; only ever compared */
    uint64_t timeout_ns;
    uint64_t deadline_ns; /* 0 = none */

    enum call_state state;
    bool claimed;    /* a thread waits for it without the lock */
    bool timed;      /* counted in calls.timed */
    bool watched;    /* the background thread keeps its deadline; stands before all others in calls.all */
    uint32_t pins;   /* threads that look at it while the lock is dropped */
    bool ending;     /* deadline passed or cancelled: TIMEOUT instead of running again */
    bool moves_back; /* for_each: not queued when its lease goes, but DONE with `moved` */
    bool moved;
    uint64_t cancel_ns;  /* when CANCEL is sent (again) */
    uint64_t give_up_ns; /* when an executor that does not end it counts as lost */
    uint64_t backoff_ns;

    struct call_trace *trace; /* NULL: nobody wants to know */
    struct buffer *held;      /* it runs in its buffer's own slot, arguments and result in place */
    struct link *link;        /* RUNNING */
    uint32_t on_worker;
    uint32_t slot;
    uint32_t sequence;

    sublet_status status; /* DONE */
    size_t result_bytes;
    const char *node;

    bool queued; /* in the queue; not while a thread looks for a worker for it */
    struct sublet_call *next;
    struct sublet_call *before;
    struct sublet_call *all_next; /* submitted calls that are not freed */
    struct sublet_call *all_before;
};

/** Finds a worker; or queues it; or ends it with an error. May drop the lock to make the function known. */
void calls_place(struct sublet_call *call);
/** The same for a new call: when there is no room it stands behind all others. */
void calls_place_last(struct sublet_call *call);
/** Like calls_place, but only onto a worker with less than `depth` calls; false leaves it as it was. */
bool calls_place_now(struct sublet_call *call, uint32_t depth);
/** Looks at a call without waiting, except for its own run where nobody lends; true when it is done. */
bool calls_look(struct sublet_call *call);
/** The call's status, with a text for an error. */
sublet_status calls_explain(const struct sublet_call *call);
/** Starts what is queued as far as there is room. Does not drop the lock. */
void calls_serve_queue(struct sublet_session *session);
/** Takes answers, moves what was lost, starts what is queued. */
void calls_progress(struct sublet_session *session);
/** Waits for a call; runs it here if nobody lends. TIMEOUT at end_ns (0 = never). Drops the lock. */
sublet_status calls_wait(struct sublet_call *call, uint64_t end_ns);
/** The same for one that has been waited for since then. */
sublet_status calls_wait_since(struct sublet_call *call, uint64_t since_ns, uint64_t end_ns);
/** One round of waiting for any of several, `since_ns` the time at which it began. Drops the lock. */
void calls_wait_round(struct sublet_session *session, struct sublet_call *const *calls, size_t count, uint64_t since_ns,
                      uint64_t end_ns);
/** Runs a queued call here if nobody lends; true if it did. Drops the lock. */
bool calls_run_here(struct sublet_call *call);
/** Keeps the deadline of a call that runs or is queued. May drop the lock. */
void calls_keep_deadline(struct sublet_call *call);
/** Wants a call ended now. */
void calls_end_early(struct sublet_call *call);
/** Background: deadlines of calls nobody waits for; returns when to come again. May drop the lock. */
uint64_t calls_tick(struct sublet_session *session);
/** A lease ends for good: calls that were queued for it alone end. */
void calls_forget_lease(struct sublet_session *session, const struct sublet_lease *lease);
/** Ends everything that is not done, when the session closes. */
void calls_end_all(struct sublet_session *session);

/** Puts a call into the queue; takes it out if it is there. */
void calls_queue(struct sublet_call *call, bool front);
void calls_unqueue(struct sublet_call *call);

/** For links. */
void calls_finish(struct sublet_call *call, sublet_status status, size_t result_bytes);
/** The call's link is lost: runs it again elsewhere, or ends it. */
void calls_move(struct sublet_call *call, sublet_status status);

#endif
