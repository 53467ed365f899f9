/** sublet_map: contents under a cache smaller than the data, write-back, and a region that goes away. */
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (UINT64_C(24) << 20)
#define CACHE (UINT64_C(3) << 20)

static sublet_region *region_of(struct fixture *fixture)
{
    sublet_region *region = NULL;
    if (sublet_region_alloc(fixture->session, BYTES, NULL, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

static void *map_of(sublet_region *region, uint64_t offset, uint64_t bytes, uint32_t flags, sublet_mapping **map)
{
    sublet_map_options options = SUBLET_MAP_OPTIONS_INIT;
    void *pointer = NULL;
    options.cache_bytes = CACHE;
    options.flags = flags;
    if (sublet_map(region, offset, bytes, &options, &pointer, map) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return pointer;
}

static sublet_map_info info_of(const sublet_mapping *map)
{
    sublet_map_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_map_info_get(map, &info), SUBLET_OK);
    return info;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/** Random reads and writes of all sizes, streams in between; what is in the region at the end is what was written. */
static void random_and_streams(struct fixture *fixture, bool over_tcp, uint32_t flags)
{
    uint64_t random = 88172645463325252u;
    unsigned char *mine = malloc(BYTES), *got = malloc(BYTES);
    sublet_mapping *map;
    fixture_region(fixture, BYTES, over_tcp);
    sublet_region *region = region_of(fixture);
    for (size_t i = 0; i < BYTES; i++)
        mine[i] = (unsigned char)(i * 7 + i / 4099);
    assert_int_equal(sublet_region_put(region, 0, mine, BYTES), SUBLET_OK);
    uint64_t offset = 8192, bytes = BYTES - 8192 - 1234; /* its last page is cut */
    unsigned char *there = map_of(region, offset, bytes, flags, &map);
    for (int i = 0; i < 4000; i++) {
        size_t size = 1 + (size_t)(next_random(&random) % (i % 200 == 0 ? 500000 : 600));
        uint64_t at = next_random(&random) % (bytes - size + 1);
        if (i % 3 == 0) {
            memset(mine + offset + at, i, size);
            memset(there + at, i, size);
        } else
            assert_memory_equal(there + at, mine + offset + at, size);
    }
    assert_memory_equal(there, mine + offset, bytes);
    for (size_t i = 0; i < bytes / 2; i += 8) {
        mine[offset + i]++;
        there[i]++;
    }
    sublet_map_info info = info_of(map);
    assert_true(info.resident_bytes <= CACHE && info.cache_bytes <= CACHE);
    assert_int_equal(sublet_map_flush(map), SUBLET_OK);
    assert_int_equal(info_of(map).dirty_bytes, 0);
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    assert_memory_equal(got, mine, BYTES);
    there[5] = mine[offset + 5] = 99; /* after a flush writes are seen again */
    there[bytes - 1] = mine[offset + bytes - 1] = 98;
    assert_int_equal(sublet_map_status(map), SUBLET_OK);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    assert_memory_equal(got, mine, BYTES);
    if (over_tcp)
        assert_true(info.faults > 0 && info.fetched_bytes > bytes && info.written_bytes > 0 && info.lost_bytes == 0);
    sublet_region_free(region);
    free(mine);
    free(got);
}

static void random_and_streams_there(void **state)
{
    random_and_streams(*state, true, 0);
}

static void random_and_streams_here(void **state)
{
    random_and_streams(*state, false, 0);
}

static void random_and_streams_paged_here(void **state)
{
    random_and_streams(*state, false, SUBLET_MAP_PAGED);
}

/** A stream is read ahead: far fewer faults than pages. What is used often stays: far fewer fetches than faults. */
static void follows_the_pattern(void **state)
{
    struct fixture *fixture = *state;
    sublet_mapping *map;
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture);
    volatile unsigned char *there = map_of(region, 0, BYTES, SUBLET_MAP_READ_ONLY, &map);
    for (size_t i = 0; i < BYTES; i += 4096)
        assert_int_equal(there[i], 0);
    sublet_map_info info = info_of(map);
    assert_in_range(info.faults, 1, BYTES / 4096 / 8);
    assert_in_range(info.fetched_bytes, BYTES, BYTES + BYTES / 4);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    there = map_of(region, 0, BYTES, 0, &map);
    uint64_t random = 1, limit = info.cache_bytes / 4096;
    for (uint64_t i = 0; i < 20000; i++) /* of every four, three go to a quarter of the cache */
        (void)there[i % 4 == 0 ? next_random(&random) % (BYTES / 4096) * 4096
                               : next_random(&random) % (limit / 4) * 4096];
    info = info_of(map);
    assert_in_range(info.second_chances, 1, info.faults);
    assert_in_range(info.fetched_bytes / 4096, 1, 20000 / 2);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    sublet_region_free(region);
}

struct worker {
    unsigned char *there;
    uint32_t number;
    bool wrong;
};

/** Pages of all threads lie beside each other. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    uint64_t random = 77 + worker->number;
    for (uint32_t i = 0; i < 6000; i++) {
        size_t page = (size_t)(next_random(&random) % (BYTES / 4096 / 4)) * 4 + worker->number;
        volatile uint64_t *at = (volatile uint64_t *)(void *)(worker->there + page * 4096);
        if (at[1] != at[0] * 3)
            worker->wrong = true;
        at[0] += 1;
        at[1] = at[0] * 3;
    }
    return NULL;
}

static void several_threads(void **state)
{
    struct fixture *fixture = *state;
    sublet_mapping *map;
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture);
    unsigned char *there = map_of(region, 0, BYTES, 0, &map), *got = malloc(BYTES);
    struct worker workers[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.there = there, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sublet_map_flush(map), SUBLET_OK);
        poll(NULL, 0, 5);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_false(workers[i].wrong);
    }
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    uint64_t total = 0;
    for (size_t page = 0; page < BYTES / 4096; page++) {
        uint64_t values[2];
        memcpy(values, got + page * 4096, sizeof(values));
        assert_true(values[1] == values[0] * 3);
        total += values[0];
    }
    assert_int_equal(total, 4 * 6000);
    sublet_region_free(region);
    free(got);
}

static sigjmp_buf back;

static void jump(int signal_number)
{
    (void)signal_number;
    siglongjmp(back, 1);
}

/** Touches every page; false when one of them is SIGBUS. */
static bool touch_all(volatile unsigned char *there, uint64_t bytes)
{
    struct sigaction action = {.sa_handler = jump}, before;
    sigaction(SIGBUS, &action, &before);
    volatile bool all = false;
    if (sigsetjmp(back, 1) == 0) {
        for (uint64_t i = 0; i < bytes; i += 4096)
            there[i] = (unsigned char)(there[i] + 1);
        all = true;
    }
    sigaction(SIGBUS, &before, NULL);
    return all;
}

static void *kill_soon(void *argument)
{
    poll(NULL, 0, 30);
    executor_kill(argument);
    return NULL;
}

/** Whoever is touching it gets SIGBUS; flush and unmap say what happened. */
static void the_node_goes(void **state)
{
    struct fixture *fixture = *state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        pthread_t thread;
        sublet_mapping *map;
        struct executor *executor = fixture_region(fixture, BYTES, over_tcp);
        sublet_region *region = region_of(fixture);
        unsigned char *there = map_of(region, 0, BYTES, 0, &map);
        assert_true(touch_all(there, BYTES));
        assert_int_equal(pthread_create(&thread, NULL, kill_soon, executor), 0);
        uint64_t end_ns = time_ns() + 10000000000u;
        while (touch_all(there, BYTES) && time_ns() < end_ns) {
        }
        pthread_join(thread, NULL);
        assert_true(time_ns() < end_ns);
        assert_int_equal(sublet_map_status(map), SUBLET_ERR_LOST);
        assert_int_equal(sublet_map_flush(map), SUBLET_ERR_LOST);
        assert_false(touch_all(there, 1));
        if (over_tcp) {
            assert_true(info_of(map).lost_bytes > 0);
            assert_non_null(strstr(sublet_last_error(), "not saved"));
        }
        if (over_tcp)
            assert_int_equal(sublet_unmap(map), SUBLET_ERR_LOST);
        sublet_region_free(region);
        if (!over_tcp)
            assert_int_equal(sublet_unmap(map), SUBLET_ERR_LOST);
    }
}

/** Revoked while nobody touches it: the memory must not be kept, and nothing hangs afterwards. */
static void revoked(void **state)
{
    struct fixture *fixture = *state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        sublet_mapping *map;
        struct executor *executor = fixture_region(fixture, BYTES, over_tcp);
        sublet_region *region = region_of(fixture);
        unsigned char *there = map_of(region, 0, BYTES, 0, &map);
        uint64_t end_ns = time_ns() + 5000000000u;
        there[0] = 1;
        fake_agent_revoke(fixture->agent, executor->grant.id);
        while (sublet_map_status(map) == SUBLET_OK && time_ns() < end_ns)
            poll(NULL, 0, 1);
        assert_int_equal(sublet_map_status(map), SUBLET_ERR_REVOKED);
        while (touch_all(there, 1) && time_ns() < end_ns)
            poll(NULL, 0, 1);
        assert_false(touch_all(there, 1));
        assert_int_equal(sublet_unmap(map), SUBLET_ERR_REVOKED);
        sublet_region_free(region);
    }
}

/** Freed in the wrong order: the pointers are SIGBUS, and unmap still works, also after the session's end. */
static void freed_before_it_is_unmapped(void **state)
{
    struct fixture *fixture = *state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        sublet_mapping *map;
        fixture_region(fixture, BYTES, over_tcp);
        sublet_region *region = region_of(fixture);
        unsigned char *there = map_of(region, 0, BYTES, 0, &map);
        assert_true(touch_all(there, BYTES));
        sublet_region_free(region);
        assert_false(touch_all(there, 1));
        assert_int_equal(sublet_map_flush(map), SUBLET_ERR_REVOKED);
        assert_int_equal(sublet_unmap(map), SUBLET_ERR_REVOKED);
    }
}

static void bounds(void **state)
{
    struct fixture *fixture = *state;
    void *pointer = &pointer;
    sublet_mapping *map = NULL;
    sublet_map_options options = SUBLET_MAP_OPTIONS_INIT;
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture);
    assert_int_equal(sublet_map(region, 100, 4096, NULL, &pointer, &map), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_map(region, 0, 0, NULL, &pointer, &map), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_map(region, 4096, BYTES, NULL, &pointer, &map), SUBLET_ERR_INVALID);
    assert_int_equal(sublet_map(region, UINT64_MAX - 4095, 8192, NULL, &pointer, &map), SUBLET_ERR_INVALID);
    options.flags = 64;
    assert_int_equal(sublet_map(region, 0, 4096, &options, &pointer, &map), SUBLET_ERR_INVALID);
    options.flags = 0;
    options.cache_bytes = 4096;
    assert_int_equal(sublet_map(region, 0, 4096, &options, &pointer, &map), SUBLET_ERR_INVALID);
    assert_ptr_equal(pointer, &pointer);
    assert_null(map);
    assert_int_equal(sublet_map(region, BYTES - 4096, 4096, NULL, &pointer, &map), SUBLET_OK);
    memset(pointer, 1, 4096);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    assert_int_equal(sublet_unmap(NULL), SUBLET_OK);
    sublet_region_free(region);
}

/** System calls into pages that are not there: served where kernel_faults says so, else EFAULT and no wait. */
static void system_calls(void **state)
{
    struct fixture *fixture = *state;
    sublet_mapping *map;
    int pipe_fds[2];
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture);
    char *there = map_of(region, 0, BYTES, 0, &map);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    ssize_t moved = write(pipe_fds[1], there + (1 << 20), 16);
    if (info_of(map).kernel_faults)
        assert_int_equal(moved, 16);
    else
        assert_int_equal(moved, -1);
    volatile char first = there[2 << 20];
    (void)first;
    assert_int_equal(write(pipe_fds[1], there + (2 << 20), 16), 16);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    sublet_region_free(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_and_streams_here, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(random_and_streams_there, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(random_and_streams_paged_here, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(follows_the_pattern, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(several_threads, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(the_node_goes, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(revoked, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(freed_before_it_is_unmapped, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(bounds, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(system_calls, fixture_start, fixture_stop),
    };
    if (getenv("SUBLET_TEST_ONLY") != NULL)
        cmocka_set_test_filter(getenv("SUBLET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
