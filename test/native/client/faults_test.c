/** Leases that go away under calls: what may run again does, what may not is told so, and all else goes on. */
#include "fixture.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

static sublet_call *nap(struct fixture *fixture, const uint32_t *ms, uint32_t *out, sublet_lease *lease, uint32_t flags)
{
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    sublet_call *call = NULL;
    options.lease = lease;
    options.flags = flags;
    assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "nap"), ms, 4, out, 4, &options, &call),
                     SUBLET_OK);
    return call;
}

static sublet_status result(sublet_call *call, const char **node_out)
{
    size_t bytes = 0;
    assert_int_equal(sublet_wait(call, 8000), SUBLET_OK);
    sublet_status status = sublet_call_result(call, &bytes, node_out);
    sublet_call_free(call);
    return status;
}

/** Four calls on lease 0, one of each kind of promise; what `end_lease` does ends them. */
static void calls_of_a_lost_lease(struct fixture *fixture, bool over_tcp, void (*end_lease)(struct fixture *fixture),
                                  sublet_status expected)
{
    const char *node = NULL;
    uint32_t ms = 150, out[4] = {0};
    fixture_function(fixture, "0,1", over_tcp);
    sublet_lease *lease = lease_of(fixture, 2, 4);
    assert_int_equal(result(nap(fixture, &(uint32_t){0}, out, lease, 0), &node), SUBLET_OK); /* it is known there */
    sublet_call *again = nap(fixture, &ms, &out[0], NULL, 0);
    sublet_call *once = nap(fixture, &ms, &out[1], NULL, SUBLET_CALL_ONCE);
    sublet_call *only_there = nap(fixture, &ms, &out[2], lease, 0);
    sublet_call *not_here = nap(fixture, &ms, &out[3], NULL, SUBLET_CALL_NO_LOCAL);
    end_lease(fixture);
    wait_state(lease, SUBLET_LEASE_REVOKED);
    assert_int_equal(result(again, &node), SUBLET_OK);
    assert_string_equal(node, ""); /* it ran here */
    assert_int_equal(out[0], ms);
    assert_int_equal(result(once, &node), expected);
    assert_int_equal(result(only_there, &node), expected);
    assert_int_equal(result(not_here, &node), SUBLET_ERR_BUSY);
    assert_int_equal(out[1] + out[2] + out[3], 0);
    sublet_call *late = NULL;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "nap"), &ms, 4, out, 4, &options, &late),
                     expected);
    assert_null(late);
    sublet_lease_release(lease);
}

static void revoke_lease(struct fixture *fixture)
{
    fake_agent_revoke(fixture->agent, "lease-0");
}

static void kill_executor(struct fixture *fixture)
{
    executor_kill(&fixture->executors[0]);
}

static void revoked(void **state)
{
    calls_of_a_lost_lease(*state, false, revoke_lease, SUBLET_ERR_REVOKED);
}

static void revoked_over_tcp(void **state)
{
    calls_of_a_lost_lease(*state, true, revoke_lease, SUBLET_ERR_REVOKED);
}

static void killed(void **state)
{
    calls_of_a_lost_lease(*state, false, kill_executor, SUBLET_ERR_LOST);
}

static void killed_over_tcp(void **state)
{
    calls_of_a_lost_lease(*state, true, kill_executor, SUBLET_ERR_LOST);
}

static void moves_to_another_lease(void **state)
{
    struct fixture *fixture = *state;
    const char *node = NULL;
    uint32_t ms = 100, out = 0;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    lease_of(fixture, 1, 4);
    lease_of(fixture, 1, 4);
    sublet_call *call = nap(fixture, &ms, &out, NULL, 0);
    executor_kill(&fixture->executors[0]);
    assert_int_equal(result(call, &node), SUBLET_OK);
    assert_string_equal(node, "node-1");
    assert_int_equal(out, ms);
}

/** A thread that sleeps for a long call is told, although nobody can wake it any more. */
static void sleeper_notices(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    char out[8];
    size_t bytes;
    fixture_function(fixture, "0", false);
    options.lease = lease_of(fixture, 1, 4);
    pid_t killer = fork();
    assert_true(killer >= 0);
    if (killer == 0) {
        poll(NULL, 0, 100);
        kill(fixture->executors[0].pid, SIGKILL);
        _exit(0);
    }
    uint64_t begin_ns = time_ns();
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "hang"), NULL, 0, out, 8, &bytes, &options),
                     SUBLET_ERR_LOST);
    assert_in_range(time_ns() - begin_ns, 0, 1000000000u);
}

/** An executor that neither answers nor ends calls, since it is frozen: the deadline holds within a bound. */
static void frozen(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    char out[8];
    size_t bytes;
    fixture_function(fixture, "0", false);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    options.lease = lease;
    options.timeout_ms = 50;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "hang"), NULL, 0, out, 8, &bytes, &options),
                     SUBLET_ERR_TIMEOUT); /* known there from now on */
    wait_state(lease, SUBLET_LEASE_ACTIVE);
    uint64_t begin_ns = time_ns();
    kill(fixture->executors[0].pid, SIGSTOP);
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "hang"), NULL, 0, out, 8, &bytes, &options),
                     SUBLET_ERR_TIMEOUT);
    assert_in_range(time_ns() - begin_ns, 50000000u, 4000000000u);
    kill(fixture->executors[0].pid, SIGCONT);
    wait_state(lease, SUBLET_LEASE_REVOKED);
}

static void released_under_calls(void **state)
{
    struct fixture *fixture = *state;
    const char *node = NULL;
    uint32_t ms = 100, out[6] = {0};
    fixture_function(fixture, "0", false);
    sublet_lease *lease = lease_of(fixture, 1, 2);
    sublet_call *free_call = nap(fixture, &ms, &out[0], NULL, 0);
    sublet_call *pinned = nap(fixture, &ms, &out[1], lease, 0);
    sublet_call *queued = nap(fixture, &ms, &out[2], lease, 0); /* both places are taken */
    sublet_lease_release(lease);
    assert_int_equal(result(free_call, &node), SUBLET_OK);
    assert_string_equal(node, "");
    assert_int_equal(result(pinned, &node), SUBLET_ERR_REVOKED);
    assert_int_equal(result(queued, &node), SUBLET_ERR_REVOKED);
}

static void wrong_token(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease = NULL;
    struct executor *executor = fixture_function(fixture, "0", false);
    lease_of(fixture, 1, 4); /* takes the right one */
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        struct grant grant = executor->grant;
        snprintf(grant.id, sizeof(grant.id), "wrong-%d", over_tcp);
        grant.token[31] ^= 1;
        if (over_tcp)
            grant.unix_path[0] = '\0';
        fake_agent_offer(fixture->agent, &grant);
        assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_DENIED);
        assert_null(lease);
        assert_false(fake_agent_holds(fixture->agent, grant.id)); /* it was given back */
    }
}

static void nobody_listens(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease = NULL;
    struct grant grant = {.id = "gone", .node = "n", .tcp_address = "127.0.0.1:1", .term_ms = 60000};
    fake_agent_offer(fixture->agent, &grant);
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_LOST);
    snprintf(grant.id, sizeof(grant.id), "nonsense");
    snprintf(grant.tcp_address, sizeof(grant.tcp_address), "no address");
    fake_agent_offer(fixture->agent, &grant);
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_INVALID);
    assert_null(lease);
    assert_false(fake_agent_holds(fixture->agent, "gone"));
}

/** Closing ends what runs; nobody has to collect it first. */
static void closed_with_calls_in_flight(void **state)
{
    struct fixture *fixture = *state;
    uint32_t ms = 2000, out[8];
    fixture_function(fixture, "0,1", false);
    fixture_function(fixture, "0,1", true);
    lease_of(fixture, 2, 2);
    lease_of(fixture, 2, 2);
    for (int i = 0; i < 8; i++)
        nap(fixture, &ms, &out[i], NULL, 0);
    uint64_t begin_ns = time_ns();
    sublet_close(fixture->session); /* frees the calls, too */
    assert_in_range(time_ns() - begin_ns, 0, 1000000000u);
    fixture->session = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(revoked, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(revoked_over_tcp, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(killed, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(killed_over_tcp, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(moves_to_another_lease, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(sleeper_notices, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(frozen, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(released_under_calls, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(wrong_token, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(nobody_listens, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(closed_with_calls_in_flight, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
