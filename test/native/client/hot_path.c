/** How long an empty call takes: median and p99, hot (the worker polls) and warm (it sleeps). Usage: hot_path [tcp] */
#include "fixture.h"

#include <poll.h>
#include <sched.h>

static int ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void measure(struct fixture *fixture, const char *what, size_t bytes, size_t count, int pause_ms)
{
    uint64_t *took_ns = calloc(count, sizeof(*took_ns));
    unsigned char *in = calloc(1, 65536), *out = calloc(1, 65536);
    sublet_function_ref *function = function_of(fixture, bytes == 0 ? "empty" : "echo");
    size_t got;
    for (size_t i = 0; i < count + count / 10; i++) {
        if (pause_ms > 0)
            poll(NULL, 0, pause_ms);
        uint64_t begin_ns = time_ns();
        assert_int_equal(sublet_invoke(fixture->session, function, in, bytes, out, bytes, &got, NULL), SUBLET_OK);
        if (i >= count / 10) /* the first tenth warms up */
            took_ns[i - count / 10] = time_ns() - begin_ns;
    }
    qsort(took_ns, count, sizeof(*took_ns), ascending);
    printf("%-6s %6zu B  p50 %8.2f us  p99 %8.2f us  p99.9 %8.2f us  (%zu calls)\n", what, bytes,
           (double)took_ns[count / 2] / 1000, (double)took_ns[count * 99 / 100] / 1000,
           (double)took_ns[count * 999 / 1000] / 1000, count);
    free(took_ns);
    free(in);
    free(out);
}

static void measure_buffer(struct fixture *fixture, const char *what, size_t bytes, size_t count)
{
    uint64_t *took_ns = calloc(count, sizeof(*took_ns));
    sublet_buffer *buffer = NULL;
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.in_bytes = options.out_bytes = bytes;
    sublet_function_ref *function = function_of(fixture, what);
    assert_int_equal(sublet_buffer_acquire(fixture->session, function, &options, &buffer), SUBLET_OK);
    for (size_t i = 0; i < count + count / 10; i++) {
        uint64_t begin_ns = time_ns();
        assert_int_equal(sublet_buffer_invoke(buffer, bytes, NULL), SUBLET_OK);
        if (i >= count / 10)
            took_ns[i - count / 10] = time_ns() - begin_ns;
    }
    qsort(took_ns, count, sizeof(*took_ns), ascending);
    printf("buffer %-6s %6zu B  p50 %8.2f us  p99 %8.2f us  p99.9 %8.2f us\n", what, bytes,
           (double)took_ns[count / 2] / 1000, (double)took_ns[count * 99 / 100] / 1000,
           (double)took_ns[count * 999 / 1000] / 1000);
    sublet_buffer_release(buffer);
    free(took_ns);
}

/** Empty calls per second with 32 buffers in flight, one after the other and in batches. */
static void measure_rate(struct fixture *fixture)
{
    enum { DEEP = 32, ROUNDS = 20000 };
    sublet_buffer *buffers[DEEP];
    size_t sizes[DEEP] = {0};
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.in_bytes = options.out_bytes = 32;
    sublet_function_ref *function = function_of(fixture, "empty");
    for (int i = 0; i < DEEP; i++)
        assert_int_equal(sublet_buffer_acquire(fixture->session, function, &options, &buffers[i]), SUBLET_OK);
    for (int batch = 0; batch < 2; batch++) {
        uint64_t begin_ns = time_ns();
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; batch == 0 && i < DEEP; i++) {
                if (round > 0)
                    assert_int_equal(sublet_buffer_wait(buffers[i], 0, NULL), SUBLET_OK);
                assert_int_equal(sublet_buffer_submit(buffers[i], 0), SUBLET_OK);
            }
            if (batch == 1) {
                for (int i = 0; i < DEEP && round > 0; i++)
                    assert_int_equal(sublet_buffer_wait(buffers[i], 0, NULL), SUBLET_OK);
                assert_int_equal(sublet_buffer_submit_many(buffers, sizes, DEEP, NULL), SUBLET_OK);
            }
        }
        for (int i = 0; i < DEEP; i++)
            assert_int_equal(sublet_buffer_wait(buffers[i], 0, NULL), SUBLET_OK);
        printf("32 in flight, %s: %.2f million calls a second\n", batch == 0 ? "one by one" : "in batches",
               (double)DEEP * ROUNDS * 1000 / (double)(time_ns() - begin_ns));
    }
    for (int i = 0; i < DEEP; i++)
        sublet_buffer_release(buffers[i]);
}

static void measure_submit(struct fixture *fixture)
{
    enum { DEEP = 32, ROUNDS = 10000 };
    sublet_call *calls[DEEP] = {NULL};
    sublet_function_ref *function = function_of(fixture, "empty");
    uint64_t begin_ns = time_ns();
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < DEEP; i++) {
            if (calls[i] != NULL) {
                assert_int_equal(sublet_wait(calls[i], 0), SUBLET_OK);
                sublet_call_free(calls[i]);
            }
            assert_int_equal(sublet_submit(fixture->session, function, NULL, 0, NULL, 0, NULL, &calls[i]), SUBLET_OK);
        }
    for (int i = 0; i < DEEP; i++) {
        assert_int_equal(sublet_wait(calls[i], 0), SUBLET_OK);
        sublet_call_free(calls[i]);
    }
    printf("32 in flight, sublet_submit: %.2f million calls a second\n",
           (double)DEEP * ROUNDS * 1000 / (double)(time_ns() - begin_ns));
}

static bool over_tcp;

static void figures(void **state)
{
    struct fixture *fixture = *state;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof(set), &set); /* the worker has core 1 */
    fixture_function(fixture, "1", over_tcp);
    lease_of(fixture, 1, 33);
    measure_buffer(fixture, "empty", 1, 200000);
    measure_buffer(fixture, "empty", 4096, 200000);
    measure_buffer(fixture, "echo", 8, 200000);
    measure_buffer(fixture, "echo", 64, 200000);
    measure_buffer(fixture, "echo", 4096, 200000);
    measure_rate(fixture);
    measure_submit(fixture);
    measure(fixture, "hot", 0, 200000, 0);
    measure(fixture, "hot", 64, 200000, 0);
    measure(fixture, "hot", 4096, 100000, 0);
    measure(fixture, "hot", 65536, 10000, 0);
    measure(fixture, "warm", 0, 1000, 1);
}

int main(int count, char **arguments)
{
    over_tcp = count > 1 && strcmp(arguments[1], "tcp") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(figures, fixture_start, fixture_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
