/** Calls on an executor of this node and on one over TCP: each test runs on both. */
#include "fixture.h"

#include <poll.h>
#include <unistd.h>

static int start_here(void **state)
{
    int failed = fixture_start(state);
    fixture_function(*state, "0,1", false);
    return failed;
}

static int start_there(void **state)
{
    int failed = fixture_start(state);
    fixture_function(*state, "0,1", true);
    return failed;
}

static sublet_status invoke(struct fixture *fixture, const char *name, const void *in, size_t in_bytes, void *out,
                            size_t out_capacity, size_t *bytes_out, uint64_t timeout_ms)
{
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.timeout_ms = timeout_ms;
    return sublet_invoke(fixture->session, function_of(fixture, name), in, in_bytes, out, out_capacity, bytes_out,
                         &options);
}

static void runs_elsewhere(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease = lease_of(fixture, 2, 4);
    pid_t pid = 0;
    size_t bytes = 0;
    char text[] = "some text", answer[64] = "";
    assert_int_equal(invoke(fixture, "where", NULL, 0, &pid, sizeof(pid), &bytes, 0), SUBLET_OK);
    assert_int_equal(bytes, sizeof(pid));
    assert_true(pid > 0 && pid != getpid());
    assert_int_equal(invoke(fixture, "echo", text, sizeof(text), answer, sizeof(answer), &bytes, 0), SUBLET_OK);
    assert_int_equal(bytes, sizeof(text));
    assert_string_equal(answer, text);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.state, SUBLET_LEASE_ACTIVE);
    assert_int_equal(info.workers, 2);
    assert_int_equal(info.calls, 2);
    assert_string_equal(info.id, "lease-0");
    assert_string_equal(info.node, "node-0");
    assert_int_equal(info.same_node, fixture->executors[0].grant.unix_path[0] != '\0');
    assert_true(info.request_ns > 0);
    /* the functions' 64 MiB a core and the buffers */
    assert_true(fake_agent_asked_bytes(fixture->agent) >= (UINT64_C(128) << 20) + 2 * 4 * (UINT64_C(2) << 20));
    sublet_lease_release(lease);
    assert_false(fake_agent_holds(fixture->agent, "lease-0"));
    assert_int_equal(invoke(fixture, "echo", text, sizeof(text), answer, sizeof(answer), &bytes, 0), SUBLET_ERR_BUSY);
}

static void sizes(void **state)
{
    struct fixture *fixture = *state;
    static const size_t tried[] = {0, 1, 63, 64, 4096, 4097, 65536, 1 << 20};
    unsigned char *in = malloc(2 << 20), *out = malloc(2 << 20);
    size_t bytes = 0;
    lease_of(fixture, 2, 4);
    for (size_t i = 0; i < (2 << 20); i++)
        in[i] = (unsigned char)(i * 31 + i / 251);
    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
        memset(out, 0xee, 2 << 20);
        assert_int_equal(invoke(fixture, "echo", in, tried[i], out, tried[i], &bytes, 0), SUBLET_OK);
        assert_int_equal(bytes, tried[i]);
        assert_memory_equal(in, out, tried[i]);
        assert_int_equal(out[tried[i]], 0xee);
    }
    /* More than the lease's usual sizes. */
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "echo"), in, 2 << 20, out, 2 << 20, &bytes, NULL),
        SUBLET_OK);
    assert_memory_equal(in, out, 2 << 20);
    assert_int_equal(invoke(fixture, "echo", in, 100, out, 99, &bytes, 0), SUBLET_ERR_OVERRUN);
    free(in);
    free(out);
}

static void bad_functions(void **state)
{
    struct fixture *fixture = *state;
    char out[8];
    size_t bytes = 42;
    sublet_lease *lease = lease_of(fixture, 2, 4);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(invoke(fixture, "crash", NULL, 0, out, 8, &bytes, 0), SUBLET_ERR_CRASHED);
        assert_non_null(strstr(sublet_last_error(), "crash"));
        assert_int_equal(invoke(fixture, "leave", NULL, 0, out, 8, &bytes, 0), SUBLET_ERR_EXITED);
        assert_int_equal(invoke(fixture, "refuse", NULL, 0, out, 8, &bytes, 0), SUBLET_ERR_FUNCTION);
        assert_int_equal(invoke(fixture, "too_much", NULL, 0, out, 8, &bytes, 0), SUBLET_ERR_TOO_LARGE);
        uint64_t begin_ns = time_ns();
        assert_int_equal(invoke(fixture, "hang", NULL, 0, out, 8, &bytes, 50), SUBLET_ERR_TIMEOUT);
        assert_in_range(time_ns() - begin_ns, 50000000u, 1500000000u);
    }
    assert_int_equal(invoke(fixture, "echo", "fine", 5, out, 8, &bytes, 0), SUBLET_OK);
    assert_string_equal(out, "fine");
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.state, SUBLET_LEASE_ACTIVE);
}

static void many_in_flight(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 200 };
    sublet_call *calls[COUNT];
    static uint64_t in[COUNT], out[COUNT]; /* outlive a failed check: the calls still point at them */
    size_t bytes = 0, index;
    const char *node;
    lease_of(fixture, 2, 4); /* 8 places: the others wait */
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = i;
        assert_int_equal(
            sublet_submit(fixture->session, function_of(fixture, "echo"), &in[i], 8, &out[i], 8, NULL, &calls[i]),
            SUBLET_OK);
    }
    for (size_t done = 0; done < COUNT; done++) {
        assert_int_equal(sublet_wait_any(calls, COUNT, 5000, &index), SUBLET_OK);
        assert_int_equal(sublet_call_result(calls[index], &bytes, &node), SUBLET_OK);
        assert_string_equal(node, "node-0");
        assert_true(bytes == 8 && out[index] == index);
        sublet_call_free(calls[index]);
        calls[index] = NULL;
    }
}

static void chosen_worker(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_function_ref *function = function_of(fixture, "worker_number");
    uint32_t number = 99;
    size_t bytes;
    options.lease = lease_of(fixture, 2, 4);
    for (int32_t worker = 0; worker < 2; worker++) {
        options.worker = worker;
        assert_int_equal(sublet_invoke(fixture->session, function, NULL, 0, &number, 4, &bytes, &options), SUBLET_OK);
        assert_int_equal(number, worker);
    }
    options.worker = 2;
    assert_int_equal(sublet_invoke(fixture->session, function, NULL, 0, &number, 4, &bytes, &options),
                     SUBLET_ERR_INVALID);
}

/** Cancelled while it runs, and while it waits behind another on the same worker. */
static void cancel(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_call *running, *behind, *last;
    char out[3][8];
    size_t bytes;
    options.lease = lease_of(fixture, 2, 4);
    options.worker = 1;
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "hang"), NULL, 0, out[0], 8, &options, &running),
        SUBLET_OK);
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "hang"), NULL, 0, out[1], 8, &options, &behind),
        SUBLET_OK);
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "echo"), "last", 5, out[2], 8, &options, &last),
        SUBLET_OK);
    assert_int_equal(sublet_wait(running, 100), SUBLET_ERR_TIMEOUT);
    assert_int_equal(sublet_test(behind), SUBLET_ERR_BUSY);
    sublet_cancel(behind);
    assert_int_equal(sublet_wait(behind, 2000), SUBLET_OK);
    assert_int_equal(sublet_call_result(behind, &bytes, NULL), SUBLET_ERR_TIMEOUT);
    assert_int_equal(sublet_test(last), SUBLET_ERR_BUSY);
    sublet_cancel(running);
    assert_int_equal(sublet_wait(running, 2000), SUBLET_OK);
    assert_int_equal(sublet_call_result(running, &bytes, NULL), SUBLET_ERR_TIMEOUT);
    assert_int_equal(sublet_wait(last, 3000), SUBLET_OK);
    assert_int_equal(sublet_call_result(last, &bytes, NULL), SUBLET_OK);
    assert_string_equal(out[2], "last");
    sublet_call_free(running);
    sublet_call_free(behind);
    sublet_call_free(last);
}

/** What stands behind a call that kills its worker has not begun, and runs on the next. */
static void behind_a_crash(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_call *calls[4];
    uint32_t ms = 30, number[4];
    size_t bytes;
    options.lease = lease_of(fixture, 2, 4);
    options.worker = 0;
    options.flags = SUBLET_CALL_ONCE;
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "nap"), &ms, 4, &number[0], 4, &options, &calls[0]),
        SUBLET_OK);
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "crash"), NULL, 0, NULL, 0, &options, &calls[1]),
        SUBLET_OK);
    for (size_t i = 2; i < 4; i++)
        assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "worker_number"), NULL, 0, &number[i], 4,
                                       &options, &calls[i]),
                         SUBLET_OK);
    assert_int_equal(sublet_wait_all(calls, 4, 5000), SUBLET_OK);
    assert_int_equal(sublet_call_result(calls[0], &bytes, NULL), SUBLET_OK);
    assert_int_equal(sublet_call_result(calls[1], &bytes, NULL), SUBLET_ERR_CRASHED);
    assert_int_equal(sublet_call_result(calls[2], &bytes, NULL), SUBLET_OK);
    assert_int_equal(sublet_call_result(calls[3], &bytes, NULL), SUBLET_OK);
    assert_int_equal(number[2] + number[3], 0);
    for (size_t i = 0; i < 4; i++)
        sublet_call_free(calls[i]);
}

/** Nobody waits for it: the deadline is kept all the same, and the worker is free again. */
static void deadline_of_a_call_nobody_waits_for(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_call *call;
    pid_t before = 0, after = 0;
    char out[8];
    size_t bytes;
    options.lease = lease_of(fixture, 2, 4);
    options.worker = 0;
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "where"), NULL, 0, &before, 4, &bytes, &options),
        SUBLET_OK);
    options.timeout_ms = 30;
    assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "hang"), NULL, 0, out, 8, &options, &call),
                     SUBLET_OK);
    uint64_t end_ns = time_ns() + 3000000000u;
    while (sublet_call_result(call, &bytes, NULL) == SUBLET_ERR_BUSY && time_ns() < end_ns)
        poll(NULL, 0, 1);
    assert_int_equal(sublet_call_result(call, &bytes, NULL), SUBLET_ERR_TIMEOUT);
    sublet_call_free(call);
    options.timeout_ms = 0;
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "where"), NULL, 0, &after, 4, &bytes, &options),
        SUBLET_OK);
    assert_int_not_equal(before, after);
}

static void freed_while_it_runs(void **state)
{
    struct fixture *fixture = *state;
    sublet_call *calls[8];
    char out[8];
    size_t bytes;
    lease_of(fixture, 2, 4);
    for (int i = 0; i < 8; i++)
        assert_int_equal(
            sublet_submit(fixture->session, function_of(fixture, "hang"), NULL, 0, NULL, 0, NULL, &calls[i]),
            SUBLET_OK);
    for (int i = 0; i < 8; i++)
        sublet_call_free(calls[i]);
    assert_int_equal(invoke(fixture, "echo", "fine", 5, out, 8, &bytes, 5000), SUBLET_OK);
}

/** Its lease has several libraries, each loaded when it is first needed. */
static void second_library(void **state)
{
    struct fixture *fixture = *state;
    sublet_library *again = NULL;
    sublet_function_ref *echo = NULL;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    char out[8];
    size_t bytes;
    lease_of(fixture, 2, 4);
    options.flags = SUBLET_CALL_NO_LOCAL;
    assert_int_equal(invoke(fixture, "echo", "one", 4, out, 8, &bytes, 0), SUBLET_OK);
    assert_int_equal(sublet_library_open(fixture->session, FUNCTIONS, &again), SUBLET_OK);
    assert_int_equal(sublet_function_find(again, "echo", &echo), SUBLET_OK);
    assert_int_equal(sublet_invoke(fixture->session, echo, "two", 4, out, 8, &bytes, &options), SUBLET_OK);
    assert_string_equal(out, "two");
}

#define BOTH(test)                                                                                                     \
    {#test " (ring)", test, start_here, fixture_stop, NULL},                                                           \
    {                                                                                                                  \
#test " (tcp)", test, start_there, fixture_stop, NULL                                                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(runs_elsewhere),      BOTH(sizes),
        BOTH(bad_functions),       BOTH(many_in_flight),
        BOTH(chosen_worker),       BOTH(cancel),
        BOTH(behind_a_crash),      BOTH(deadline_of_a_call_nobody_waits_for),
        BOTH(freed_while_it_runs), BOTH(second_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
