/**
 * How long a hot call takes over a fabric: `fabric_path ROUNDTRIPS` prints, as one line of JSON, the median, p99 and
 * mean round trip in microseconds of echoing 64 B and 4 KiB. Client and worker poll, as fi_pingpong does. Needs
 * SUBLET_FABRIC_PROVIDER, and two cores.
 */
#include "fixture.h"

#include <sched.h>

#define SPIN_US 1000000u

static size_t roundtrips;

static int ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void measure(sublet_session *session, sublet_function_ref *function, size_t bytes, const char *before)
{
    unsigned char in[4096] = {0}, out[4096];
    uint64_t *took_ns = calloc(roundtrips, sizeof(*took_ns)), sum_ns = 0;
    size_t got;
    assert_non_null(took_ns);
    for (size_t i = 0; i < roundtrips + roundtrips / 4; i++) {
        uint64_t begin_ns = time_ns();
        assert_int_equal(sublet_invoke(session, function, in, bytes, out, bytes, &got, NULL), SUBLET_OK);
        if (i >= roundtrips / 4) /* what came before has warmed it up */
            sum_ns += took_ns[i - roundtrips / 4] = time_ns() - begin_ns;
    }
    qsort(took_ns, roundtrips, sizeof(*took_ns), ascending);
    printf("%s\"%zu\": {\"p50\": %.2f, \"p99\": %.2f, \"mean\": %.2f}", before, bytes,
           (double)took_ns[roundtrips / 2] / 1000, (double)took_ns[roundtrips * 99 / 100] / 1000,
           (double)sum_ns / 1000 / (double)roundtrips);
    free(took_ns);
}

static void figures(void **state)
{
    struct fixture *fixture = *state;
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    char path[100];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof(set), &set); /* the worker has core 1 */
    sublet_close(fixture->session);
    snprintf(path, sizeof(path), "%s/agent.sock", fixture->folder);
    options.agent_socket = path;
    options.timeout_ms = 30000;
    options.spin_us = fixture->spin_us = SPIN_US;
    assert_int_equal(sublet_open(&options, &fixture->session), SUBLET_OK);
    assert_int_equal(sublet_library_open(fixture->session, FUNCTIONS, &fixture->library), SUBLET_OK);
    fixture_function(fixture, "1", true);
    sublet_lease *lease = lease_of(fixture, 1, 4);
    assert_int_equal(sublet_lease_info_get(lease, &info), SUBLET_OK);
    sublet_function_ref *function = function_of(fixture, "echo");
    printf("{\"path\": \"%s\", ", info.path);
    measure(fixture->session, function, 64, "");
    measure(fixture->session, function, 4096, ", ");
    printf("}\n");
}

int main(int count, char **arguments)
{
    roundtrips = count > 1 ? strtoul(arguments[1], NULL, 10) : 0;
    if (roundtrips < 100 || getenv("SUBLET_FABRIC_PROVIDER") == NULL) {
        fprintf(stderr, "usage: SUBLET_FABRIC_PROVIDER=NAME fabric_path ROUNDTRIPS (100 at least)\n");
        return 2;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(figures, fixture_start, fixture_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
