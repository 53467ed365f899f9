/** sublet_for_each with leases that come, stay and go: the result is the same to the last bit. */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>

#define COUNT 4000u

static uint64_t in[COUNT], expected[COUNT], out[COUNT];

static void prepare(struct fixture *fixture)
{
    sublet_session *alone = NULL;
    sublet_library *library;
    sublet_function_ref *grind;
    sublet_options options = SUBLET_OPTIONS_INIT;
    (void)fixture;
    options.agent_socket = "/nonexistent/agent.sock";
    for (size_t i = 0; i < COUNT; i++)
        in[i] = (i + 1) * 0x9e3779b97f4a7c15u;
    memset(out, 0, sizeof(out));
    if (expected[0] != 0)
        return;
    assert_int_equal(sublet_open(&options, &alone), SUBLET_OK);
    assert_int_equal(sublet_library_open(alone, FUNCTIONS, &library), SUBLET_OK);
    assert_int_equal(sublet_function_find(library, "grind", &grind), SUBLET_OK);
    assert_int_equal(sublet_for_each(alone, grind, in, 8, expected, 8, COUNT, NULL), SUBLET_OK);
    sublet_close(alone);
}

static void check(struct fixture *fixture, sublet_for_each_report *report)
{
    sublet_status status =
        sublet_for_each(fixture->session, function_of(fixture, "grind"), in, 8, out, 8, COUNT, report);
    if (status != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    assert_memory_equal(out, expected, sizeof(out));
    assert_int_equal(report->remote + report->local, COUNT);
}

static void shares_the_work(void **state)
{
    struct fixture *fixture = *state;
    sublet_for_each_report report = {0};
    prepare(fixture);
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    sublet_lease *here = lease_of(fixture, 1, 4), *there = lease_of(fixture, 1, 4);
    check(fixture, &report);
    assert_true(report.local > 0 && report.remote > 0);
    assert_int_equal(report.retried, 0);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(here, &info), SUBLET_OK);
    assert_true(info.calls > 0);
    uint64_t calls = info.calls;
    assert_int_equal(sublet_lease_info_get(there, &info), SUBLET_OK);
    assert_true(info.calls > 0);
    assert_int_equal(info.calls + calls, report.remote);
}

struct disturber {
    struct fixture *fixture;
    void (*act)(struct fixture *fixture);
    const sublet_lease *lease;
    uint64_t calls; /* acts when the lease has answered so many */
};

/** Acts when the lease has answered some calls: in the middle, however fast the machine. */
static void *disturb(void *argument)
{
    struct disturber *disturber = argument;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    uint64_t end_ns = time_ns() + 10000000000u;
    while (sublet_lease_info_get(disturber->lease, &info) == SUBLET_OK && info.calls < disturber->calls &&
           time_ns() < end_ns)
        poll(NULL, 0, 1);
    disturber->act(disturber->fixture);
    return NULL;
}

static void with_disturber(struct fixture *fixture, const sublet_lease *lease, void (*act)(struct fixture *fixture),
                           sublet_for_each_report *report)
{
    pthread_t thread;
    struct disturber disturber = {.fixture = fixture, .act = act, .lease = lease, .calls = 50};
    assert_int_equal(pthread_create(&thread, NULL, disturb, &disturber), 0);
    check(fixture, report);
    pthread_join(thread, NULL);
}

static void revoke_first(struct fixture *fixture)
{
    fake_agent_revoke(fixture->agent, "lease-0");
}

static void kill_first(struct fixture *fixture)
{
    executor_kill(&fixture->executors[0]);
}

static void revoked_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    sublet_for_each_report report = {0};
    prepare(fixture);
    fixture_function(fixture, "1", false);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    with_disturber(fixture, lease, revoke_first, &report);
    assert_true(report.remote >= 40 && report.local > 0);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_REVOKED);
    assert_string_equal(info.reason, "a batch job needs the capacity");
}

/** The connection tells of the end before the agent tells why. */
static void the_reason_comes_after_the_end(void **state)
{
    struct fixture *fixture = *state;
    prepare(fixture);
    fixture_function(fixture, "1", false);
    sublet_lease *lease = lease_of(fixture, 1, 1);
    kill_first(fixture);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_REVOKED);
    assert_int_equal(info.reason_known, 0);
    revoke_first(fixture);
    for (uint64_t end_ns = time_ns() + 5000000000u; !info.reason_known && time_ns() < end_ns; poll(NULL, 0, 1))
        assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.reason_known, 1);
    assert_string_equal(info.reason, "a batch job needs the capacity");
}

static void killed_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    sublet_for_each_report report = {0};
    prepare(fixture);
    fixture_function(fixture, "1", false);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    with_disturber(fixture, lease, kill_first, &report);
    assert_true(report.remote >= 40 && report.local > 0);
    wait_state(lease, SUBLET_LEASE_REVOKED);
}

static void killed_in_the_middle_over_tcp(void **state)
{
    struct fixture *fixture = *state;
    sublet_for_each_report report = {0};
    prepare(fixture);
    fixture_function(fixture, "1", true);
    fixture_function(fixture, "0", false); /* takes over */
    sublet_lease *lease = lease_of(fixture, 1, 4);
    lease_of(fixture, 1, 4);
    with_disturber(fixture, lease, kill_first, &report);
    wait_state(lease, SUBLET_LEASE_REVOKED);
}

/** Items that take long, so that the executor is in the middle of some when it dies: those are run again. */
static void items_of_a_dead_executor(struct fixture *fixture, bool over_tcp)
{
    enum { ITEMS = 60 };
    uint32_t ms[ITEMS], slept[ITEMS] = {0};
    pthread_t thread;
    sublet_for_each_report report = {0};
    for (size_t i = 0; i < ITEMS; i++)
        ms[i] = 20 + i % 3;
    fixture_function(fixture, "1", over_tcp);
    struct disturber disturber = {.fixture = fixture, .act = kill_first, .lease = lease_of(fixture, 1, 4), .calls = 3};
    assert_int_equal(pthread_create(&thread, NULL, disturb, &disturber), 0);
    sublet_status status =
        sublet_for_each(fixture->session, function_of(fixture, "nap"), ms, 4, slept, 4, ITEMS, &report);
    pthread_join(thread, NULL);
    assert_int_equal(status, SUBLET_OK);
    assert_memory_equal(ms, slept, sizeof(ms));
    assert_true(report.retried > 0);
    assert_true(report.remote >= 3);
    assert_int_equal(report.remote + report.local, ITEMS);
}

static void items_run_again(void **state)
{
    items_of_a_dead_executor(*state, false);
}

static void items_run_again_over_tcp(void **state)
{
    items_of_a_dead_executor(*state, true);
}

static void first_error_ends_it(void **state)
{
    struct fixture *fixture = *state;
    sublet_for_each_report report = {.local = 77};
    fixture_function(fixture, "0,1", false);
    lease_of(fixture, 2, 4);
    prepare(fixture);
    assert_int_equal(sublet_for_each(fixture->session, function_of(fixture, "refuse"), in, 8, out, 8, COUNT, &report),
                     SUBLET_ERR_FUNCTION);
    assert_int_equal(report.local, 77);
    check(fixture, &report); /* the leases are as good as before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shares_the_work, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(revoked_in_the_middle, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(the_reason_comes_after_the_end, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(killed_in_the_middle, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(killed_in_the_middle_over_tcp, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(items_run_again, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(items_run_again_over_tcp, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(first_error_ends_it, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
