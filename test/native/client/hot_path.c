/**
 * What a same-node call costs beside the floor that the machine gives in the same run; rounds take turns. The client is
 * pinned to core 0, worker and partner to core 1. Figures, not a test.
 *
 *   cache line   two processes hand a line to and fro          hot calls from a buffer
 *   touch        the same reads and writes of a plain mapping  1 MiB in place, read and written by both sides
 *   memcpy       1 MiB into a mapping, 1 MiB out of it         sublet_invoke, a function that touches nothing
 *   futex        the caller spins, the partner sleeps          a call that finds its worker asleep
 */
#include "fixture.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "touch.h"

#define ROUNDS   7
#define MIB      ((size_t)1 << 20)
#define PAUSE_NS 300000u /* longer than a worker polls: it has gone to sleep */

struct area {
    _Alignas(128) _Atomic uint32_t line;
    _Alignas(128) _Atomic uint32_t touched;
    _Alignas(128) _Atomic uint32_t ping; /* futex word */
    _Alignas(128) _Atomic uint32_t pong;
    _Alignas(4096) unsigned char in[1 << 20];
    _Alignas(4096) unsigned char out[1 << 20];
};

static struct area *area;
static struct fixture *bed;
static unsigned char *own_in, *own_out;
static sublet_buffer *empty, *asleep, *touched;
static sublet_function_ref *give;
static sublet_call_options hot = SUBLET_CALL_OPTIONS_INIT;

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static _Noreturn void be_partner(int what)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(1);
    for (uint32_t next = 1;; next += 2) {
        _Atomic uint32_t *word = what == 0 ? &area->line : &area->touched;
        while (what < 2 && atomic_load_explicit(word, memory_order_acquire) != next)
            relax();
        if (what == 1)
            touch_write(area->out, MIB, touch_read(area->in, MIB));
        if (what < 2) {
            atomic_store_explicit(word, next + 1, memory_order_release);
            continue;
        }
        while (atomic_load(&area->ping) != next)
            syscall(SYS_futex, &area->ping, FUTEX_WAIT, next - 2 + (next == 1), NULL, NULL, 0);
        atomic_store(&area->pong, next);
    }
}

static void cross(_Atomic uint32_t *word)
{
    uint32_t now = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, now + 1, memory_order_release);
    while (atomic_load_explicit(word, memory_order_acquire) != now + 2)
        relax();
}

static void floor_line(size_t bytes)
{
    (void)bytes;
    cross(&area->line);
}

static void floor_touch(size_t bytes)
{
    touch_write(area->in, bytes, 3);
    cross(&area->touched);
    (void)*(volatile uint64_t *)&(uint64_t){touch_read(area->out, bytes)};
}

static void floor_copy(size_t bytes)
{
    memcpy(area->in, own_in, bytes);
    memcpy(own_out, area->out, bytes);
}

static void floor_futex(size_t bytes)
{
    (void)bytes;
    uint32_t next = atomic_load(&area->ping) + 1 + (atomic_load(&area->ping) != 0);
    atomic_store(&area->ping, next);
    syscall(SYS_futex, &area->ping, FUTEX_WAKE, 1, NULL, NULL, 0);
    while (atomic_load(&area->pong) != next)
        relax();
}

static void call_empty(size_t bytes)
{
    assert_int_equal(sublet_buffer_invoke(empty, bytes, NULL), SUBLET_OK);
}

static void call_asleep(size_t bytes)
{
    assert_int_equal(sublet_buffer_invoke(asleep, bytes, NULL), SUBLET_OK);
}

static void call_touch(size_t bytes)
{
    touch_write(touched->in, bytes, 3);
    assert_int_equal(sublet_buffer_invoke(touched, bytes, NULL), SUBLET_OK);
    (void)*(volatile uint64_t *)&(uint64_t){touch_read(touched->out, bytes)};
}

static void call_copy(size_t bytes)
{
    size_t got;
    assert_int_equal(sublet_invoke(bed->session, give, own_in, bytes, own_out, bytes, &got, &hot), SUBLET_OK);
}

struct series {
    const char *name;
    void (*once)(size_t bytes);
    size_t bytes;
    int partner; /* of a floor; -1 = none */
    int floor;   /* which series it is compared with; -1 = is one */
    uint32_t samples;
    bool pause;
    float *us;
    uint32_t count;
};

static struct series all[] = {
    {"cache line", floor_line, 0, 0, -1, 20000, false, NULL, 0},
    {"hot, 1 B", call_empty, 1, -1, 0, 20000, false, NULL, 0},
    {"hot, 64 B", call_empty, 64, -1, 0, 20000, false, NULL, 0},
    {"hot, 4 KiB", call_empty, 4096, -1, 0, 20000, false, NULL, 0},
    {"touch 1 MiB", floor_touch, 1 << 20, 1, -1, 200, false, NULL, 0},
    {"in place, 1 MiB", call_touch, 1 << 20, -1, 4, 200, false, NULL, 0},
    {"memcpy 1 MiB twice", floor_copy, 1 << 20, -1, -1, 500, false, NULL, 0},
    {"copied, 1 MiB", call_copy, 1 << 20, -1, 6, 500, false, NULL, 0},
    {"futex", floor_futex, 0, 2, -1, 500, true, NULL, 0},
    {"warm, 1 B", call_asleep, 1, -1, 8, 500, true, NULL, 0},
};
#define SERIES (sizeof(all) / sizeof(all[0]))

static void spin_for(uint64_t ns)
{
    for (uint64_t end_ns = time_ns() + ns; time_ns() < end_ns;)
        relax();
}

static void measure(struct series *series, const pid_t *partners)
{
    spin_for(4000000); /* who was measured before has gone to sleep */
    if (series->partner >= 0)
        kill(partners[series->partner], SIGCONT);
    for (uint32_t i = 0; i < series->samples + series->samples / 10; i++) {
        if (series->pause)
            spin_for(PAUSE_NS);
        uint64_t begin_ns = time_ns();
        series->once(series->bytes);
        if (i >= series->samples / 10) /* the first tenth warms up */
            series->us[series->count++] = (float)(time_ns() - begin_ns) / 1000.0f;
    }
    if (series->partner >= 0)
        kill(partners[series->partner], SIGSTOP);
}

static int ascending(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double part(const struct series *series, double share)
{
    return (double)series->us[(uint32_t)(share * (series->count - 1))];
}

/** Empty calls per second with 32 in flight. */
static double rate_of_buffers(bool batches)
{
    enum { DEEP = 32, TURNS = 10000 };
    sublet_buffer *buffers[DEEP];
    size_t sizes[DEEP] = {0};
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.in_bytes = options.out_bytes = 32;
    options.lease = hot.lease;
    for (int i = 0; i < DEEP; i++)
        assert_int_equal(sublet_buffer_acquire(bed->session, function_of(bed, "empty"), &options, &buffers[i]),
                         SUBLET_OK);
    uint64_t begin_ns = time_ns();
    for (int turn = 0; turn < TURNS; turn++) {
        if (batches)
            assert_int_equal(sublet_buffer_submit_many(buffers, sizes, DEEP, NULL), SUBLET_OK);
        for (int i = 0; i < DEEP; i++) {
            if (batches || turn > 0)
                assert_int_equal(sublet_buffer_wait(buffers[i], 0, NULL), SUBLET_OK);
            if (!batches)
                assert_int_equal(sublet_buffer_submit(buffers[i], 0), SUBLET_OK);
        }
    }
    double rate = (double)DEEP * TURNS * 1000 / (double)(time_ns() - begin_ns);
    for (int i = 0; i < DEEP; i++)
        sublet_buffer_release(buffers[i]);
    return rate;
}

static double rate_of_submit(void)
{
    enum { DEEP = 32, TURNS = 10000 };
    sublet_call *calls[DEEP] = {NULL};
    sublet_function_ref *function = function_of(bed, "empty");
    uint64_t begin_ns = time_ns();
    for (int turn = 0; turn <= TURNS; turn++)
        for (int i = 0; i < DEEP; i++) {
            if (turn > 0) {
                assert_int_equal(sublet_wait(calls[i], 0), SUBLET_OK);
                sublet_call_free(calls[i]);
            }
            if (turn < TURNS)
                assert_int_equal(sublet_submit(bed->session, function, NULL, 0, NULL, 0, &hot, &calls[i]), SUBLET_OK);
        }
    return (double)DEEP * TURNS * 1000 / (double)(time_ns() - begin_ns);
}

static void print_all(void)
{
    for (size_t i = 0; i < SERIES; i++) {
        struct series *series = &all[i];
        qsort(series->us, series->count, sizeof(float), ascending);
        double p50 = part(series, 0.5), p99 = part(series, 0.99);
        printf("%-20s p50 %8.2f  p99 %8.2f us", series->name, p50, p99);
        if (series->floor >= 0)
            printf("   p50 %.2f x %s, p99 %.2f x p50", p50 / part(&all[series->floor], 0.5), all[series->floor].name,
                   p99 / p50);
        printf("\n");
    }
    for (int round = 0; round < 3; round++)
        printf("32 in flight: %.2f, in batches %.2f, sublet_submit %.2f million calls a second\n",
               rate_of_buffers(false), rate_of_buffers(true), rate_of_submit());
}

/** A session whose threads spin for as long as the floors do. */
static void open_spinning(void)
{
    char path[100];
    sublet_options options = SUBLET_OPTIONS_INIT;
    snprintf(path, sizeof(path), "%s/agent.sock", bed->folder);
    options.agent_socket = path;
    options.spin_us = 5000;
    sublet_close(bed->session);
    assert_int_equal(sublet_open(&options, &bed->session), SUBLET_OK);
    assert_int_equal(sublet_library_open(bed->session, FUNCTIONS, &bed->library), SUBLET_OK);
}

static void figures(void **state)
{
    pid_t partners[3];
    bed = *state;
    open_spinning();
    area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    own_in = calloc(1, MIB);
    own_out = calloc(1, MIB);
    for (int i = 0; i < 3; i++) {
        partners[i] = fork();
        if (partners[i] == 0)
            be_partner(i);
        kill(partners[i], SIGSTOP);
    }
    pin(0);
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    bed->spin_us = 2000; /* this one polls while the client copies */
    fixture_function(bed, "1", false);
    hot.lease = lease_of(bed, 1, 36);
    options.in_bytes = options.out_bytes = 4096;
    assert_int_equal(sublet_buffer_acquire(bed->session, function_of(bed, "empty"), &options, &empty), SUBLET_OK);
    options.in_bytes = options.out_bytes = MIB;
    assert_int_equal(sublet_buffer_acquire(bed->session, function_of(bed, "touch"), &options, &touched), SUBLET_OK);
    assert_int_equal(empty->in_place + touched->in_place, 2);
    bed->spin_us = 50;
    fixture_function(bed, "1", false);
    options.lease = lease_of(bed, 1, 4);
    options.in_bytes = options.out_bytes = 4096;
    assert_int_equal(sublet_buffer_acquire(bed->session, function_of(bed, "empty"), &options, &asleep), SUBLET_OK);
    give = function_of(bed, "give");
    for (size_t i = 0; i < SERIES; i++)
        all[i].us = calloc((size_t)all[i].samples * ROUNDS, sizeof(float));
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < SERIES; i++)
            measure(&all[i], partners);
    print_all();
    for (int i = 0; i < 3; i++) {
        kill(partners[i], SIGKILL);
        waitpid(partners[i], NULL, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(figures, fixture_start, fixture_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
