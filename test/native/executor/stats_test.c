/** The page of statistics: every outcome is counted under its number, bytes and times are there, also after a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>

#include "fixture.h"
#include "wire/stats_layout.h"

static const unsigned char *page;

static int with_page(void **state)
{
    int fd = memfd_create("stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    assert_true(high >= 100);
    assert_int_equal(ftruncate(high, STATS_TOTAL_BYTES), 0);
    assert_int_equal(fcntl(high, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    page = mmap(NULL, STATS_TOTAL_BYTES, PROT_READ, MAP_SHARED, high, 0);
    assert_true(page != MAP_FAILED);
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct executor_settings settings = {
        .program = EXECUTOR, .cores = "0,1", .spin_us = 50, .owner = getuid(), .stats_fd = high};
    assert_non_null(fixture);
    assert_int_equal(executor_start(&settings, &fixture->executor), SUBLET_OK);
    assert_int_equal(peer_open(&fixture->executor, 8, 65536, 65536, &fixture->peer), SUBLET_OK);
    fixture_functions(fixture->peer.fd, fixture);
    *state = fixture;
    close(fd);
    close(high);
    return 0;
}

static const struct stats_worker *worker(uint32_t number)
{
    return (const struct stats_worker *)(const void *)(page + STATS_HEADER_BYTES + number * STATS_WORKER_BYTES);
}

/** Answers are sent before the worker has done with them, but counted before they are sent. */
static void assert_outcome(uint32_t number, sublet_status status, uint64_t expected)
{
    assert_int_equal(atomic_load(&worker(number)->outcomes[status]), expected);
}

static uint64_t sum(const _Atomic uint64_t *buckets)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < STATS_BUCKETS; i++)
        all += atomic_load(&buckets[i]);
    return all;
}

static void header_says_what_is_there(void **state)
{
    (void)state;
    struct stats_header header;
    memcpy(&header, page, sizeof(header));
    assert_int_equal(header.magic, STATS_MAGIC);
    assert_int_equal(header.version, STATS_VERSION);
    assert_int_equal(header.workers, 2);
    assert_int_equal(header.worker_bytes, STATS_WORKER_BYTES);
}

static void calls_bytes_and_times_are_counted(void **state)
{
    struct fixture *f = *state;
    unsigned char in[1000] = {0}, out[1000];
    uint32_t size;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(peer_call(&f->peer.rings[1], f->echo, in, 1000, out, 1000, &size), SUBLET_OK);
    assert_outcome(1, SUBLET_OK, 1000);
    assert_outcome(0, SUBLET_OK, 0);
    assert_int_equal(atomic_load(&worker(1)->in_bytes), 1000000);
    assert_int_equal(atomic_load(&worker(1)->out_bytes), 1000000);
    uint64_t timed = sum(worker(1)->run), run_ns = atomic_load(&worker(1)->run_ns);
    assert_in_range(timed, 1000 - STATS_SAMPLE, 1000 + STATS_SAMPLE);
    assert_in_range(sum(worker(1)->answer), 1000 - STATS_SAMPLE, 1000 + STATS_SAMPLE);
    assert_true(run_ns > 1000);
    assert_true(run_ns <= atomic_load(&worker(1)->answer_ns));
}

/** One that takes long is timed even in the middle of many that do not. */
static void a_long_call_is_seen(void **state)
{
    struct fixture *f = *state;
    uint32_t size, forks = 1, made;
    for (int i = 0; i < 20; i++)
        assert_int_equal(peer_call(&f->peer.rings[0], f->empty, NULL, 0, NULL, 0, &size), SUBLET_OK);
    uint64_t before = atomic_load(&worker(0)->run_ns);
    assert_int_equal(peer_call(&f->peer.rings[0], f->fork_bomb, &forks, 4, &made, 4, &size), SUBLET_OK);
    assert_true(atomic_load(&worker(0)->run_ns) - before > 10000); /* a fork takes longer */
    /* What was forked ends with its worker, and must not outlive the test. */
    assert_int_equal(peer_call(&f->peer.rings[0], f->crash, NULL, 0, NULL, 0, &size), SUBLET_ERR_CRASHED);
}

static void every_fault_is_counted_under_its_number(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint32_t function;
        sublet_status status;
    } cases[] = {{f->crash, SUBLET_ERR_CRASHED},
                 {f->exit_now, SUBLET_ERR_EXITED},
                 {f->overflow_stack, SUBLET_ERR_STACK_OVERFLOW},
                 {f->overrun, SUBLET_ERR_OVERRUN},
                 {f->leave_thread, SUBLET_ERR_LEFT_THREADS},
                 {f->too_large, SUBLET_ERR_TOO_LARGE},
                 {f->fail, SUBLET_ERR_FUNCTION}};
    sublet_status status;
    for (uint64_t round = 1; round <= 3; round++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            uint32_t size;
            assert_int_equal(peer_call(&f->peer.rings[0], cases[i].function, NULL, 0, NULL, 0, &size), cases[i].status);
            assert_outcome(0, cases[i].status, 2 * round - 1);
            struct stream_response response;
            int fd = peer_stream(&f->executor, STREAM_CALLS, 0, (uint32_t)(round * 100 + i), 4096, 4096, &status);
            assert_int_equal(status, SUBLET_OK);
            assert_int_equal(peer_stream_send(fd, 1, cases[i].function, NULL, 0, 64), SUBLET_OK);
            assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
            assert_int_equal(response.status, cases[i].status);
            assert_outcome(0, cases[i].status, 2 * round);
            close(fd);
        }
    assert_int_equal(atomic_load(&worker(0)->restarts), 3 * 2 * 5);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

/** The worker may be in somebody else's call before it is seen that this one has left. */
static void who_leaves_with_an_answer_costs_nobody_a_call(void **state)
{
    enum { ROUNDS = 2000 };
    struct fixture *f = *state;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        sublet_status status;
        struct stream_response response;
        uint32_t size;
        int fd = peer_stream(&f->executor, STREAM_CALLS, 0, i, 4096, 4096, &status);
        assert_int_equal(status, SUBLET_OK);
        assert_int_equal(peer_stream_send(fd, 1, f->empty, NULL, 0, 64), SUBLET_OK);
        assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
        close(fd);
        assert_int_equal(peer_call(&f->peer.rings[0], f->empty, NULL, 0, NULL, 0, &size), SUBLET_OK);
    }
    assert_int_equal(atomic_load(&worker(0)->restarts), 0);
}

/** A loop without end is ended by its caller's deadline, and counted. */
static void a_hanging_call_is_counted(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->peer.rings[0];
    uint32_t slot, size, none = 0;
    uint64_t end_ns = now_ns() + PEER_TIMEOUT_NS;
    assert_int_equal(ring_acquire(ring, &slot), SUBLET_OK);
    assert_int_equal(ring_submit(ring, slot, f->hang, 0, 0, 1000000), SUBLET_OK);
    while (ring_pending(ring) != 0)
        assert_true(now_ns() < end_ns);
    struct control_cancel cancel = {.slot = slot, .sequence = ring->next_seq[slot]};
    assert_int_equal(peer_request(f->peer.fd, CONTROL_CANCEL, &cancel, sizeof(cancel), NULL, &none), SUBLET_OK);
    assert_int_equal(peer_wait(ring, slot, PEER_TIMEOUT_NS, &size), SUBLET_ERR_TIMEOUT);
    assert_outcome(0, SUBLET_ERR_TIMEOUT, 1);
    ring_release(ring, slot);
    assert_ring_echoes(ring, f->echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(header_says_what_is_there, with_page, fixture_stop),
        cmocka_unit_test_setup_teardown(calls_bytes_and_times_are_counted, with_page, fixture_stop),
        cmocka_unit_test_setup_teardown(a_long_call_is_seen, with_page, fixture_stop),
        cmocka_unit_test_setup_teardown(every_fault_is_counted_under_its_number, with_page, fixture_stop),
        cmocka_unit_test_setup_teardown(who_leaves_with_an_answer_costs_nobody_a_call, with_page, fixture_stop),
        cmocka_unit_test_setup_teardown(a_hanging_call_is_counted, with_page, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
