#include "executor/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/guard.h"
#include "executor/links.h"

#define CANCEL_LOOKS_MAX 64u /* at a `current` that changes under our eyes */

static void *shared_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static int ascending(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

static void close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < 65536; fd++) /* before Linux 5.9, or refused by a filter */
        close((int)fd);
}

void workers_become_child(pid_t parent, int *keep, size_t count)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    setpgid(0, 0); /* so that what a function forked ends with its worker */
    qsort(keep, count, sizeof(*keep), ascending);
    unsigned next = 3;
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < (int)next)
            continue;
        if (keep[i] > (int)next)
            close_between(next, (unsigned)keep[i] - 1);
        next = (unsigned)keep[i] + 1;
    }
    close_between(next, UINT_MAX);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/** In the child: forgets what belongs to the other workers. */
static void forget_others(struct workers *workers, uint32_t number)
{
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        struct worker_slot *other = &workers->slots[i];
        if (i == number)
            continue;
        for (uint32_t k = 0; k < CLIENTS_MAX; k++)
            ring_unmap(&other->rings[k]);
        for (uint32_t k = 0; k < other->stream_end; k++)
            stream_unmap(&other->streams[k]);
    }
}

static _Noreturn void child(struct workers *workers, uint32_t number, int socket, pid_t parent)
{
    static int keep[2 + LIBRARIES_MAX + STREAMS_MAX];
    struct worker_slot *slot = &workers->slots[number];
    size_t count = 0;
    keep[count++] = socket;
    keep[count++] = slot->wake_fd;
    for (uint32_t i = 0; i < workers->libraries; i++)
        keep[count++] = workers->library_fds[i];
    for (uint32_t i = 0; i < slot->stream_end; i++)
        if (slot->streams[i].state != NULL)
            keep[count++] = slot->streams[i].fd;
    workers_become_child(parent, keep, count);
    forget_others(workers, number);
    struct worker_start start = {
        .number = number,
        .core = workers->options->cores[number],
        .socket = socket,
        .wake_fd = slot->wake_fd,
        .messages = 0, /* the parent may have told it something already */
        .spin_ns = workers->options->spin_ns,
        .memory_bytes = workers->options->memory_bytes,
        .fabric = workers->options->fabric,
        .page = slot->page,
        .pages = workers->pages,
        .workers = workers->options->workers,
        .stats = slot->stats,
        .clock = &workers->clock,
        .table = workers->table,
        .rings = slot->rings,
        .streams = slot->streams,
        .stream_end = slot->stream_end,
        .library_fds = workers->library_fds,
    };
    worker_run(&start);
}

/** Forks a worker that begins with all that its slot holds. */
static sublet_status fork_worker(struct workers *workers, uint32_t number)
{
    struct worker_slot *slot = &workers->slots[number];
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0)
        return SUBLET_ERR_SYSTEM;
    atomic_store(&slot->page->current, 0);
    atomic_store(&slot->page->messages, 0);
    for (int i = 0; i < MEMORY_KINDS; i++) {
        atomic_store(&slot->page->large[i], 0);
        atomic_store(&slot->page->wants[i].bytes, 0);
    }
    slot->rings_to_close = 0;
    links_told_all(slot);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        fds_close(sockets, 2);
        return SUBLET_ERR_SYSTEM;
    }
    if (pid == 0)
        child(workers, number, sockets[1], parent);
    setpgid(pid, pid); /* both sides do: whoever comes first */
    close(sockets[1]);
    slot->socket = sockets[0];
    slot->pid = pid;
    slot->ended_call = 0;
    return SUBLET_OK;
}

sublet_status workers_start(struct workers *workers, const struct executor_options *options)
{
    workers->options = options;
    for (uint32_t i = 0; i < LIBRARIES_MAX; i++)
        workers->library_fds[i] = -1;
    for (uint32_t i = 0; i < CONTROL_WORKERS_MAX; i++)
        workers->slots[i].socket = workers->slots[i].wake_fd = -1;
    workers->table = shared_pages(sizeof(*workers->table));
    if (workers->table == NULL)
        return SUBLET_ERR_NO_MEMORY;
    struct stats_worker *stats = stats_open(options->stats_fd, options->workers);
    if (stats == NULL)
        return SUBLET_ERR_NO_MEMORY;
    workers->clock = options->clock;
    stats_clock_learn(&workers->clock);
    for (uint32_t i = 0; i < options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        slot->stats = &stats[i];
        slot->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        slot->page = shared_pages(sizeof(*slot->page));
        if (slot->wake_fd < 0 || slot->page == NULL)
            return SUBLET_ERR_NO_MEMORY;
        workers->pages[i] = slot->page;
    }
    for (uint32_t i = 0; i < options->workers; i++) {
        sublet_status status = fork_worker(workers, i);
        if (status != SUBLET_OK)
            return status;
    }
    return SUBLET_OK;
}

bool workers_tick(struct workers *workers)
{
    bool again = false;
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        if (slot->pid == 0 && fork_worker(workers, i) != SUBLET_OK)
            again = true; /* at the limit of processes: some must end first */
        again |= !links_tell_news(slot);
    }
    return again;
}

/** The call a worker says it serves. It is user code that says so: everything is bounded, nothing believed. */
static bool is_call(const struct worker_slot *slot, uint64_t call)
{
    uint32_t number = call_client(call);
    if ((call & CALL_SET) == 0)
        return false;
    if ((call & CALL_STREAM) != 0)
        return number < STREAMS_MAX && slot->streams[number].state != NULL;
    return number < CLIENTS_MAX && slot->rings[number].base != NULL &&
           call_slot(call) < slot->rings[number].header.slots;
}

static void answer_ring(struct worker_slot *slot, uint64_t call, sublet_status status)
{
    struct ring *ring = &slot->rings[call_client(call)];
    /* Announced but not yet claimed: nothing ran, the successor will take it. */
    if ((ring_pending(ring) >> call_slot(call) & 1) != 0 || ring_answered(ring, call_slot(call), call_sequence(call)))
        return;
    stats_add(&slot->stats->outcomes[status], 1); /* its worker is dead */
    ring_answer(ring, call_slot(call), call_sequence(call), status, 0);
}

/** The last answer of a stream whose call died; true if the connection may be left to its peer now. */
static bool answer_stream(struct worker_slot *slot, uint64_t call, sublet_status status)
{
    struct stream *stream = &slot->streams[call_client(call)];
    struct stream_response response = {.sequence = call_sequence(call), .status = status, .flags = STREAM_FLAG_LAST};
    uint32_t batched = atomic_load(&stream->state->batched); /* answers of calls before this one */
    stats_add(&slot->stats->outcomes[status], 1);            /* its worker is dead */
    if (stream->fabric && (call & CALL_ANSWERING) != 0)
        response.status = SUBLET_ERR_LOST;
    if (((call & CALL_ANSWERING) == 0 || stream->fabric) && batched <= STREAM_BATCH &&
        (batched == 0 ||
         send(stream->fd, stream->batch, batched, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE) == (ssize_t)batched) &&
        send(stream->fd, &response, sizeof(response), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(response)) {
        shutdown(stream->fd, SHUT_WR);
        return true;
    }
    shutdown(stream->fd, SHUT_RDWR);
    return false;
}

/** What the worker had of fabrics went with it: says which calls were begun. The supervisor sees the end, and closes.
 */
static void end_fabrics(struct worker_slot *slot)
{
    for (uint32_t i = 0; i < slot->stream_end; i++) {
        struct stream *stream = &slot->streams[i];
        if (stream->state == NULL || !stream->fabric)
            continue;
        struct stream_response response = {
            .sequence = atomic_load(&stream->state->begun), .status = SUBLET_ERR_LOST, .flags = STREAM_FLAG_LAST};
        (void)!send(stream->fd, &response, sizeof(response), MSG_NOSIGNAL | MSG_DONTWAIT);
        shutdown(stream->fd, SHUT_RDWR);
    }
}

struct worker_end workers_reap(struct workers *workers, pid_t pid, bool exited)
{
    struct worker_end end = {.worker = 0, .owner = WORKERS_NOBODY};
    while (end.worker < workers->options->workers && workers->slots[end.worker].pid != pid)
        end.worker++;
    if (end.worker == workers->options->workers) {
        end.worker = WORKERS_NOBODY;
        return end;
    }
    struct worker_slot *slot = &workers->slots[end.worker];
    uint64_t call = slot->ended_call != 0 ? slot->ended_call : atomic_load(&slot->page->current);
    sublet_status status = guard_reason(slot->page, exited ? SUBLET_ERR_EXITED : SUBLET_ERR_CRASHED);
    if (slot->ended_call != 0)
        status = slot->ended_status;
    slot->pid = 0;
    stats_add(&slot->stats->restarts, 1);
    close(slot->socket);
    slot->socket = -1;
    if (status != SUBLET_OK && is_call(slot, call)) {
        struct stream *stream = &slot->streams[call_client(call)];
        if ((call & CALL_STREAM) == 0)
            answer_ring(slot, call, status);
        else if (answer_stream(slot, call, status)) {
            end.owner = stream->owner;
            stream_unmap(stream);
        }
    }
    for (uint32_t i = 0; i < slot->stream_end; i++) {
        struct stream *stream = &slot->streams[i];
        if (stream->state != NULL && atomic_load(&stream->state->moving) != 0)
            shutdown(stream->fd, SHUT_RDWR); /* killed by the kernel while it read: out of step */
    }
    end_fabrics(slot);
    if (fork_worker(workers, end.worker) != SUBLET_OK)
        fprintf(stderr, "sublet-executor: cannot fork a worker (%m); will try again\n");
    return end;
}

/** Takes the right to answer from a worker and kills it; false when the call is over or being answered. */
static bool end_call(struct worker_slot *slot, uint64_t call, uint64_t note, sublet_status status)
{
    if (slot->pid == 0 || slot->ended_call != 0 ||
        !atomic_compare_exchange_strong(&slot->page->current, &call, CALL_ENDED))
        return false;
    slot->ended_call = note;
    slot->ended_status = status;
    kill(slot->pid, SIGKILL);
    return true;
}

void workers_leave_call(struct worker_slot *slot, bool stream, uint32_t number)
{
    uint64_t call = slot->ended_call != 0 ? slot->ended_call : atomic_load(&slot->page->current);
    bool its = (call & CALL_SET) != 0 && ((call & CALL_STREAM) != 0) == stream && call_client(call) == number;
    if (!its)
        return;
    /* One that answers may be in the next call by now, which is another client's. */
    if (slot->ended_call != 0)
        slot->ended_status = SUBLET_OK;
    else if ((call & CALL_ANSWERING) == 0)
        end_call(slot, call, call, SUBLET_OK);
}

static sublet_status cancel_stream(struct worker_slot *slot, const struct control_cancel *cancel, bool *wait)
{
    sublet_status status = SUBLET_ERR_NOT_FOUND;
    for (uint32_t i = 0; i < slot->stream_end; i++) {
        struct stream *stream = &slot->streams[i];
        if (stream->state == NULL || stream->connection != cancel->connection)
            continue;
        uint64_t call = call_pack_stream(i, cancel->sequence);
        atomic_store(&stream->state->cancelled, cancel->sequence); /* if it is still to come */
        *wait = slot->ended_call == call || end_call(slot, call, call, SUBLET_ERR_TIMEOUT);
        status = SUBLET_OK;
    }
    return status;
}

static sublet_status cancel_ring(struct worker_slot *slot, uint32_t client, const struct control_cancel *cancel,
                                 bool *wait)
{
    struct ring *ring = &slot->rings[client];
    if (ring->base == NULL || cancel->slot >= ring->header.slots)
        return SUBLET_ERR_INVALID;
    /* The cancelled call may be over, and its slot may serve another one by now, also between any two lines here. The
     * order of these looks is checked in test/model/call_owner.pml. */
    if (ring_answered(ring, cancel->slot, cancel->sequence) || ring_sequence(ring, cancel->slot) != cancel->sequence)
        return SUBLET_OK;
    if (ring_claim(ring, cancel->slot)) {
        if (ring_sequence(ring, cancel->slot) != cancel->sequence)
            ring_give_back(ring, cancel->slot);
        else if (!ring_answered(ring, cancel->slot, cancel->sequence))
            ring_answer(ring, cancel->slot, cancel->sequence, SUBLET_ERR_TIMEOUT, 0);
        return SUBLET_OK;
    }
    uint64_t asked = call_pack(client, cancel->slot, cancel->sequence);
    for (uint32_t looks = 0; looks < CANCEL_LOOKS_MAX; looks++) {
        uint64_t call = slot->ended_call != 0 ? slot->ended_call : atomic_load(&slot->page->current);
        bool its_slot = (call & ~CALL_ANSWERING) == call_pack(client, cancel->slot, call_sequence(call));
        if (!its_slot)
            break;
        *wait = slot->ended_call != 0;
        if (*wait || (call & CALL_ANSWERING) != 0 || ring_sequence(ring, cancel->slot) != cancel->sequence)
            return SUBLET_OK;
        /* `current` may still name an earlier call of this slot; what is served there is the one that was asked for. */
        *wait = end_call(slot, call, asked, SUBLET_ERR_TIMEOUT);
        if (*wait)
            return SUBLET_OK;
    }
    /* Not served: it was answered, its worker was reaped, or user code has lied about the call it was in. */
    if (!ring_answered(ring, cancel->slot, cancel->sequence) && ring_sequence(ring, cancel->slot) == cancel->sequence)
        ring_answer(ring, cancel->slot, cancel->sequence, SUBLET_ERR_TIMEOUT, 0);
    return SUBLET_OK;
}

sublet_status workers_cancel(struct workers *workers, uint32_t client, const struct control_cancel *cancel,
                             uint32_t *wait_out)
{
    bool wait = false;
    if (cancel->worker >= workers->options->workers)
        return SUBLET_ERR_INVALID;
    struct worker_slot *slot = &workers->slots[cancel->worker];
    if (cancel->slot != CONTROL_SLOT_STREAM && client == WORKERS_NOBODY)
        return SUBLET_ERR_INVALID;
    sublet_status status = cancel->slot == CONTROL_SLOT_STREAM ? cancel_stream(slot, cancel, &wait)
                                                               : cancel_ring(slot, client, cancel, &wait);
    if (status == SUBLET_OK)
        *wait_out = wait ? cancel->worker : WORKERS_NOBODY;
    return status;
}
