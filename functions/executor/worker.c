/*
 * The loop: rings, streams, messages of the supervisor, by polling while hot and asleep once nothing came for a while
 * (executor/idle.h). In the ring path there is no system call, no lock and no allocation. Of streams only those of
 * which bytes came lately are polled (executor/streams.h).
 *
 * Clients take turns: of each ring RING_TURN calls at most before the next one is looked at, of each stream a turn of
 * some 100 us (stream_serve.c), and within a ring the slots after the one served last come first. So none waits for
 * more than a turn of all others.
 */
#include "executor/worker.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/probes.h"
#include "executor/functions.h"
#include "executor/guard.h"
#include "executor/idle.h"
#include "executor/nap.h"
#include "executor/ofi_serve.h"
#include "executor/streams.h"

#define RING_TURN    8u

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
    uint32_t rings[CLIENTS_MAX];     /* indexes of those that are there */
    uint32_t next_slot[CLIENTS_MAX]; /* where the next turn of a ring begins */
    struct streams streams;
    struct memory memory;
    struct ofi_server *fabric; /* NULL: no client came that way */
    struct idle idle;
    struct nap nap;
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

/** A connection that belongs to calls over a fabric, and what it shares with the supervisor. */
static bool add_fabric(struct worker *worker, uint32_t index, int buffer_fd, int connection_fd)
{
    struct stream *stream = &worker->start->streams[index];
    if (stream_attach(buffer_fd, connection_fd, stream) != SUBLET_OK)
        return false;
    stream->fabric = true;
    ofi_serve_add(&worker->fabric, worker->start->fabric, stream, index);
    return true;
}

static void remove_stream(struct worker *worker, uint32_t index)
{
    struct stream *stream = &worker->start->streams[index];
    if (!stream->fabric) {
        streams_remove(&worker->streams, index);
        return;
    }
    ofi_serve_remove(worker->fabric, stream);
    stream_unmap(stream);
    close(stream->fd);
    stream->fabric = false;
}

static void apply(struct worker *worker, const struct worker_message *message, int *fds, size_t *count)
{
    struct worker_start *start = worker->start;
    if (message->kind == WORKER_RING && message->index < CLIENTS_MAX && *count == 1) {
        struct ring *ring = &start->rings[message->index];
        ring_unmap(ring);
        if (ring_attach(fds[0], start->wake_fd, ring) != SUBLET_OK)
            ring->base = NULL;
        else
            ring_guard(ring);
        list_rings(worker);
    } else if (message->kind == WORKER_CLOSE && message->index < CLIENTS_MAX) {
        ring_unmap(&start->rings[message->index]);
        list_rings(worker);
    } else if (message->kind == WORKER_STREAM && message->index < STREAMS_MAX && *count == 2) {
        remove_stream(worker, message->index);
        if (streams_add(&worker->streams, message->index, fds[1], fds[0]))
            fds[0] = fds[--*count]; /* the connection stays open */
    } else if (message->kind == WORKER_FABRIC && message->index < STREAMS_MAX && *count == 2) {
        remove_stream(worker, message->index);
        if (add_fabric(worker, message->index, fds[1], fds[0]))
            fds[0] = fds[--*count];
    } else if (message->kind == WORKER_STREAM_CLOSE && message->index < STREAMS_MAX) {
        remove_stream(worker, message->index);
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

/** What its caller is told: a call that ran nowhere (its function is not known) ends where it began. */
static void trace(struct worker *worker, struct ring *ring, const struct ring_call *call, uint64_t found, bool behind)
{
    const struct functions *functions = &worker->functions;
    bool ran = functions->run_start >= found;
    struct ring_trace told = {.woke = functions->woke,
                              .found = found,
                              .start = ran ? functions->run_start : found,
                              .end = ran ? functions->run_end : found,
                              .answer = cycles(),
                              .flags = functions_before(functions, behind)};
    ring_put_trace(ring, call->slot, &told);
}

/** `behind`: another call of this turn was served before it. */
static void serve(struct worker *worker, uint32_t client, uint32_t slot, bool behind)
{
    struct worker_page *page = worker->start->page;
    struct ring *ring = &worker->start->rings[client];
    struct ring_call call;
    uint64_t size = 0;
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
        uint64_t found = call.traced ? cycles() : 0;
        if (status == SUBLET_OK)
            status = functions_run(&worker->functions, &call, &size);
        stats_count(worker->start->stats, status, call.size, status == SUBLET_OK ? size : 0);
        worker_begin_answer(page, mine);
        if (call.lined && status == SUBLET_OK && size > 0)
            ring_put_line(ring, slot, call.line, (uint32_t)size);
        if (status == SUBLET_ERR_TOO_LARGE)
            ring_put_needed(ring, slot, size);
        if (call.traced)
            trace(worker, ring, &call, found, behind);
        ring_answer(ring, slot, call.sequence, status, status == SUBLET_OK ? (uint32_t)size : 0);
    }
    atomic_store_explicit(&page->current, 0, memory_order_release);
}

/** One turn of a ring. */
static bool look_at_ring(struct worker *worker, uint32_t client)
{
    struct ring *ring = &worker->start->rings[client];
    uint64_t pending = ring_pending(ring);
    if (pending != 0)
        stats_turn(&worker->functions.sampler, (pending & (pending - 1)) == 0 ? 1 : RING_TURN);
    for (uint32_t served = 0; pending != 0; served++) {
        if (served == RING_TURN)
            return true;
        uint64_t later = pending & (~UINT64_C(0) << worker->next_slot[client]);
        uint32_t slot = (uint32_t)__builtin_ctzll(later != 0 ? later : pending);
        pending &= ~(UINT64_C(1) << slot);
        if (pending != 0) {
            later &= pending;
            ring_prefetch(ring, (uint32_t)__builtin_ctzll(later != 0 ? later : pending));
        }
        worker->next_slot[client] = (slot + 1) % RING_SLOTS_MAX;
        serve(worker, client, slot, served > 0);
        if (pending == 0)
            return true;
    }
    return false;
}

static bool look_at_rings(struct worker *worker)
{
    bool served = false;
    for (uint32_t i = 0; i < worker->ring_count; i++)
        served |= look_at_ring(worker, worker->rings[i]);
    return served;
}

static void sleep_until_woken(struct worker *worker)
{
    struct worker_start *start = worker->start;
    uint64_t woken_ns = 0;
    int fabric_fds[OFI_SERVE_FDS_MAX];
    uint32_t fabric_count;
    if (!ofi_serve_sleep(worker->fabric, fabric_fds, &fabric_count))
        return;
    stats_add(&start->stats->sleeps, 1);
    stats_pause(&worker->functions.sampler);
    nap_begin(&worker->nap, worker->rings, worker->ring_count);
    streams_before_nap(&worker->streams, &worker->nap);
    for (uint32_t i = 0; i < fabric_count; i++)
        nap_add_stream(&worker->nap, fabric_fds[i]);
    PROBE1(worker_sleep, start->number);
    bool slept = nap_take(&worker->nap, worker->messages_seen);
    uint64_t woke = cycles();
    if (slept)
        woken_ns = nap_end(&worker->nap, worker->idle.since_ns);
    worker->functions.woke = woke;
    worker->functions.rested = true;
    streams_after_nap(&worker->streams, &worker->nap);
    PROBE1(worker_wake, start->number);
    idle_end_asleep(&worker->idle, woken_ns);
    while (take_message(worker)) {
    }
}

/** Nothing came: tells the core, now and then gives it away, and sleeps in the end. */
static void rest(struct worker *worker)
{
    if (!idle_step(&worker->idle)) {
        ring_relax();
        return;
    }
    sched_yield(); /* another spinner may share this core */
    bool tired = idle_look(&worker->idle, now_ns());
    stats_pause(&worker->functions.sampler);
    atomic_store_explicit(&worker->start->stats->polled_ns, worker->idle.polled_ns, memory_order_relaxed);
    if (tired)
        sleep_until_woken(worker);
}

/** What a predecessor has left. */
static void guard_all(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->ring_count; i++)
        ring_guard(&worker->start->rings[worker->rings[i]]);
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
    pin(start->core);
    guard_start(start->page);
    guard_all(&worker);
    functions_start(&worker.functions);
    worker.memory = (struct memory){.page = start->memory_bytes != 0 ? start->page : NULL,
                                    .pages = start->pages,
                                    .workers = start->workers,
                                    .limit = start->memory_bytes / 2};
    streams_start(&worker.streams, start, &worker.functions, &worker.memory);
    idle_start(&worker.idle, start->spin_ns);
    worker.functions.idle = &worker.idle;
    worker.idle.polled_ns = atomic_load(&start->stats->polled_ns); /* of the predecessors */
    stats_sampler_start(&worker.functions.sampler, start->stats, start->clock);
    nap_start(&worker.nap, start);
    for (;;) {
        if ((worker.deferred_count > 0 ||
             atomic_load_explicit(&start->page->messages, memory_order_relaxed) != worker.messages_seen) &&
            !take_message(&worker))
            worker.messages_seen = atomic_load(&start->page->messages); /* user code wrote here */
        bool served = look_at_rings(&worker);
        served |= streams_look(&worker.streams, worker.idle.steps % IDLE_STEPS == IDLE_STEPS - 1);
        served |= ofi_serve(worker.fabric, start->page, &worker.functions);
        if (!served) {
            rest(&worker);
            continue;
        }
        worker.functions.rested = false;
        if (worker.idle.steps > 0)
            idle_end(&worker.idle);
    }
}
