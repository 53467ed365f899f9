/**
 * The one thread of a session; it starts with the first request to the agent. It sleeps in poll and does what nobody
 * waits for: reads the agent's answers and notices, renews leases, ends those whose term is over, connects to an
 * agent that came back, notices executors that are gone, and ends calls whose deadline passed.
 */
#ifndef SUBLET_CLIENT_BACKGROUND_H
#define SUBLET_CLIENT_BACKGROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sublet/status.h"

struct sublet_session;

struct background {
    pthread_t thread;
    bool running;
    bool stop;
    int wake_fd;
    _Atomic uint64_t wakes_ns; /* when its sleep ends; 0 = it is awake */
};

/** Lock held. */
sublet_status background_start(struct sublet_session *session);
/** Makes it look around; any thread, with the lock held. */
void background_wake(struct sublet_session *session);
/** Makes sure that it looks around by then. */
void background_wake_by(struct sublet_session *session, uint64_t when_ns);
/** Without the lock; returns when the thread has ended. */
void background_stop(struct sublet_session *session);

#endif
