/** Arguments and results beyond the lease's usual sizes, by ring and over TCP: sizes, limits, and ends in the middle.
 */
#include "fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#if defined(__SANITIZE_ADDRESS__)
#define HUGE_BYTES (192 * MIB)
#else
#define HUGE_BYTES (1536 * MIB)
#endif
#define TILE_BYTES (64 * MIB)

static int start(void **state, bool over_tcp, uint64_t memory)
{
    assert_int_equal(fixture_start(state), 0);
    struct fixture *fixture = *state;
    fixture->memory_bytes = memory;
    fixture_function(fixture, "0", over_tcp);
    return 0;
}

static int start_here(void **state)
{
    return start(state, false, 4096 * MIB);
}

static int start_there(void **state)
{
    return start(state, true, 4096 * MIB);
}

static int start_small_here(void **state)
{
    return start(state, false, 64 * MIB);
}

static int start_small_there(void **state)
{
    return start(state, true, 64 * MIB);
}

static sublet_call_options remote(uint64_t timeout_ms)
{
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.timeout_ms = timeout_ms;
    return options;
}

static uint32_t word_at(uint64_t index)
{
    return (uint32_t)(index * 2654435761u);
}

/** Arguments of any size for the price of one tile: the same pages, again and again. */
static void *tiled(uint64_t bytes)
{
    int fd = memfd_create("tile", MFD_CLOEXEC);
    assert_true(fd >= 0 && bytes % TILE_BYTES == 0);
    assert_int_equal(ftruncate(fd, TILE_BYTES), 0);
    unsigned char *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(base != MAP_FAILED);
    for (uint64_t at = 0; at < bytes; at += TILE_BYTES)
        assert_true(mmap(base + at, TILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
    close(fd);
    for (uint64_t i = 0; i < TILE_BYTES / 4; i++)
        ((uint32_t *)(void *)base)[i] = word_at(i);
    return base;
}

static void assert_tiled(const void *result, uint64_t bytes)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < bytes / 4; i++)
        wrong += ((const uint32_t *)result)[i] != word_at(i % (TILE_BYTES / 4));
    assert_int_equal(wrong, 0);
}

static void any_size_comes_back(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {(1 << 20) + 1, 3000001, 20 << 20, 64 << 20};
    sublet_call_options options = remote(0);
    lease_of(fixture, 1, 4);
    unsigned char *in = tiled(TILE_BYTES), *out = malloc(TILE_BYTES);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t bytes = 0;
        char small[8];
        memset(out, 0, sizes[i]);
        assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "echo"), in, sizes[i], out, sizes[i],
                                       &bytes, &options),
                         SUBLET_OK);
        assert_int_equal(bytes, sizes[i]);
        assert_memory_equal(in, out, sizes[i]);
        assert_int_equal(
            sublet_invoke(fixture->session, function_of(fixture, "echo"), "small", 6, small, 8, &bytes, &options),
            SUBLET_OK);
        assert_string_equal(small, "small");
    }
    munmap(in, TILE_BYTES);
    free(out);
}

static void more_than_a_gib_comes_back(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = remote(0);
    lease_of(fixture, 1, 4);
    void *in = tiled(HUGE_BYTES), *out = NULL;
    size_t bytes = 0;
    uint64_t begin_ns = time_ns();
    sublet_status status = sublet_invoke_alloc(fixture->session, function_of(fixture, "echo"), in, HUGE_BYTES,
                                               HUGE_BYTES, &out, &bytes, &options);
    if (status != SUBLET_OK)
        fail_msg("%s: %s", sublet_status_text(status), sublet_last_error());
    print_message("%llu MiB there and back: %.2f s\n", (unsigned long long)(HUGE_BYTES / MIB),
                  (double)(time_ns() - begin_ns) / 1e9);
    assert_int_equal(bytes, HUGE_BYTES);
    assert_tiled(out, bytes);
    sublet_free(out);
    munmap(in, HUGE_BYTES);
}

static void a_result_of_unknown_size(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = remote(0);
    sublet_function_ref *repeat = function_of(fixture, "repeat");
    lease_of(fixture, 1, 4);
    for (int local = 0; local < 2; local++)
        for (uint64_t want = 1; want <= 24 * MIB; want = want * 5 + 1) {
            void *out = NULL;
            size_t bytes = 0;
            char none[1];
            options.flags = local != 0 ? 0 : SUBLET_CALL_NO_LOCAL;
            assert_int_equal(
                sublet_invoke_alloc(fixture->session, repeat, &want, sizeof(want), 0, &out, &bytes, &options),
                SUBLET_OK);
            assert_int_equal(bytes, want);
            assert_true(((char *)out)[0] == 'x' && ((char *)out)[want - 1] == 'x');
            sublet_free(out);
            if (want == 1)
                continue;
            /* A buffer that is too small: the size that is needed. */
            assert_int_equal(sublet_invoke(fixture->session, repeat, &want, sizeof(want), none, 1, &bytes, &options),
                             SUBLET_ERR_TOO_LARGE);
            if (options.flags == 0)
                assert_int_equal(bytes, want);
        }
    sublet_free(NULL);
}

/** The lease has 64 MiB: half for arguments, half for results. */
static void what_the_lease_cannot_hold_is_refused(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = remote(0);
    size_t bytes = 0;
    lease_of(fixture, 1, 4);
    unsigned char *in = tiled(TILE_BYTES), *out = malloc(TILE_BYTES);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(
            sublet_invoke(fixture->session, function_of(fixture, "echo"), in, 40 * MIB, out, 1, &bytes, &options),
            SUBLET_ERR_TOO_LARGE);
        assert_int_equal(
            sublet_invoke(fixture->session, function_of(fixture, "echo"), in, 1, out, 40 * MIB, &bytes, &options),
            SUBLET_ERR_TOO_LARGE);
        assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "echo"), in, 30 * MIB, out, 30 * MIB,
                                       &bytes, &options),
                         SUBLET_OK);
        assert_memory_equal(in, out, 30 * MIB);
    }
    munmap(in, TILE_BYTES);
    free(out);
}

static pid_t worker_of(struct fixture *fixture)
{
    pid_t pid = 0;
    size_t bytes;
    sublet_call_options options = remote(0);
    assert_int_equal(
        sublet_invoke(fixture->session, function_of(fixture, "where"), NULL, 0, &pid, sizeof(pid), &bytes, &options),
        SUBLET_OK);
    return pid;
}

static sublet_call *submit_large(struct fixture *fixture, void *in, void *out, const sublet_call_options *options)
{
    sublet_call *call = NULL;
    assert_int_equal(
        sublet_submit(fixture->session, function_of(fixture, "echo"), in, TILE_BYTES, out, TILE_BYTES, options, &call),
        SUBLET_OK);
    return call;
}

/** Whenever it dies, the call is right in the end, or says that its worker died. */
static void a_worker_killed_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    lease_of(fixture, 1, 4);
    unsigned char *in = tiled(TILE_BYTES), *out = malloc(TILE_BYTES);
    uint32_t right = 0;
    for (int round = 0; round < 12; round++) {
        pid_t worker = worker_of(fixture);
        memset(out, 0, TILE_BYTES);
        sublet_call *call = submit_large(fixture, in, out, NULL);
        (void)sublet_wait(call, 1 + (uint64_t)round * 3);
        kill(worker, SIGKILL);
        assert_int_equal(sublet_wait(call, 20000), SUBLET_OK);
        size_t bytes = 0;
        sublet_status status = sublet_call_result(call, &bytes, NULL);
        if (status == SUBLET_OK) {
            assert_int_equal(bytes, TILE_BYTES);
            assert_memory_equal(in, out, TILE_BYTES);
            right++;
        } else
            assert_int_equal(status, SUBLET_ERR_CRASHED);
        sublet_call_free(call);
    }
    assert_true(right > 0);
    munmap(in, TILE_BYTES);
    free(out);
}

static void revoked_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    lease_of(fixture, 1, 4);
    (void)worker_of(fixture);
    unsigned char *in = tiled(TILE_BYTES), *out = calloc(1, TILE_BYTES);
    sublet_call *call = submit_large(fixture, in, out, NULL);
    (void)sublet_wait(call, 10);
    fake_agent_revoke(fixture->agent, "lease-0");
    executor_kill(&fixture->executors[0]);
    assert_int_equal(sublet_wait(call, 20000), SUBLET_OK);
    assert_int_equal(sublet_call_result(call, NULL, NULL), SUBLET_OK); /* there, or again here */
    assert_memory_equal(in, out, TILE_BYTES);
    sublet_call_free(call);
    munmap(in, TILE_BYTES);
    free(out);
}

static void cancelled_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    sublet_call_options options = remote(0);
    lease_of(fixture, 1, 4);
    unsigned char *in = tiled(TILE_BYTES), *out = malloc(TILE_BYTES);
    for (int round = 0; round < 8; round++) {
        sublet_call *call = submit_large(fixture, in, out, &options);
        (void)sublet_wait(call, 1 + (uint64_t)round * 4);
        sublet_cancel(call);
        assert_int_equal(sublet_wait(call, 20000), SUBLET_OK);
        sublet_status status = sublet_call_result(call, NULL, NULL);
        assert_true(status == SUBLET_OK || status == SUBLET_ERR_TIMEOUT);
        sublet_call_free(call);
        assert_true(worker_of(fixture) > 0);
    }
    munmap(in, TILE_BYTES);
    free(out);
}

#define TEST(name, setup, how)                                                                                         \
    {                                                                                                                  \
#name " (" how ")", name, setup, fixture_stop, NULL                                                            \
    }
#define BOTH(name) TEST(name, start_here, "ring"), TEST(name, start_there, "tcp")

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(any_size_comes_back),
        BOTH(more_than_a_gib_comes_back),
        BOTH(a_result_of_unknown_size),
        TEST(what_the_lease_cannot_hold_is_refused, start_small_here, "ring"),
        TEST(what_the_lease_cannot_hold_is_refused, start_small_there, "tcp"),
        BOTH(a_worker_killed_in_the_middle),
        BOTH(revoked_in_the_middle),
        BOTH(cancelled_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
