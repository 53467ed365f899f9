/** Figures, not a test: accesses to durable regions beside the same access to an ephemeral one, interleaved; and a
 * move. */
#include "fixture.h"

#include <poll.h>

enum { ROUNDS = 15, KINDS = 3, SIZES = 3, MOVES = 5 };

#define BYTES (UINT64_C(64) << 20)

static const char *const kinds[KINDS] = {"ephemeral", "evacuated", "mirrored"};
static const size_t sizes[SIZES] = {64, 4096, 1 << 20};
static unsigned char bytes[1 << 20];

static sublet_region *region_of(struct fixture *fixture, uint32_t durability)
{
    sublet_region *region = NULL;
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.durability = durability;
    if (sublet_region_alloc(fixture->session, BYTES, &options, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

enum access { GET, PUT, PUT_ASYNC, ACCESSES };

static const char *const accesses[ACCESSES] = {"get", "put", "put_async"};

static double nanoseconds(sublet_region *region, enum access access, size_t size)
{
    uint32_t count = size >= 1 << 20 ? 20 : 1000;
    uint64_t begin_ns = time_ns();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)i * 1048576 % (BYTES - size);
        sublet_status status = access == PUT         ? sublet_region_put(region, offset, bytes, size)
                               : access == PUT_ASYNC ? sublet_region_put_async(region, offset, bytes, size)
                                                     : sublet_region_get(region, offset, bytes, size);
        assert_int_equal(status, SUBLET_OK);
    }
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    return (double)(time_ns() - begin_ns) / count;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), ascending);
    return values[count / 2];
}

static void compare(struct fixture *fixture, bool over_tcp)
{
    sublet_region *regions[KINDS];
    for (uint32_t i = 0; i < KINDS; i++) {
        fixture_region(fixture, BYTES, over_tcp);
        if (i == 2)
            fixture_region(fixture, BYTES, true);
        regions[i] = region_of(fixture, i + 1);
    }
    for (int access = 0; access < ACCESSES; access++)
        for (int size = 0; size < SIZES; size++) {
            double values[KINDS][ROUNDS], ratios[KINDS][ROUNDS];
            for (int round = 0; round < ROUNDS; round++)
                for (int kind = 0; kind < KINDS; kind++) {
                    values[kind][round] = nanoseconds(regions[kind], (enum access)access, sizes[size]);
                    ratios[kind][round] = values[kind][round] / values[0][round];
                }
            for (int kind = 0; kind < KINDS; kind++)
                printf("%s %9s %8zu B %10s %10.0f ns, %.2f of ephemeral\n", over_tcp ? "tcp   " : "memory",
                       accesses[access], sizes[size], kinds[kind], median(values[kind], ROUNDS),
                       median(ratios[kind], ROUNDS));
        }
    for (int kind = 0; kind < KINDS; kind++)
        sublet_region_free(regions[kind]);
}

static void figures(void **state)
{
    compare(*state, false);
    compare(*state, true);
}

/** From the notice to the lease's return, the new executor being there; its fill alone is most of it. */
static void move_time(void **state)
{
    struct fixture *fixture = *state;
    double values[MOVES];
    struct executor *live = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    for (int i = 0; i < MOVES; i++) {
        struct executor *next = fixture_region(fixture, BYTES, true);
        poll(NULL, 0, 200); /* its memory is touched */
        uint64_t begin_ns = time_ns();
        fake_agent_drain(fixture->agent, live->grant.id, 60000, false);
        while (fake_agent_holds(fixture->agent, live->grant.id))
            poll(NULL, 0, 1);
        values[i] = (double)(time_ns() - begin_ns);
        live = next;
    }
    double middle = median(values, MOVES);
    printf("move of %llu MiB: %.0f ms, %.2f GB/s\n", (unsigned long long)(BYTES >> 20), middle / 1e6,
           (double)BYTES / middle);
    sublet_region_free(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(figures, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(move_time, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
