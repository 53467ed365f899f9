/** Regions, mapped and over TCP: contents, bounds, asynchronous access, and a region that goes away. */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#define BYTES (UINT64_C(64) << 20)

static sublet_region *region_of(struct fixture *fixture, uint64_t bytes)
{
    sublet_region *region = NULL;
    if (sublet_region_alloc(fixture->session, bytes, NULL, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/** Random pieces of random sizes are written, then all is read back in another random order. */
static void random_access(struct fixture *fixture, bool over_tcp)
{
    uint64_t random = 88172645463325252u;
    unsigned char *mine = calloc(1, BYTES), *got = malloc(BYTES);
    fixture_region(fixture, BYTES, over_tcp);
    sublet_region *region = region_of(fixture, BYTES);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
    assert_int_equal(info.same_node, !over_tcp);
    memset(got, 0xee, BYTES);
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    assert_memory_equal(got, mine, BYTES); /* zeros */
    for (int i = 0; i < 300; i++) {
        size_t size = (size_t)(next_random(&random) % (i % 10 == 0 ? 3 << 20 : 20000)) + 1;
        uint64_t offset = next_random(&random) % (BYTES - size + 1);
        for (size_t at = 0; at < size; at++)
            mine[offset + at] = (unsigned char)(next_random(&random) >> 32);
        assert_int_equal(sublet_region_put(region, offset, mine + offset, size), SUBLET_OK);
    }
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    assert_memory_equal(got, mine, BYTES);
    for (int i = 0; i < 2000; i++) {
        size_t size = (size_t)(next_random(&random) % 8192) + 1;
        uint64_t offset = next_random(&random) % (BYTES - size + 1);
        assert_int_equal(sublet_region_get(region, offset, got, size), SUBLET_OK);
        assert_memory_equal(got, mine + offset, size);
    }
    sublet_region_free(region);
    assert_false(fake_agent_holds(fixture->agent, "lease-0"));
    free(mine);
    free(got);
}

static void random_access_here(void **state)
{
    random_access(*state, false);
}

static void random_access_there(void **state)
{
    random_access(*state, true);
}

static void bounds(void **state)
{
    struct fixture *fixture = *state;
    char bytes[16] = "";
    fixture_region(fixture, 1 << 20, false);
    fixture_region(fixture, 1 << 20, true);
    for (int i = 0; i < 2; i++) {
        sublet_region *region = region_of(fixture, 1000000); /* less than there is: our own bound counts */
        assert_int_equal(sublet_region_put(region, 999984, bytes, 16), SUBLET_OK);
        assert_int_equal(sublet_region_put(region, 999985, bytes, 16), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get(region, 1000001, bytes, 0), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get(region, 1000000, bytes, 0), SUBLET_OK);
        assert_int_equal(sublet_region_get(region, UINT64_MAX, bytes, 16), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get_async(region, 8, bytes, SIZE_MAX), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_put(region, 0, NULL, 1), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_flush(region), SUBLET_OK);
        sublet_region_free(region);
    }
    assert_int_equal(sublet_region_put(NULL, 0, bytes, 1), SUBLET_ERR_INVALID);
}

/** A region that is smaller than promised, or an executor of the other kind, is refused. */
static void not_what_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    sublet_region *region = NULL;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        fixture_region(fixture, 1 << 20, over_tcp);
        assert_int_equal(sublet_region_alloc(fixture->session, 2 << 20, NULL, &region), SUBLET_ERR_INVALID);
        fixture_function(fixture, "0", over_tcp);
        assert_int_equal(sublet_region_alloc(fixture->session, 2 << 20, NULL, &region), SUBLET_ERR_INVALID);
        assert_null(region);
    }
}

static void asynchronous(struct fixture *fixture, bool over_tcp)
{
    enum { PIECES = 64 };
    size_t piece = BYTES / PIECES;
    unsigned char *mine = malloc(BYTES), *got = calloc(1, BYTES);
    for (size_t i = 0; i < BYTES; i++)
        mine[i] = (unsigned char)(i * 131 + i / 65537);
    fixture_region(fixture, BYTES, over_tcp);
    sublet_region *region = region_of(fixture, BYTES);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(sublet_region_put_async(region, i * piece, mine + i * piece, piece), SUBLET_OK);
    for (size_t i = PIECES; i-- > 0;) /* in order behind the puts */
        assert_int_equal(sublet_region_get_async(region, i * piece, got + i * piece, piece), SUBLET_OK);
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    assert_memory_equal(mine, got, BYTES);
    sublet_region_free(region);
    free(mine);
    free(got);
}

static void asynchronous_here(void **state)
{
    asynchronous(*state, false);
}

static void asynchronous_there(void **state)
{
    asynchronous(*state, true);
}

/** Nobody waits for the access: it goes on all the same, as a second client of the same memory sees. */
static void moves_without_being_waited_for(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *mine = malloc(BYTES), last = 0;
    memset(mine, 0x5a, BYTES);
    struct executor *executor = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, BYTES);
    struct grant twin = executor->grant;
    snprintf(twin.id, sizeof(twin.id), "twin");
    snprintf(twin.unix_path, sizeof(twin.unix_path), "%s", executor->unix_path);
    fake_agent_offer(fixture->agent, &twin);
    sublet_region *witness = region_of(fixture, BYTES);
    assert_int_equal(sublet_region_put_async(region, 0, mine, BYTES), SUBLET_OK);
    uint64_t end_ns = time_ns() + 5000000000u;
    do {
        poll(NULL, 0, 1);
        assert_int_equal(sublet_region_get(witness, BYTES - 1, &last, 1), SUBLET_OK);
    } while (last != 0x5a && time_ns() < end_ns);
    assert_int_equal(last, 0x5a);
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    sublet_region_free(witness);
    sublet_region_free(region);
    free(mine);
}

static void freed_with_accesses_under_way(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *bytes = calloc(1, BYTES);
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, BYTES);
    for (int i = 0; i < 8; i++)
        assert_int_equal(sublet_region_put_async(region, 0, bytes, BYTES), SUBLET_OK);
    sublet_region_free(region);
    free(bytes);
}

static size_t mapped_bytes(void)
{
    char line[512];
    size_t total = 0, from, to;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        if (strstr(line, "memfd:") != NULL && sscanf(line, "%zx-%zx", &from, &to) == 2)
            total += to - from;
    fclose(maps);
    return total;
}

/** The memory of a region that is taken back must not be kept by our mapping: a batch job waits for it. */
static void revoked(void **state)
{
    struct fixture *fixture = *state;
    char bytes[16] = "";
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        struct executor *executor = fixture_region(fixture, BYTES, over_tcp);
        sublet_region *region = region_of(fixture, BYTES);
        sublet_lease_info info = {.struct_bytes = sizeof(info)};
        uint64_t end_ns = time_ns() + 2000000000u;
        assert_int_equal(sublet_region_put(region, 0, bytes, 16), SUBLET_OK);
        assert_true(over_tcp || mapped_bytes() >= BYTES);
        fake_agent_revoke(fixture->agent, executor->grant.id);
        do
            assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
        while (info.state == SUBLET_LEASE_ACTIVE && time_ns() < end_ns);
        assert_int_equal(info.state, SUBLET_LEASE_REVOKED);
        assert_int_equal(sublet_region_get(region, 0, bytes, 16), SUBLET_ERR_REVOKED);
        assert_int_equal(sublet_region_put_async(region, 0, bytes, 16), SUBLET_ERR_REVOKED);
        assert_int_equal(sublet_region_flush(region), SUBLET_ERR_REVOKED);
        assert_int_equal(mapped_bytes(), 0);
        sublet_region_free(region);
    }
}

static void *kill_soon(void *argument)
{
    poll(NULL, 0, 30);
    executor_kill(argument);
    return NULL;
}

static void killed_under_access(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *bytes = calloc(1, BYTES);
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        pthread_t thread;
        struct executor *executor = fixture_region(fixture, BYTES, over_tcp);
        sublet_region *region = region_of(fixture, BYTES);
        sublet_status status;
        uint64_t end_ns = time_ns() + 5000000000u;
        assert_int_equal(pthread_create(&thread, NULL, kill_soon, executor), 0);
        do
            status = sublet_region_put(region, 0, bytes, BYTES);
        while (status == SUBLET_OK && time_ns() < end_ns);
        pthread_join(thread, NULL);
        assert_int_equal(status, SUBLET_ERR_LOST);
        assert_non_null(strstr(sublet_last_error(), "gone"));
        sublet_region_free(region);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_access_here, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(random_access_there, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(bounds, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(not_what_was_asked_for, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(asynchronous_here, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(asynchronous_there, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(moves_without_being_waited_for, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(freed_with_accesses_under_way, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(revoked, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(killed_under_access, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
