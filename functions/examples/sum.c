/**
 * A function that calls another lease: `sum_both` gives half of its numbers to the function `sum` there, adds up the
 * other half itself, and waits. The lease was handed to it by its caller (sublet_lease_export). Linked with
 * libsublet.a.
 */
#include "examples/sum.h"

#include <string.h>

#include "sublet/function.h"

#define WAIT_MS 1000u /* for the other lease; a function that is waited for should not wait for ever itself */

static uint64_t add_up(const void *numbers, uint64_t count)
{
    uint64_t sum = 0, number;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&number, (const char *)numbers + i * sizeof(number), sizeof(number));
        sum += number;
    }
    return sum;
}

SUBLET_FUNCTION(sum)
{
    uint64_t sum = add_up(in, context->in_bytes / sizeof(sum));
    if (context->out_bytes < sizeof(sum))
        return 1;
    memcpy(out, &sum, sizeof(sum));
    context->result_bytes = sizeof(sum);
    return 0;
}

/** Starts the call there, does the work here meanwhile, and waits. */
static sublet_status both(sublet_session *session, const struct sum_both_arguments *in, uint64_t count,
                          struct sum_both_result *result)
{
    sublet_lease *lease = NULL;
    sublet_function_ref *function;
    sublet_call *call = NULL;
    uint64_t half = count / 2;
    size_t bytes = 0;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.timeout_ms = WAIT_MS;
    sublet_status status = sublet_lease_import(session, in->other, sizeof(in->other), &lease, &function);
    if (status == SUBLET_OK)
        status = sublet_submit(session, function, in->numbers, half * sizeof(uint64_t), &result->there,
                               sizeof(result->there), &options, &call);
    result->sum = add_up(in->numbers + half, count - half);
    if (status == SUBLET_OK)
        status = sublet_wait(call, 0);
    if (status == SUBLET_OK)
        status = sublet_call_result(call, &bytes, NULL);
    sublet_call_free(call);
    if (lease != NULL)
        sublet_lease_release(lease);
    result->sum += status == SUBLET_OK ? result->there : 0;
    return status;
}

SUBLET_FUNCTION(sum_both)
{
    static sublet_session *session; /* of this worker, for all its calls: the way to the other lease is kept in it */
    struct sum_both_result result = {0};
    sublet_options options = SUBLET_OPTIONS_INIT;
    options.timeout_ms = WAIT_MS;
    if (context->in_bytes < sizeof(struct sum_both_arguments) || context->out_bytes < sizeof(result))
        return 1;
    uint64_t count = (context->in_bytes - sizeof(struct sum_both_arguments)) / sizeof(uint64_t);
    if (session == NULL)
        result.status = (uint32_t)sublet_open(&options, &session);
    if (result.status == SUBLET_OK)
        result.status = (uint32_t)both(session, in, count, &result);
    memcpy(out, &result, sizeof(result));
    context->result_bytes = sizeof(result);
    return 0;
}
