/** Leases that are handed on: what others can do with them, and how it ends. A guest has no agent: neither have these.
 */
#include "fixture.h"

#include <dirent.h>

#include "examples/sum.h"
#include "wire/export.h"

#define COUNT 1000u

static sublet_function_ref *sum_of(struct fixture *fixture, const char *name)
{
    sublet_library *library = NULL;
    sublet_function_ref *function = NULL;
    assert_int_equal(sublet_library_open(fixture->session, SUM, &library), SUBLET_OK);
    assert_int_equal(sublet_function_find(library, name, &function), SUBLET_OK);
    return function;
}

static void hand_on(sublet_lease *lease, sublet_function_ref *function, unsigned char *bytes)
{
    size_t size = 0;
    sublet_status status = sublet_lease_export(lease, function, bytes, SUBLET_EXPORT_BYTES, &size);
    if (status != SUBLET_OK)
        fail_msg("%s: %s", sublet_status_text(status), sublet_last_error());
    assert_int_equal(size, SUBLET_EXPORT_BYTES);
}

/** A session as a function has it. */
static sublet_session *guest_session(uint64_t timeout_ms)
{
    sublet_session *session = NULL;
    sublet_options options = SUBLET_OPTIONS_INIT;
    options.agent_socket = "/nonexistent/agent.sock";
    options.timeout_ms = timeout_ms;
    assert_int_equal(sublet_open(&options, &session), SUBLET_OK);
    return session;
}

static sublet_status echo_by(sublet_session *session, sublet_function_ref *function, uint32_t number)
{
    uint32_t answer = 0;
    size_t bytes = 0;
    sublet_status status =
        sublet_invoke(session, function, &number, sizeof(number), &answer, sizeof(answer), &bytes, NULL);
    if (status == SUBLET_OK)
        assert_int_equal(answer, number);
    return status;
}

static void others_call_beside_the_owner(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[SUBLET_EXPORT_BYTES];
    fixture_function(fixture, "0,1", false);
    sublet_lease *mine = lease_of(fixture, 2, 4);
    hand_on(mine, function_of(fixture, "echo"), bytes);
    sublet_session *guests[2] = {guest_session(3000), guest_session(3000)};
    sublet_function_ref *echo[2];
    sublet_lease *theirs[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(sublet_lease_import(guests[i], bytes, sizeof(bytes), &theirs[i], &echo[i]), SUBLET_OK);
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(echo_by(guests[i % 2], echo[i % 2], i), SUBLET_OK);
        assert_int_equal(echo_by(fixture->session, function_of(fixture, "echo"), i), SUBLET_OK);
    }
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(theirs[0], &info), SUBLET_OK);
    assert_string_equal(info.path, "tcp");
    assert_string_equal(info.node, "node-0");
    assert_string_equal(info.id, "lease-0");
    assert_int_equal(info.workers, 2);
    assert_int_equal(info.calls, 150);
    /* Handed on once more, and given back: the owner's lease stays. */
    hand_on(theirs[0], echo[0], bytes);
    sublet_close(guests[0]);
    assert_int_equal(echo_by(guests[1], echo[1], 7), SUBLET_OK);
    sublet_lease_release(theirs[1]);
    assert_int_equal(echo_by(guests[1], echo[1], 7), SUBLET_ERR_NOT_FOUND); /* it has no code here */
    assert_int_equal(sublet_lease_import(guests[1], bytes, sizeof(bytes), &theirs[1], &echo[1]), SUBLET_OK);
    assert_int_equal(echo_by(guests[1], echo[1], 8), SUBLET_OK);
    sublet_close(guests[1]);
    assert_int_equal(echo_by(fixture->session, function_of(fixture, "echo"), 9), SUBLET_OK);
}

/** The owner gives the lease back: its executor ends, and who has got it hears so. */
static void it_ends_with_its_owner(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[SUBLET_EXPORT_BYTES];
    struct executor *executor = fixture_function(fixture, "0", false);
    sublet_lease *mine = lease_of(fixture, 1, 4), *theirs;
    hand_on(mine, function_of(fixture, "echo"), bytes);
    sublet_session *guest = guest_session(2000);
    sublet_function_ref *echo;
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &theirs, &echo), SUBLET_OK);
    assert_int_equal(echo_by(guest, echo, 1), SUBLET_OK);
    executor_kill(executor); /* as the agent does */
    sublet_status status = echo_by(guest, echo, 2);
    assert_true(status == SUBLET_ERR_LOST || status == SUBLET_ERR_REVOKED);
    assert_int_equal(echo_by(guest, echo, 3), status);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(theirs, &info), SUBLET_OK);
    assert_int_equal(info.state, SUBLET_LEASE_REVOKED);
    sublet_lease *again;
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &again, &echo), SUBLET_ERR_LOST);
    sublet_close(guest);
}

static uint64_t calls_by(const sublet_lease *lease)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    return info.calls;
}

/** A function imports, calls and releases each time that it is called: the connection is made once. */
static void the_same_bytes_find_their_connection(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[SUBLET_EXPORT_BYTES], other[SUBLET_EXPORT_BYTES];
    struct executor *executor = fixture_function(fixture, "0", false);
    sublet_lease *mine = lease_of(fixture, 1, 4), *first, *second;
    hand_on(mine, function_of(fixture, "echo"), bytes);
    hand_on(mine, function_of(fixture, "nap"), other);
    sublet_session *guest = guest_session(2000);
    sublet_function_ref *echo, *nap_;
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &first, &echo), SUBLET_OK);
        assert_int_equal(calls_by(first), i); /* of this connection */
        assert_int_equal(echo_by(guest, echo, (uint32_t)i), SUBLET_OK);
        sublet_lease_release(first);
        assert_int_equal(echo_by(guest, echo, 1), SUBLET_ERR_NOT_FOUND);
    }
    /* Another function of it is another import; who holds one does not lose it to who releases the same. */
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &first, &echo), SUBLET_OK);
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &second, &echo), SUBLET_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(sublet_lease_import(guest, other, sizeof(other), &second, &nap_), SUBLET_OK);
    assert_ptr_not_equal(first, second);
    sublet_lease_release(first);
    assert_int_equal(echo_by(guest, echo, 2), SUBLET_OK);
    sublet_lease_release(first);
    assert_int_equal(echo_by(guest, echo, 2), SUBLET_ERR_NOT_FOUND);
    /* One that was kept is no lease when its executor has ended meanwhile. */
    executor_kill(executor);
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &first, &echo), SUBLET_ERR_LOST);
    sublet_close(guest);
}

static size_t open_fds(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/** A worker's session lives as long as the worker: neither its functions nor its connections grow without end. */
static void imports_without_end(void **state)
{
    struct fixture *fixture = *state;
    struct lease_export one;
    unsigned char bytes[SUBLET_EXPORT_BYTES];
    fixture_function(fixture, "0", false);
    hand_on(lease_of(fixture, 1, 4), function_of(fixture, "echo"), bytes);
    sublet_session *guest = guest_session(20000);
    size_t before = open_fds();
    for (uint32_t i = 0; i < 100; i++) {
        sublet_lease *lease;
        sublet_function_ref *echo;
        memcpy(&one, bytes, sizeof(one));
        one.in_bytes -= i; /* as if it was another's */
        assert_int_equal(sublet_lease_import(guest, &one, sizeof(one), &lease, &echo), SUBLET_OK);
        assert_int_equal(calls_by(lease), 0);
        assert_int_equal(echo_by(guest, echo, i), SUBLET_OK);
        sublet_lease_release(lease);
    }
    assert_in_range(open_fds(), before, before + 2 * 8);
    sublet_close(guest);
    assert_in_range(open_fds(), before - 2, before);
}

/** A function adds up half of its numbers and lets the other lease add up the rest. */
static void a_function_calls_another_lease(void **state)
{
    struct fixture *fixture = *state;
    struct {
        struct sum_both_arguments head;
        uint64_t numbers[COUNT];
    } in;
    sublet_function_ref *sum_both = sum_of(fixture, "sum_both");
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        struct sum_both_result result = {0};
        size_t bytes = 0;
        fixture_function(fixture, "0", over_tcp != 0);
        sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
        options.lease = lease_of(fixture, 1, 4);
        fixture_function(fixture, "1", over_tcp != 0);
        hand_on(lease_of(fixture, 1, 4), sum_of(fixture, "sum"), in.head.other);
        for (uint64_t i = 0; i < COUNT; i++)
            in.head.numbers[i] = i;
        for (int i = 0; i < 20; i++) {
            assert_int_equal(
                sublet_invoke(fixture->session, sum_both, &in, sizeof(in), &result, sizeof(result), &bytes, &options),
                SUBLET_OK);
            assert_int_equal(result.status, SUBLET_OK);
            assert_int_equal(result.sum, COUNT * (COUNT - 1) / 2);
            assert_int_equal(result.there, (uint64_t)COUNT / 2 * (COUNT / 2 - 1) / 2);
        }
    }
}

/** It waits for the worker that it runs on: TIMEOUT after its deadline, and both go on. */
static void wait_for_itself(struct fixture *fixture, bool over_tcp)
{
    struct sum_both_arguments in;
    struct sum_both_result result = {0};
    size_t bytes = 0;
    fixture_function(fixture, "0", over_tcp);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    hand_on(lease, sum_of(fixture, "sum"), in.other);
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    options.timeout_ms = 20000;
    for (int round = 0; round < 2; round++) {
        uint64_t begin_ns = time_ns();
        assert_int_equal(sublet_invoke(fixture->session, sum_of(fixture, "sum_both"), &in, sizeof(in), &result,
                                       sizeof(result), &bytes, &options),
                         SUBLET_OK);
        assert_int_equal(result.status, SUBLET_ERR_TIMEOUT);
        assert_true(time_ns() - begin_ns >= 1000000000u);
        assert_true(time_ns() - begin_ns < 10000000000u);
    }
    assert_int_equal(echo_by(fixture->session, function_of(fixture, "echo"), 5), SUBLET_OK);
}

static void waiting_for_itself_ends(void **state)
{
    wait_for_itself(*state, false);
}

/** Its own call and its caller's come to the worker by two connections: what it cancels is its own. */
static void waiting_for_itself_over_tcp_ends(void **state)
{
    wait_for_itself(*state, true);
}

/** A busy worker costs the importer its call, not the lease; nobody has to say how long is too long. */
static void calls_without_a_deadline_have_one(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[SUBLET_EXPORT_BYTES];
    uint32_t ms = 1500, out;
    sublet_call *call;
    fixture_function(fixture, "0", false);
    hand_on(lease_of(fixture, 1, 4), function_of(fixture, "echo"), bytes);
    sublet_session *guest = guest_session(300);
    sublet_lease *theirs;
    sublet_function_ref *echo;
    assert_int_equal(sublet_lease_import(guest, bytes, sizeof(bytes), &theirs, &echo), SUBLET_OK);
    assert_int_equal(echo_by(guest, echo, 1), SUBLET_OK);
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "nap"), &ms, sizeof(ms), &out, sizeof(out), NULL, &call),
        SUBLET_OK);
    assert_int_equal(echo_by(guest, echo, 2), SUBLET_ERR_TIMEOUT);
    assert_int_equal(sublet_wait(call, 10000), SUBLET_OK);
    sublet_call_free(call);
    assert_int_equal(echo_by(guest, echo, 3), SUBLET_OK);
    sublet_close(guest);
}

static void what_is_no_lease_is_refused(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[SUBLET_EXPORT_BYTES], changed[SUBLET_EXPORT_BYTES];
    size_t size = 0;
    sublet_lease *theirs, *mine;
    sublet_function_ref *echo;
    fixture_function(fixture, "0", false);
    mine = lease_of(fixture, 1, 4);
    assert_int_equal(sublet_lease_export(mine, function_of(fixture, "echo"), bytes, sizeof(bytes) - 1, &size),
                     SUBLET_ERR_TOO_LARGE);
    hand_on(mine, function_of(fixture, "echo"), bytes);
    sublet_session *guest = guest_session(500);
    for (size_t length = 0; length < sizeof(bytes); length++)
        assert_int_equal(sublet_lease_import(guest, bytes, length, &theirs, &echo), SUBLET_ERR_INVALID);
    const struct {
        size_t at;
        unsigned char value;
        sublet_status status;
    } changes[] = {
        {0, 'x', SUBLET_ERR_INVALID},  {4, 9, SUBLET_ERR_VERSION},     {6, 0, SUBLET_ERR_INVALID},
        {12, 0, SUBLET_ERR_INVALID},   {19, 0xff, SUBLET_ERR_INVALID}, {32, 0xee, SUBLET_ERR_DENIED},
        {64, 'x', SUBLET_ERR_INVALID}, {128, 0, SUBLET_ERR_INVALID},   {256, 0, SUBLET_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(changed, bytes, sizeof(changed));
        changed[changes[i].at] = changes[i].value;
        assert_int_equal(sublet_lease_import(guest, changed, sizeof(changed), &theirs, &echo), changes[i].status);
    }
    memset(changed + 64, 'x', 64); /* a text that does not end */
    assert_int_equal(sublet_lease_import(guest, changed, sizeof(changed), &theirs, &echo), SUBLET_ERR_INVALID);
    memcpy(changed, bytes, sizeof(changed));
    changed[8] = 99; /* a function that is not there */
    assert_int_equal(sublet_lease_import(guest, changed, sizeof(changed), &theirs, &echo), SUBLET_OK);
    assert_int_equal(echo_by(guest, echo, 1), SUBLET_ERR_NOT_FOUND);
    sublet_close(guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_call_beside_the_owner, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(it_ends_with_its_owner, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(the_same_bytes_find_their_connection, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(imports_without_end, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(a_function_calls_another_lease, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(waiting_for_itself_ends, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(waiting_for_itself_over_tcp_ends, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(calls_without_a_deadline_have_one, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(what_is_no_lease_is_refused, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
