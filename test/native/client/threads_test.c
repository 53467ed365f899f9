/** Several threads on one session: each gets its own answers, whatever happens to the leases. */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 8

struct caller {
    pthread_t thread;
    struct fixture *fixture;
    uint64_t number;
    uint32_t rounds;
    uint32_t wrong;
    atomic_uint *started;
};

static void *invoke_all(void *argument)
{
    struct caller *caller = argument;
    sublet_function_ref *echo = function_of(caller->fixture, "echo");
    for (uint64_t i = 0; i < caller->rounds; i++) {
        uint64_t in[2] = {caller->number, i}, out[2] = {0};
        size_t bytes = 0;
        sublet_status status =
            sublet_invoke(caller->fixture->session, echo, in, sizeof(in), out, sizeof(out), &bytes, NULL);
        caller->wrong += status != SUBLET_OK || bytes != sizeof(in) || memcmp(in, out, sizeof(in)) != 0;
        atomic_fetch_add(caller->started, 1);
    }
    return NULL;
}

static void *submit_all(void *argument)
{
    struct caller *caller = argument;
    sublet_function_ref *echo = function_of(caller->fixture, "echo");
    enum { DEEP = 16, SIZE = 20000 };
    unsigned char *in = malloc(DEEP * SIZE), *out = malloc(DEEP * SIZE);
    for (uint64_t i = 0; i < caller->rounds; i++) {
        sublet_call *calls[DEEP];
        for (size_t k = 0; k < DEEP * SIZE; k++)
            in[k] = (unsigned char)(caller->number * 37 + i + k * 7);
        memset(out, 0, DEEP * SIZE);
        for (int k = 0; k < DEEP; k++)
            caller->wrong += sublet_submit(caller->fixture->session, echo, in + k * SIZE, SIZE, out + k * SIZE, SIZE,
                                           NULL, &calls[k]) != SUBLET_OK;
        caller->wrong += sublet_wait_all(calls, DEEP, 20000) != SUBLET_OK;
        for (int k = 0; k < DEEP; k++) {
            size_t bytes = 0;
            caller->wrong += sublet_call_result(calls[k], &bytes, NULL) != SUBLET_OK || bytes != SIZE;
            sublet_call_free(calls[k]);
        }
        caller->wrong += memcmp(in, out, DEEP * SIZE) != 0;
        atomic_fetch_add(caller->started, 1);
    }
    free(in);
    free(out);
    return NULL;
}

/** A buffer of its own for each thread, and now and then a call that shares the session's machinery. */
static void *buffer_all(void *argument)
{
    struct caller *caller = argument;
    sublet_function_ref *echo = function_of(caller->fixture, "echo");
    sublet_buffer *buffer = NULL;
    caller->wrong += sublet_buffer_acquire(caller->fixture->session, echo, NULL, &buffer) != SUBLET_OK;
    for (uint64_t i = 0; i < caller->rounds && caller->wrong == 0; i++) {
        uint64_t in[2] = {caller->number, i}, out[2] = {0};
        size_t bytes = 0;
        memcpy(buffer->in, in, sizeof(in));
        sublet_status status = sublet_buffer_submit(buffer, sizeof(in));
        if (i % 3 == 0)
            while (status == SUBLET_OK && (status = sublet_buffer_test(buffer, &bytes)) == SUBLET_ERR_BUSY)
                status = SUBLET_OK;
        else if (status == SUBLET_OK)
            status = sublet_buffer_wait(buffer, 0, &bytes);
        caller->wrong += status != SUBLET_OK || bytes != sizeof(in) || memcmp(in, buffer->out, sizeof(in)) != 0;
        if (i % 8 == 0) {
            status = sublet_invoke(caller->fixture->session, echo, in, sizeof(in), out, sizeof(out), &bytes, NULL);
            caller->wrong += status != SUBLET_OK || memcmp(in, out, sizeof(in)) != 0;
        }
        if (i % 100 == 99) {
            sublet_buffer_release(buffer);
            caller->wrong += sublet_buffer_acquire(caller->fixture->session, echo, NULL, &buffer) != SUBLET_OK;
        }
        atomic_fetch_add(caller->started, 1);
    }
    sublet_buffer_release(buffer);
    return NULL;
}

static void run(struct fixture *fixture, void *(*work)(void *), uint32_t rounds, void (*between)(struct fixture *))
{
    struct caller callers[THREADS];
    atomic_uint started = 0;
    for (uint64_t i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.fixture = fixture, .number = i, .rounds = rounds, .started = &started};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, work, &callers[i]), 0);
    }
    if (between != NULL) {
        uint64_t end_ns = time_ns() + 10000000000u;
        while (atomic_load(&started) < rounds && time_ns() < end_ns) /* an eighth of all */
            poll(NULL, 0, 1);
        between(fixture);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(callers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(callers[i].wrong, 0);
}

static void on_a_ring(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0,1", false);
    sublet_lease *lease = lease_of(fixture, 2, 4);
    run(fixture, invoke_all, 1000, NULL);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.calls, THREADS * 1000);
}

static void over_tcp(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0,1", true);
    sublet_lease *lease = lease_of(fixture, 2, 4);
    run(fixture, invoke_all, 500, NULL);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_int_equal(info.calls, THREADS * 500);
}

static void submitting(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    lease_of(fixture, 1, 4);
    lease_of(fixture, 1, 4);
    run(fixture, submit_all, 20, NULL);
}

static void kill_both(struct fixture *fixture)
{
    executor_kill(&fixture->executors[0]);
    poll(NULL, 0, 5);
    executor_kill(&fixture->executors[1]);
}

static void revoke_both(struct fixture *fixture)
{
    fake_agent_revoke(fixture->agent, "lease-0");
    poll(NULL, 0, 5);
    fake_agent_revoke(fixture->agent, "lease-1");
}

static void leases_die_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    lease_of(fixture, 1, 4);
    lease_of(fixture, 1, 4);
    run(fixture, submit_all, 20, kill_both);
}

static void leases_are_revoked_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", true);
    lease_of(fixture, 1, 4);
    lease_of(fixture, 1, 4);
    run(fixture, invoke_all, 400, revoke_both);
}

static void from_buffers(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0,1", false);
    lease_of(fixture, 2, 4); /* six of eight are in place */
    run(fixture, buffer_all, 1000, NULL);
}

static void from_buffers_while_leases_die(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    lease_of(fixture, 1, 8);
    run(fixture, buffer_all, 1000, kill_both);
}

static void from_buffers_while_leases_are_revoked(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0", false);
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    lease_of(fixture, 1, 8);
    run(fixture, buffer_all, 1000, revoke_both);
}

struct part {
    pthread_t thread;
    sublet_region *region;
    uint64_t number;
    uint32_t wrong;
};

static void *use_part(void *argument)
{
    struct part *part = argument;
    enum { SIZE = 1 << 18 };
    unsigned char *in = malloc(SIZE), *out = malloc(SIZE);
    for (uint32_t round = 0; round < 20; round++) {
        size_t size = SIZE >> (round % 12);
        for (size_t i = 0; i < size; i++)
            in[i] = (unsigned char)(part->number * 53 + round + i);
        part->wrong += sublet_region_put(part->region, part->number * SIZE, in, size) != SUBLET_OK;
        part->wrong += sublet_region_get_async(part->region, part->number * SIZE, out, size) != SUBLET_OK;
        part->wrong += sublet_region_flush(part->region) != SUBLET_OK;
        part->wrong += memcmp(in, out, size) != 0;
    }
    free(in);
    free(out);
    return NULL;
}

/** The same region from several threads, each in its own part. */
static void one_region(void **state)
{
    struct fixture *fixture = *state;
    for (int stream = 0; stream < 2; stream++) {
        struct part parts[THREADS];
        sublet_region *region = NULL;
        fixture_region(fixture, 4 << 20, stream);
        assert_int_equal(sublet_region_alloc(fixture->session, 4 << 20, NULL, &region), SUBLET_OK);
        for (uint64_t i = 0; i < THREADS; i++) {
            parts[i] = (struct part){.region = region, .number = i};
            assert_int_equal(pthread_create(&parts[i].thread, NULL, use_part, &parts[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(parts[i].thread, NULL);
            assert_int_equal(parts[i].wrong, 0);
        }
        sublet_region_free(region);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(on_a_ring, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(over_tcp, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(submitting, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(leases_die_meanwhile, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(leases_are_revoked_meanwhile, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(from_buffers, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(from_buffers_while_leases_die, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(from_buffers_while_leases_are_revoked, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(one_region, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
