/**
 * What a session holds, and who may touch it.
 *
 * One mutex (`lock`) guards everything reachable from a session. It is held for short steps only: never while waiting,
 * never for input or output that may block. A thread that drops it to wait keeps a reference to the link it looks at.
 * Order of locks: link->control_lock, then session->lock; no thread waits for the first while it holds the second.
 */
#ifndef SUBLET_CLIENT_SESSION_H
#define SUBLET_CLIENT_SESSION_H

#include <pthread.h>

#include "client/agent.h"
#include "client/background.h"
#include "fabric/ofi.h"
#include "sublet/sublet.h"

#define SESSION_LIBRARIES_MAX 32u
#define SESSION_FUNCTIONS_MAX 256u
#define SESSION_QUEUE_MAX     65536u

/** Names of nodes; they live as long as the session, so that a call's result can point at one. */
struct node_name {
    struct node_name *next;
    char text[64];
};

/** Calls that wait for a worker, oldest first, and those who wait for calls. */
struct calls {
    struct sublet_call *first;
    struct sublet_call *last;
    struct sublet_call *all; /* every submitted call until it is freed */
    uint32_t queued;
    uint32_t timed;   /* calls with a deadline that no thread may be waiting for */
    uint32_t waiters; /* threads asleep on `changed` */
};

struct sublet_session {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an agent's answer, a finished call, a resolved function */
    uint64_t timeout_ns;
    uint64_t spin_ns;
    uint64_t opened_ns; /* and the same in cycles: what one of these takes */
    uint64_t opened_cycles;
    char fabric[OFI_PROVIDER_MAX + 1]; /* the provider to use, or "none"; "": the first that works */
    struct sublet_lease *leases;
    struct sublet_lease *kept; /* imported ones that were released, the last one first (export.c) */
    struct sublet_library *libraries;
    uint32_t library_count;
    uint32_t function_count;
    struct calls calls;
    struct buffer *buffers;
    struct durable *durables;
    char *spill_folder;     /* NULL: nothing is spilled */
    uint64_t spill_bytes;   /* quota; 0 = none */
    uint64_t spilled_bytes; /* in use */
    struct agent agent;
    struct background background;
    struct node_name *names;
    bool closing;
};

/** Sleeps on `changed` (lock held) until it is signalled or the time has come. */
void session_sleep(struct sublet_session *session, uint64_t until_ns);
/** The session's own copy of a node's name; "" when memory is out. */
const char *session_name(struct sublet_session *session, const char *name);

#endif
