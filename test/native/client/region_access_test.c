/** Atomics, lists, strides, fence: the same by mapping and over TCP, and both ways at once. */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define BYTES (UINT64_C(8) << 20)

static sublet_region *region_of(struct fixture *fixture)
{
    sublet_region *region = NULL;
    if (sublet_region_alloc(fixture->session, BYTES, NULL, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

/** The same memory twice: as this node has it, and over TCP. */
static void both_ways(struct fixture *fixture, sublet_region *regions[2])
{
    struct executor *executor = fixture_region(fixture, BYTES, true);
    regions[1] = region_of(fixture);
    struct grant twin = executor->grant;
    snprintf(twin.id, sizeof(twin.id), "twin");
    snprintf(twin.unix_path, sizeof(twin.unix_path), "%s", executor->unix_path);
    fake_agent_offer(fixture->agent, &twin);
    regions[0] = region_of(fixture);
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sublet_region_info_get(regions[i], &info), SUBLET_OK);
        assert_int_equal(info.same_node, i == 0);
    }
}

static void free_both(sublet_region *regions[2])
{
    sublet_region_free(regions[0]);
    sublet_region_free(regions[1]);
}

struct adder {
    sublet_region *region;
    uint64_t sum; /* of what it found */
    bool swaps;
};

/** In the emulated machine of test/vm each costs a hundred times as much. */
static uint32_t adds(void)
{
    return getenv("SUBLET_TEST_FEW") == NULL ? 20000 : 300;
}

static void *add(void *argument)
{
    struct adder *adder = argument;
    uint64_t before = 0, seen = 0;
    uint32_t count = adds();
    for (uint32_t i = 0; i < count; i++) {
        if (!adder->swaps) {
            if (sublet_region_fetch_add(adder->region, 64, 3, &before) != SUBLET_OK)
                return adder;
        } else
            for (;; seen = before) { /* an add of 3, made of swaps */
                if (sublet_region_compare_swap(adder->region, 64, seen, seen + 3, &before) != SUBLET_OK)
                    return adder;
                if (before == seen)
                    break;
            }
        adder->sum += before;
    }
    return NULL;
}

/** Four threads, two ways, two kinds: every value between 0 and the end is found by exactly one of them. */
static void atomic_by_both_ways(void **state)
{
    sublet_region *regions[2];
    both_ways(*state, regions);
    struct adder adders[4] = {
        {regions[0], 0, false}, {regions[1], 0, false}, {regions[0], 0, true}, {regions[1], 0, true}};
    pthread_t threads[4];
    uint64_t found = 0, end = 0, count = UINT64_C(4) * adds();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add, &adders[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        found += adders[i].sum;
    }
    assert_int_equal(sublet_region_get(regions[0], 64, &end, 8), SUBLET_OK);
    assert_true(end == count * 3);
    assert_true(found == 3 * (count * (count - 1) / 2));
    free_both(regions);
}

static void atomic_bounds(void **state)
{
    sublet_region *regions[2];
    both_ways(*state, regions);
    for (int i = 0; i < 2; i++) {
        uint64_t before = 7;
        assert_int_equal(sublet_region_fetch_add(regions[i], 4, 1, &before), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_fetch_add(regions[i], BYTES, 1, &before), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_compare_swap(regions[i], UINT64_MAX - 7, 1, 1, &before), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_fetch_add(regions[i], 0, 1, NULL), SUBLET_ERR_INVALID);
        assert_int_equal(before, 7);
        assert_int_equal(sublet_region_fetch_add_async(regions[i], BYTES - 8, 5, &before), SUBLET_OK);
        assert_int_equal(sublet_region_flush(regions[i]), SUBLET_OK);
        assert_int_equal(before, 5 * i);
    }
    free_both(regions);
}

/** A column of a matrix out, changed and back; then pieces of all sizes in a random order. */
static void strided_and_lists(void **state)
{
    enum { ROWS = 1024, COLUMNS = 1024, PIECES = 3000 };
    sublet_region *regions[2];
    both_ways(*state, regions);
    uint64_t *matrix = malloc(BYTES), *back = malloc(BYTES), column[ROWS];
    unsigned char *content = malloc(BYTES), *got = malloc(BYTES);
    sublet_region_piece *pieces = calloc(PIECES, sizeof(*pieces));
    for (size_t i = 0; i < BYTES / 8; i++)
        matrix[i] = i * 0x9e3779b97f4a7c15u;
    for (int way = 0; way < 2; way++) {
        sublet_region *region = regions[way], *other = regions[1 - way];
        assert_int_equal(sublet_region_put(other, 0, matrix, BYTES), SUBLET_OK);
        assert_int_equal(sublet_region_get_strided(region, 7 * 8, ROWS, 8, COLUMNS * 8, column), SUBLET_OK);
        for (size_t row = 0; row < ROWS; row++) {
            assert_true(column[row] == matrix[row * COLUMNS + 7]);
            column[row] = matrix[row * COLUMNS + 9] = row + 1;
        }
        assert_int_equal(sublet_region_put_strided(region, 9 * 8, ROWS, 8, COLUMNS * 8, column), SUBLET_OK);
        assert_int_equal(sublet_region_get(other, 0, back, BYTES), SUBLET_OK);
        assert_memory_equal(back, matrix, BYTES);
        /* blocks larger than a chunk, and a stride that ends exactly at the end */
        assert_int_equal(sublet_region_get_strided(region, 0, 2, 3 << 20, BYTES - (3 << 20), got), SUBLET_OK);
        assert_memory_equal(got, matrix, 3 << 20);
        assert_memory_equal(got + (3 << 20), (char *)matrix + BYTES - (3 << 20), 3 << 20);
        size_t total = 0;
        for (size_t i = 0, at = 0; i < PIECES; i++) {
            size_t size = i % 1000 == 7 ? 2000000 : i % 5 == 0 ? 0 : i % 700;
            if (at + size > BYTES)
                size = 0;
            pieces[PIECES - 1 - i] =
                (sublet_region_piece){.offset = at, .bytes = size == 0 ? NULL : content + at, .size = size};
            at += size;
            total = at;
        }
        for (size_t i = 0; i < total; i++)
            content[i] = (unsigned char)(i * 7 + i / 251 + (size_t)way);
        assert_int_equal(sublet_region_put_list(region, pieces, PIECES), SUBLET_OK);
        assert_int_equal(sublet_region_get(other, 0, got, total), SUBLET_OK);
        assert_memory_equal(got, content, total);
        memset(got, 0xee, total);
        for (size_t i = 0; i < PIECES; i++)
            pieces[i].bytes = got + pieces[i].offset;
        assert_int_equal(sublet_region_get_list_async(region, pieces, PIECES), SUBLET_OK);
        memset(pieces, 0xff, PIECES / 2 * sizeof(*pieces)); /* the list was copied */
        assert_int_equal(sublet_region_flush(region), SUBLET_OK);
        assert_memory_equal(got, content, total);
        matrix[0]++;
    }
    free_both(regions);
    free(matrix);
    free(back);
    free(content);
    free(got);
    free(pieces);
}

static void strided_bounds(void **state)
{
    sublet_region *regions[2];
    char bytes[64];
    sublet_region_piece piece = {.offset = BYTES - 8, .bytes = bytes, .size = 9};
    both_ways(*state, regions);
    for (int i = 0; i < 2; i++) {
        sublet_region *region = regions[i];
        assert_int_equal(sublet_region_get_strided(region, 0, 2, 8, BYTES, bytes), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get_strided(region, 8, 3, 8, UINT64_MAX / 2, bytes), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get_strided(region, 0, 2, 8, 7, bytes), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get_strided(region, 0, SIZE_MAX, 8, 8, bytes), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_put_strided(region, 0, 1, 0, 8, bytes), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_get_strided(region, 0, 0, 8, 8, NULL), SUBLET_OK);
        assert_int_equal(sublet_region_get_list(region, &piece, 1), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_put_list(region, NULL, 1), SUBLET_ERR_INVALID);
        assert_int_equal(sublet_region_put_list(region, NULL, 0), SUBLET_OK);
        assert_int_equal(sublet_region_fence(region), SUBLET_OK);
    }
    free_both(regions);
}

struct reader {
    sublet_region *region;
    atomic_bool stop;
    bool broken;
    uint64_t rounds;
};

/** Whoever sees the flag sees the data: behind a fence, through the other way. */
static void *read_behind(void *argument)
{
    struct reader *reader = argument;
    while (!atomic_load(&reader->stop)) {
        uint64_t flag = 0, data = 0;
        if (sublet_region_get(reader->region, 4096, &flag, 8) != SUBLET_OK ||
            sublet_region_get(reader->region, 1 << 20, &data, 8) != SUBLET_OK || data < flag) {
            reader->broken = true;
            break;
        }
        reader->rounds++;
    }
    return NULL;
}

static void fenced(void **state)
{
    sublet_region *regions[2];
    both_ways(*state, regions);
    for (int way = 0; way < 2; way++) {
        struct reader reader = {.region = regions[1 - way]};
        static uint64_t values[20000];
        uint64_t base = (uint64_t)way * 20000;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, read_behind, &reader), 0);
        for (size_t i = 0; i < 20000; i++) {
            values[i] = base + i + 1;
            assert_int_equal(sublet_region_put_async(regions[way], 1 << 20, &values[i], 8), SUBLET_OK);
            assert_int_equal(sublet_region_fence(regions[way]), SUBLET_OK);
            assert_int_equal(sublet_region_put_async(regions[way], 4096, &values[i], 8), SUBLET_OK);
        }
        assert_int_equal(sublet_region_flush(regions[way]), SUBLET_OK);
        atomic_store(&reader.stop, true);
        pthread_join(thread, NULL);
        assert_false(reader.broken);
    }
    free_both(regions);
}

struct many {
    sublet_region *region;
    uint32_t number;
};

static void *put_and_get(void *argument)
{
    struct many *many = argument;
    unsigned char bytes[5000], got[5000];
    for (uint32_t i = 0; i < 3000; i++) {
        size_t size = 1 + (i * 37 + many->number) % sizeof(bytes);
        memset(bytes, (int)(i + many->number * 31), size);
        uint64_t offset = (uint64_t)many->number << 20 | (i * 64 % 65536);
        if (sublet_region_put(many->region, offset, bytes, size) != SUBLET_OK ||
            sublet_region_get(many->region, offset, got, size) != SUBLET_OK || memcmp(bytes, got, size) != 0)
            return many;
    }
    return NULL;
}

/** Several threads of one client share the connection. */
static void many_threads(void **state)
{
    sublet_region *regions[2];
    both_ways(*state, regions);
    pthread_t threads[8];
    struct many many[8];
    for (uint32_t i = 0; i < 8; i++) {
        many[i] = (struct many){.region = regions[i < 6], .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, put_and_get, &many[i]), 0);
    }
    for (uint32_t i = 0; i < 8; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    free_both(regions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(atomic_by_both_ways, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(atomic_bounds, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(strided_and_lists, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(strided_bounds, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(fenced, fixture_start, fixture_stop),
        cmocka_unit_test_setup_teardown(many_threads, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
