/**
 * sublet-path-bench: what a call costs beyond the bare way between two cores, as JSON on stdout.
 *
 *   sublet-path-bench [EXECUTOR [LIBECHO]]    default: those of the same build folder
 *
 * Each call is measured next to the floor that the machine gives in the same run: a cache line that two processes hand
 * to and fro, a TCP socket that both poll, a futex on which both sleep. Rounds take turns, so that a noisy moment hits
 * all of them. The client is pinned to core 0, the other side to core 1; times are round trips in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fds.h"
#include "bench/peer.h"

#define ROUNDS       7
#define HOT_SAMPLES  20000u
#define TCP_SAMPLES  5000u
#define WARM_SAMPLES 1000u
#define SETTLE_NS    UINT64_C(5000000)
#define PAUSE_NS     UINT64_C(30000) /* before a warm call: the other side has gone to sleep */

struct series {
    const char *name;
    const char *floor; /* NULL: is one itself */
    uint32_t samples;  /* of one round */
    uint32_t count;
    float *us;
};

enum {
    LINE_FLOOR,
    RING_1,
    RING_4096,
    TCP_FLOOR,
    TCP_64,
    FUTEX_FLOOR,
    RING_WARM,
    TCP_WARM,
    SERIES,
};

static struct series all[SERIES] = {
    [LINE_FLOOR] = {"cache_line", NULL, HOT_SAMPLES, 0, NULL},
    [RING_1] = {"ring_hot_1", "cache_line", HOT_SAMPLES, 0, NULL},
    [RING_4096] = {"ring_hot_4096", "cache_line", HOT_SAMPLES, 0, NULL},
    [TCP_FLOOR] = {"tcp_spin_64", NULL, TCP_SAMPLES, 0, NULL},
    [TCP_64] = {"tcp_call_hot_64", "tcp_spin_64", TCP_SAMPLES, 0, NULL},
    [FUTEX_FLOOR] = {"futex", NULL, WARM_SAMPLES, 0, NULL},
    [RING_WARM] = {"ring_warm_1", "futex", WARM_SAMPLES, 0, NULL},
    [TCP_WARM] = {"tcp_call_warm_64", "futex", WARM_SAMPLES, 0, NULL},
};

struct shared {
    _Alignas(128) _Atomic uint32_t line;
    _Alignas(128) _Atomic uint32_t ping; /* futex words */
    _Alignas(128) _Atomic uint32_t pong;
};

/** The other side of the floors: one process each, stopped while it is not measured. */
struct partner {
    pid_t pid;
    int fd;
};

static struct shared *shared;

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fprintf(stderr, "sublet-path-bench: cannot pin to core %d: %m\n", core);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    struct timespec limit = {.tv_sec = 1};
    while (atomic_load(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static _Noreturn void answer_lines(void)
{
    for (uint32_t next = 1;; next += 2) {
        while (atomic_load_explicit(&shared->line, memory_order_acquire) != next)
            ring_relax();
        atomic_store_explicit(&shared->line, next + 1, memory_order_release);
    }
}

static _Noreturn void answer_futexes(void)
{
    for (uint32_t turn = 0;; turn++) {
        futex_wait(&shared->ping, turn);
        futex_set(&shared->pong, turn + 1);
    }
}

static bool receive_spinning(int fd, char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = recv(fd, bytes + done, size - done, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static _Noreturn void answer_tcp(int fd)
{
    char bytes[64];
    while (receive_spinning(fd, bytes, sizeof(bytes)) && send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0) {
    }
    _exit(0);
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(fds[0], (struct sockaddr *)&address, sizeof(address)) != 0 ||
        (fds[1] = accept(listener, NULL, NULL)) < 0) {
        perror("sublet-path-bench: cannot make a TCP connection to 127.0.0.1");
        exit(1);
    }
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    close(listener);
}

static struct partner start_partner(int series)
{
    struct partner partner = {.fd = -1};
    int fds[2] = {-1, -1};
    if (series == TCP_FLOOR)
        tcp_pair(fds);
    partner.fd = fds[0];
    partner.pid = fork();
    if (partner.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(1);
        if (series == LINE_FLOOR)
            answer_lines();
        if (series == FUTEX_FLOOR)
            answer_futexes();
        answer_tcp(fds[1]);
    }
    if (fds[1] >= 0)
        close(fds[1]);
    kill(partner.pid, SIGSTOP);
    return partner;
}

static void check(sublet_status status, const char *what)
{
    if (status == SUBLET_OK)
        return;
    fprintf(stderr, "sublet-path-bench: %s: %s\n", what, sublet_status_text(status));
    exit(1);
}

static void spin_for(uint64_t ns)
{
    for (uint64_t end_ns = now_ns() + ns; now_ns() < end_ns;)
        ring_relax();
}

struct target {
    struct executor executor;
    struct peer peer;
    uint32_t empty;
    uint32_t echo;
    int stream;
};

static void start_target(struct target *target, const char *program, const char *library, uint64_t spin_us)
{
    struct executor_settings settings = {.program = program, .cores = "1", .spin_us = spin_us, .owner = getuid()};
    uint32_t number;
    sublet_status status;
    check(executor_start(&settings, &target->executor), "cannot start the executor");
    check(peer_open(&target->executor, 1, 4096, 4096, &target->peer), "cannot open it");
    check(peer_load(target->peer.fd, library, &number), library);
    check(peer_resolve(target->peer.fd, number, "empty", &target->empty), "cannot find empty");
    check(peer_resolve(target->peer.fd, number, "echo", &target->echo), "cannot find echo");
    target->stream = peer_stream(&target->executor, STREAM_CALLS, 0, 1, 4096, 4096, &status);
    check(status, "cannot connect by TCP");
}

static void ring_once(struct target *target, uint32_t bytes, bool sleeping)
{
    struct ring *ring = &target->peer.rings[0];
    sublet_status status;
    uint32_t size;
    check(ring_submit(ring, 0, target->empty, bytes, 0, 0), "cannot call");
    while (!ring_test(ring, 0, &status, &size)) {
        if (sleeping)
            ring_sleep(ring, 0, 1000000000);
        else
            ring_relax();
    }
    check(status, "the call failed");
}

static void tcp_once(struct target *target, bool sleeping)
{
    static struct {
        struct stream_request request;
        char bytes[64];
    } call;
    char answer[sizeof(struct stream_response) + 64];
    call.request.sequence++;
    call.request.function = target->echo;
    call.request.size = call.request.out_capacity = 64;
    if (send(target->stream, &call, sizeof(call), MSG_NOSIGNAL) != (ssize_t)sizeof(call))
        check(SUBLET_ERR_LOST, "cannot send");
    if (sleeping ? recv(target->stream, answer, sizeof(answer), MSG_WAITALL) != (ssize_t)sizeof(answer)
                 : !receive_spinning(target->stream, answer, sizeof(answer)))
        check(SUBLET_ERR_LOST, "cannot receive");
}

static void one(int series, const struct partner *partner, struct target *hot, struct target *warm)
{
    static uint32_t line, turn;
    static char bytes[64];
    switch (series) {
    case LINE_FLOOR:
        atomic_store_explicit(&shared->line, line + 1, memory_order_release);
        while (atomic_load_explicit(&shared->line, memory_order_acquire) != line + 2)
            ring_relax();
        line += 2;
        return;
    case FUTEX_FLOOR:
        futex_set(&shared->ping, turn + 1);
        futex_wait(&shared->pong, turn);
        turn++;
        return;
    case TCP_FLOOR:
        if (send(partner->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0 ||
            !receive_spinning(partner->fd, bytes, sizeof(bytes)))
            check(SUBLET_ERR_LOST, "the raw connection is gone");
        return;
    case RING_1:
    case RING_4096:
        ring_once(hot, series == RING_1 ? 1 : 4096, false);
        return;
    case TCP_64:
        tcp_once(hot, false);
        return;
    case RING_WARM:
        ring_once(warm, 1, true);
        return;
    default:
        tcp_once(warm, true);
        return;
    }
}

static void measure(int number, const struct partner *partner, struct target *hot, struct target *warm)
{
    struct series *series = &all[number];
    bool pause_between = number >= FUTEX_FLOOR;
    spin_for(SETTLE_NS); /* who was measured before has gone to sleep */
    if (partner->pid > 0)
        kill(partner->pid, SIGCONT);
    for (uint32_t i = 0; i < series->samples / 10; i++)
        one(number, partner, hot, warm);
    for (uint32_t i = 0; i < series->samples; i++) {
        if (pause_between)
            spin_for(PAUSE_NS);
        uint64_t started = now_ns();
        one(number, partner, hot, warm);
        series->us[series->count++] = (float)(now_ns() - started) / 1000.0f;
    }
    if (partner->pid > 0)
        kill(partner->pid, SIGSTOP);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float percentile(const struct series *series, double part)
{
    return series->us[(uint32_t)(part * (series->count - 1))];
}

static void print_all(void)
{
    printf("{\"unit\": \"us\", \"rounds\": %d, \"paths\": {", ROUNDS);
    for (int i = 0; i < SERIES; i++)
        qsort(all[i].us, all[i].count, sizeof(float), ascending);
    for (int i = 0; i < SERIES; i++) {
        const struct series *floor = NULL;
        for (int k = 0; k < SERIES && all[i].floor != NULL; k++)
            if (strcmp(all[k].name, all[i].floor) == 0)
                floor = &all[k];
        printf("%s\n  \"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"p99_9\": %.3f", i == 0 ? "" : ",", all[i].name,
               (double)percentile(&all[i], 0.5), (double)percentile(&all[i], 0.99), (double)percentile(&all[i], 0.999));
        if (floor != NULL)
            printf(", \"floor\": \"%s\", \"p50_ratio\": %.2f", floor->name,
                   (double)(percentile(&all[i], 0.5) / percentile(floor, 0.5)));
        printf("}");
    }
    printf("\n}}\n");
}

int main(int argc, char **argv)
{
    static struct target hot, warm;
    char folder[4096], program[8192], library[8192];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    if (length <= 0 || sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        fprintf(stderr, "sublet-path-bench: needs /proc and two cores\n");
        return 1;
    }
    folder[length] = '\0';
    *strrchr(folder, '/') = '\0';
    snprintf(program, sizeof(program), "%s/sublet-executor", folder);
    snprintf(library, sizeof(library), "%s/../functions/libecho.so", folder);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < SERIES; i++)
        all[i].us = calloc((size_t)all[i].samples * ROUNDS, sizeof(float));
    struct partner partners[SERIES] = {0};
    partners[LINE_FLOOR] = start_partner(LINE_FLOOR);
    partners[TCP_FLOOR] = start_partner(TCP_FLOOR);
    partners[FUTEX_FLOOR] = start_partner(FUTEX_FLOOR);
    pin(0);
    start_target(&hot, argc > 1 ? argv[1] : program, argc > 2 ? argv[2] : library, 2000);
    start_target(&warm, argc > 1 ? argv[1] : program, argc > 2 ? argv[2] : library, 0);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SERIES; i++)
            measure(i, &partners[i], &hot, &warm);
    print_all();
    for (int i = 0; i < SERIES; i++)
        if (partners[i].pid > 0) {
            kill(partners[i].pid, SIGKILL);
            waitpid(partners[i].pid, NULL, 0);
        }
    peer_close(&hot.peer);
    peer_close(&warm.peer);
    executor_stop(&hot.executor);
    executor_stop(&warm.executor);
    return 0;
}
