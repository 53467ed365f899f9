/*
 * The loop: rings, streams, messages of the supervisor, by polling while hot and by poll(2) once nothing came for
 * spin_ns. In the ring path there is no system call, no lock and no allocation. A stream costs a recv per look, so one
 * that has been silent for a while is looked at only with every 64th step, as is the clock.
 */
#include "executor/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/functions.h"
#include "executor/stream_serve.h"

#define STEPS_PER_YIELD 64u
#define MISSES_HOT      256u

struct live_stream {
    uint32_t index;
    uint32_t misses; /* looks in a row that found nothing */
};

#define DEFERRED_MAX 64u

/** A message that was taken in the middle of a call; it changes what the loop looks at, so it waits for the loop. */
struct deferred {
    struct worker_message message;
    int fds[2];
    size_t count;
};

struct worker {
    struct worker_start *start;
    uint32_t messages_seen;
    uint32_t deferred_count;
    struct deferred deferred[DEFERRED_MAX];
    uint32_t ring_count;
    uint32_t stream_count;
    uint32_t rings[CLIENTS_MAX]; /* indexes of those that are there */
    struct live_stream streams[STREAMS_MAX];
    struct pollfd entries[2 + STREAMS_MAX];
    struct functions functions;
};

static void pin(int core)
{
    cpu_set_t set;
    if (core < 0 || core >= CPU_SETSIZE)
        return;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fprintf(stderr, "sublet-executor: cannot pin a worker to core %d: %m\n", core);
}

static void list_rings(struct worker *worker)
{
    worker->ring_count = 0;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        if (worker->start->rings[i].base != NULL)
            worker->rings[worker->ring_count++] = i;
}

static void list_streams(struct worker *worker)
{
    worker->stream_count = 0;
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        if (worker->start->streams[i].state != NULL)
            worker->streams[worker->stream_count++] = (struct live_stream){.index = i};
}

static void forget_stream(struct worker *worker, uint32_t index)
{
    struct stream *stream = &worker->start->streams[index];
    if (stream->state == NULL)
        return;
    stream_unmap(stream);
    close(stream->fd);
}

static void apply(struct worker *worker, const struct worker_message *message, int *fds, size_t *count)
{
    struct worker_start *start = worker->start;
    if (message->kind == WORKER_RING && message->index < CLIENTS_MAX && *count == 1) {
        struct ring *ring = &start->rings[message->index];
        ring_unmap(ring);
        if (ring_attach(fds[0], start->wake_fd, ring) != SUBLET_OK)
            ring->base = NULL;
        list_rings(worker);
    } else if (message->kind == WORKER_CLOSE && message->index < CLIENTS_MAX) {
        ring_unmap(&start->rings[message->index]);
        list_rings(worker);
    } else if (message->kind == WORKER_STREAM && message->index < STREAMS_MAX && *count == 2) {
        forget_stream(worker, message->index);
        if (stream_attach(fds[1], fds[0], message->in_bytes, message->out_bytes, &start->streams[message->index]) ==
            SUBLET_OK)
            fds[0] = fds[--*count]; /* the connection stays open */
        list_streams(worker);
    } else if (message->kind == WORKER_STREAM_CLOSE && message->index < STREAMS_MAX) {
        forget_stream(worker, message->index);
        list_streams(worker);
    } else if (message->kind == WORKER_LIBRARY && message->index < LIBRARIES_MAX && *count == 1) {
        start->library_fds[message->index] = fds[0]; /* stays open: its name in /proc must work and stay unique */
        *count = 0;
    }
}

/** Receives one message; false when there is none. Ends the process when the supervisor is gone. */
static bool receive_message(struct worker *worker, struct deferred *out)
{
    struct pollfd entry = {.fd = worker->start->socket, .events = POLLIN};
    if (poll(&entry, 1, 0) <= 0)
        return false;
    if (fds_receive(worker->start->socket, &out->message, sizeof(out->message), out->fds, 2, &out->count, now_ns()) !=
        SUBLET_OK)
        _exit(0);
    worker->messages_seen++;
    return true;
}

static void apply_and_close(struct worker *worker, struct deferred *taken)
{
    apply(worker, &taken->message, taken->fds, &taken->count);
    fds_close(taken->fds, taken->count);
}

/** Takes one message; false when there is none. Those taken in the middle of a call come first. */
static bool take_message(struct worker *worker)
{
    struct deferred taken;
    bool waited = worker->deferred_count > 0;
    for (uint32_t i = 0; i < worker->deferred_count; i++)
        apply_and_close(worker, &worker->deferred[i]);
    worker->deferred_count = 0;
    if (!receive_message(worker, &taken))
        return waited;
    apply_and_close(worker, &taken);
    return true;
}

/** In the middle of a call: takes what is there; libraries count at once, everything else after the call. */
static void catch_up(void *context)
{
    struct worker *worker = context;
    while (worker->deferred_count < DEFERRED_MAX) {
        struct deferred *taken = &worker->deferred[worker->deferred_count];
        if (!receive_message(worker, taken))
            break;
        if (taken->message.kind == WORKER_LIBRARY)
            apply_and_close(worker, taken);
        else
            worker->deferred_count++;
    }
}

void worker_begin_answer(struct worker_page *page, uint64_t call)
{
    if (!atomic_compare_exchange_strong(&page->current, &call, call | CALL_ANSWERING))
        _exit(1); /* ended by the supervisor: it answers as soon as this process is gone */
}

static void serve(struct worker *worker, uint32_t client, uint32_t slot)
{
    struct worker_page *page = worker->start->page;
    struct ring *ring = &worker->start->rings[client];
    struct ring_call call;
    uint32_t size = 0;
    /* Announced before it is claimed: whenever the claim is gone and this process dies, the supervisor knows. */
    uint64_t mine = call_pack(client, slot, ring_sequence(ring, slot));
    atomic_store_explicit(&page->current, mine, memory_order_relaxed);
    if (ring_claim(ring, slot)) {
        sublet_status status = ring_read(ring, slot, &call);
        if (call.sequence != call_sequence(mine)) { /* cancelled and used again between announcement and claim */
            uint64_t announced = mine;
            mine = call_pack(client, slot, call.sequence);
            if (!atomic_compare_exchange_strong(&page->current, &announced, mine))
                _exit(1);
        }
        if (status == SUBLET_OK)
            status = functions_run(&worker->functions, &call, &size);
        atomic_fetch_add_explicit(status == SUBLET_OK ? &page->calls : &page->failures, 1, memory_order_relaxed);
        worker_begin_answer(page, mine);
        ring_answer(ring, slot, call.sequence, status, size);
    }
    atomic_store_explicit(&page->current, 0, memory_order_release);
}

static bool look_at_rings(struct worker *worker)
{
    bool served = false;
    for (uint32_t i = 0; i < worker->ring_count; i++) {
        uint32_t client = worker->rings[i];
        for (uint64_t pending = ring_pending(&worker->start->rings[client]); pending != 0; pending &= pending - 1) {
            serve(worker, client, (uint32_t)__builtin_ctzll(pending));
            served = true;
        }
    }
    return served;
}

static bool look_at_streams(struct worker *worker, bool all)
{
    bool served = false;
    for (uint32_t i = 0; i < worker->stream_count; i++) {
        struct live_stream *live = &worker->streams[i];
        if (!all && live->misses >= MISSES_HOT)
            continue;
        struct stream *stream = &worker->start->streams[live->index];
        enum stream_look look = stream_serve(stream, live->index, worker->start->page, &worker->functions);
        if (look == STREAM_LOOK_SERVED) {
            live->misses = 0;
            served = true;
        } else if (look == STREAM_LOOK_NOTHING)
            live->misses++;
        else /* until the supervisor takes it away */
            worker->streams[i--] = worker->streams[--worker->stream_count];
    }
    return served;
}

static void sleep_until_woken(struct worker *worker)
{
    struct worker_start *start = worker->start;
    bool pending = false;
    for (uint32_t i = 0; i < worker->ring_count; i++)
        pending |= ring_announce_sleep(&start->rings[worker->rings[i]]);
    if (!pending) {
        uint32_t count = 2 + worker->stream_count;
        worker->entries[0] = (struct pollfd){.fd = start->wake_fd, .events = POLLIN};
        worker->entries[1] = (struct pollfd){.fd = start->socket, .events = POLLIN};
        for (uint32_t i = 0; i < worker->stream_count; i++) {
            int fd = start->streams[worker->streams[i].index].fd;
            worker->entries[2 + i] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
        poll(worker->entries, count, -1); /* the supervisor's end closes its socket, which wakes this */
        for (uint32_t i = 0; i < worker->stream_count; i++)
            if (worker->entries[2 + i].revents != 0)
                worker->streams[i].misses = 0;
        uint64_t ignored;
        if ((worker->entries[0].revents & POLLIN) != 0 && read(start->wake_fd, &ignored, sizeof(ignored)) < 0 &&
            errno != EAGAIN)
            fprintf(stderr, "sublet-executor: cannot read a worker's eventfd: %m\n");
    }
    for (uint32_t i = 0; i < worker->ring_count; i++)
        ring_announce_awake(&start->rings[worker->rings[i]]);
    while (take_message(worker)) {
    }
}

_Noreturn void worker_run(struct worker_start *start)
{
    static struct worker worker;
    worker.start = start;
    worker.messages_seen = start->messages;
    worker.functions.table = start->table;
    worker.functions.library_fds = start->library_fds;
    worker.functions.worker = start->number;
    worker.functions.catch_up = catch_up;
    worker.functions.catch_up_context = &worker;
    list_rings(&worker);
    list_streams(&worker);
    pin(start->core);
    uint64_t idle_since = 0; /* 0: not known yet, read the clock at the next chance */
    for (uint32_t step = 1;; step++) {
        bool whole = step % STEPS_PER_YIELD == 0;
        if ((worker.deferred_count > 0 ||
             atomic_load_explicit(&start->page->messages, memory_order_relaxed) != worker.messages_seen) &&
            !take_message(&worker))
            worker.messages_seen = atomic_load(&start->page->messages); /* user code wrote here */
        bool served = look_at_rings(&worker);
        served |= look_at_streams(&worker, whole);
        if (served) {
            idle_since = 0;
            continue;
        }
        if (!whole) {
            ring_relax();
            continue;
        }
        sched_yield(); /* another spinner may share this core */
        uint64_t now = now_ns();
        if (idle_since == 0)
            idle_since = now;
        if (now - idle_since >= start->spin_ns) {
            sleep_until_woken(&worker);
            idle_since = 0;
        }
    }
}
