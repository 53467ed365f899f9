/** The connection to the agent: renewals, terms that end, an agent that dies, comes back, is silent or talks nonsense.
 */
#include "fixture.h"

#include <poll.h>
#include <unistd.h>

static void works(struct fixture *fixture, sublet_lease *lease)
{
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    char out[8] = "";
    size_t bytes = 0;
    options.lease = lease;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "echo"), "fine", 5, out, 8, &bytes, &options),
                     SUBLET_OK);
    assert_string_equal(out, "fine");
}

static struct executor *offer(struct fixture *fixture, uint64_t term_ms)
{
    struct executor *executor = &fixture->executors[0];
    fixture_function(fixture, "0", false);
    sublet_lease *first = lease_of(fixture, 1, 1); /* with the fixture's long term */
    sublet_lease_release(first);
    struct grant grant = executor->grant;
    snprintf(grant.id, sizeof(grant.id), "short");
    grant.term_ms = term_ms;
    fake_agent_offer(fixture->agent, &grant);
    return executor;
}

static void wait_renewals(struct fixture *fixture, uint32_t wanted)
{
    uint64_t end_ns = time_ns() + 5000000000u;
    while (fake_agent_renewals(fixture->agent, "short") < wanted && time_ns() < end_ns)
        poll(NULL, 0, 1);
    assert_true(fake_agent_renewals(fixture->agent, "short") >= wanted);
}

static void renewed_by_itself(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, 300);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    wait_renewals(fixture, 6); /* twice its term */
    uint32_t renewals = fake_agent_renewals(fixture->agent, "short");
    uint64_t begin_ns = time_ns();
    wait_renewals(fixture, renewals + 3);
    assert_in_range(time_ns() - begin_ns, 150000000u, 2000000000u); /* at a third of the term, not all the time */
    works(fixture, lease);
    wait_state(lease, SUBLET_LEASE_ACTIVE);
}

/** Nobody renews: usable until the term is over, and not longer. */
static void expires_without_an_agent(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, 800);
    uint64_t begin_ns = time_ns();
    sublet_lease *lease = lease_of(fixture, 1, 4);
    fake_agent_die(fixture->agent, false);
    works(fixture, lease);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_EXPIRED);
    assert_in_range(time_ns() - begin_ns, 780000000u, 3000000000u);
    assert_string_equal(info.reason, "not renewed in time");
    sublet_lease *other = NULL;
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &other), SUBLET_ERR_BUSY);
    fake_agent_come_back(fixture->agent);
}

/** The agent's process is another one, which has taken the lease over: it is renewed on the new connection. */
static void agent_restarts(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, 2000);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    for (int round = 0; round < 3; round++) {
        uint32_t renewals = fake_agent_renewals(fixture->agent, "short");
        fake_agent_die(fixture->agent, false);
        works(fixture, lease);
        poll(NULL, 0, 50);
        works(fixture, lease);
        fake_agent_come_back(fixture->agent);
        wait_renewals(fixture, renewals + 1);
        assert_true(fake_agent_holds(fixture->agent, "short")); /* held by the new connection */
        works(fixture, lease);
    }
    poll(NULL, 0, 2100); /* longer than what was left at the first death */
    works(fixture, lease);
    fake_agent_revoke(fixture->agent, "short"); /* notices come on the new connection */
    wait_state(lease, SUBLET_LEASE_REVOKED);
}

static const char *const by_admin = "ended by an administrator or its owner";

/** Wanted back: what names it works on, what does not goes elsewhere; with the budget it ends, and no renewal helps. */
static void drains(void **state)
{
    struct fixture *fixture = *state;
    char out[8] = "";
    size_t bytes = 0;
    const char *node = NULL;
    sublet_call *call = NULL;
    offer(fixture, 300);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    works(fixture, lease);
    uint64_t begin_ns = time_ns();
    fake_agent_drain(fixture->agent, "short", 1000, false);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_DRAINING);
    assert_in_range(info.remaining_ms, 1, 1000);
    assert_string_equal(info.reason, by_admin);
    uint32_t renewals = fake_agent_renewals(fixture->agent, "short");
    works(fixture, lease);
    assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "echo"), "fine", 5, out, 8, NULL, &call),
                     SUBLET_OK);
    assert_int_equal(sublet_wait(call, 0), SUBLET_OK);
    assert_int_equal(sublet_call_result(call, &bytes, &node), SUBLET_OK);
    assert_string_equal(node, ""); /* here */
    sublet_call_free(call);
    info = wait_state(lease, SUBLET_LEASE_REVOKED); /* this agent says no more */
    assert_in_range(time_ns() - begin_ns, 980000000u, 3000000000u);
    assert_in_range(fake_agent_renewals(fixture->agent, "short"), renewals, renewals + 1);
    assert_string_equal(info.reason, by_admin);
    assert_int_equal(info.reason_known, 1);
    assert_int_equal(info.remaining_ms, 0);
}

/** The notice was lost on its way: the answer to a renewal says the same. Released in time, it goes back. */
static void drains_by_renewal(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, 300);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    fake_agent_drain(fixture->agent, "short", 60000, true);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_DRAINING);
    assert_in_range(info.remaining_ms, 50000, 60000);
    works(fixture, lease);
    sublet_lease_release(lease);
    assert_false(fake_agent_holds(fixture->agent, "short"));
}

static void agent_restarts_and_knows_nothing(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, 60000);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    fake_agent_die(fixture->agent, true);
    fake_agent_come_back(fixture->agent);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_EXPIRED);
    assert_string_equal(info.reason, "the agent does not know it any more");
}

static void agent_comes_late(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease = NULL;
    fixture_function(fixture, "0", false);
    fake_agent_die(fixture->agent, false);
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_BUSY);
    fake_agent_come_back(fixture->agent);
    works(fixture, lease_of(fixture, 1, 4));
}

static void silent_agent(void **state)
{
    struct fixture *fixture = *state;
    sublet_session *session = NULL;
    sublet_lease *lease = NULL;
    sublet_options options = SUBLET_OPTIONS_INIT;
    char path[100];
    snprintf(path, sizeof(path), "%s/agent.sock", fixture->folder);
    options.agent_socket = path;
    options.timeout_ms = 100;
    assert_int_equal(sublet_open(&options, &session), SUBLET_OK);
    fake_agent_be_silent(fixture->agent, true);
    uint64_t begin_ns = time_ns();
    assert_int_equal(sublet_lease_acquire(session, NULL, &lease), SUBLET_ERR_TIMEOUT);
    assert_in_range(time_ns() - begin_ns, 95000000u, 1000000000u);
    assert_null(lease);
    sublet_close(session);
    fake_agent_be_silent(fixture->agent, false);
}

/** The connection is given up and made anew; the lease is renewed there. */
static void nonsense(void **state)
{
    struct fixture *fixture = *state;
    struct grant grant;
    fixture_function(fixture, "0", false);
    grant = fixture->executors[0].grant;
    sublet_lease *lease = lease_of(fixture, 1, 4);
    /* A real agent would end the lease with the connection; this asks what the client does with what it got. */
    fake_agent_send_garbage(fixture->agent);
    sublet_lease_info info = wait_state(lease, SUBLET_LEASE_EXPIRED);
    assert_string_equal(info.reason, "the agent does not know it any more");
    snprintf(grant.id, sizeof(grant.id), "after");
    fake_agent_offer(fixture->agent, &grant);
    works(fixture, lease_of(fixture, 1, 4));
}

/** Taken back between its grant and the client's first word, as one that was granted ahead on another node may be. */
static void gone_before_the_first_word(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_lease *lease = NULL;
    struct grant good = offer(fixture, 60000)->grant, stale = good;
    sublet_lease_release(lease_of(fixture, 1, 1)); /* what was offered */
    snprintf(stale.unix_path, sizeof(stale.unix_path), "/nonexistent");
    snprintf(stale.tcp_address, sizeof(stale.tcp_address), "127.0.0.1:1");
    snprintf(stale.id, sizeof(stale.id), "stale-1");
    snprintf(good.id, sizeof(good.id), "good");
    fake_agent_offer(fixture->agent, &stale);
    fake_agent_offer(fixture->agent, &good);
    lease = lease_of(fixture, 1, 4);
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_string_equal(info.id, "good");
    assert_false(fake_agent_holds(fixture->agent, "stale-1"));
    works(fixture, lease);
    snprintf(stale.id, sizeof(stale.id), "stale-2"); /* once more, and not for ever */
    fake_agent_offer(fixture->agent, &stale);
    snprintf(stale.id, sizeof(stale.id), "stale-3");
    fake_agent_offer(fixture->agent, &stale);
    snprintf(good.id, sizeof(good.id), "too-late");
    fake_agent_offer(fixture->agent, &good);
    assert_int_equal(sublet_lease_acquire(fixture->session, NULL, &lease), SUBLET_ERR_LOST);
    assert_false(fake_agent_holds(fixture->agent, "too-late"));
}

static void closing_gives_back(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    lease_of(fixture, 1, 4);
    assert_true(fake_agent_holds(fixture->agent, "lease-0"));
    sublet_close(fixture->session);
    fixture->session = NULL;
    uint64_t end_ns = time_ns() + 2000000000u;
    while (fake_agent_holds(fixture->agent, "lease-0") && time_ns() < end_ns)
        poll(NULL, 0, 1);
    assert_false(fake_agent_holds(fixture->agent, "lease-0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(renewed_by_itself, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(expires_without_an_agent, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(agent_restarts, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(drains, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(drains_by_renewal, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(agent_restarts_and_knows_nothing, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(agent_comes_late, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(silent_agent, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(nonsense, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(gone_before_the_first_word, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(closing_gives_back, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
