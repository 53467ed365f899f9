/** Executors as sublet-starter would start them, and a folder for the sockets of one test. */
#ifndef SUBLET_TEST_CLIENT_FIXTURE_H
#define SUBLET_TEST_CLIENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/types.h>

#include "fake_agent.h"
#include "sublet/sublet.h"

struct executor {
    pid_t pid;
    struct grant grant; /* what an agent would tell about it */
    char unix_path[100];
};

struct fixture {
    char folder[64];
    struct fake_agent *agent;
    sublet_session *session;
    sublet_library *library;
    struct executor executors[2048];
    uint32_t executor_count;
    uint64_t memory_bytes; /* of a lease of functions; 0 = 64 MiB */
    uint32_t spin_us;      /* how long workers of the next executors poll */
    const char *host;      /* where the next executors listen; NULL = 127.0.0.1 */
};

/** What a session waits for an agent or an executor. */
extern uint32_t fixture_timeout_ms;

/** An agent and a session with the test's functions open. */
int fixture_start(void **state);
int fixture_stop(void **state);

/** Starts an executor; `over_tcp`: its unix socket is not offered. The next lease request gets it. */
struct executor *fixture_function(struct fixture *fixture, const char *cores, bool over_tcp);
struct executor *fixture_region(struct fixture *fixture, uint64_t bytes, bool over_tcp);
/** kill -9 and reap. */
void executor_kill(struct executor *executor);

sublet_function_ref *function_of(struct fixture *fixture, const char *name);
sublet_lease *lease_of(struct fixture *fixture, uint32_t cores, uint32_t slots);
/** Waits until the lease is in the state, for 5 s at most. */
sublet_lease_info wait_state(const sublet_lease *lease, sublet_lease_state state);
uint64_t time_ns(void);

#endif
