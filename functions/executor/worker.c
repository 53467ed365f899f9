#include "executor/worker.h"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "sublet/function.h"

struct resolved {
    sublet_plain_function plain;
    sublet_function context;
};

struct worker {
    struct worker_start *start;
    uint32_t messages_seen;
    void *libraries[LIBRARIES_MAX];
    struct resolved functions[FUNCTIONS_MAX];
};

void *library_open(int fd, const char **why_out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL && why_out != NULL)
        *why_out = dlerror();
    return library;
}

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

/** Takes one message; false when there is none. Ends the process when the supervisor is gone. */
static bool take_message(struct worker *worker)
{
    struct worker_start *start = worker->start;
    struct pollfd entry = {.fd = start->socket, .events = POLLIN};
    if (poll(&entry, 1, 0) <= 0)
        return false;
    struct worker_message message;
    int fd = -1;
    size_t count = 0;
    if (fds_receive(start->socket, &message, sizeof(message), &fd, 1, &count, now_ns()) != SUBLET_OK)
        _exit(0);
    worker->messages_seen++;
    if (message.kind == WORKER_RING && message.index < CLIENTS_MAX && count == 1) {
        struct ring *ring = &start->rings[message.index];
        ring_unmap(ring);
        if (ring_attach(fd, start->wake_fd, ring) != SUBLET_OK)
            ring->base = NULL;
        close(fd);
    } else if (message.kind == WORKER_CLOSE && message.index < CLIENTS_MAX) {
        ring_unmap(&start->rings[message.index]);
        if (count == 1)
            close(fd);
    } else if (message.kind == WORKER_LIBRARY && message.index < LIBRARIES_MAX && count == 1)
        start->library_fds[message.index] = fd; /* stays open: the name in /proc must work when it is first used */
    else if (count == 1)
        close(fd);
    return true;
}

/** Finds a function at its first call. */
static sublet_status resolve(struct worker *worker, uint32_t id, struct resolved *out)
{
    struct function_table *table = worker->start->table;
    if (id >= FUNCTIONS_MAX || id >= atomic_load_explicit(&table->count, memory_order_acquire))
        return SUBLET_ERR_NOT_FOUND;
    struct resolved *known = &worker->functions[id];
    if (known->plain == NULL && known->context == NULL) {
        uint32_t number = table->entries[id].library;
        if (number >= LIBRARIES_MAX || worker->start->library_fds[number] < 0)
            return SUBLET_ERR_NOT_FOUND;
        if (worker->libraries[number] == NULL)
            worker->libraries[number] = library_open(worker->start->library_fds[number], NULL);
        if (worker->libraries[number] == NULL)
            return SUBLET_ERR_NOT_FOUND;
        char marker[160];
        snprintf(marker, sizeof(marker), "sublet_form_%.127s", table->entries[id].name);
        void *symbol = dlsym(worker->libraries[number], table->entries[id].name);
        if (symbol == NULL)
            return SUBLET_ERR_NOT_FOUND;
        if (dlsym(worker->libraries[number], marker) != NULL)
            memcpy(&known->context, &symbol, sizeof(symbol));
        else
            memcpy(&known->plain, &symbol, sizeof(symbol));
    }
    *out = *known;
    return SUBLET_OK;
}

static sublet_status run(struct worker *worker, const struct ring_call *call, uint32_t *size_out)
{
    struct resolved function;
    sublet_status status = resolve(worker, call->function, &function);
    if (status != SUBLET_OK)
        return status;
    uint32_t size;
    if (function.context != NULL) {
        sublet_context context = {
            .struct_bytes = sizeof(context),
            .worker = worker->start->number,
            .in_bytes = call->size,
            .out_bytes = call->out_capacity,
            .timeout_ns = call->timeout_ns,
        };
        if (function.context(&context, call->in, call->out) != 0)
            return SUBLET_ERR_FUNCTION;
        size = context.result_bytes;
    } else
        size = function.plain((void *)(uintptr_t)call->in, call->size, call->out);
    if (size > call->out_capacity)
        return SUBLET_ERR_TOO_LARGE;
    *size_out = size;
    return SUBLET_OK;
}

static void serve(struct worker *worker, uint32_t client, uint32_t slot)
{
    struct worker_page *page = worker->start->page;
    struct ring *ring = &worker->start->rings[client];
    struct ring_call call;
    uint32_t size = 0;
    /* Announced before it is claimed: whenever the claim is gone and this process dies, the supervisor knows. */
    sublet_status status = ring_read(ring, slot, &call);
    atomic_store_explicit(&page->current, call_pack(client, slot, call.sequence), memory_order_release);
    if (ring_claim(ring, slot)) {
        if (status == SUBLET_OK)
            status = run(worker, &call, &size);
        atomic_fetch_add_explicit(status == SUBLET_OK ? &page->calls : &page->failures, 1, memory_order_relaxed);
        ring_answer(ring, slot, call.sequence, status, size);
    }
    atomic_store_explicit(&page->current, 0, memory_order_release);
}

/** One look at every client; returns whether anything was served. */
static bool look(struct worker *worker)
{
    bool served = false;
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        struct ring *ring = &worker->start->rings[client];
        if (ring->base == NULL)
            continue;
        for (uint64_t pending = ring_pending(ring); pending != 0; pending &= pending - 1) {
            serve(worker, client, (uint32_t)__builtin_ctzll(pending));
            served = true;
        }
    }
    return served;
}

static void sleep_until_woken(struct worker *worker)
{
    struct worker_start *start = worker->start;
    bool pending = false;
    for (uint32_t client = 0; client < CLIENTS_MAX; client++)
        if (start->rings[client].base != NULL)
            pending |= ring_announce_sleep(&start->rings[client]);
    if (!pending) {
        struct pollfd entries[2] = {{.fd = start->wake_fd, .events = POLLIN}, {.fd = start->socket, .events = POLLIN}};
        poll(entries, 2, -1); /* the socket's end wakes it when the supervisor is gone */
        uint64_t count;
        (void)!read(start->wake_fd, &count, sizeof(count));
    }
    for (uint32_t client = 0; client < CLIENTS_MAX; client++)
        if (start->rings[client].base != NULL)
            ring_announce_awake(&start->rings[client]);
    while (take_message(worker)) {
    }
}

_Noreturn void worker_run(struct worker_start *start)
{
    struct worker worker = {.start = start};
    worker.messages_seen = atomic_load(&start->page->messages);
    pin(start->core);
    uint64_t idle_since = now_ns();
    for (uint32_t spins = 1;; spins++) {
        if (atomic_load_explicit(&start->page->messages, memory_order_relaxed) != worker.messages_seen)
            take_message(&worker);
        if (look(&worker)) {
            idle_since = now_ns();
            continue;
        }
        if (spins % 64 != 0) {
            __builtin_ia32_pause();
            continue;
        }
        sched_yield(); /* another spinner may share this core */
        if (now_ns() - idle_since >= start->spin_ns) {
            sleep_until_woken(&worker);
            idle_since = now_ns();
        }
    }
}
