/**
 * Regions over a fabric: that it is one, that nothing is lost or overtaken, who sleeps, and what becomes of those who
 * use it when its service, its executor or the fabric itself ends. Over the provider that SUBLET_FABRIC_PROVIDER names.
 * What the memory really holds is seen by a second way to it, the mapping. The suites of regions, mappings and durable
 * regions run over a fabric, too (CMakeLists.txt).
 */
#include "fixture.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define BYTES          (UINT64_C(8) << 20)
#define OVERHEAD_BYTES (UINT64_C(128) << 20) /* what agent/reactor/draft.ts adds to a region for it */

static const char *provider(void)
{
    return getenv("SUBLET_FABRIC_PROVIDER");
}

/** Does its software move bytes, which a stopped process cannot? Else the adapter does. */
static bool software(void)
{
    return strncmp(provider(), "verbs", 5) != 0;
}

static sublet_lease_info info_of(const sublet_region *region)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
    return info;
}

static void expect_path(const sublet_region *region, const char *path, uint64_t falls)
{
    sublet_lease_info info = info_of(region);
    assert_string_equal(info.path, path);
    assert_int_equal(info.fabric_falls, falls);
}

static sublet_region *region_of(struct fixture *fixture)
{
    sublet_region *region = NULL;
    if (sublet_region_alloc(fixture->session, BYTES, NULL, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

/** A region over the fabric, and the same memory as its own node has it. */
static sublet_region *both(struct fixture *fixture, struct executor **executor_out, sublet_region **twin_out)
{
    struct executor *executor = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture);
    expect_path(region, provider(), 0);
    struct grant twin = executor->grant;
    snprintf(twin.id, sizeof(twin.id), "twin");
    snprintf(twin.unix_path, sizeof(twin.unix_path), "%s", executor->unix_path);
    fake_agent_offer(fixture->agent, &twin);
    *twin_out = region_of(fixture);
    expect_path(*twin_out, "memory", 0);
    *executor_out = executor;
    return region;
}

/** The executor's only child. */
static pid_t service_of(const struct executor *executor)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", executor->pid, executor->pid);
    FILE *children = fopen(path, "re");
    assert_non_null(children);
    if (fscanf(children, "%d", &pid) != 1)
        pid = 0;
    fclose(children);
    return pid;
}

static void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i + seed) * 0x9e3779b97f4a7c15u >> 56);
}

static void every_size_comes_back(void **state)
{
    static const size_t sizes[] = {1, 7, 64, 4096, 32767, 32768, 65536, 65537, 1 << 20, (3 << 20) + 5};
    sublet_region *region, *twin;
    struct executor *executor;
    unsigned char *in = malloc(BYTES), *out = malloc(BYTES);
    region = both(*state, &executor, &twin);
    for (uint32_t i = 0; i < 20; i++) {
        size_t size = sizes[i % 10], offset = i * 4099;
        fill(in, size, i);
        assert_int_equal(sublet_region_put(region, offset, in, size), SUBLET_OK);
        assert_int_equal(sublet_region_get(twin, offset, out, size), SUBLET_OK);
        assert_memory_equal(in, out, size);
        memset(out, 0, size);
        assert_int_equal(sublet_region_get(region, offset, out, size), SUBLET_OK);
        assert_memory_equal(in, out, size);
    }
    assert_int_equal(sublet_region_put(region, BYTES - 1, in, 2), SUBLET_ERR_INVALID);
    static const char constant[40000] = "cannot be written, so no adapter takes it";
    assert_int_equal(sublet_region_put(region, 17, constant, sizeof(constant)), SUBLET_OK);
    assert_int_equal(sublet_region_get(twin, 17, out, sizeof(constant)), SUBLET_OK);
    assert_memory_equal(out, constant, sizeof(constant));
    expect_path(region, provider(), 0);
    free(in);
    free(out);
}

/** Far more accesses than may be under way; then the background thread alone moves some. */
static void many_are_under_way(void **state)
{
    enum { COUNT = 5000 };
    static uint64_t in[COUNT], out[COUNT];
    sublet_region *region, *twin;
    struct executor *executor;
    region = both(*state, &executor, &twin);
    for (uint32_t i = 0; i < COUNT; i++) {
        in[i] = i * 0x9e3779b97f4a7c15u + 1;
        assert_int_equal(sublet_region_put_async(region, i * 512, &in[i], 8), SUBLET_OK);
    }
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(sublet_region_get_async(region, i * 512, &out[i], 8), SUBLET_OK);
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    assert_memory_equal(in, out, sizeof(in));
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(sublet_region_put_async(region, 8 + i * 512, &in[i], 8), SUBLET_OK);
    uint64_t seen = 0, end_ns = time_ns() + 5000000000u;
    while (seen != in[199] && time_ns() < end_ns) {
        poll(NULL, 0, 1);
        assert_int_equal(sublet_region_get(twin, 8 + 199 * 512, &seen, 8), SUBLET_OK);
    }
    assert_true(seen == in[199]);
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
}

/** Puts of all sizes to the same bytes, all begun at once: the last one stays. So do those of a list. */
static void what_overlaps_lands_in_order(void **state)
{
    enum { ROUNDS = 40, PUTS = 40, SIZE = 200000 };
    sublet_region *region, *twin;
    struct executor *executor;
    unsigned char *in = malloc((size_t)PUTS * SIZE), *out = malloc(SIZE), *expected = malloc(SIZE);
    region = both(*state, &executor, &twin);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        sublet_region_piece pieces[PUTS];
        uint64_t before = 0;
        memset(expected, 0, SIZE);
        assert_int_equal(sublet_region_put(region, 0, expected, SIZE), SUBLET_OK);
        for (uint32_t i = 0; i < PUTS; i++) {
            size_t size = i % 3 == 0 ? SIZE : 16 + (i * 7919 + round * 104729) % 5000, at = i % 3 == 0 ? 0 : i * 8;
            memset(in + (size_t)i * SIZE, (int)(round + i), size);
            memset(expected + at, (int)(round + i), size);
            pieces[i] = (sublet_region_piece){at, in + (size_t)i * SIZE, size};
            if (round % 2 == 0)
                assert_int_equal(sublet_region_put_async(region, at, pieces[i].bytes, size), SUBLET_OK);
        }
        if (round % 2 == 1)
            assert_int_equal(sublet_region_put_list_async(region, pieces, PUTS), SUBLET_OK);
        assert_int_equal(sublet_region_fetch_add_async(region, 0, 1, &before), SUBLET_OK);
        assert_int_equal(sublet_region_get_async(region, 0, out, SIZE), SUBLET_OK);
        assert_int_equal(sublet_region_flush(region), SUBLET_OK);
        uint64_t word;
        memcpy(&word, expected, 8);
        assert_true(before == word);
        word++;
        memcpy(expected, &word, 8);
        assert_memory_equal(out, expected, SIZE);
    }
    free(in);
    free(out);
    free(expected);
}

struct watcher {
    sublet_region *twin;
    atomic_bool stop;
    _Atomic uint64_t seen, wrong;
};

/** Whoever sees the flag must see all of the content that was put before the fence. */
static void *watch(void *argument)
{
    struct watcher *watcher = argument;
    uint64_t last = 0, flag = 0, word;
    while (!atomic_load(&watcher->stop)) {
        sublet_region_get(watcher->twin, BYTES - 8, &flag, 8);
        atomic_thread_fence(memory_order_seq_cst);
        if (flag == last)
            continue;
        last = flag;
        watcher->seen++;
        for (uint64_t at = 0; at < (UINT64_C(1) << 20); at += 65536) {
            sublet_region_get(watcher->twin, at, &word, 8);
            watcher->wrong += word < flag;
        }
    }
    return NULL;
}

static void a_fence_is_kept(void **state)
{
    enum { ROUNDS = 300, WORDS = (1 << 20) / 8, FLAGS = 64 };
    sublet_region *region;
    struct executor *executor;
    struct watcher watcher = {0};
    pthread_t thread;
    uint64_t *content = malloc(2 * WORDS * 8), flags[2];
    sublet_region_piece pieces[FLAGS]; /* so many that they go over the stream, which could overtake */
    region = both(*state, &executor, &watcher.twin);
    assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint64_t *words = content + round % 2 * WORDS;
        for (uint32_t i = 0; i < WORDS; i += 8192)
            words[i] = round;
        flags[round % 2] = round;
        for (uint64_t i = 0; i < FLAGS; i++)
            pieces[i] = (sublet_region_piece){BYTES - 8 - i * 64, &flags[round % 2], 8};
        assert_int_equal(sublet_region_put_async(region, 0, words, WORDS * 8), SUBLET_OK);
        assert_int_equal(sublet_region_fence(region), SUBLET_OK);
        assert_int_equal(sublet_region_put_list_async(region, pieces, FLAGS), SUBLET_OK);
        if (round % 2 == 0)
            assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    }
    uint64_t end_ns = time_ns() + 5000000000u;
    while (watcher.seen == 0 && time_ns() < end_ns)
        poll(NULL, 0, 1);
    atomic_store(&watcher.stop, true);
    pthread_join(thread, NULL);
    assert_true(watcher.seen > 0);
    assert_int_equal(watcher.wrong, 0);
    free(content);
}

struct user {
    sublet_region *region;
    uint64_t number;
    atomic_bool *stop;
    uint64_t rounds;
    sublet_status status;
    bool wrong;
};

/** Writes and reads back its own part, in all forms; once at least, however late it comes to run. */
static void *use(void *argument)
{
    struct user *user = argument;
    unsigned char *in = malloc(300000), *out = malloc(300000);
    uint64_t base = user->number * (UINT64_C(1) << 20);
    for (uint64_t i = 0; user->status == SUBLET_OK && !user->wrong && (i == 0 || !atomic_load(user->stop)); i++) {
        size_t size = i % 4 == 0 ? 300000 : 1 + i * 37 % 9000;
        fill(in, size, i * 5 + user->number);
        user->status = sublet_region_put(user->region, base + i % 100, in, size);
        if (user->status == SUBLET_OK)
            user->status = sublet_region_get(user->region, base + i % 100, out, size);
        user->wrong = user->status == SUBLET_OK && memcmp(in, out, size) != 0;
        user->rounds++;
    }
    free(in);
    free(out);
    return NULL;
}

static void start_users(sublet_region *region, struct user *users, pthread_t *threads, int count, atomic_bool *stop)
{
    for (int i = 0; i < count; i++) {
        users[i] = (struct user){.region = region, .number = (uint64_t)i, .stop = stop};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    poll(NULL, 0, 200);
}

static void threads_share_a_region(void **state)
{
    sublet_region *region, *twin;
    struct executor *executor;
    static struct user users[4];
    pthread_t threads[4];
    static atomic_bool stop;
    region = both(*state, &executor, &twin);
    atomic_store(&stop, false);
    start_users(region, users, threads, 4, &stop);
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].status, SUBLET_OK);
        assert_false(users[i].wrong);
        assert_true(users[i].rounds > 0);
    }
    expect_path(region, provider(), 0);
}

/** Its service is killed: all goes on over TCP, with what was under way. */
static void a_dead_service_is_gone_around(void **state)
{
    enum { COUNT = 3000 };
    static uint64_t words[COUNT], back[COUNT];
    sublet_region *region, *twin;
    struct executor *executor;
    static struct user users[3];
    pthread_t threads[3];
    static atomic_bool stop;
    region = both(*state, &executor, &twin);
    atomic_store(&stop, false);
    start_users(region, users, threads, 3, &stop);
    for (uint32_t i = 0; i < COUNT; i++) {
        words[i] = i + 1;
        assert_int_equal(sublet_region_put_async(region, (UINT64_C(4) << 20) + i * 64, &words[i], 8), SUBLET_OK);
        if (i == COUNT / 2)
            assert_int_equal(kill(service_of(executor), SIGKILL), 0);
    }
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    poll(NULL, 0, 200);
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].status, SUBLET_OK);
        assert_false(users[i].wrong);
    }
    assert_int_equal(sublet_region_get_strided(twin, UINT64_C(4) << 20, COUNT, 8, 64, back), SUBLET_OK);
    assert_memory_equal(words, back, sizeof(words));
    memset(back, 0, sizeof(back));
    assert_int_equal(sublet_region_get_strided(region, UINT64_C(4) << 20, COUNT, 8, 64, back), SUBLET_OK);
    assert_memory_equal(words, back, sizeof(words));
    expect_path(region, "tcp", 1);
    sublet_region_free(region);
    fake_agent_offer(((struct fixture *)*state)->agent, &executor->grant);
    region = region_of(*state); /* a client that comes later */
    expect_path(region, "tcp", 1);
    assert_int_equal(sublet_region_get(region, UINT64_C(4) << 20, back, 8), SUBLET_OK);
    assert_int_equal(back[0], 1);
}

/** The executor dies with accesses of all kinds under way: each ends, with an error that says so. */
static void a_dead_executor_is_noticed(void **state)
{
    sublet_region *region, *twin;
    struct executor *executor;
    static struct user users[3];
    pthread_t threads[3];
    static atomic_bool stop;
    static unsigned char late[1 << 20];
    region = both(*state, &executor, &twin);
    atomic_store(&stop, false);
    start_users(region, users, threads, 3, &stop);
    for (uint32_t i = 0; i < 100; i++)
        if (sublet_region_get_async(region, UINT64_C(4) << 20, late, sizeof(late)) != SUBLET_OK)
            break;
    executor_kill(executor);
    sublet_status status = sublet_region_flush(region);
    if (status != SUBLET_OK) /* it may all have come before */
        assert_true(status == SUBLET_ERR_LOST || status == SUBLET_ERR_REVOKED);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_true(users[i].status == SUBLET_ERR_LOST || users[i].status == SUBLET_ERR_REVOKED);
        assert_false(users[i].wrong);
    }
    status = sublet_region_put(region, 0, late, 1);
    assert_true(status == SUBLET_ERR_LOST || status == SUBLET_ERR_REVOKED);
}

struct pause {
    pid_t pid;
    int ms;
};

static void *go_on(void *argument)
{
    const struct pause *paused = argument;
    poll(NULL, 0, paused->ms);
    kill(paused->pid, SIGCONT);
    return NULL;
}

/** The fabric stands still for longer than is waited: the other side is told, answers, and all goes on over TCP. */
static void a_fabric_that_stands_still_is_left(void **state)
{
    sublet_region *region, *twin;
    struct executor *executor;
    pthread_t thread;
    unsigned char in[5000], out[5000] = {0};
    if (!software()) {
        print_message("skipped: over %s the adapter moves bytes, whoever stands still\n", provider());
        skip();
    }
    region = both(*state, &executor, &twin);
    struct pause paused = {service_of(executor), (int)fixture_timeout_ms * 6 / 10};
    fill(in, sizeof(in), 3);
    assert_int_equal(kill(paused.pid, SIGSTOP), 0);
    assert_int_equal(pthread_create(&thread, NULL, go_on, &paused), 0);
    assert_int_equal(sublet_region_put_async(region, 100, in, sizeof(in)), SUBLET_OK);
    assert_int_equal(sublet_region_get(region, 100, out, sizeof(out)), SUBLET_OK);
    pthread_join(thread, NULL);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    expect_path(region, "tcp", 1);
    for (uint64_t end_ns = time_ns() + 5000000000u; service_of(executor) != 0 && time_ns() < end_ns;)
        poll(NULL, 0, 1);
    assert_int_equal(service_of(executor), 0); /* its key is dead for all */
}

/** It says nothing at all any more: an error within the session's time, and nothing comes late. */
static void a_fabric_that_says_nothing_is_an_error(void **state)
{
    sublet_region *region, *twin;
    struct executor *executor;
    static unsigned char out[1 << 20], kept[1 << 20];
    if (!software()) {
        print_message("skipped: over %s the adapter moves bytes, whoever stands still\n", provider());
        skip();
    }
    region = both(*state, &executor, &twin);
    memset(kept, 9, sizeof(kept));
    assert_int_equal(sublet_region_put(twin, 0, kept, sizeof(kept)), SUBLET_OK);
    pid_t pid = service_of(executor);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    uint64_t began_ns = time_ns();
    sublet_status status = sublet_region_get(region, 0, out, sizeof(out));
    assert_int_equal(status, SUBLET_ERR_TIMEOUT);
    assert_true(time_ns() - began_ns < UINT64_C(2000000) * fixture_timeout_ms);
    memset(out, 5, sizeof(out));
    memset(kept, 5, sizeof(kept));
    kill(pid, SIGCONT);
    poll(NULL, 0, 300);
    assert_memory_equal(out, kept, sizeof(out));
    status = sublet_region_put(region, 0, out, 1);
    assert_true(status == SUBLET_ERR_LOST || status == SUBLET_ERR_REVOKED);
}

static uint64_t ticks_of(pid_t pid)
{
    char path[64];
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel),
                     2);
    fclose(file);
    return user + kernel;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/** What the process has for itself: it is charged to the lease, beside the region. */
static uint64_t own_bytes(pid_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (kib == 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "RssAnon: %lu kB", &kib);
    fclose(file);
    return kib * 1024;
}
#endif

/** Nobody polls on the lender's cores. Where an adapter does the work, not even under way. */
static void the_service_sleeps(void **state)
{
    sublet_region *region, *twin;
    struct executor *executor;
    uint64_t word = 7;
    region = both(*state, &executor, &twin);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(sublet_region_put(region, i * 8, &word, 8), SUBLET_OK);
    pid_t pid = service_of(executor);
    poll(NULL, 0, 100);
    uint64_t before = ticks_of(pid);
    uint64_t end_ns = time_ns() + 2000000000u;
    while (!software() && time_ns() < end_ns)
        assert_int_equal(sublet_region_put(region, 0, &word, 8), SUBLET_OK);
    while (time_ns() < end_ns)
        poll(NULL, 0, 100);
    assert_in_range(ticks_of(pid) - before, 0, 10); /* of 200 */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    print_message("the service has %llu KiB of its own\n", (unsigned long long)own_bytes(pid) / 1024);
    assert_in_range(own_bytes(pid), 1, OVERHEAD_BYTES * 3 / 4);
#endif
}

static void without_a_fabric_there_it_is_tcp(void **state)
{
    struct fixture *fixture = *state;
    char named[32];
    uint64_t word = 3;
    snprintf(named, sizeof(named), "%s", provider());
    setenv("SUBLET_FABRIC_PROVIDER", "none", 1); /* of the executor */
    fixture_region(fixture, BYTES, true);
    setenv("SUBLET_FABRIC_PROVIDER", named, 1);
    sublet_region *region = region_of(fixture);
    expect_path(region, "tcp", 0);
    assert_int_equal(sublet_region_put(region, 0, &word, 8), SUBLET_OK);
    setenv("SUBLET_FABRIC_PROVIDER", strcmp(named, "net") == 0 ? "tcp" : "net", 1); /* there, another than here */
    fixture_region(fixture, BYTES, true);
    setenv("SUBLET_FABRIC_PROVIDER", named, 1);
    region = region_of(fixture);
    expect_path(region, "tcp", 1);
    assert_int_equal(sublet_region_put(region, 0, &word, 8), SUBLET_OK);
}

int main(void)
{
    if (provider() == NULL)
        return fprintf(stderr, "SUBLET_FABRIC_PROVIDER must name one\n"), 2;
    fixture_timeout_ms = software() ? 6000 : 30000;
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)
    const struct CMUnitTest tests[] = {
        TEST(every_size_comes_back),
        TEST(many_are_under_way),
        TEST(what_overlaps_lands_in_order),
        TEST(a_fence_is_kept),
        TEST(threads_share_a_region),
        TEST(a_dead_service_is_gone_around),
        TEST(a_dead_executor_is_noticed),
        TEST(a_fabric_that_stands_still_is_left),
        TEST(a_fabric_that_says_nothing_is_an_error),
        TEST(the_service_sleeps),
        TEST(without_a_fabric_there_it_is_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
