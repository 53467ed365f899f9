/** Workers that sleep and are woken: no call is missed, polling follows the calls, and sleep costs nothing. */
#include "fixture.h"

#include <poll.h>
#include <stdbool.h>
#include <time.h>

/** What the process has used of its core. */
static uint64_t used_ns(int pid)
{
    struct timespec used;
    clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2); /* of a process, as clock_getcpuclockid makes it */
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static sublet_buffer *buffer_of(struct fixture *fixture, const char *name)
{
    sublet_buffer *buffer = NULL;
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.timeout_ms = 20000;
    assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, name), &options, &buffer), SUBLET_OK);
    assert_int_equal(buffer->in_place, 1);
    return buffer;
}

static int worker_of(struct fixture *fixture)
{
    int pid;
    sublet_buffer *where = buffer_of(fixture, "where");
    assert_int_equal(sublet_buffer_invoke(where, 0, NULL), SUBLET_OK);
    memcpy(&pid, where->out, sizeof(pid));
    sublet_buffer_release(where);
    return pid;
}

static void pause_ns(uint64_t ns)
{
    struct timespec nap = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    nanosleep(&nap, NULL);
}

/** Pauses around the time at which the worker goes to sleep; a call whose wake-up were lost would end by TIMEOUT. */
static void call_at_every_distance(struct fixture *fixture)
{
    sublet_buffer *echo = buffer_of(fixture, "echo");
    uint32_t x = 99;
    for (uint32_t i = 0; i < 4000; i++) {
        x = x * 1103515245 + 12345;
        uint64_t end_ns = time_ns() + x % 100000;
        if (i % 8 == 0)
            pause_ns(x % 300000);
        while (time_ns() < end_ns) {
        }
        memcpy(echo->in, &i, sizeof(i));
        assert_int_equal(sublet_buffer_invoke(echo, sizeof(i), NULL), SUBLET_OK);
        assert_memory_equal(echo->out, &i, sizeof(i));
    }
    sublet_buffer_release(echo);
}

static void no_call_is_missed(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    call_at_every_distance(fixture);
}

/** With a connection to watch the worker sleeps on descriptors rather than on words. */
static void no_call_is_missed_beside_a_connection(void **state)
{
    struct fixture *fixture = *state;
    struct executor *executor = fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    struct grant remote = executor->grant;
    snprintf(remote.id, sizeof(remote.id), "remote");
    remote.unix_path[0] = '\0';
    fake_agent_offer(fixture->agent, &remote);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.lease = lease;
    uint64_t in = 5, out = 0;
    size_t bytes;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            sublet_invoke(fixture->session, function_of(fixture, "echo"), &in, 8, &out, 8, &bytes, &options),
            SUBLET_OK);
        call_at_every_distance(fixture);
    }
}

/** Nothing comes: no time at all is used, however long it lasts. */
static void sleep_costs_nothing(void **state)
{
    struct fixture *fixture = *state;
    const char *seconds = getenv("SUBLET_SLEEP_S");
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    int worker = worker_of(fixture);
    pause_ns(200000000);
    uint64_t before = used_ns(worker);
    pause_ns(seconds == NULL ? 2000000000u : (uint64_t)atoi(seconds) * 1000000000u);
    uint64_t used = used_ns(worker) - before;
    printf("asleep for %s s: %llu ns of its core\n", seconds == NULL ? "2" : seconds, (unsigned long long)used);
    assert_int_equal(used, 0);
}

/** CPU time of the worker for `calls` calls that come every `gap_ns`. */
static uint64_t used_at(struct fixture *fixture, int worker, uint32_t calls, uint64_t gap_ns, uint64_t *took_out)
{
    sublet_buffer *empty = buffer_of(fixture, "empty");
    for (int i = 0; i < 8; i++) { /* long enough for it to learn */
        assert_int_equal(sublet_buffer_invoke(empty, 0, NULL), SUBLET_OK);
        pause_ns(gap_ns);
    }
    uint64_t before = used_ns(worker), began_ns = time_ns();
    for (uint32_t i = 0; i < calls; i++) {
        assert_int_equal(sublet_buffer_invoke(empty, 0, NULL), SUBLET_OK);
        pause_ns(gap_ns);
    }
    *took_out = time_ns() - began_ns;
    uint64_t used = used_ns(worker) - before;
    printf("a call every %llu us: %.1f %% of the worker's core\n", (unsigned long long)(gap_ns / 1000),
           100.0 * (double)used / (double)*took_out);
    sublet_buffer_release(empty);
    return used;
}

/** It may poll for 5 ms: worth it for calls every 300 us, and not for one every 20 ms, after which it sleeps at once.
 */
static void polling_follows_the_calls(void **state)
{
    struct fixture *fixture = *state;
    uint64_t took;
    fixture->spin_us = 5000;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    int worker = worker_of(fixture);
    /* On a busy machine a core is not there when it is wanted, and less is polled: it learns again then. */
    bool often = false, rare = false, again = false;
    for (int tries = 0; tries < 5 && !(often && rare && again); tries++) {
        often = used_at(fixture, worker, 500, 300000, &took) > took / 10;    /* asleep it uses a hundredth */
        rare = used_at(fixture, worker, 50, 20000000, &took) / 50 < 1000000; /* a fifth of one time of polling */
        again = used_at(fixture, worker, 500, 300000, &took) > took / 10;
    }
    assert_true(often);
    assert_true(rare);
    assert_true(again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_call_is_missed),
        TEST(no_call_is_missed_beside_a_connection),
        TEST(sleep_costs_nothing),
        TEST(polling_follows_the_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
