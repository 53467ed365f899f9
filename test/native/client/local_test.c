/** Nobody lends: everything runs here, with the same rules. And what the interface refuses. */
#include "fixture.h"

#include <poll.h>
#include <unistd.h>

static sublet_session *open_alone(void)
{
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_session *session = NULL;
    options.agent_socket = "/nonexistent/agent.sock";
    assert_int_equal(sublet_open(&options, &session), SUBLET_OK);
    return session;
}

static int open_session(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->session = open_alone();
    assert_int_equal(sublet_library_open(fixture->session, FUNCTIONS, &fixture->library), SUBLET_OK);
    *state = fixture;
    return 0;
}

static int close_session(void **state)
{
    struct fixture *fixture = *state;
    sublet_close(fixture->session);
    free(fixture);
    return 0;
}

static void nothing_to_lease(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease = (sublet_lease *)state;
    sublet_region *region = (sublet_region *)state;
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_BUSY);
    assert_non_null(strstr(sublet_last_error(), "/nonexistent/agent.sock"));
    assert_ptr_equal(lease, state); /* outputs are set only on success */
    assert_int_equal(sublet_region_alloc(fixture->session, 4096, NULL, &region), SUBLET_ERR_BUSY);
    assert_ptr_equal(region, state);
}

static void invoke_runs_here(void **state)
{
    struct fixture *fixture = *state;
    pid_t pid = 0;
    size_t bytes = 0;
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "where"), NULL, 0, &pid, sizeof(pid), &bytes, NULL),
        SUBLET_OK);
    assert_int_equal(bytes, sizeof(pid));
    assert_int_equal(pid, getpid());
}

static void plain_form_gets_a_copy(void **state)
{
    struct fixture *fixture = *state;
    char in[] = "arguments", out[sizeof(in)] = "";
    size_t bytes = 0;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "scribble"), in, sizeof(in), out, sizeof(out),
                                   &bytes, NULL),
                     SUBLET_OK);
    assert_string_equal(in, "arguments");
    assert_string_equal(out, "arguments");
}

/** As on a worker, where a function that looks at arguments that are none finds memory. */
static void no_arguments_are_no_null(void **state)
{
    struct fixture *fixture = *state;
    char out = 0;
    size_t bytes = 0;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "is_there"), NULL, 0, &out, 1, &bytes, NULL),
                     SUBLET_OK);
    assert_int_equal(out, 1);
}

static void errors_of_functions(void **state)
{
    struct fixture *fixture = *state;
    char out[8];
    size_t bytes = 42;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "refuse"), NULL, 0, out, sizeof(out), &bytes, NULL),
        SUBLET_ERR_FUNCTION);
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "too_much"), NULL, 0, out, sizeof(out), &bytes, NULL),
        SUBLET_ERR_TOO_LARGE);
    assert_int_equal(bytes, sizeof(out) + 1); /* what it needs */
    options.flags = SUBLET_CALL_NO_LOCAL;
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "empty"), NULL, 0, out, sizeof(out), &bytes, &options),
        SUBLET_ERR_BUSY);
    uint32_t ms = 30;
    options.flags = 0;
    options.timeout_ms = 5;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "nap"), &ms, sizeof(ms), out, sizeof(out),
                                   &bytes, &options),
                     SUBLET_ERR_TIMEOUT);
}

static void submitted_calls(void **state)
{
    struct fixture *fixture = *state;
    sublet_function_ref *echo = function_of(fixture, "echo");
    sublet_call *calls[4] = {NULL};
    uint32_t in[4] = {1, 2, 3, 4}, out[4] = {0};
    size_t bytes = 0, index = 99;
    const char *node = NULL;
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(sublet_submit(fixture->session, echo, &in[i], 4, &out[i], 4, NULL, &calls[i]), SUBLET_OK);
    assert_int_equal(sublet_call_result(calls[3], &bytes, NULL), SUBLET_ERR_BUSY);
    assert_int_equal(sublet_wait_any(calls, 4, 0, &index), SUBLET_OK);
    assert_true(index >= 1 && index <= 3);
    assert_int_equal(sublet_wait_all(calls, 4, 0), SUBLET_OK);
    assert_int_equal(sublet_test(calls[2]), SUBLET_OK);
    assert_int_equal(sublet_call_result(calls[2], &bytes, &node), SUBLET_OK);
    assert_int_equal(bytes, 4);
    assert_string_equal(node, "");
    assert_int_equal(out[1] + out[2] + out[3], 9);
    for (size_t i = 0; i < 4; i++)
        sublet_call_free(calls[i]);

    sublet_call *tested, *cancelled, *left;
    assert_int_equal(sublet_submit(fixture->session, echo, in, 4, out, 4, NULL, &tested), SUBLET_OK);
    assert_int_equal(sublet_test(tested), SUBLET_OK); /* a program that only tests makes progress, too */
    sublet_call_free(tested);
    assert_int_equal(sublet_submit(fixture->session, echo, in, 4, out, 4, NULL, &cancelled), SUBLET_OK);
    sublet_cancel(cancelled);
    assert_int_equal(sublet_wait(cancelled, 1000), SUBLET_OK);
    assert_int_equal(sublet_call_result(cancelled, &bytes, NULL), SUBLET_ERR_TIMEOUT);
    sublet_call_free(cancelled);
    assert_int_equal(sublet_submit(fixture->session, echo, in, 4, out, 4, NULL, &left), SUBLET_OK);
    (void)left; /* freed by sublet_close; a leak would be seen by the sanitizer */
}

static void queue_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    sublet_function_ref *empty = function_of(fixture, "empty");
    sublet_call **calls = calloc(65537, sizeof(sublet_call *));
    for (size_t i = 0; i < 65536; i++)
        assert_int_equal(sublet_submit(fixture->session, empty, NULL, 0, NULL, 0, NULL, &calls[i]), SUBLET_OK);
    assert_int_equal(sublet_submit(fixture->session, empty, NULL, 0, NULL, 0, NULL, &calls[65536]), SUBLET_ERR_BUSY);
    assert_null(calls[65536]);
    assert_int_equal(sublet_wait(calls[0], 0), SUBLET_OK);
    assert_int_equal(sublet_submit(fixture->session, empty, NULL, 0, NULL, 0, NULL, &calls[65536]), SUBLET_OK);
    assert_int_equal(sublet_wait_all(calls, 65537, 0), SUBLET_OK);
    for (size_t i = 0; i < 65537; i++)
        sublet_call_free(calls[i]);
    free(calls);
}

static void for_each_runs_here(void **state)
{
    struct fixture *fixture = *state;
    uint64_t in[100], out[100] = {0}, one = 0;
    size_t bytes = 0;
    sublet_for_each_report report = {0};
    for (size_t i = 0; i < 100; i++)
        in[i] = i * 0x123456789u;
    sublet_function_ref *grind = function_of(fixture, "grind");
    assert_int_equal(sublet_for_each(fixture->session, grind, in, 8, out, 8, 100, &report), SUBLET_OK);
    assert_int_equal(report.local, 100);
    assert_int_equal(report.remote + report.retried, 0);
    assert_int_equal(sublet_invoke(fixture->session, grind, &in[57], 8, &one, 8, &bytes, NULL), SUBLET_OK);
    assert_true(out[57] == one);
    assert_int_equal(sublet_for_each(fixture->session, grind, in, 8, out, 8, 0, &report), SUBLET_OK);
    assert_int_equal(sublet_for_each(fixture->session, function_of(fixture, "refuse"), in, 8, out, 8, 3, &report),
                     SUBLET_ERR_FUNCTION);
    assert_int_equal(sublet_for_each(fixture->session, function_of(fixture, "empty"), in, 8, out, 8, 3, &report),
                     SUBLET_ERR_TOO_LARGE); /* every result must be as long as said */
}

static void refused_arguments(void **state)
{
    struct fixture *fixture = *state;
    sublet_session *other = open_alone(), *none = (sublet_session *)state;
    sublet_function_ref *function = function_of(fixture, "empty"), *found = NULL;
    sublet_library *library = NULL;
    sublet_call *call = NULL;
    sublet_lease *lease = NULL;
    size_t index;
    char long_name[200];
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_options lease_options = SUBLET_LEASE_OPTIONS_INIT;
    sublet_call_options call_options = SUBLET_CALL_OPTIONS_INIT;
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    options.agent_socket = long_name;
    assert_int_equal(sublet_open(&options, &none), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_open(NULL, NULL), SUBLET_ERR_INVALID);
    options.agent_socket = NULL;
    options.flags = 1;
    assert_int_equal(sublet_open(&options, &none), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_library_open(other, "/nonexistent.so", &library), SUBLET_ERR_NOT_FOUND);
    assert_int_equal(sublet_library_open(other, "/etc/passwd", &library), SUBLET_ERR_INVALID);
    assert_non_null(strstr(sublet_last_error(), "cannot load /etc/passwd: "));
    assert_null(strstr(strstr(sublet_last_error(), "/etc/passwd") + 1, "/etc/passwd")); /* named once */
    assert_int_equal(sublet_library_open(other, "/", &library), SUBLET_ERR_INVALID);
    assert_null(library);
    assert_int_equal(sublet_function_find(fixture->library, "no_such_function", &found), SUBLET_ERR_NOT_FOUND);
    assert_non_null(strstr(sublet_last_error(), FUNCTIONS " has no function no_such_function: "));
    assert_int_equal(sublet_function_find(fixture->library, long_name, &found), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_function_find(fixture->library, "", &found), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_function_find(fixture->library, "empty", &found), SUBLET_OK);
    assert_ptr_equal(found, function);
    assert_int_equal(sublet_invoke(other, function, NULL, 0, NULL, 0, NULL, NULL), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_invoke(fixture->session, function, NULL, 8, NULL, 0, NULL, NULL), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_submit(fixture->session, NULL, NULL, 0, NULL, 0, NULL, &call), SUBLET_ERR_INVALID);
    call_options.flags = 4;
    assert_int_equal(sublet_submit(fixture->session, function, NULL, 0, NULL, 0, &call_options, &call),
                     SUBLET_ERR_INVALID);
    call_options.flags = 0;
    call_options.worker = 0; /* of which lease? */
    assert_int_equal(sublet_submit(fixture->session, function, NULL, 0, NULL, 0, &call_options, &call),
                     SUBLET_ERR_INVALID);
    assert_null(call);
    assert_int_equal(sublet_wait_any(&call, 1, 1, &index), SUBLET_ERR_INVALID);
    lease_options.slots = 65;
    assert_int_equal(sublet_lease_acquire(other, &lease_options, &lease), SUBLET_ERR_INVALID);
    lease_options.slots = 4;
    lease_options.in_bytes = UINT64_C(65) << 20;
    assert_int_equal(sublet_lease_acquire(other, &lease_options, &lease), SUBLET_ERR_INVALID);
    lease_options.in_bytes = 0;
    lease_options.cores = 2;
    lease_options.min_cores = 3;
    assert_int_equal(sublet_lease_acquire(other, &lease_options, &lease), SUBLET_ERR_INVALID);
    lease_options.cores = 1000000;
    assert_int_equal(sublet_lease_acquire(other, &lease_options, &lease), SUBLET_ERR_INVALID);
    assert_non_null(strstr(sublet_last_error(), "cores 1000000, ")); /* what was asked for, and what is possible */
    assert_non_null(strstr(sublet_last_error(), "1 to 64 cores"));
    lease_options.cores = lease_options.min_cores = 1;
    lease_options.memory_bytes = UINT64_MAX; /* with the rings it would be 9 MiB */
    assert_int_equal(sublet_lease_acquire(other, &lease_options, &lease), SUBLET_ERR_INVALID);
    assert_non_null(strstr(sublet_last_error(), "is no size"));
    sublet_close(other);
    sublet_close(NULL);
    sublet_call_free(NULL);
    sublet_lease_release(NULL);
    sublet_region_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_to_lease, open_session, close_session),
        cmocka_unit_test_setup_teardown(invoke_runs_here, open_session, close_session),
        cmocka_unit_test_setup_teardown(plain_form_gets_a_copy, open_session, close_session),
        cmocka_unit_test_setup_teardown(no_arguments_are_no_null, open_session, close_session),
        cmocka_unit_test_setup_teardown(errors_of_functions, open_session, close_session),
        cmocka_unit_test_setup_teardown(submitted_calls, open_session, close_session),
        cmocka_unit_test_setup_teardown(queue_is_bounded, open_session, close_session),
        cmocka_unit_test_setup_teardown(for_each_runs_here, open_session, close_session),
        cmocka_unit_test_setup_teardown(refused_arguments, open_session, close_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
