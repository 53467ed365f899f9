/** The public face of calls: sublet_invoke, sublet_submit, and what waits, asks, cancels and frees. */
#include <stdlib.h>
#include <string.h>

#include "base/fds.h"
#include "base/probes.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/link.h"
#include "client/result.h"
#include "client/trace.h"

/** Text for a call that ended with an error. */
sublet_status calls_explain(const struct sublet_call *call)
{
    const char *name = call->function->name;
    const char *where = call->node[0] != '\0' ? call->node : "this node";
    switch (call->status) {
    case SUBLET_OK:
        return SUBLET_OK;
    case SUBLET_ERR_BUSY:
        return error_set(call->status, "%s: no lease can take the call and it may not run here; acquire one", name);
    case SUBLET_ERR_TIMEOUT:
        return error_set(call->status, "%s: not done within %llu ms, or cancelled", name,
                         (unsigned long long)(call->timeout_ns / 1000000));
    case SUBLET_ERR_CRASHED:
        return error_set(call->status, "%s ended its worker on %s (signal or exit); try it on this node in a debugger",
                         name, where);
    case SUBLET_ERR_TOO_LARGE:
        return error_set(call->status,
                         "%s: arguments of %zu bytes or the result (%zu bytes, room for %zu) do not fit; raise "
                         "out_capacity, or memory_bytes of the lease to twice the larger of the two",
                         name, call->in_bytes, call->result_bytes, call->out_capacity);
    case SUBLET_ERR_NO_MEMORY:
        return error_set(call->status,
                         "%s: no memory for arguments of %zu bytes or the result on %s; other calls hold it, or "
                         "memory_bytes of the lease is too small",
                         name, call->in_bytes, where);
    case SUBLET_ERR_REVOKED:
    case SUBLET_ERR_LOST:
        return error_set(call->status, "%s: its lease is gone (%s); the call may have run, acquire another lease", name,
                         sublet_status_text(call->status));
    case SUBLET_ERR_FUNCTION:
        return error_set(call->status, "%s reported an error on %s", name, where);
    default:
        return error_set(call->status, "%s on %s: %s", name, where, sublet_status_text(call->status));
    }
}

static sublet_status prepare(struct sublet_call *call, sublet_session *session, sublet_function_ref *function,
                             const void *in, size_t in_bytes, void *out, size_t out_capacity,
                             const sublet_call_options *options, bool may_trace)
{
    if (session == NULL || function == NULL || (in == NULL && in_bytes > 0) || (out == NULL && out_capacity > 0))
        return error_set(SUBLET_ERR_INVALID, "session, function and buffers must not be NULL");
    if (function->library->session != session)
        return error_set(SUBLET_ERR_INVALID, "%s belongs to another session", function->name);
    if (in_bytes > SUBLET_PAYLOAD_MAX || out_capacity > SUBLET_PAYLOAD_MAX)
        return error_set(SUBLET_ERR_TOO_LARGE, "arguments and results have up to 8 GiB");
    *call = (struct sublet_call){
        .session = session,
        .function = function,
        .in = in,
        .in_bytes = in_bytes,
        .out = out,
        .out_capacity = out_capacity,
        .worker = -1,
        .state = CALL_RUNNING, /* not queued, not done: calls_place decides */
        .node = "",
    };
    sublet_call_options all = SUBLET_CALL_OPTIONS_INIT;
    if (options != NULL)
        memcpy(&all, options, options->struct_bytes < sizeof(all) ? options->struct_bytes : sizeof(all));
    lease_defaults(function->home, session, &all.lease, &all.timeout_ms);
    if ((all.flags & ~(SUBLET_CALL_ONCE | SUBLET_CALL_NO_LOCAL)) != 0)
        return error_set(SUBLET_ERR_INVALID, "unknown flags 0x%x", all.flags);
    if (all.worker >= 0 && all.lease == NULL)
        return error_set(SUBLET_ERR_INVALID, "a worker can only be chosen together with a lease");
    call->flags = all.flags;
    call->lease = all.lease;
    call->worker = all.worker < 0 ? -1 : all.worker;
    if (all.trace != NULL && !may_trace)
        return error_set(SUBLET_ERR_INVALID, "only sublet_invoke traces a call");
    if (all.trace != NULL && all.trace->struct_bytes < 2 * sizeof(uint32_t))
        return error_set(SUBLET_ERR_INVALID, "set struct_bytes of the trace to its size");
    if (all.timeout_ms != 0) {
        call->timeout_ns = all.timeout_ms < UINT64_MAX / 2000000 ? all.timeout_ms * 1000000 : UINT64_MAX / 2;
        call->deadline_ns = now_ns() + call->timeout_ns;
    }
    return SUBLET_OK;
}

sublet_status sublet_invoke(sublet_session *session, sublet_function_ref *function, const void *in, size_t in_bytes,
                            void *out, size_t out_capacity, size_t *out_bytes_out, const sublet_call_options *options)
{
    struct sublet_call call;
    struct call_trace trace;
    sublet_trace *wanted = trace_wanted(options);
    if (wanted != NULL)
        trace_begin(&trace);
    sublet_status status = prepare(&call, session, function, in, in_bytes, out, out_capacity, options, true);
    if (status != SUBLET_OK)
        return status;
    call.trace = wanted != NULL ? &trace : NULL;
    PROBE2(client_start, function->name, in_bytes);
    pthread_mutex_lock(&session->lock);
    calls_place(&call);
    if (call.state != CALL_DONE)
        (void)calls_wait(&call, 0); /* without an end of its own it returns when the call is done */
    pthread_mutex_unlock(&session->lock);
    PROBE2(client_end, function->name, call.status);
    if (wanted != NULL && (call.status == SUBLET_OK || call.status == SUBLET_ERR_FUNCTION))
        trace_end(&trace, session, wanted);
    if (out_bytes_out != NULL && (call.status == SUBLET_OK || call.status == SUBLET_ERR_TOO_LARGE))
        *out_bytes_out = call.result_bytes;
    return calls_explain(&call);
}

sublet_status sublet_invoke_alloc(sublet_session *session, sublet_function_ref *function, const void *in,
                                  size_t in_bytes, size_t most_bytes, void **out_out, size_t *out_bytes_out,
                                  const sublet_call_options *options)
{
    struct sublet_call call;
    if (out_out == NULL || out_bytes_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "out_out and out_bytes_out must not be NULL");
    sublet_status status = prepare(&call, session, function, in, in_bytes, NULL, 0, options, false);
    if (status == SUBLET_OK && most_bytes > SUBLET_PAYLOAD_MAX)
        status = error_set(SUBLET_ERR_TOO_LARGE, "results have up to 8 GiB");
    if (status != SUBLET_OK)
        return status;
    call.allocates = true;
    call.out_capacity = most_bytes != 0 ? most_bytes : SUBLET_PAYLOAD_MAX;
    pthread_mutex_lock(&session->lock);
    calls_place(&call);
    if (call.state != CALL_DONE)
        (void)calls_wait(&call, 0);
    pthread_mutex_unlock(&session->lock);
    if (call.status != SUBLET_OK) {
        result_forget(&call);
        return calls_explain(&call);
    }
    *out_out = call.out;
    *out_bytes_out = call.result_bytes;
    return SUBLET_OK;
}

static void list_add(struct sublet_call *call)
{
    struct calls *calls = &call->session->calls;
    struct sublet_call *after = NULL, *at = calls->all;
    while (!call->watched && at != NULL && at->watched) { /* those with a deadline stand first */
        after = at;
        at = at->all_next;
    }
    call->all_before = after;
    call->all_next = at;
    if (at != NULL)
        at->all_before = call;
    if (after != NULL)
        after->all_next = call;
    else
        calls->all = call;
}

static void list_remove(struct sublet_call *call)
{
    if (call->all_next != NULL)
        call->all_next->all_before = call->all_before;
    if (call->all_before != NULL)
        call->all_before->all_next = call->all_next;
    else
        call->session->calls.all = call->all_next;
}

sublet_status sublet_submit(sublet_session *session, sublet_function_ref *function, const void *in, size_t in_bytes,
                            void *out, size_t out_capacity, const sublet_call_options *options, sublet_call **call_out)
{
    if (call_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "call_out must not be NULL");
    struct sublet_call *call = malloc(sizeof(*call));
    if (call == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    sublet_status status = prepare(call, session, function, in, in_bytes, out, out_capacity, options, false);
    if (status != SUBLET_OK) {
        free(call);
        return status;
    }
    pthread_mutex_lock(&session->lock);
    if (session->calls.queued >= SESSION_QUEUE_MAX) {
        pthread_mutex_unlock(&session->lock);
        free(call);
        return error_set(SUBLET_ERR_BUSY, "%u calls wait for a worker already; wait for some of them",
                         SESSION_QUEUE_MAX);
    }
    call->timed = call->watched = call->deadline_ns != 0;
    session->calls.timed += call->timed;
    list_add(call);
    calls_place_last(call);
    if (call->state == CALL_DONE && call->status != SUBLET_OK && call->node[0] == '\0') {
        status = calls_explain(call); /* it was never begun: say so now */
        list_remove(call);
    } else if (call->watched && call->state != CALL_DONE)
        background_wake_by(session, call->deadline_ns);
    pthread_mutex_unlock(&session->lock);
    if (status != SUBLET_OK) {
        free(call);
        return status;
    }
    *call_out = call;
    return SUBLET_OK;
}

sublet_status sublet_test(sublet_call *call)
{
    if (call == NULL)
        return error_set(SUBLET_ERR_INVALID, "call must not be NULL");
    pthread_mutex_lock(&call->session->lock);
    bool done = calls_look(call);
    pthread_mutex_unlock(&call->session->lock);
    return done ? SUBLET_OK : SUBLET_ERR_BUSY;
}

static uint64_t end_of(uint64_t timeout_ms)
{
    return timeout_ms == 0 || timeout_ms > UINT64_MAX / 2000000 ? 0 : now_ns() + timeout_ms * 1000000;
}

sublet_status sublet_wait(sublet_call *call, uint64_t timeout_ms)
{
    return sublet_wait_all(&call, 1, timeout_ms);
}

sublet_status sublet_wait_all(sublet_call *const *calls, size_t count, uint64_t timeout_ms)
{
    uint64_t end_ns = end_of(timeout_ms);
    if (calls == NULL && count > 0)
        return error_set(SUBLET_ERR_INVALID, "calls must not be NULL");
    for (size_t i = 0; i < count; i++) {
        if (calls[i] == NULL)
            continue;
        struct sublet_session *session = calls[i]->session;
        pthread_mutex_lock(&session->lock);
        sublet_status status = calls_wait(calls[i], end_ns);
        pthread_mutex_unlock(&session->lock);
        if (status != SUBLET_OK)
            return error_set(status, "%s still runs after %llu ms", calls[i]->function->name,
                             (unsigned long long)timeout_ms);
    }
    return SUBLET_OK;
}

sublet_status sublet_wait_any(sublet_call *const *calls, size_t count, uint64_t timeout_ms, size_t *index_out)
{
    uint64_t since_ns = now_ns(), end_ns = end_of(timeout_ms);
    size_t first = 0;
    while (calls != NULL && first < count && calls[first] == NULL)
        first++;
    if (calls == NULL || first == count || index_out == NULL)
        return error_set(SUBLET_ERR_INVALID,
                         "calls must have an entry that is not NULL, and index_out must not be NULL");
    struct sublet_session *session = calls[first]->session;
    pthread_mutex_lock(&session->lock);
    calls_progress(session);
    for (;;) {
        bool runs = false;
        for (size_t i = first; i < count; i++)
            if (calls[i] != NULL && calls[i]->state == CALL_DONE) {
                *index_out = i;
                pthread_mutex_unlock(&session->lock);
                return SUBLET_OK;
            }
        for (size_t i = first; i < count && !runs; i++) {
            struct sublet_call *call = calls[i];
            if (call == NULL || (call->state == CALL_RUNNING && !call->ending && call->deadline_ns == 0))
                continue;
            if (call->ending || call->deadline_ns != 0)
                calls_keep_deadline(call);
            if (call->state == CALL_QUEUED)
                calls_place(call);
            runs = call->state == CALL_QUEUED && calls_run_here(call);
            runs |= call->state == CALL_DONE;
        }
        if (runs)
            continue;
        if (end_ns != 0 && now_ns() >= end_ns)
            break;
        calls_wait_round(session, calls + first, count - first, since_ns, end_ns);
    }
    pthread_mutex_unlock(&session->lock);
    return error_set(SUBLET_ERR_TIMEOUT, "none of the calls was done within %llu ms", (unsigned long long)timeout_ms);
}

sublet_status sublet_call_result(sublet_call *call, size_t *out_bytes_out, const char **node_out)
{
    if (call == NULL)
        return error_set(SUBLET_ERR_INVALID, "call must not be NULL");
    pthread_mutex_lock(&call->session->lock);
    bool done = call->state == CALL_DONE;
    pthread_mutex_unlock(&call->session->lock);
    if (!done)
        return SUBLET_ERR_BUSY;
    if (node_out != NULL)
        *node_out = call->node;
    if (out_bytes_out != NULL && (call->status == SUBLET_OK || call->status == SUBLET_ERR_TOO_LARGE))
        *out_bytes_out = call->result_bytes;
    return calls_explain(call);
}

void sublet_cancel(sublet_call *call)
{
    if (call == NULL)
        return;
    pthread_mutex_lock(&call->session->lock);
    calls_end_early(call);
    pthread_mutex_unlock(&call->session->lock);
}

void sublet_call_free(sublet_call *call)
{
    if (call == NULL)
        return;
    struct sublet_session *session = call->session;
    pthread_mutex_lock(&session->lock);
    if (call->state != CALL_DONE) {
        calls_end_early(call);
        (void)calls_wait(call, 0); /* bounded: an executor that does not end it counts as lost */
    }
    while (call->pins > 0)
        session_sleep(session, now_ns() + 1000000000);
    list_remove(call);
    pthread_mutex_unlock(&session->lock);
    free(call);
}
