/** Buffers: the same results wherever their memory is, and what becomes of one whose worker or lease goes. */
#include "fixture.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

static sublet_buffer *acquire(struct fixture *fixture, const char *name, const sublet_buffer_options *options)
{
    sublet_buffer *buffer = NULL;
    sublet_status status = sublet_buffer_acquire(fixture->session, function_of(fixture, name), options, &buffer);
    if (status != SUBLET_OK)
        fail_msg("%s: %s", name, sublet_last_error());
    return buffer;
}

static void assert_echoes(sublet_buffer *buffer, size_t bytes, unsigned seed)
{
    unsigned char *in = buffer->in, *out = buffer->out;
    size_t got = bytes + 1;
    for (size_t i = 0; i < bytes; i++)
        in[i] = (unsigned char)(seed * 31 + i * 7);
    memset(out, 0, bytes);
    sublet_status status = sublet_buffer_invoke(buffer, bytes, &got);
    if (status != SUBLET_OK)
        fail_msg("%zu bytes: %s: %s", bytes, sublet_status_text(status), sublet_last_error());
    assert_int_equal(got, bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(out[i], (unsigned char)(seed * 31 + i * 7));
}

/** All sizes, through one buffer with the largest room and through small ones. */
static void echo_all_sizes(struct fixture *fixture, uint32_t in_place)
{
    sublet_buffer *large = acquire(fixture, "echo", NULL);
    assert_int_equal(large->in_place, in_place);
    assert_true(large->in_bytes >= (1 << 20) && large->out_bytes >= (1 << 20));
    for (size_t bytes = 0; bytes <= 1 << 20; bytes = bytes < 70 ? bytes + 1 : bytes * 2)
        assert_echoes(large, bytes, (unsigned)bytes);
    for (size_t room = 1; room <= 4096; room = room * 3) {
        sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
        options.in_bytes = options.out_bytes = room;
        sublet_buffer *small = acquire(fixture, "echo", &options);
        assert_int_equal(small->in_place, in_place);
        assert_int_equal(small->in_bytes, room);
        for (unsigned round = 0; round < 20; round++)
            assert_echoes(small, room - round % room % 3, round);
        assert_int_equal(sublet_buffer_submit(small, room + 1), SUBLET_ERR_TOO_LARGE);
        sublet_buffer_release(small);
    }
    sublet_buffer_release(large);
}

static void without_a_lender(void **state)
{
    echo_all_sizes(*state, 0);
}

static void in_a_ring(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    echo_all_sizes(fixture, 1);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    assert_true(info.calls > 200);
}

static void over_tcp(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", true);
    lease_of(fixture, 1, 4);
    echo_all_sizes(fixture, 0);
}

static void misuse_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    size_t bytes, index;
    sublet_buffer *buffer = acquire(fixture, "echo", NULL);
    assert_int_equal(sublet_buffer_test(buffer, &bytes), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_buffer_wait(buffer, 0, &bytes), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_buffer_wait_any(&buffer, 1, 0, &index), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_buffer_submit(NULL, 0), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_buffer_submit(buffer, 4), SUBLET_OK);
    assert_int_equal(sublet_buffer_submit(buffer, 4), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_buffer_wait(buffer, 0, &bytes), SUBLET_OK);
    assert_int_equal(bytes, 4);
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.worker = 0;
    assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, "echo"), &options, &buffer),
                     SUBLET_ERR_INVALID);
    /* what is left here is freed with the session */
}

/** The last slot of a worker is never held: other calls get through whatever buffers there are. */
static void one_slot_stays_for_other_calls(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0,1", false);
    lease_of(fixture, 2, 3);
    sublet_buffer *buffers[6];
    for (int i = 0; i < 6; i++) {
        buffers[i] = acquire(fixture, "echo", NULL);
        assert_int_equal(buffers[i]->in_place, i < 4);
    }
    uint64_t in = 77, out = 0;
    size_t bytes;
    for (int round = 0; round < 100; round++) {
        assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "echo"), &in, 8, &out, 8, &bytes, NULL),
                         SUBLET_OK);
        assert_int_equal(out, in);
        for (int i = 0; i < 6; i++)
            assert_echoes(buffers[i], 8, (unsigned)(round * 6 + i));
    }
    sublet_buffer_release(buffers[2]);
    buffers[2] = acquire(fixture, "echo", NULL);
    assert_int_equal(buffers[2]->in_place, 1);
    assert_echoes(buffers[2], 100, 1); /* the slot's sequence goes on where it was */
    for (int i = 0; i < 6; i++)
        sublet_buffer_release(buffers[i]);
}

enum { MANY = 40 };

/** Batches over in-place and ordinary buffers; every result is its own. */
static void many_in_flight(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "0,1", false);
    lease_of(fixture, 2, 17);
    sublet_buffer *buffers[MANY];
    size_t sizes[MANY], started, bytes, index;
    bool seen[MANY];
    for (int i = 0; i < MANY; i++)
        buffers[i] = acquire(fixture, "echo", NULL);
    for (uint64_t round = 0; round < 300; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            uint64_t value = round * MANY + i;
            memcpy(buffers[i]->in, &value, 8);
            sizes[i] = 8;
            seen[i] = false;
        }
        assert_int_equal(sublet_buffer_submit_many(buffers, sizes, MANY, &started), SUBLET_OK);
        assert_int_equal(started, MANY);
        if (round % 2 == 0)
            assert_int_equal(sublet_buffer_wait_all(buffers, MANY, 10000), SUBLET_OK);
        for (int n = 0; n < MANY; n++) {
            assert_int_equal(sublet_buffer_wait_any(buffers, MANY, 10000, &index), SUBLET_OK);
            assert_int_equal(sublet_buffer_test(buffers[index], &bytes), SUBLET_OK);
            assert_int_equal(bytes, 8);
            assert_memory_equal(buffers[index]->out, buffers[index]->in, 8);
            assert_false(seen[index]);
            seen[index] = true;
        }
    }
    sizes[3] = SIZE_MAX;
    assert_int_equal(sublet_buffer_submit_many(buffers, sizes, MANY, &started), SUBLET_ERR_TOO_LARGE);
    assert_int_equal(started, 3);
    assert_int_equal(sublet_buffer_wait_all(buffers, MANY, 10000), SUBLET_OK);
    for (int i = 0; i < MANY; i++)
        sublet_buffer_release(buffers[i]);
}

static void failures_are_the_calls_own(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    const struct {
        const char *name;
        sublet_status status;
    } cases[] = {{"crash", SUBLET_ERR_CRASHED},
                 {"leave", SUBLET_ERR_EXITED},
                 {"refuse", SUBLET_ERR_FUNCTION},
                 {"too_much", SUBLET_ERR_TOO_LARGE},
                 {"hang", SUBLET_ERR_TIMEOUT}};
    sublet_buffer *echo = acquire(fixture, "echo", NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        options.timeout_ms = cases[i].status == SUBLET_ERR_TIMEOUT ? 60 : 0;
        sublet_buffer *buffer = acquire(fixture, cases[i].name, &options);
        assert_int_equal(buffer->in_place, 1);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(sublet_buffer_invoke(buffer, 0, NULL), cases[i].status);
            assert_echoes(echo, 1000, (unsigned)round);
        }
        sublet_buffer_release(buffer);
    }
    sublet_buffer *hang = acquire(fixture, "hang", NULL);
    assert_int_equal(sublet_buffer_submit(hang, 0), SUBLET_OK);
    assert_int_equal(sublet_buffer_wait(hang, 20, NULL), SUBLET_ERR_BUSY);
    assert_int_equal(sublet_buffer_test(hang, NULL), SUBLET_ERR_BUSY);
    sublet_buffer_release(hang); /* ends it */
    assert_echoes(echo, 1000, 9);
    sublet_buffer_release(echo);
}

struct stamp {
    uint32_t caller, here_ms, there_ms;
};

static sublet_buffer *begin_stamp(struct fixture *fixture, uint32_t here_ms, uint32_t there_ms, uint32_t flags)
{
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.flags = flags;
    sublet_buffer *buffer = acquire(fixture, "stamp", &options);
    struct stamp stamp = {(uint32_t)getpid(), here_ms, there_ms};
    memcpy(buffer->in, &stamp, sizeof(stamp));
    memset(buffer->out, 0, sizeof(uint32_t));
    assert_int_equal(sublet_buffer_submit(buffer, sizeof(stamp)), SUBLET_OK);
    return buffer;
}

static uint32_t stamp_of(const sublet_buffer *buffer)
{
    uint32_t who;
    memcpy(&who, buffer->out, sizeof(who));
    return who;
}

static void a_lost_executor_moves_the_call(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 2; round++) {
        struct executor *executor = fixture_function(fixture, "1", false);
        lease_of(fixture, 1, 8);
        sublet_buffer *again = begin_stamp(fixture, 0, 5000, 0),
                      *once = begin_stamp(fixture, 0, 5000, SUBLET_CALL_ONCE);
        const void *in = again->in, *out = again->out;
        assert_int_equal(again->in_place, 1);
        poll(NULL, 0, 30);
        if (round == 1) /* asleep in the machinery of all calls rather than looked at by nobody */
            assert_int_equal(sublet_buffer_wait(again, 10, NULL), SUBLET_ERR_BUSY);
        executor_kill(executor);
        assert_int_equal(sublet_buffer_wait(again, 10000, NULL), SUBLET_OK);
        assert_int_equal(stamp_of(again), getpid());
        /* The second had not begun: the worker was in the first. */
        sublet_status status = sublet_buffer_wait(once, 10000, NULL);
        assert_true(status == SUBLET_OK || status == SUBLET_ERR_LOST);
        assert_ptr_equal(again->in, in);
        assert_ptr_equal(again->out, out);
        for (int call = 0; call < 10; call++) {
            struct stamp stamp = {(uint32_t)getpid(), 0, 5000};
            memcpy(again->in, &stamp, sizeof(stamp));
            assert_int_equal(sublet_buffer_invoke(again, sizeof(stamp), NULL), SUBLET_OK);
            assert_int_equal(stamp_of(again), getpid());
        }
        sublet_buffer_release(again);
        sublet_buffer_release(once);
    }
}

static void once_is_not_run_again(void **state)
{
    struct fixture *fixture = *state;
    struct executor *executor = fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    sublet_buffer *once = begin_stamp(fixture, 0, 5000, SUBLET_CALL_ONCE);
    poll(NULL, 0, 300); /* it has begun, also on a loaded machine */
    executor_kill(executor);
    sublet_status status = sublet_buffer_wait(once, 10000, NULL);
    assert_true(status == SUBLET_ERR_LOST || status == SUBLET_ERR_REVOKED);
    sublet_buffer_release(once);
}

/** Nobody ends the old worker here: it lives on, writes its result late, and must not be seen to. */
static void a_worker_that_lives_on_does_not_reach_the_buffer(void **state)
{
    struct fixture *fixture = *state;
    struct executor *executor = fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    sublet_buffer *buffer = begin_stamp(fixture, 0, 150, 0);
    poll(NULL, 0, 20);
    kill(executor->pid, SIGSTOP); /* the supervisor alone */
    fake_agent_revoke(fixture->agent, "lease-0");
    assert_int_equal(sublet_buffer_wait(buffer, 10000, NULL), SUBLET_OK);
    assert_int_equal(stamp_of(buffer), getpid());
    poll(NULL, 0, 300);
    assert_int_equal(stamp_of(buffer), getpid());
    kill(executor->pid, SIGCONT);
    sublet_buffer_release(buffer);
}

static void a_released_lease_leaves_the_buffer(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    sublet_lease *lease = lease_of(fixture, 1, 8);
    sublet_buffer_options pinned = SUBLET_BUFFER_OPTIONS_INIT;
    pinned.lease = lease;
    sublet_buffer *free_one = acquire(fixture, "echo", NULL), *bound = acquire(fixture, "echo", &pinned);
    assert_echoes(free_one, 500, 1);
    assert_echoes(bound, 500, 2);
    memset(free_one->in, 5, 100); /* built before, called after */
    sublet_lease_release(lease);
    size_t bytes;
    assert_int_equal(sublet_buffer_invoke(free_one, 100, &bytes), SUBLET_OK);
    assert_int_equal(bytes, 100);
    assert_memory_equal(free_one->out, free_one->in, 100);
    assert_echoes(free_one, 70000, 3);
    assert_int_equal(sublet_buffer_invoke(bound, 10, &bytes), SUBLET_ERR_REVOKED);
    assert_int_equal(sublet_buffer_invoke(bound, 10, &bytes), SUBLET_ERR_REVOKED);
    sublet_buffer_release(bound);
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    assert_echoes(free_one, 70000, 4);
    sublet_buffer_release(free_one);
}

static void the_session_ends_with_calls_in_flight(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    begin_stamp(fixture, 5000, 5000, 0);
    sublet_buffer *second = begin_stamp(fixture, 5000, 5000, 0);
    assert_int_equal(sublet_buffer_wait(second, 10, NULL), SUBLET_ERR_BUSY);
    begin_stamp(fixture, 5000, 5000, SUBLET_CALL_ONCE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_lender),
        TEST(in_a_ring),
        TEST(over_tcp),
        TEST(misuse_is_refused),
        TEST(one_slot_stays_for_other_calls),
        TEST(many_in_flight),
        TEST(failures_are_the_calls_own),
        TEST(a_lost_executor_moves_the_call),
        TEST(once_is_not_run_again),
        TEST(a_worker_that_lives_on_does_not_reach_the_buffer),
        TEST(a_released_lease_leaves_the_buffer),
        TEST(the_session_ends_with_calls_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
