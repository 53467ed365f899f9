/** Calls over a fabric: the transport, and its opening. The rest is in ofi_connection.c. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/background.h"
#include "client/calls.h"
#include "client/ofi_connection.h"

#define AGAIN_NS       UINT64_C(5000000)
#define MEMORY_MAX     (UINT64_C(1) << 30) /* registered memory is never paged out */
#define CROWDED_NS     UINT64_C(200000)    /* sleep of a thread while another one sleeps on the queue */
#define LOOKS_PER_STEP 1024u               /* polls between two looks at a connection that is silent */
#define NOT_OFTENER_NS UINT64_C(100000)

static struct ofi_worker *worker_of(const struct link *link, const struct sublet_call *call)
{
    return &link->fabric->workers[call->on_worker];
}

static bool has_arrived(const struct ofi_worker *worker, uint32_t slot)
{
    return (atomic_load_explicit(&worker->arrived, memory_order_acquire) >> slot & 1) != 0;
}

static sublet_status fabric_start(struct link *link, uint32_t number, struct sublet_call *call, uint32_t function)
{
    struct ofi_worker *worker = &link->fabric->workers[number];
    uint32_t slot = 0;
    while (slot < link->slots && worker->flights[slot].used)
        slot++;
    if (slot == link->slots)
        return SUBLET_ERR_BUSY;
    if (++worker->sequence == 0)
        worker->sequence = 1;
    uint64_t room = call->out_capacity < link->out_bytes ? call->out_capacity : link->out_bytes;
    worker->flights[slot] = (struct ofi_flight){
        .used = true,
        .call = call,
        .request = {.sequence = worker->sequence, .function = function, .timeout_ns = call->timeout_ns},
    };
    stream_request_set(&worker->flights[slot].request, call->in_bytes, room, false);
    worker->count++;
    worker->unsent++;
    call->on_worker = number;
    call->slot = slot;
    call->sequence = worker->sequence;
    return SUBLET_OK;
}

static void fabric_fill(struct link *link, struct sublet_call *call)
{
    struct ofi_worker *worker = worker_of(link, call);
    link->refs++; /* it may be lost meanwhile */
    if (worker->state == OFI_OPEN)
        ofi_connection_pump(link, worker);
    else
        ofi_connection_step(link, worker);
    link_unref(link);
}

static bool fabric_claim(struct link *link, struct sublet_call *call)
{
    (void)link;
    if (call->claimed)
        return false;
    call->claimed = true;
    return true;
}

static void fabric_unclaim(struct link *link, struct sublet_call *call)
{
    (void)link;
    call->claimed = false;
}

/** Has the worker's connection something to say, or is the way to it broken? */
static bool speaks(const struct link *link, const struct ofi_worker *worker)
{
    char byte;
    int fd = atomic_load(&worker->watch_fd);
    return fd < 0 || ofi_peer_is_lost(link->fabric->ofi, atomic_load(&worker->watch_peer)) ||
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static bool fabric_ready(struct link *link, const struct sublet_call *call)
{
    static _Thread_local uint32_t looks;
    const struct ofi_worker *worker = worker_of(link, call);
    if (has_arrived(worker, call->slot))
        return true;
    ofi_distribute(link);
    if (has_arrived(worker, call->slot) || atomic_load_explicit(&worker->restless, memory_order_relaxed))
        return true;
    return ++looks % LOOKS_PER_STEP == 0 && speaks(link, worker);
}

static void fabric_sleep(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    struct ofi_path *path = link->fabric;
    struct ofi_worker *worker = worker_of(link, call);
    struct pollfd entries[3] = {{.fd = atomic_load(&worker->watch_fd), .events = POLLIN},
                                {.fd = path->wake_fd, .events = POLLIN},
                                {.fd = ofi_fd(path->ofi), .events = POLLIN}};
    uint64_t ignored, nap = timeout_ns;
    bool nobody = false;
    bool mine = atomic_compare_exchange_strong(&path->sleeping, &nobody, true);
    /* What another thread takes from now on, it tells. */
    if (!mine || entries[2].fd < 0 || atomic_load(&worker->restless))
        nap = nap < CROWDED_NS ? nap : CROWDED_NS;
    bool quiet = !has_arrived(worker, call->slot) && !(mine && entries[2].fd >= 0 && !ofi_may_sleep(path->ofi));
    if (!quiet && ofi_peer_is_lost(path->ofi, atomic_load(&worker->watch_peer)))
        atomic_store(&worker->restless, true);
    if (quiet && !has_arrived(worker, call->slot)) {
        struct timespec limit = {.tv_sec = (time_t)(nap / 1000000000u), .tv_nsec = (long)(nap % 1000000000u)};
        ppoll(entries, mine ? 3 : 1, &limit, NULL);
    }
    if (!mine)
        return;
    atomic_store(&path->sleeping, false);
    if ((entries[1].revents & POLLIN) != 0)
        (void)!read(path->wake_fd, &ignored, sizeof(ignored));
}

static void fabric_take(struct link *link, struct sublet_call *call)
{
    if (link->fabric == NULL)
        return;
    struct ofi_worker *worker = worker_of(link, call);
    uint32_t slot = call->slot;
    link->refs++;
    if (!has_arrived(worker, slot))
        ofi_connection_step(link, worker);
    ofi_connection_take(link, worker, slot);
    link_unref(link);
}

static void fabric_progress(struct link *link)
{
    if (link->fabric == NULL || link->busy == 0)
        return;
    link->refs++;
    ofi_distribute(link);
    bool late = now_ns() - link->fabric->stepped_ns >= NOT_OFTENER_NS;
    if (late)
        link->fabric->stepped_ns = now_ns();
    for (uint32_t i = 0; i < link->workers; i++) {
        struct ofi_worker *worker = &link->fabric->workers[i];
        if (worker->count > 0 && (late || worker->state != OFI_OPEN || worker->unsent > 0))
            ofi_connection_step(link, worker);
        for (uint64_t bits = atomic_load(&worker->arrived); bits != 0; bits &= bits - 1) {
            uint32_t slot = (uint32_t)__builtin_ctzll(bits);
            struct sublet_call *call = worker->flights[slot].call;
            if (call == NULL || !call->claimed)
                ofi_connection_take(link, worker, slot);
        }
    }
    link_unref(link);
}

static struct sublet_call *fabric_strip(struct link *link)
{
    for (uint32_t i = 0; link->fabric != NULL && i < link->workers; i++)
        for (uint32_t slot = 0; slot < link->slots; slot++) {
            struct ofi_flight *flight = &link->fabric->workers[i].flights[slot];
            struct sublet_call *call = flight->call;
            if (!flight->used || (call != NULL && call->claimed))
                continue;
            ofi_connection_drop(link, &link->fabric->workers[i], slot);
            if (call != NULL)
                return call;
        }
    return NULL;
}

static void fabric_remove(struct link *link, struct sublet_call *call)
{
    struct ofi_worker *worker = worker_of(link, call);
    if (worker->flights[call->slot].call == call)
        ofi_connection_drop(link, worker, call->slot);
}

static void name_flight(const struct ofi_worker *worker, const struct ofi_flight *flight, struct control_cancel *cancel)
{
    *cancel = (struct control_cancel){.worker = worker->number,
                                      .slot = CONTROL_SLOT_STREAM,
                                      .sequence = flight->request.sequence,
                                      .connection = worker->connection};
}

static bool fabric_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    const struct ofi_worker *worker = worker_of(link, call);
    if (worker->state != OFI_OPEN || !worker->flights[call->slot].sent)
        return false;
    name_flight(worker, &worker->flights[call->slot], cancel);
    return true;
}

/** Unsent: taken back. Sent, but behind another: left to itself, and cancelled once it is first. */
static bool fabric_detach(struct link *link, struct sublet_call *call)
{
    struct ofi_worker *worker = worker_of(link, call);
    struct ofi_flight *flight = &worker->flights[call->slot];
    if (flight->call != call)
        return false;
    if (!flight->sent) {
        ofi_connection_drop(link, worker, call->slot);
        return true;
    }
    if (ofi_connection_oldest(link, worker) == call->slot)
        return false;
    flight->call = NULL;
    flight->cancel_ns = 1;
    background_wake(link->session);
    return true;
}

static bool fabric_stray(struct link *link, struct control_cancel *cancel)
{
    for (uint32_t i = 0; link->fabric != NULL && i < link->workers; i++) {
        struct ofi_worker *worker = &link->fabric->workers[i];
        uint32_t slot = ofi_connection_oldest(link, worker);
        if (slot == RING_SLOTS_MAX || worker->state != OFI_OPEN)
            continue;
        struct ofi_flight *flight = &worker->flights[slot];
        if (flight->call != NULL || now_ns() < flight->cancel_ns)
            continue;
        flight->cancel_ns = now_ns() + AGAIN_NS;
        name_flight(worker, flight, cancel);
        return true;
    }
    return false;
}

static bool fabric_has_strays(struct link *link)
{
    for (uint32_t i = 0; link->fabric != NULL && i < link->workers; i++)
        for (uint32_t slot = 0; slot < link->slots; slot++)
            if (link->fabric->workers[i].flights[slot].used && link->fabric->workers[i].flights[slot].call == NULL)
                return true;
    return false;
}

static int fabric_pollable(struct link *link, const struct sublet_call *call)
{
    (void)call;
    return ofi_fd(link->fabric->ofi);
}

static void fabric_close(struct link *link)
{
    struct ofi_path *path = link->fabric;
    if (path == NULL)
        return;
    for (uint32_t i = 0; path->workers != NULL && i < link->workers; i++)
        ofi_connection_close(link, &path->workers[i]);
    struct ofi_memory *const memories[] = {&path->requests, &path->responses};
    for (size_t i = 0; i < 2; i++) {
        void *base = memories[i]->base;
        size_t bytes = memories[i]->bytes;
        ofi_unregister(memories[i]);
        if (base != NULL)
            munmap(base, bytes);
    }
    if (path->ofi != NULL)
        ofi_close(path->ofi);
    if (path->wake_fd >= 0)
        close(path->wake_fd);
    free(path->workers);
    free(path);
    link->fabric = NULL;
}

const struct transport fabric_transport = {
    .start = fabric_start,
    .fill = fabric_fill,
    .claim = fabric_claim,
    .unclaim = fabric_unclaim,
    .ready = fabric_ready,
    .sleep = fabric_sleep,
    .take = fabric_take,
    .progress = fabric_progress,
    .strip = fabric_strip,
    .remove = fabric_remove,
    .name = fabric_name,
    .detach = fabric_detach,
    .stray = fabric_stray,
    .has_strays = fabric_has_strays,
    .pollable = fabric_pollable,
    .close = fabric_close,
};

static sublet_status make_memory(struct ofi *ofi, uint64_t bytes, struct ofi_memory *out)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    sublet_status status = ofi_register(ofi, base, bytes, false, out);
    if (status != SUBLET_OK)
        munmap(base, bytes);
    return status;
}

static sublet_status make_path(struct link *link, const char *wanted)
{
    struct ofi_path *path = link->fabric;
    uint64_t slots = (uint64_t)link->workers * link->slots;
    uint64_t in = slots * ofi_stride((uint32_t)link->in_bytes), out = slots * ofi_stride((uint32_t)link->out_bytes);
    char address[OFI_ADDRESS_MAX];
    if (in + out > MEMORY_MAX)
        return SUBLET_ERR_TOO_LARGE;
    path->workers = calloc(link->workers, sizeof(*path->workers));
    path->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (path->workers == NULL || path->wake_fd < 0)
        return SUBLET_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < link->workers; i++) {
        path->workers[i].fd = -1;
        path->workers[i].number = i;
    }
    struct ofi_settings settings = {.provider = wanted[0] == '\0' ? NULL : wanted,
                                    .address = ofi_own_address(link->control, address, sizeof(address)),
                                    .completions = (uint32_t)slots + link->workers,
                                    .shared = true,
                                    .connects = OFI_CONNECTS,
                                    .plain = ofi_wanted_plain()};
    sublet_status status = ofi_open(&settings, &path->ofi);
    if (status == SUBLET_OK)
        status = make_memory(path->ofi, in, &path->requests);
    if (status == SUBLET_OK)
        status = make_memory(path->ofi, out, &path->responses);
    return status;
}

const char *ofi_link_provider(const struct link *link)
{
    return ofi_provider(link->fabric->ofi);
}

static sublet_status open_path(struct link *link, const char *wanted, uint64_t until_ns)
{
    link->fabric = calloc(1, sizeof(*link->fabric));
    if (link->fabric == NULL)
        return SUBLET_ERR_NO_MEMORY;
    link->fabric->wake_fd = -1;
    link->fabric->opening = true;
    sublet_status status = make_path(link, wanted);
    for (uint32_t open = 0; status == SUBLET_OK && open < link->workers;) {
        open = 0;
        for (uint32_t i = 0; i < link->workers; i++) {
            ofi_connection_step(link, &link->fabric->workers[i]);
            open += link->fabric->workers[i].state == OFI_OPEN ? 1 : 0;
        }
        if (link->fabric->failed || now_ns() > until_ns)
            status = link->fabric->failed ? SUBLET_ERR_LOST : SUBLET_ERR_TIMEOUT;
        else if (open < link->workers)
            poll(NULL, 0, 1); /* both ends load their library meanwhile */
    }
    if (status == SUBLET_OK)
        return status;
    fabric_close(link);
    return status;
}

sublet_status ofi_link_open(struct link *link, uint64_t end_ns)
{
    const char *wanted = link->session->fabric;
    if (!ofi_wanted(wanted))
        return SUBLET_ERR_NOT_FOUND;
    uint64_t now = now_ns(), until_ns = now + (end_ns > now ? (end_ns - now) / 3 * 2 : 0); /* the rest is for TCP */
    sublet_status status = open_path(link, wanted, until_ns);
    if (status != SUBLET_OK)
        return status;
    link->fabric->opening = false;
    link->transport = &there_transport;
    return SUBLET_OK;
}
