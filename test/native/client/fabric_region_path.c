/**
 * How long accesses to a region take over a fabric: `fabric_region_path ROUNDS` prints, per access, a line
 * `figure WHAT BYTES MICROSECONDS` with the median: a get of 4 KiB, a put and a get of 10 MiB, and 32 gets of 4 KiB
 * under way at once (each). Of the region's way that SUBLET_FABRIC_PROVIDER names; "none" is TCP.
 */
#include "fixture.h"

#include <sched.h>

#define BYTES (UINT64_C(32) << 20)
#define LARGE (UINT64_C(10) << 20)
#define SMALL 4096u
#define DEPTH 32u

static size_t rounds;
static unsigned char memory[LARGE];

enum access { GET, PUT, GET_MANY };

static int ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static sublet_status run(sublet_region *region, enum access access, size_t bytes)
{
    if (access == PUT)
        return sublet_region_put(region, 4096, memory, bytes);
    if (access == GET)
        return sublet_region_get(region, 4096, memory, bytes);
    for (size_t i = 0; i < DEPTH; i++)
        if (sublet_region_get_async(region, i * bytes, memory + i * bytes, bytes) != SUBLET_OK)
            return SUBLET_ERR_LOST;
    return sublet_region_flush(region);
}

static void measure(sublet_region *region, enum access access, size_t bytes, size_t count)
{
    static const char *const names[] = {"get", "put", "get-many"};
    uint64_t *took_ns = calloc(count, sizeof(*took_ns));
    assert_non_null(took_ns);
    for (size_t i = 0; i < count + count / 4 + 1; i++) {
        uint64_t begin_ns = time_ns();
        assert_int_equal(run(region, access, bytes), SUBLET_OK);
        if (i > count / 4) /* what came before has warmed it up */
            took_ns[i - count / 4 - 1] = time_ns() - begin_ns;
    }
    qsort(took_ns, count, sizeof(*took_ns), ascending);
    double each = access == GET_MANY ? DEPTH : 1;
    printf("figure region-%s %zu %.2f\n", names[access], bytes, (double)took_ns[count / 2] / 1000 / each);
    free(took_ns);
}

static void figures(void **state)
{
    struct fixture *fixture = *state;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_region *region;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof(set), &set);
    fixture_region(fixture, BYTES, true);
    assert_int_equal(sublet_region_alloc(fixture->session, BYTES, NULL, &region), SUBLET_OK);
    assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
    printf("path %s\n", info.path);
    measure(region, GET, SMALL, rounds);
    measure(region, GET_MANY, SMALL, rounds / 16);
    measure(region, PUT, LARGE, rounds / 32);
    measure(region, GET, LARGE, rounds / 32);
    assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
    printf("path %s\n", info.path);
}

int main(int count, char **arguments)
{
    rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 0;
    if (rounds < 128 || getenv("SUBLET_FABRIC_PROVIDER") == NULL) {
        fprintf(stderr, "usage: SUBLET_FABRIC_PROVIDER=NAME fabric_region_path ROUNDS (128 at least)\n");
        return 2;
    }
    fixture_timeout_ms = 30000;
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(figures, fixture_start, fixture_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
