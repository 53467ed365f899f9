/** How long an empty call takes: median and p99, hot (the worker polls) and warm (it sleeps). Usage: hot_path [tcp] */
#include "fixture.h"

#include <poll.h>

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

static bool over_tcp;

static void figures(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", over_tcp);
    lease_of(fixture, 1, 4);
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
