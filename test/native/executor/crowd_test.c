/** A thousand clients on one worker, and what one of them can do to the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fixture.h"

#define PROCESSES 4u
#define CLIENTS   250u /* of each */
#define ALL       (PROCESSES * CLIENTS)
#define CALLS     20u
#define GREEDY    32u /* calls in flight of the greedy one */

struct crowd {
    _Atomic uint32_t connected;
    _Atomic uint32_t go;
    _Atomic uint32_t stop;
    _Atomic uint64_t greedy_calls;
    uint64_t done_ns[ALL]; /* from the start to the client's last answer */
};

static struct crowd *crowd;

static int start(void **state)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(crowd != MAP_FAILED);
    return fixture_start((struct fixture **)state, "0", 0);
}

static int stop(void **state)
{
    munmap(crowd, sizeof(*crowd));
    return fixture_stop(state);
}

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "a client: %s\n", what);
    _exit(1);
}

static uint32_t argument(uint32_t client, uint32_t number)
{
    return client * 100000 + number;
}

static void send_call(const struct fixture *f, int fd, uint32_t client, uint32_t number)
{
    uint32_t value = argument(client, number);
    must(peer_stream_send(fd, number, f->echo, &value, sizeof(value), 64) == SUBLET_OK, "cannot send");
}

static void take_answer(int fd, uint32_t client, uint32_t number)
{
    struct stream_response response;
    uint32_t value = 0;
    must(peer_stream_receive(fd, &response, &value, sizeof(value)) == SUBLET_OK, "no answer");
    must(response.status == SUBLET_OK && response.sequence == number, "a wrong answer");
    must(response.size == sizeof(value) && value == argument(client, number), "a wrong result");
}

/** 250 clients, each with a call of its own on its way until it has had all. */
static _Noreturn void be_clients(const struct fixture *f, uint32_t process)
{
    static int fds[CLIENTS];
    static uint32_t answered[CLIENTS];
    struct epoll_event events[CLIENTS];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sublet_status status;
        fds[i] = peer_stream(&f->executor, STREAM_CALLS, 0, 1 + process * CLIENTS + i, 1 << 20, 1 << 20, &status);
        must(fds[i] >= 0, "cannot connect");
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) == 0, "cannot watch");
        atomic_fetch_add(&crowd->connected, 1);
    }
    while (atomic_load(&crowd->go) == 0)
        usleep(1000);
    uint64_t started = now_ns();
    for (uint32_t i = 0; i < CLIENTS; i++)
        send_call(f, fds[i], process * CLIENTS + i, 1);
    for (uint32_t left = CLIENTS; left > 0;) {
        int count = epoll_wait(epoll_fd, events, CLIENTS, 20000);
        must(count > 0, "no answer within 20 s");
        for (int k = 0; k < count; k++) {
            uint32_t i = events[k].data.u32, client = process * CLIENTS + i;
            take_answer(fds[i], client, ++answered[i]);
            if (answered[i] < CALLS) {
                send_call(f, fds[i], client, answered[i] + 1);
                continue;
            }
            crowd->done_ns[client] = now_ns() - started;
            left--;
        }
    }
    _exit(0);
}

/** One that always has as many calls on their way as it may. */
static _Noreturn void be_greedy(const struct fixture *f)
{
    sublet_status status;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = peer_stream(&f->executor, STREAM_CALLS, 0, 100000, 4096, 4096, &status);
    must(fd >= 0, "the greedy one cannot connect");
    for (uint32_t i = 1; i <= GREEDY; i++)
        send_call(f, fd, ALL, i);
    for (uint32_t i = 1; atomic_load(&crowd->stop) == 0; i++) {
        take_answer(fd, ALL, i);
        send_call(f, fd, ALL, i + GREEDY);
        atomic_fetch_add(&crowd->greedy_calls, 1);
    }
    _exit(0);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void a_thousand_clients(void **state, bool greedy)
{
    struct fixture *f = *state;
    pid_t pids[PROCESSES + 1];
    memset(crowd, 0, sizeof(*crowd));
    for (uint32_t i = 0; i < PROCESSES + (greedy ? 1 : 0); i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0 && i == PROCESSES)
            be_greedy(f);
        else if (pids[i] == 0)
            be_clients(f, i);
    }
    uint64_t end_ns = now_ns() + 60 * UINT64_C(1000000000);
    while (atomic_load(&crowd->connected) < ALL && now_ns() < end_ns)
        usleep(1000);
    assert_int_equal(atomic_load(&crowd->connected), ALL);
    atomic_store(&crowd->go, 1);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        int result = -1;
        waitpid(pids[i], &result, 0);
        assert_int_equal(result, 0);
    }
    atomic_store(&crowd->stop, 1);
    if (greedy) {
        int result = -1;
        waitpid(pids[PROCESSES], &result, 0);
        assert_int_equal(result, 0);
        assert_true(atomic_load(&crowd->greedy_calls) > 0);
    }
    qsort(crowd->done_ns, ALL, sizeof(crowd->done_ns[0]), ascending);
    uint64_t median = crowd->done_ns[ALL / 2], slowest = crowd->done_ns[ALL - 1];
    print_message("%u clients, %u calls each: median %.1f ms, slowest %.1f ms, %.0f k calls a second; greedy %llu\n",
                  ALL, CALLS, (double)median / 1e6, (double)slowest / 1e6, ALL * CALLS * 1e6 / (double)slowest,
                  (unsigned long long)atomic_load(&crowd->greedy_calls));
    assert_true(slowest <= 10 * median + 100000000);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

static void a_thousand_clients_are_served(void **state)
{
    a_thousand_clients(state, false);
}

static void a_greedy_client_starves_nobody(void **state)
{
    a_thousand_clients(state, true);
}

/** They are there, and say nothing: the worker sleeps, and the call of one costs what it cost without them. */
static void silent_clients_cost_no_polling(void **state)
{
    struct fixture *f = *state;
    static int fds[500];
    sublet_status status;
    for (uint32_t i = 0; i < 500; i++) {
        fds[i] = peer_stream(&f->executor, STREAM_CALLS, 0, i + 1, 4096, 4096, &status);
        assert_true(fds[i] >= 0);
    }
    for (uint32_t i = 0; i < 500; i += 7) {
        send_call(f, fds[i], i, 1);
        take_answer(fds[i], i, 1);
    }
    char path[64], line[1024];
    uint64_t cpu[2] = {0, 0};
    for (int look = 0; look < 2; look++) {
        usleep(look == 0 ? 100000 : 1000000);
        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", f->executor.pid, f->executor.pid);
        FILE *children = fopen(path, "r");
        int worker = 0;
        assert_non_null(children);
        assert_int_equal(fscanf(children, "%d", &worker), 1);
        fclose(children);
        snprintf(path, sizeof(path), "/proc/%d/schedstat", worker);
        FILE *stat = fopen(path, "r");
        assert_non_null(stat);
        assert_non_null(fgets(line, sizeof(line), stat));
        fclose(stat);
        cpu[look] = strtoull(line, NULL, 10);
    }
    assert_true(cpu[1] - cpu[0] < 10000000); /* of a second */
    for (uint32_t i = 0; i < 500; i++)
        close(fds[i]);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_clients_are_served, start, stop),
        cmocka_unit_test_setup_teardown(a_greedy_client_starves_nobody, start, stop),
        cmocka_unit_test_setup_teardown(silent_clients_cost_no_polling, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
