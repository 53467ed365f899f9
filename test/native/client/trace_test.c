/** Where the time of a call went: the parts are the whole, and each shows up where it was spent. */
#include "fixture.h"

#include <poll.h>

#define MS UINT64_C(1000000)

static sublet_status traced(struct fixture *fixture, const char *name, sublet_lease *lease, const void *in,
                            size_t in_bytes, sublet_trace *trace, uint64_t *outside_ns_out)
{
    static unsigned char out[2 << 20];
    size_t bytes = 0;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    options.timeout_ms = 20000;
    options.trace = trace;
    *trace = (sublet_trace){.struct_bytes = sizeof(*trace)};
    uint64_t begin_ns = time_ns();
    sublet_status status = sublet_invoke(fixture->session, function_of(fixture, name), in, in_bytes, out,
                                         in_bytes > 64 ? in_bytes : 64, &bytes, &options);
    *outside_ns_out = time_ns() - begin_ns;
    return status;
}

static uint64_t sum(const sublet_trace *trace)
{
    return trace->send_ns + trace->wire_ns + trace->wake_ns + trace->queue_ns + trace->prepare_ns + trace->run_ns +
           trace->answer_ns + trace->back_ns + trace->caller_ns + trace->receive_ns;
}

/** The parts are the whole, and the whole is what a clock outside says; the best of many, since others use the cores.
 */
static void parts_are_the_whole(struct fixture *fixture, sublet_lease *lease, uint32_t way)
{
    uint64_t outside_ns, best_ns = UINT64_MAX;
    sublet_trace trace;
    uint32_t told = 0;
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(traced(fixture, "echo", lease, &i, sizeof(i), &trace, &outside_ns), SUBLET_OK);
        assert_int_equal(sum(&trace), trace.total_ns);
        assert_int_equal(trace.flags & (SUBLET_TRACE_MEMORY | SUBLET_TRACE_CONNECTION | SUBLET_TRACE_HERE), way);
        assert_true(trace.total_ns <= outside_ns + outside_ns / 1000 + 200);
        uint64_t off_ns = outside_ns > trace.total_ns ? outside_ns - trace.total_ns : 0;
        best_ns = off_ns < best_ns ? off_ns : best_ns;
        told += (trace.flags & SUBLET_TRACE_WORKER_TOLD) != 0;
    }
    if (best_ns > 5000)
        fail_msg("the whole misses %llu ns at best", (unsigned long long)best_ns);
    assert_int_equal(told, way == SUBLET_TRACE_HERE ? 0 : 300);
}

static void hot_calls_on_this_node(void **state)
{
    fixture_function(*state, "0", false);
    parts_are_the_whole(*state, lease_of(*state, 1, 4), SUBLET_TRACE_MEMORY);
}

static void hot_calls_over_a_connection(void **state)
{
    fixture_function(*state, "0", true);
    parts_are_the_whole(*state, lease_of(*state, 1, 4), SUBLET_TRACE_CONNECTION);
}

static void calls_here(void **state)
{
    parts_are_the_whole(*state, NULL, SUBLET_TRACE_HERE);
    uint32_t ms = 10;
    uint64_t outside_ns;
    sublet_trace trace;
    assert_int_equal(traced(*state, "nap", NULL, &ms, sizeof(ms), &trace, &outside_ns), SUBLET_OK);
    assert_true(trace.run_ns >= 10 * MS);
}

/** 10 ms in the function are 10 ms of run, and of nothing else. */
static void long_function(struct fixture *fixture, sublet_lease *lease, bool by_ring)
{
    uint32_t ms = 10;
    uint64_t outside_ns;
    sublet_trace trace;
    assert_int_equal(traced(fixture, "nap", lease, &ms, sizeof(ms), &trace, &outside_ns), SUBLET_OK);
    assert_true(trace.run_ns >= 10 * MS);
    assert_int_equal(sum(&trace), trace.total_ns);
    assert_true((trace.flags & SUBLET_TRACE_CALLER_SLEPT) != 0);
    assert_true(by_ring ? trace.caller_ns > 0 && trace.back_ns == 0 : trace.caller_ns == 0 && trace.back_ns > 0);
    if (!by_ring) /* half of what neither has spent, each way; converted one by one */
        assert_true(trace.wire_ns <= trace.back_ns + 2 && trace.back_ns <= trace.wire_ns + 2);
}

static void a_long_function_shows_there(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    long_function(fixture, lease_of(fixture, 1, 4), true);
    long_function(fixture, lease_of(fixture, 1, 4), false);
}

/** After a pause the worker sleeps: by the ring its wake-up is a part of its own, over a connection a flag says so. */
static void a_sleeping_worker_shows_its_wake_up(void **state)
{
    struct fixture *fixture = *state;
    uint64_t outside_ns;
    sublet_trace trace;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    sublet_lease *leases[2] = {lease_of(fixture, 1, 4), lease_of(fixture, 1, 4)};
    for (int way = 0; way < 2; way++) {
        uint32_t slept = 0, woken = 0;
        assert_int_equal(traced(fixture, "echo", leases[way], "x", 1, &trace, &outside_ns), SUBLET_OK);
        for (int i = 0; i < 10; i++) {
            poll(NULL, 0, 20);
            assert_int_equal(traced(fixture, "echo", leases[way], "x", 1, &trace, &outside_ns), SUBLET_OK);
            assert_int_equal(sum(&trace), trace.total_ns);
            slept += (trace.flags & SUBLET_TRACE_WORKER_SLEPT) != 0;
            woken += trace.wake_ns > 0;
        }
        assert_true(slept >= 8); /* one that something else woke a moment before is awake */
        assert_true(way == 0 ? woken >= 8 : woken == 0);
    }
}

static void waiting_behind_another_call_is_queueing(void **state)
{
    struct fixture *fixture = *state;
    uint64_t outside_ns;
    sublet_trace trace;
    sublet_call *call = NULL;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    uint32_t ms = 30, out = 0;
    fixture_function(fixture, "0", false);
    options.lease = lease_of(fixture, 1, 4);
    assert_int_equal(traced(fixture, "echo", options.lease, "x", 1, &trace, &outside_ns), SUBLET_OK);
    assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "nap"), &ms, sizeof(ms), &out, sizeof(out),
                                   &options, &call),
                     SUBLET_OK);
    poll(NULL, 0, 5); /* it has begun */
    assert_int_equal(traced(fixture, "echo", options.lease, "x", 1, &trace, &outside_ns), SUBLET_OK);
    assert_true((trace.flags & SUBLET_TRACE_WORKER_BUSY) != 0);
    assert_true(trace.queue_ns >= 10 * MS);
    assert_int_equal(sum(&trace), trace.total_ns);
    assert_int_equal(sublet_wait(call, 5000), SUBLET_OK);
    sublet_call_free(call);
}

/** More than a slot holds: over a connection although it is the same node; and the result is right. */
static void large_payloads_and_errors(void **state)
{
    struct fixture *fixture = *state;
    static unsigned char in[(1 << 20) + 4096];
    uint64_t outside_ns;
    sublet_trace trace;
    fixture_function(fixture, "0", false);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    assert_int_equal(traced(fixture, "echo", lease, in, sizeof(in), &trace, &outside_ns), SUBLET_OK);
    assert_true((trace.flags & SUBLET_TRACE_CONNECTION) != 0 && (trace.flags & SUBLET_TRACE_WORKER_TOLD) != 0);
    assert_int_equal(traced(fixture, "refuse", lease, in, 8, &trace, &outside_ns), SUBLET_ERR_FUNCTION);
    assert_int_equal(sum(&trace), trace.total_ns);
    assert_true(trace.total_ns > 0 && (trace.flags & SUBLET_TRACE_WORKER_TOLD) != 0);
    assert_int_equal(traced(fixture, "crash", lease, in, 8, &trace, &outside_ns), SUBLET_ERR_CRASHED);
    assert_int_equal(trace.total_ns, 0); /* untouched */
    assert_int_equal(traced(fixture, "echo", lease, in, 8, &trace, &outside_ns), SUBLET_OK);
}

static void what_is_asked_for_wrongly_is_refused(void **state)
{
    struct fixture *fixture = *state;
    sublet_trace trace = {.struct_bytes = 0};
    sublet_call *call = NULL;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    char out[8];
    options.trace = &trace;
    sublet_function_ref *echo = function_of(fixture, "echo");
    assert_int_equal(sublet_invoke(fixture->session, echo, "x", 1, out, 8, NULL, &options), SUBLET_ERR_INVALID);
    trace.struct_bytes = sizeof(trace);
    assert_int_equal(sublet_submit(fixture->session, echo, "x", 1, out, 8, &options, &call), SUBLET_ERR_INVALID);
    trace.struct_bytes = offsetof(sublet_trace, wire_ns);
    trace.wire_ns = 77;
    assert_int_equal(sublet_invoke(fixture->session, echo, "x", 1, out, 8, NULL, &options), SUBLET_OK);
    assert_true(trace.total_ns > 0);
    assert_int_equal(trace.wire_ns, 77); /* what its caller does not know is not written */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hot_calls_on_this_node, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(hot_calls_over_a_connection, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(calls_here, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(a_long_function_shows_there, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(a_sleeping_worker_shows_its_wake_up, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(waiting_behind_another_call_is_queueing, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(large_payloads_and_errors, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(what_is_asked_for_wrongly_is_refused, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
