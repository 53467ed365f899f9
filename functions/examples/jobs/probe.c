#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "examples/jobs/job.h"

#define LEASES 15
#define HOT    20000
#define WARM   150

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/** Prints p50, p99 and the count of some durations in seconds; sorts them. */
static void print_times(const char *what, const char *path, double *times, size_t count)
{
    qsort(times, count, sizeof(*times), by_value);
    event("latency", ",\"what\":\"%s\",\"path\":\"%s\",\"p50_us\":%.3f,\"p99_us\":%.3f,\"count\":%zu", what, path,
          times[count / 2] * 1e6, times[count * 99 / 100] * 1e6, count);
}

static sublet_status call(sublet_session *session, sublet_function_ref *function, sublet_lease *lease, size_t bytes,
                          double *took)
{
    char in[64] = {0}, out[64];
    size_t got;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    options.worker = 0;
    double start = seconds();
    sublet_status status = sublet_invoke(session, function, in, bytes, out, sizeof(out), &got, &options);
    *took = seconds() - start;
    return status;
}

sublet_status probe_run(sublet_session *session, sublet_function_ref *empty, sublet_function_ref *echo,
                        const char *node, uint32_t cores)
{
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    options.cores = cores;
    options.node = node;
    options.in_bytes = options.out_bytes = 4096;
    double *times = calloc(HOT, sizeof(*times));
    double first[LEASES];
    const char *path = "same node";
    sublet_lease *lease = NULL;
    sublet_status status = times == NULL ? SUBLET_ERR_NO_MEMORY : SUBLET_OK;
    for (int i = 0; i < LEASES && status == SUBLET_OK; i++) {
        double start = seconds(), took;
        sublet_lease_release(lease);
        lease = NULL;
        /* What was given back a moment ago is offered again some milliseconds later: a refusal is no measurement. */
        for (int tries = 0; tries < 400; tries++) {
            start = seconds();
            status = sublet_lease_acquire(session, &options, &lease);
            if (status != SUBLET_ERR_BUSY)
                break;
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        if (status == SUBLET_OK)
            status = call(session, empty, lease, 1, &took);
        first[i] = seconds() - start;
    }
    if (status == SUBLET_OK) {
        sublet_lease_info info = {.struct_bytes = sizeof(info)};
        sublet_lease_info_get(lease, &info);
        path = info.same_node != 0 ? "same node" : "across nodes";
        print_times("lease to first answer", path, first, LEASES);
    }
    for (int i = 0; i < HOT && status == SUBLET_OK; i++)
        status = call(session, echo, lease, 64, &times[i]);
    if (status == SUBLET_OK)
        print_times("hot round trip, 64 B", path, times, HOT);
    for (int i = 0; i < WARM && status == SUBLET_OK; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        status = call(session, echo, lease, 64, &times[i]);
    }
    if (status == SUBLET_OK)
        print_times("warm round trip, 64 B", path, times, WARM);
    sublet_lease_release(lease);
    free(times);
    return status;
}
