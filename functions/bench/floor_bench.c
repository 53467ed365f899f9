/**
 * sublet-floor-bench [IPV4 [NETNS]]: what the machine itself gives two processes, one on core 0 and one on core 1.
 *
 * See measure.h for how it is told what to measure. The other side listens on IPV4 (default 127.0.0.1), inside the
 * network namespace whose file NETNS is. It is told what comes through shared memory, and sleeps between.
 *
 *   line          a cache line goes to and fro, both spin
 *   futex         both sleep on futexes; futex_spin: the client spins
 *   touch         BYTES are written into shared memory here and read there; the line says when
 *   copy          BYTES are copied into shared memory, there from one buffer to the other, and out again
 *   memcpy_both   BYTES into shared memory and out of it, here alone
 *   tcp_spin      BYTES there and back, both poll; tcp_block: both sleep; tcp_wake: the client polls
 *   tcp_in        BYTES there, 16 back, both poll; tcp_out: 32 there, BYTES back
 *   wake_in       the same, and only the client polls; wake_out
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
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
#include <unistd.h>

#include "bench/measure.h"
#include "bench/read_all.h"

#define BYTES_MAX (16u << 20)
#define HEAD      32u /* request of a transfer */
#define TAIL      16u /* its answer */

enum mode { LINE, TOUCH, COPY, FUTEX, FUTEX_SPIN, TCP_SPIN, TCP_SLEEP };

struct job {
    enum mode mode;
    uint32_t steps;
    uint64_t in_bytes;
    uint64_t out_bytes;
};

struct shared {
    _Alignas(128) _Atomic uint32_t go;
    struct job job;
    _Alignas(128) _Atomic uint32_t line;
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
    _Alignas(4096) unsigned char in[BYTES_MAX];
    _Alignas(4096) unsigned char out[BYTES_MAX];
};

struct client {
    struct shared *shared;
    int fd;
    unsigned char *from;
    unsigned char *to;
};

static volatile uint64_t sink;

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    while (atomic_load(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void line_wait(struct shared *shared, uint32_t value)
{
    while (atomic_load_explicit(&shared->line, memory_order_acquire) != value)
        measure_relax();
}

static void line_set(struct shared *shared, uint32_t value)
{
    atomic_store_explicit(&shared->line, value, memory_order_release);
}

/** Moves all bytes; polls or sleeps while none can be moved. */
static bool move(int fd, unsigned char *bytes, uint64_t size, bool sending, bool spinning)
{
    int flags = spinning ? MSG_DONTWAIT : sending ? 0 : MSG_WAITALL;
    for (uint64_t done = 0; done < size;) {
        ssize_t moved = sending ? send(fd, bytes + done, size - done, flags | MSG_NOSIGNAL)
                                : recv(fd, bytes + done, size - done, flags);
        if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        done += moved > 0 ? (uint64_t)moved : 0;
    }
    return true;
}

/* ------------------------------------------------------------------ the other side */

static void answer_once(struct shared *shared, const struct job *job, uint32_t step)
{
    switch (job->mode) {
    case FUTEX:
        futex_wait(&shared->ping, step);
        futex_set(&shared->pong, step + 1);
        return;
    case FUTEX_SPIN:
        futex_wait(&shared->ping, step);
        atomic_store(&shared->pong, step + 1);
        return;
    default:
        line_wait(shared, 2 * step + 1);
        if (job->mode == TOUCH)
            sink = read_all(shared->in, job->in_bytes);
        if (job->mode == COPY)
            memcpy(shared->out, shared->in, job->in_bytes);
        line_set(shared, 2 * step + 2);
        return;
    }
}

static void answer(struct shared *shared, int fd, unsigned char *buffer)
{
    struct job job = shared->job;
    bool spinning = job.mode == TCP_SPIN;
    for (uint32_t step = 0; step < job.steps; step++) {
        if (job.mode < TCP_SPIN)
            answer_once(shared, &job, step);
        else if (!move(fd, buffer, job.in_bytes, false, spinning) || !move(fd, buffer, job.out_bytes, true, spinning))
            _exit(0);
    }
}

static _Noreturn void serve(struct shared *shared, int listener)
{
    unsigned char *buffer = calloc(1, BYTES_MAX);
    int one = 1, fd = accept(listener, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (buffer == NULL || fd < 0)
        _exit(1);
    for (uint32_t seen = 0;; seen++) {
        futex_wait(&shared->go, seen);
        answer(shared, fd, buffer);
    }
}

/** Starts the other side; its process ends with this one. */
static bool start(struct shared *shared, struct sockaddr_in *address, const char *netns)
{
    int ends[2];
    socklen_t size = sizeof(*address);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        measure_pin(1);
        int ns = netns == NULL ? -1 : open(netns, O_RDONLY | O_CLOEXEC);
        if (netns != NULL && (ns < 0 || setns(ns, CLONE_NEWNET) != 0))
            _exit(1);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listener, (struct sockaddr *)address, sizeof(*address)) != 0 || listen(listener, 1) != 0 ||
            getsockname(listener, (struct sockaddr *)address, &size) != 0 ||
            write(ends[1], address, sizeof(*address)) != sizeof(*address))
            _exit(1);
        close(ends[1]);
        serve(shared, listener);
    }
    close(ends[1]);
    bool started = read(ends[0], address, sizeof(*address)) == sizeof(*address);
    close(ends[0]);
    return started;
}

/* ------------------------------------------------------------------ this side */

static const char *order(struct client *client, enum mode mode, uint32_t steps, uint64_t in_bytes, uint64_t out_bytes)
{
    struct shared *shared = client->shared;
    if (in_bytes > BYTES_MAX || out_bytes > BYTES_MAX)
        return "too many bytes";
    shared->job = (struct job){mode, steps, in_bytes, out_bytes};
    atomic_store(&shared->line, 0);
    atomic_store(&shared->ping, 0);
    atomic_store(&shared->pong, 0);
    futex_set(&shared->go, atomic_load(&shared->go) + 1);
    return NULL;
}

static enum mode mode_of(const char *name)
{
    static const struct {
        const char *name;
        enum mode mode;
    } modes[] = {{"line", LINE}, {"touch", TOUCH}, {"copy", COPY}, {"futex", FUTEX}, {"futex_spin", FUTEX_SPIN}};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(name, modes[i].name) == 0)
            return modes[i].mode;
    return strcmp(name, "tcp_spin") == 0 || strcmp(name, "tcp_in") == 0 || strcmp(name, "tcp_out") == 0 ? TCP_SPIN
                                                                                                        : TCP_SLEEP;
}

static void sizes_of(const struct measure *measure, uint64_t *in, uint64_t *out)
{
    bool into = strstr(measure->name, "_in") != NULL, outof = strstr(measure->name, "_out") != NULL;
    *in = outof ? HEAD : measure->bytes + (into ? HEAD : 0);
    *out = into ? TAIL : measure->bytes + (outof ? TAIL : 0);
}

static const char *before(void *context, const struct measure *measure, uint32_t steps)
{
    uint64_t in, out;
    sizes_of(measure, &in, &out);
    return order(context, mode_of(measure->name), steps, in, out);
}

static const char *step_line(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    enum mode mode = client->shared->job.mode;
    if (mode == TOUCH)
        memset(client->shared->in, (int)index, measure->bytes);
    if (mode == COPY)
        memcpy(client->shared->in, client->from, measure->bytes);
    line_set(client->shared, 2 * index + 1);
    line_wait(client->shared, 2 * index + 2);
    if (mode == COPY)
        memcpy(client->to, client->shared->out, measure->bytes);
    return NULL;
}

static const char *step_futex(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    futex_set(&client->shared->ping, index + 1);
    if (strcmp(measure->name, "futex") == 0)
        futex_wait(&client->shared->pong, index);
    while (atomic_load(&client->shared->pong) == index)
        measure_relax();
    return NULL;
}

static const char *step_memcpy(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    (void)index;
    if (measure->bytes > BYTES_MAX)
        return "too many bytes";
    memcpy(client->shared->in, client->from, measure->bytes);
    memcpy(client->to, client->shared->out, measure->bytes);
    return NULL;
}

static const char *step_tcp(void *context, const struct measure *measure, uint32_t index)
{
    struct client *client = context;
    uint64_t in, out;
    bool spinning = strcmp(measure->name, "tcp_block") != 0;
    (void)index;
    sizes_of(measure, &in, &out);
    return move(client->fd, client->from, in, true, spinning) && move(client->fd, client->to, out, false, spinning)
               ? NULL
               : "the raw connection is gone";
}

static const struct measure_kind kinds[] = {
    {"line", before, step_line, 0},        {"touch", before, step_line, 0},
    {"copy", before, step_line, 0},        {"futex", before, step_futex, 0},
    {"futex_spin", before, step_futex, 0}, {"memcpy_both", NULL, step_memcpy, 0},
    {"tcp_spin", before, step_tcp, 0},     {"tcp_block", before, step_tcp, 0},
    {"tcp_wake", before, step_tcp, 0},     {"tcp_in", before, step_tcp, 0},
    {"tcp_out", before, step_tcp, 0},      {"wake_in", before, step_tcp, 0},
    {"wake_out", before, step_tcp, 0},     {NULL, NULL, NULL, 0},
};

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int one = 1;
    client.shared = mmap(NULL, sizeof(*client.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    client.from = malloc(BYTES_MAX);
    client.to = malloc(BYTES_MAX);
    if (client.shared == MAP_FAILED || client.from == NULL || client.to == NULL ||
        inet_pton(AF_INET, argc > 1 ? argv[1] : "127.0.0.1", &address.sin_addr) != 1) {
        fprintf(stderr, "usage: %s [IPV4 [NETNS]]\n", argv[0]);
        return 2;
    }
    memset(client.from, 1, BYTES_MAX); /* no first touch is measured */
    memset(client.to, 1, BYTES_MAX);
    memset(client.shared->in, 1, BYTES_MAX);
    memset(client.shared->out, 1, BYTES_MAX);
    measure_pin(0);
    if (!start(client.shared, &address, argc > 2 ? argv[2] : NULL) ||
        connect(client.fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        fprintf(stderr, "%s: cannot start the other side: %m\n", argv[0]);
        return 1;
    }
    return measure_serve(kinds, &client);
}
