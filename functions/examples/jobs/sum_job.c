/**
 * A function that calls another lease, as a user would run it: leases a core on each of two nodes, hands the second to
 * the function on the first, and lets both add up. With one node named "self" the function is given the lease that it
 * runs on: it waits for itself and must hear TIMEOUT. Prints one line of JSON.
 *
 *   sum-job LIBRARY OUTER_NODE INNER_NODE|self
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/sum.h"

#define COUNT 1000u
#define CALLS 100

static int failed(const char *what, sublet_status status)
{
    fprintf(stderr, "sum-job: %s: %s: %s\n", what, sublet_status_text((int)status), sublet_last_error());
    return 1;
}

/** What has been given back a moment ago is offered again some milliseconds later: tries for a while. */
static sublet_status lease_on(sublet_session *session, const char *node, sublet_lease **lease_out)
{
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    sublet_status status = SUBLET_ERR_BUSY;
    options.node = node;
    options.in_bytes = options.out_bytes = 65536;
    for (int tries = 0; tries < 50 && status == SUBLET_ERR_BUSY; tries++) {
        struct timespec nap = {.tv_nsec = 100000000};
        status = sublet_lease_acquire(session, &options, lease_out);
        if (status == SUBLET_ERR_BUSY)
            nanosleep(&nap, NULL);
    }
    return status;
}

static int run(sublet_session *session, const char *library_path, const char *outer_node, const char *inner_node)
{
    struct {
        struct sum_both_arguments head;
        uint64_t numbers[COUNT];
    } in;
    struct sum_both_result result = {0};
    sublet_library *library;
    sublet_function_ref *sum, *sum_both;
    sublet_lease *outer, *inner;
    size_t bytes;
    sublet_status status = sublet_library_open(session, library_path, &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "sum", &sum);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "sum_both", &sum_both);
    if (status != SUBLET_OK)
        return failed(library_path, status);
    if ((status = lease_on(session, outer_node, &outer)) != SUBLET_OK)
        return failed(outer_node, status);
    inner = outer;
    bool self = strcmp(inner_node, "self") == 0;
    if (!self && (status = lease_on(session, inner_node, &inner)) != SUBLET_OK)
        return failed(inner_node, status);
    status = sublet_lease_export(inner, sum, in.head.other, sizeof(in.head.other), &bytes);
    if (status != SUBLET_OK)
        return failed("export", status);
    for (uint64_t i = 0; i < COUNT; i++)
        in.numbers[i] = i;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = outer;
    options.timeout_ms = 20000;
    for (int i = 0; i < (self ? 1 : CALLS); i++) {
        status = sublet_invoke(session, sum_both, &in, sizeof(in), &result, sizeof(result), &bytes, &options);
        if (status != SUBLET_OK)
            return failed("sum_both", status);
        if (result.status != SUBLET_OK)
            break;
    }
    printf("{\"status\":\"%s\",\"sum\":%llu,\"there\":%llu,\"right\":%llu}\n", sublet_status_text((int)result.status),
           (unsigned long long)result.sum, (unsigned long long)result.there,
           (unsigned long long)COUNT * (COUNT - 1) / 2);
    return 0;
}

int main(int argc, char **argv)
{
    sublet_session *session;
    if (argc != 4) {
        fprintf(stderr, "usage: sum-job LIBRARY OUTER_NODE INNER_NODE|self\n");
        return 2;
    }
    sublet_status status = sublet_open(NULL, &session);
    if (status != SUBLET_OK)
        return failed("session", status);
    int result = run(session, argv[1], argv[2], argv[3]);
    sublet_close(session);
    return result;
}
