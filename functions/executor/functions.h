/** A worker's functions: found in their libraries at the first call, then called through a table. */
#ifndef SUBLET_EXECUTOR_FUNCTIONS_H
#define SUBLET_EXECUTOR_FUNCTIONS_H

#include "executor/idle.h"
#include "executor/stats.h"
#include "executor/worker.h"
#include "sublet/function.h"

struct functions {
    struct function_table *table;
    const int *library_fds;
    /** Takes what the supervisor has sent: a call may come faster than its library, which went another way. */
    void (*catch_up)(void *context);
    void *catch_up_context;
    uint32_t worker;
    void *libraries[LIBRARIES_MAX];
    struct {
        sublet_plain_function plain;
        sublet_function context;
        bool keeps_threads;
    } known[FUNCTIONS_MAX];
    struct stats_sampler sampler;
    const struct idle *idle; /* of this worker; NULL = not known */
    uint64_t woke;           /* cycles at the last wake-up */
    bool rested;             /* nothing was served since then */
    uint64_t run_start;      /* cycles around the last traced call */
    uint64_t run_end;
    /** For results that go into a line of the ring, so that too long a one meets a page of its own. */
    unsigned char *scratch;
    const void *scratch_end;
    /** 1, in a page that the kernel empties in a child: what a function forked must not go on as a worker. */
    volatile unsigned char *mine;
};

/** Once, in a worker. */
void functions_start(struct functions *functions);

/** TRACE_SLEPT, TRACE_BUSY: what the worker did before the call that it has found. `behind`: another of its turn. */
static inline uint32_t functions_before(const struct functions *functions, bool behind)
{
    if (functions->rested && !behind)
        return TRACE_SLEPT;
    return behind || (functions->idle != NULL && functions->idle->steps == 0) ? TRACE_BUSY : 0;
}

/** Calls a function; on success *size_out is the size of its result, within
 * call->out_capacity; with TOO_LARGE the size that it would need, 0 = not said. */
sublet_status functions_run(struct functions *functions, const struct ring_call *call, uint64_t *size_out);

#endif
