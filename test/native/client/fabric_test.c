/**
 * Calls over a fabric: that it is one, that all of it works, what a worker's death does to those who call others, that
 * a slow peer is not overrun, and that keys end with their lease. Over the provider that SUBLET_FABRIC_PROVIDER names.
 */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#define LARGE (1u << 20)

static void lease_over_fabric(struct fixture *fixture, uint32_t cores, uint32_t slots, sublet_lease **lease_out)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    fixture_function(fixture, cores == 2 ? "0,1" : "1", true);
    *lease_out = lease_of(fixture, cores, slots);
    assert_int_equal(sublet_lease_info_get(*lease_out, &info), SUBLET_OK);
    assert_string_equal(info.path, getenv("SUBLET_FABRIC_PROVIDER"));
    assert_int_equal(info.workers, cores);
}

static sublet_status invoke(struct fixture *fixture, const char *name, const void *in, size_t in_bytes, void *out,
                            size_t room, size_t *got, uint64_t timeout_ms)
{
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.timeout_ms = timeout_ms;
    return sublet_invoke(fixture->session, function_of(fixture, name), in, in_bytes, out, room, got, &options);
}

static void every_size_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 64, 160, 161, 1000, 4096, 65536, 300001, LARGE};
    struct fixture *fixture = *state;
    sublet_lease *lease;
    unsigned char *in = malloc(LARGE), *out = malloc(LARGE);
    lease_over_fabric(fixture, 2, 4, &lease);
    for (uint32_t round = 0; round < 44; round++) {
        size_t size = sizes[round % 11], got = 99;
        for (size_t i = 0; i < size; i++)
            in[i] = (unsigned char)(i * 7 + round);
        memset(out, 0xee, LARGE);
        assert_int_equal(invoke(fixture, "echo", in, size, out, LARGE, &got, 0), SUBLET_OK);
        assert_int_equal(got, size);
        assert_memory_equal(in, out, size);
    }
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.calls, 44);
    free(in);
    free(out);
}

/** What does not fit a slot goes over a connection to the same worker, in between calls that do. */
static void calls_beyond_their_slot_flow_in_pieces(void **state)
{
    enum { BEYOND = 3 * LARGE + 17 };
    struct fixture *fixture = *state;
    sublet_lease *lease;
    unsigned char *in = malloc(BEYOND), *out = malloc(BEYOND);
    lease_over_fabric(fixture, 1, 2, &lease);
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.lease = lease;
    for (size_t i = 0; i < BEYOND; i++)
        in[i] = (unsigned char)(i * 13 + (i >> 16));
    for (int round = 0; round < 3; round++) {
        sublet_call *small, *large, *last;
        char few[8] = {0}, more[8] = {0};
        sublet_function_ref *echo = function_of(fixture, "echo");
        size_t got = 0;
        memset(out, 0, BEYOND);
        assert_int_equal(sublet_submit(fixture->session, echo, "first", 6, few, 8, &options, &small), SUBLET_OK);
        assert_int_equal(sublet_submit(fixture->session, echo, in, BEYOND, out, BEYOND, &options, &large), SUBLET_OK);
        assert_int_equal(sublet_submit(fixture->session, echo, "last", 5, more, 8, &options, &last), SUBLET_OK);
        sublet_call *const all[] = {small, large, last};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(sublet_wait(all[i], 0), SUBLET_OK);
            assert_int_equal(sublet_call_result(all[i], i == 1 ? &got : NULL, NULL), SUBLET_OK);
            sublet_call_free(all[i]);
        }
        assert_string_equal(few, "first");
        assert_string_equal(more, "last");
        assert_int_equal(got, BEYOND);
        assert_memory_equal(in, out, BEYOND);
    }
    void *result = NULL;
    size_t got = 0;
    assert_int_equal(
        sublet_invoke_alloc(fixture->session, function_of(fixture, "echo"), in, 1000, LARGE, &result, &got, &options),
        SUBLET_OK); /* nobody knows how large it will be */
    assert_int_equal(got, 1000);
    assert_memory_equal(result, in, 1000);
    sublet_free(result);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_string_equal(info.path, getenv("SUBLET_FABRIC_PROVIDER"));
    assert_int_equal(info.calls, 10);
    free(in);
    free(out);
}

/** Far more calls than slots, all under way at once: each slot is used again only after its answer. */
static void a_slow_worker_is_not_overrun(void **state)
{
    enum { COUNT = 500 };
    struct fixture *fixture = *state;
    sublet_lease *lease;
    static sublet_call *calls[COUNT];
    static uint64_t in[COUNT], out[COUNT];
    lease_over_fabric(fixture, 1, 3, &lease);
    sublet_function_ref *function = function_of(fixture, "echo");
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = i * 0x9e3779b97f4a7c15u + 1;
        assert_int_equal(sublet_submit(fixture->session, function, &in[i], 8, &out[i], 8, &options, &calls[i]),
                         SUBLET_OK);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(sublet_wait(calls[i], 0), SUBLET_OK);
        assert_int_equal(sublet_call_result(calls[i], NULL, NULL), SUBLET_OK);
        assert_int_equal(out[i], in[i]);
        sublet_call_free(calls[i]);
    }
}

/** Calls behind one that ends its worker did not begin: they run on its successor, though they may run only once. */
static void what_did_not_begin_is_sent_again(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    lease_over_fabric(fixture, 1, 8, &lease);
    for (uint32_t round = 0; round < 3; round++) {
        sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
        options.flags = SUBLET_CALL_NO_LOCAL | SUBLET_CALL_ONCE;
        options.lease = lease;
        sublet_call *bad, *good[6];
        uint64_t in[6], out[6] = {0};
        char ignored[8];
        assert_int_equal(sublet_submit(fixture->session, function_of(fixture, round == 1 ? "leave" : "crash"), NULL, 0,
                                       ignored, 8, &options, &bad),
                         SUBLET_OK);
        for (uint32_t i = 0; i < 6; i++) {
            in[i] = round * 100 + i;
            assert_int_equal(sublet_submit(fixture->session, function_of(fixture, "echo"), &in[i], 8, &out[i], 8,
                                           &options, &good[i]),
                             SUBLET_OK);
        }
        assert_int_equal(sublet_wait(bad, 0), SUBLET_OK);
        sublet_status ended = sublet_call_result(bad, NULL, NULL);
        assert_true(ended == SUBLET_ERR_CRASHED || ended == SUBLET_ERR_EXITED);
        sublet_call_free(bad);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(sublet_wait(good[i], 0), SUBLET_OK);
            assert_int_equal(sublet_call_result(good[i], NULL, NULL), SUBLET_OK);
            assert_int_equal(out[i], in[i]);
            sublet_call_free(good[i]);
        }
    }
}

static void a_deadline_ends_a_call(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    char out[8];
    size_t got;
    lease_over_fabric(fixture, 1, 4, &lease);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(invoke(fixture, "hang", NULL, 0, out, 8, &got, 100), SUBLET_ERR_TIMEOUT);
        assert_int_equal(invoke(fixture, "echo", "fine", 5, out, 8, &got, 0), SUBLET_OK);
        assert_string_equal(out, "fine");
    }
}

static void a_sleeping_worker_wakes(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    char out[8];
    size_t got;
    lease_over_fabric(fixture, 1, 4, &lease);
    for (int round = 0; round < 20; round++) {
        poll(NULL, 0, 20); /* it polls for 50 us */
        assert_int_equal(invoke(fixture, "echo", "awake", 6, out, 8, &got, 0), SUBLET_OK);
        assert_string_equal(out, "awake");
    }
}

/** The worker lives, and so does its TCP connection, which says nothing. */
static void a_way_that_breaks_is_noticed(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    char out[8];
    size_t got;
    if (strcmp(getenv("SUBLET_FABRIC_PROVIDER"), "tcp;msg") != 0) {
        print_message("skipped: only a connection of tcp;msg can be cut from within the worker\n");
        skip();
    }
    lease_over_fabric(fixture, 1, 4, &lease);
    uint64_t begun_ns = time_ns();
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL | SUBLET_CALL_ONCE;
    options.timeout_ms = 120000;
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "cut"), NULL, 0, out, 8, &got, &options),
                     SUBLET_ERR_LOST);
    assert_true(time_ns() - begun_ns < UINT64_C(60000000000)); /* a second, and the machine's */
}

static void *call_many(void *argument)
{
    struct fixture *fixture = argument;
    for (uint64_t i = 0; i < 300; i++) {
        uint64_t out = 0;
        size_t got;
        if (invoke(fixture, "echo", &i, 8, &out, 8, &got, 0) != SUBLET_OK || out != i)
            return (void *)1;
    }
    return NULL;
}

static void threads_share_a_lease(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    pthread_t threads[4];
    lease_over_fabric(fixture, 2, 2, &lease);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, fixture), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void a_lost_executor_is_noticed(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease *lease;
    char out[8];
    size_t got;
    fixture_function(fixture, "1", true);
    lease = lease_of(fixture, 1, 4);
    assert_int_equal(invoke(fixture, "echo", "fine", 5, out, 8, &got, 0), SUBLET_OK);
    executor_kill(&fixture->executors[0]);
    wait_state(lease, SUBLET_LEASE_REVOKED);
    assert_int_not_equal(invoke(fixture, "echo", "fine", 5, out, 8, &got, 0), SUBLET_OK);
}

/** Opens the fixture's session again, with a fabric of its own choice, and says how its lease is reached. */
static void path_with(struct fixture *fixture, const char *fabric, char *path_out)
{
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    char path[100], out[8];
    size_t got;
    sublet_close(fixture->session);
    snprintf(path, sizeof(path), "%s/agent.sock", fixture->folder);
    options.agent_socket = path;
    options.timeout_ms = fixture_timeout_ms;
    options.fabric = fabric;
    assert_int_equal(sublet_open(&options, &fixture->session), SUBLET_OK);
    assert_int_equal(sublet_library_open(fixture->session, FUNCTIONS, &fixture->library), SUBLET_OK);
    fixture_function(fixture, "1", true);
    assert_int_equal(sublet_lease_info_get(lease_of(fixture, 1, 4), &info), SUBLET_OK);
    strcpy(path_out, info.path);
    assert_int_equal(invoke(fixture, "echo", "fine", 5, out, 8, &got, 0), SUBLET_OK);
}

static void a_session_says_which_fabric(void **state)
{
    struct fixture *fixture = *state;
    char path[32], named[32];
    path_with(fixture, "none", path); /* in spite of the environment */
    assert_string_equal(path, "tcp");
    snprintf(named, sizeof(named), "%s", getenv("SUBLET_FABRIC_PROVIDER"));
    setenv("SUBLET_FABRIC_PROVIDER", "none", 1);
    path_with(fixture, named, path);
    setenv("SUBLET_FABRIC_PROVIDER", named, 1);
    assert_string_equal(path, named);
    path_with(fixture, "cxi", path); /* not here */
    assert_string_equal(path, "tcp");
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_session *session;
    options.fabric = "a-name-that-is-longer-than-any-provider's";
    assert_int_equal(sublet_open(&options, &session), SUBLET_ERR_INVALID);
}

int main(void)
{
    if (getenv("SUBLET_FABRIC_PROVIDER") == NULL)
        return fprintf(stderr, "SUBLET_FABRIC_PROVIDER must name one\n"), 2;
    fixture_timeout_ms = 30000; /* the library is loaded by all of them */
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)
    const struct CMUnitTest tests[] = {
        TEST(every_size_comes_back),
        TEST(a_slow_worker_is_not_overrun),
        TEST(what_did_not_begin_is_sent_again),
        TEST(a_deadline_ends_a_call),
        TEST(a_sleeping_worker_wakes),
        TEST(a_way_that_breaks_is_noticed),
        TEST(threads_share_a_lease),
        TEST(a_lost_executor_is_noticed),
        TEST(a_session_says_which_fabric),
        TEST(calls_beyond_their_slot_flow_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
