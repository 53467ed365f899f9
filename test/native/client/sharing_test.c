/** Many workers for one thread, many calls for one worker, and clients that want more than their share. */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum { WORKERS = 64, PER_WORKER = 3, BUFFERS = WORKERS * PER_WORKER };

/** 64 worker processes on the cores of this machine, driven by this thread. What they reach together is not shown. */
static void one_thread_drives_64_workers(void **state)
{
    struct fixture *fixture = *state;
    char cores[WORKERS * 2 + 1] = "";
    for (int i = 0; i < WORKERS; i++)
        strcat(cores, i == 0 ? "0" : i % 2 == 0 ? ",0" : ",1");
    fixture_function(fixture, cores, false);
    sublet_lease *lease = lease_of(fixture, WORKERS, PER_WORKER + 1);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.workers, WORKERS);
    sublet_buffer *buffers[BUFFERS], *numbers[WORKERS];
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.in_bytes = options.out_bytes = 4096;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.lease = lease;
    size_t sizes[BUFFERS];
    bool seen[WORKERS] = {false};
    for (int i = 0; i < WORKERS; i++) {
        options.worker = i;
        assert_int_equal(
            sublet_buffer_acquire(fixture->session, function_of(fixture, "worker_number"), &options, &numbers[i]),
            SUBLET_OK);
        assert_int_equal(sublet_buffer_submit(numbers[i], 0), SUBLET_OK);
    }
    assert_int_equal(sublet_buffer_wait_all(numbers, WORKERS, 30000), SUBLET_OK);
    for (int i = 0; i < WORKERS; i++) {
        uint32_t number;
        assert_int_equal(sublet_buffer_test(numbers[i], NULL), SUBLET_OK);
        memcpy(&number, numbers[i]->out, sizeof(number));
        assert_int_equal(number, i);
        assert_false(seen[number]);
        seen[number] = true;
        sublet_buffer_release(numbers[i]);
    }
    options.worker = -1;
    for (int i = 0; i < BUFFERS; i++) {
        assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, "echo"), &options, &buffers[i]),
                         SUBLET_OK);
        assert_int_equal(buffers[i]->in_place, 1);
        sizes[i] = 4096;
    }
    for (unsigned round = 0; round < 50; round++) {
        for (int i = 0; i < BUFFERS; i++)
            memset(buffers[i]->in, (int)(round * 7 + (unsigned)i), 4096);
        assert_int_equal(sublet_buffer_submit_many(buffers, sizes, BUFFERS, NULL), SUBLET_OK);
        for (int done = 0; done < BUFFERS; done++) {
            size_t index, bytes;
            assert_int_equal(sublet_buffer_wait_any(buffers, BUFFERS, 30000, &index), SUBLET_OK);
            assert_int_equal(sublet_buffer_test(buffers[index], &bytes), SUBLET_OK);
            assert_int_equal(bytes, 4096);
            assert_memory_equal(buffers[index]->out, buffers[index]->in, 4096);
        }
    }
    for (int i = 0; i < BUFFERS; i++)
        sublet_buffer_release(buffers[i]);
}

/**
 * Calls that may run anywhere, two per worker in flight: they go where there is room, none of the 64 is left out, and
 * every call is answered. Whom the scheduler of two cores lets run most, and how fast they are together, says nothing.
 */
static void none_of_64_workers_is_left_out(void **state)
{
    enum { IN_FLIGHT = 2 * WORKERS, EACH = 50 };
    struct fixture *fixture = *state;
    char cores[WORKERS * 2 + 1] = "";
    for (int i = 0; i < WORKERS; i++)
        strcat(cores, i == 0 ? "0" : i % 2 == 0 ? ",0" : ",1");
    fixture_function(fixture, cores, false);
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease_of(fixture, WORKERS, 4);
    sublet_function_ref *function = function_of(fixture, "worker_number");
    sublet_call *calls[IN_FLIGHT] = {NULL};
    uint32_t numbers[IN_FLIGHT], served[WORKERS] = {0};
    size_t started = 0, ended = 0;
    while (ended < (size_t)EACH * WORKERS) {
        for (size_t i = 0; i < IN_FLIGHT && started < (size_t)EACH * WORKERS; i++) {
            if (calls[i] != NULL)
                continue;
            assert_int_equal(sublet_submit(fixture->session, function, NULL, 0, &numbers[i], sizeof(numbers[i]),
                                           &options, &calls[i]),
                             SUBLET_OK);
            started++;
        }
        size_t index;
        assert_int_equal(sublet_wait_any(calls, IN_FLIGHT, 30000, &index), SUBLET_OK);
        assert_int_equal(sublet_call_result(calls[index], NULL, NULL), SUBLET_OK);
        assert_true(numbers[index] < WORKERS);
        served[numbers[index]]++;
        sublet_call_free(calls[index]);
        calls[index] = NULL;
        ended++;
    }
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < WORKERS; i++) {
        least = served[i] < least ? served[i] : least;
        most = served[i] > most ? served[i] : most;
    }
    printf("each of %d workers served %u to %u of %d calls\n", WORKERS, least, most, EACH * WORKERS);
    assert_true(least >= IN_FLIGHT / WORKERS);
}

/** More calls than all slots of 64 workers: the others wait for room, and all are answered. */
static void calls_beyond_the_slots_wait(void **state)
{
    struct fixture *fixture = *state;
    enum { CALLS = 2000 };
    fixture_function(fixture, "0,1,0,1,0,1,0,1", false);
    lease_of(fixture, 8, 4);
    static uint64_t in[CALLS], out[CALLS];
    static sublet_call *calls[CALLS];
    for (uint64_t i = 0; i < CALLS; i++) {
        in[i] = i * 0x9e3779b97f4a7c15u;
        assert_int_equal(
            sublet_submit(fixture->session, function_of(fixture, "echo"), &in[i], 8, &out[i], 8, NULL, &calls[i]),
            SUBLET_OK);
    }
    assert_int_equal(sublet_wait_all(calls, CALLS, 60000), SUBLET_OK);
    for (uint64_t i = 0; i < CALLS; i++) {
        size_t bytes;
        assert_int_equal(sublet_call_result(calls[i], &bytes, NULL), SUBLET_OK);
        assert_int_equal(out[i], in[i]);
        sublet_call_free(calls[i]);
    }
}

/** The queue of a session is bounded: then BUSY, and room again as soon as some calls are gone. */
static void a_full_queue_says_busy(void **state)
{
    struct fixture *fixture = *state;
    enum { MORE = 70000 };
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 1);
    sublet_call **calls = calloc(MORE, sizeof(sublet_call *));
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    size_t started = 0;
    sublet_status status = SUBLET_OK;
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "hang"), NULL, 0, NULL, 0, &options, &calls[started++]),
        SUBLET_OK);
    for (; started < MORE && status == SUBLET_OK; started += status == SUBLET_OK)
        status =
            sublet_submit(fixture->session, function_of(fixture, "empty"), NULL, 0, NULL, 0, &options, &calls[started]);
    assert_int_equal(status, SUBLET_ERR_BUSY);
    assert_int_equal(started, 65536 + 1);
    sublet_call_free(calls[0]);                     /* ends it: the worker is free again */
    for (size_t i = started; i-- > started - 1000;) /* from the end: no walk along the queue */
        sublet_call_free(calls[i]);
    assert_int_equal(sublet_wait_all(calls + 1, started - 1001, 60000), SUBLET_OK);
    for (size_t i = 1; i < started - 1000; i++)
        sublet_call_free(calls[i]);
    free(calls);
}

struct greedy {
    pthread_t thread;
    struct fixture *fixture;
    atomic_bool stop;
    atomic_uint served;
    uint32_t wrong;
};

enum { DEEP = 63, TICK_US = 200 };

/** 63 calls in flight all the time, through a session of its own. */
static void *be_greedy(void *argument)
{
    struct greedy *greedy = argument;
    char path[100];
    sublet_session *session = NULL;
    sublet_library *library = NULL;
    sublet_function_ref *tick = NULL;
    sublet_lease *lease = NULL;
    sublet_buffer *buffers[DEEP];
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_options wanted = SUBLET_LEASE_OPTIONS_INIT;
    snprintf(path, sizeof(path), "%s/agent.sock", greedy->fixture->folder);
    options.agent_socket = path;
    wanted.slots = DEEP + 1;
    wanted.in_bytes = wanted.out_bytes = 64;
    uint32_t us = TICK_US;
    greedy->wrong += sublet_open(&options, &session) != SUBLET_OK;
    greedy->wrong += sublet_library_open(session, FUNCTIONS, &library) != SUBLET_OK;
    greedy->wrong += sublet_function_find(library, "tick", &tick) != SUBLET_OK;
    greedy->wrong += sublet_lease_acquire(session, &wanted, &lease) != SUBLET_OK;
    for (int i = 0; i < DEEP; i++) {
        greedy->wrong += sublet_buffer_acquire(session, tick, NULL, &buffers[i]) != SUBLET_OK;
        memcpy(buffers[i]->in, &us, sizeof(us));
        greedy->wrong += sublet_buffer_submit(buffers[i], sizeof(us)) != SUBLET_OK;
    }
    while (!atomic_load(&greedy->stop)) {
        size_t index;
        greedy->wrong += sublet_buffer_wait_any(buffers, DEEP, 10000, &index) != SUBLET_OK;
        greedy->wrong += sublet_buffer_test(buffers[index], NULL) != SUBLET_OK;
        greedy->wrong += sublet_buffer_submit(buffers[index], sizeof(us)) != SUBLET_OK;
        atomic_fetch_add(&greedy->served, 1);
    }
    sublet_close(session);
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    return (int)(*(const uint32_t *)a - *(const uint32_t *)b);
}

/**
 * One worker, a client with 63 calls in flight and one with a single call at a time. The worker numbers its calls, so
 * the distance between two of the modest client says how many of the other's came before: a turn (8), not all 63.
 */
static void a_greedy_client_takes_turns(void **state)
{
    struct fixture *fixture = *state;
    enum { CALLS = 101 };
    struct greedy greedy = {.fixture = fixture};
    sublet_buffer *buffer = NULL;
    uint32_t us = TICK_US, before, now, between[CALLS];
    struct executor *executor = fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    struct grant second = executor->grant;
    snprintf(second.id, sizeof(second.id), "second");
    fake_agent_offer(fixture->agent, &second);
    assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, "tick"), NULL, &buffer), SUBLET_OK);
    assert_int_equal(buffer->in_place, 1);
    assert_int_equal(pthread_create(&greedy.thread, NULL, be_greedy, &greedy), 0);
    for (uint64_t end_ns = time_ns() + 20000000000u; atomic_load(&greedy.served) < 2 * DEEP && time_ns() < end_ns;)
        poll(NULL, 0, 1);
    memcpy(buffer->in, &us, sizeof(us));
    assert_int_equal(sublet_buffer_invoke(buffer, sizeof(us), NULL), SUBLET_OK);
    memcpy(&before, buffer->out, sizeof(before));
    for (int i = 0; i < CALLS; i++, before = now) {
        assert_int_equal(sublet_buffer_invoke(buffer, sizeof(us), NULL), SUBLET_OK);
        memcpy(&now, buffer->out, sizeof(now));
        between[i] = now - before - 1;
    }
    atomic_store(&greedy.stop, true);
    pthread_join(greedy.thread, NULL);
    assert_int_equal(greedy.wrong, 0);
    qsort(between, CALLS, sizeof(between[0]), ascending);
    printf("calls of the greedy client between two of the other: median %u, most %u\n", between[CALLS / 2],
           between[CALLS - 1]);
    assert_true(between[CALLS / 2] >= 4); /* it was greedy indeed */
    assert_true(between[CALLS / 2] <= 16);
    sublet_buffer_release(buffer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_thread_drives_64_workers), TEST(none_of_64_workers_is_left_out), TEST(calls_beyond_the_slots_wait),
        TEST(a_full_queue_says_busy),       TEST(a_greedy_client_takes_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
