/*
 * The connection's end says which calls were begun (wire/ofi.h). Those that were not are sent again over the next one;
 * the others move like the calls of a lost lease. A call that a thread has claimed is left to that thread: it finds the
 * verdict in the slot.
 */
#include "client/ofi_connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"

#define FAILURES_MAX 3u                   /* connections in a row that end without an answer */
#define WORD_NS      UINT64_C(1000000000) /* after the way broke: for the word of what became of the worker */

static unsigned char *request_at(const struct link *link, const struct ofi_worker *worker, uint32_t slot)
{
    uint64_t number = (uint64_t)worker->number * link->slots + slot;
    return link->fabric->requests.base + number * ofi_stride((uint32_t)link->in_bytes);
}

static uint64_t response_offset(const struct link *link, const struct ofi_worker *worker, uint32_t slot)
{
    return ((uint64_t)worker->number * link->slots + slot) * ofi_stride((uint32_t)link->out_bytes);
}

void ofi_distribute(struct link *link)
{
    struct ofi_path *path = link->fabric;
    uint32_t data[16], count = ofi_poll(path->ofi, data, 16);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = ofi_data_tag(data[i]), slot = ofi_data_slot(data[i]);
        struct ofi_worker *worker = &path->workers[tag & 63];
        if ((tag & 63) >= link->workers || tag != atomic_load(&worker->own_tag))
            continue; /* late, or nobody's */
        if (ofi_data_kind(data[i]) == OFI_PROBE)
            atomic_store(&worker->probed, true);
        else if (ofi_data_kind(data[i]) == OFI_CALL && slot < link->slots)
            atomic_fetch_or(&worker->arrived, UINT64_C(1) << slot);
    }
    if (count > 0 && atomic_load(&path->sleeping)) {
        const uint64_t one = 1;
        (void)!write(path->wake_fd, &one, sizeof(one)); /* full: it is awake already */
    }
}

static void show(struct ofi_worker *worker)
{
    atomic_store(&worker->restless, worker->state != OFI_OPEN || worker->unsent > 0 || worker->broke_ns != 0);
    atomic_store(&worker->watch_fd, worker->fd);
}

static void fail(struct link *link)
{
    if (link->fabric->opening)
        link->fabric->failed = true;
    else
        link_lost(link, SUBLET_ERR_LOST);
}

void ofi_connection_drop(struct link *link, struct ofi_worker *worker, uint32_t slot)
{
    struct ofi_flight *flight = &worker->flights[slot];
    worker->count--;
    worker->unsent -= flight->sent ? 0 : 1;
    memset(flight, 0, sizeof(*flight));
    atomic_fetch_and(&worker->arrived, ~(UINT64_C(1) << slot));
    link->busy--;
    link->worker_busy[worker->number]--;
}

uint32_t ofi_connection_oldest(const struct link *link, const struct ofi_worker *worker)
{
    uint32_t oldest = RING_SLOTS_MAX;
    for (uint32_t slot = 0; slot < link->slots; slot++) {
        const struct ofi_flight *flight = &worker->flights[slot];
        if (flight->used && flight->sent &&
            (oldest == RING_SLOTS_MAX ||
             (int32_t)(flight->request.sequence - worker->flights[oldest].request.sequence) < 0))
            oldest = slot;
    }
    return oldest;
}

void ofi_connection_close(struct link *link, struct ofi_worker *worker)
{
    atomic_store(&worker->own_tag, 0);
    if (worker->state >= OFI_PROBING)
        ofi_peer_remove(link->fabric->ofi, worker->target.peer);
    if (worker->fd >= 0)
        close(worker->fd);
    worker->fd = -1;
    worker->state = OFI_CLOSED;
    worker->have = 0;
    show(worker);
}

/** Is its end known? An answer was announced, and written: a worker may announce what it likes. */
static bool is_answered(const struct link *link, const struct ofi_worker *worker, uint32_t slot)
{
    const struct ofi_flight *flight = &worker->flights[slot];
    struct stream_response response;
    if (!flight->used || !flight->sent || (atomic_load(&worker->arrived) >> slot & 1) == 0)
        return false;
    if (flight->verdict != SUBLET_OK)
        return true; /* by the end of a connection, and not taken yet */
    memcpy(&response,
           link->fabric->responses.base + response_offset(link, worker, slot) + OFI_WIRE_HEAD - sizeof(response),
           sizeof(response));
    return response.sequence == flight->request.sequence;
}

/** `last` NULL: it ended without a word. */
static void connection_over(struct link *link, struct ofi_worker *worker, const struct stream_response *last)
{
    ofi_distribute(link); /* answers that came before the end count */
    for (uint32_t slot = 0; slot < link->slots; slot++) {
        struct ofi_flight *flight = &worker->flights[slot];
        if (!flight->used || is_answered(link, worker, slot))
            continue;
        atomic_fetch_and(&worker->arrived, ~(UINT64_C(1) << slot));
        int32_t behind = last == NULL ? 0 : (int32_t)(flight->request.sequence - last->sequence);
        if (!flight->sent || behind > 0) {
            worker->unsent += flight->sent ? 1 : 0;
            flight->sent = false;
            if (flight->call == NULL) /* nobody wants it, and it never began */
                ofi_connection_drop(link, worker, slot);
            continue;
        }
        flight->verdict =
            last == NULL || behind < 0 || last->status == SUBLET_OK ? SUBLET_ERR_LOST : (sublet_status)last->status;
        atomic_fetch_or(&worker->arrived, UINT64_C(1) << slot);
    }
    if (last != NULL)
        worker->failures = 0;
    ofi_connection_close(link, worker);
    for (uint32_t slot = 0; slot < link->slots; slot++) {
        struct ofi_flight *flight = &worker->flights[slot];
        if (flight->used && (flight->call == NULL || !flight->call->claimed))
            ofi_connection_take(link, worker, slot);
    }
    if (link->fabric->opening || ++worker->failures > FAILURES_MAX)
        fail(link);
}

void ofi_connection_take(struct link *link, struct ofi_worker *worker, uint32_t slot)
{
    struct ofi_flight *flight = &worker->flights[slot];
    struct stream_response response;
    if (!flight->used || !flight->sent) /* whoever waits for it would look again and again */
        atomic_fetch_and(&worker->arrived, ~(UINT64_C(1) << slot));
    if ((atomic_load(&worker->arrived) >> slot & 1) == 0)
        return;
    struct sublet_call *call = flight->call;
    const unsigned char *from = link->fabric->responses.base + response_offset(link, worker, slot) + OFI_WIRE_HEAD;
    if (flight->verdict != SUBLET_OK) {
        sublet_status verdict = flight->verdict;
        ofi_connection_drop(link, worker, slot);
        if (call != NULL && verdict == SUBLET_ERR_LOST)
            calls_move(call, verdict);
        else if (call != NULL)
            calls_finish(call, verdict, 0);
        return;
    }
    atomic_fetch_and(&worker->arrived, ~(UINT64_C(1) << slot));
    memcpy(&response, from - sizeof(response), sizeof(response));
    if (response.sequence != flight->request.sequence)
        return; /* announced, but not written: the answer is still to come */
    if (stream_response_check(&response, response.sequence, stream_request_room(&flight->request)) != SUBLET_OK) {
        fail(link);
        return;
    }
    uint64_t size = stream_response_size(&response);
    if (call != NULL && response.status == SUBLET_OK && size > 0)
        memcpy(call->out, from, size);
    worker->failures = 0;
    ofi_connection_drop(link, worker, slot);
    link->calls++;
    if (call != NULL)
        calls_finish(call, (sublet_status)response.status, size);
}

static void begin(struct link *link, struct ofi_worker *worker)
{
    if (link_socket(link, &worker->fd) != SUBLET_OK) {
        worker->fd = -1;
        fail(link);
        return;
    }
    worker->connection = ++link->next_connection;
    worker->end_ns = now_ns() + link->session->timeout_ns;
    worker->have = 0;
    worker->broke_ns = 0;
    worker->probe_sent = false;
    atomic_store(&worker->probed, false);
    atomic_store(&worker->own_tag, (++link->fabric->tags << 6 | worker->number) & OFI_WIRE_TAG_MAX);
    worker->state = OFI_CONNECTING;
}

/** Hello and offer together: they fit the buffer of a new socket. */
static void introduce(struct link *link, struct ofi_worker *worker)
{
    struct {
        struct stream_hello hello;
        struct ofi_offer offer;
    } words;
    struct pollfd entry = {.fd = worker->fd, .events = POLLOUT};
    struct ofi_path *path = link->fabric;
    uint32_t name_bytes = 0;
    if (poll(&entry, 1, 0) <= 0)
        return;
    memset(&words, 0, sizeof(words));
    words.hello = (struct stream_hello){.magic = STREAM_MAGIC,
                                        .version = STREAM_VERSION,
                                        .role = STREAM_FABRIC,
                                        .worker = worker->number,
                                        .in_bytes = (uint32_t)link->in_bytes,
                                        .out_bytes = (uint32_t)link->out_bytes,
                                        .connection = worker->connection};
    memcpy(words.hello.token, link->token, sizeof(link->token));
    words.offer = (struct ofi_offer){.magic = OFI_WIRE_MAGIC,
                                     .version = OFI_WIRE_VERSION,
                                     .tag = atomic_load(&worker->own_tag),
                                     .plain = ofi_is_plain(path->ofi),
                                     .slots = link->slots,
                                     .in_bytes = (uint32_t)link->in_bytes,
                                     .out_bytes = (uint32_t)link->out_bytes,
                                     .address = path->responses.address + response_offset(link, worker, 0),
                                     .key = path->responses.key};
    memcpy(words.offer.provider, ofi_provider(path->ofi), strlen(ofi_provider(path->ofi)));
    sublet_status status = ofi_name(path->ofi, words.offer.name, sizeof(words.offer.name), &name_bytes);
    words.offer.name_bytes = (uint16_t)name_bytes;
    if (status == SUBLET_OK)
        status = fds_send(worker->fd, &words, sizeof(words), NULL, 0, now_ns());
    explicit_bzero(&words, sizeof(words));
    if (status != SUBLET_OK)
        connection_over(link, worker, NULL);
    else
        worker->state = OFI_AWAITING;
}

/** The worker's offer is there. */
static void meet(struct link *link, struct ofi_worker *worker)
{
    const struct ofi_offer *offer = &worker->answer.offer;
    struct ofi_path *path = link->fabric;
    if (stream_welcome_check(&worker->answer.welcome) != SUBLET_OK || ofi_offer_check(offer) != SUBLET_OK ||
        offer->plain != ofi_is_plain(path->ofi) || offer->slots != link->slots || offer->in_bytes != link->in_bytes ||
        offer->out_bytes != link->out_bytes ||
        ofi_peer_add(path->ofi, offer->name, offer->name_bytes, link->slots + 1, &worker->target.peer) != SUBLET_OK) {
        fail(link);
        return;
    }
    atomic_store(&worker->watch_peer, worker->target.peer);
    worker->target.address = offer->address;
    worker->target.key = offer->key;
    worker->tag = offer->tag;
    worker->have = 0;
    worker->state = OFI_PROBING;
}

/** Writes nothing to the other side, and waits until it has done the same. */
static void probe(struct link *link, struct ofi_worker *worker)
{
    struct ofi_path *path = link->fabric;
    if (!worker->probe_sent) {
        sublet_status status = ofi_write_data(path->ofi, &path->requests, path->requests.base, 0, &worker->target, 0,
                                              ofi_data(OFI_PROBE, worker->tag, 0));
        worker->probe_sent = status == SUBLET_OK;
        if (status == SUBLET_ERR_LOST)
            connection_over(link, worker, NULL);
    }
    ofi_distribute(link);
    if (atomic_load(&worker->probed) && worker->state == OFI_PROBING)
        worker->state = OFI_OPEN;
}

/** Receives up to `size` bytes in all; false when the connection is over, or has nothing more. */
static bool receive(struct link *link, struct ofi_worker *worker, void *into, uint32_t size)
{
    ssize_t got = recv(worker->fd, (char *)into + worker->have, size - worker->have, MSG_DONTWAIT);
    if (got > 0)
        worker->have += (uint32_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        connection_over(link, worker, NULL);
    return got > 0 && worker->have == size;
}

static bool write_request(struct link *link, struct ofi_worker *worker, uint32_t slot)
{
    struct ofi_flight *flight = &worker->flights[slot];
    struct ofi_path *path = link->fabric;
    uint64_t head = OFI_WIRE_HEAD - sizeof(flight->request);
    unsigned char *bytes = request_at(link, worker, slot) + head;
    memcpy(bytes, &flight->request, sizeof(flight->request));
    if (flight->request.size > 0)
        memcpy(bytes + sizeof(flight->request), flight->call->in, flight->request.size);
    sublet_status status = ofi_write_data(
        path->ofi, &path->requests, bytes, sizeof(flight->request) + flight->request.size, &worker->target,
        slot * ofi_stride((uint32_t)link->in_bytes) + head, ofi_data(OFI_CALL, worker->tag, slot));
    if (status == SUBLET_ERR_BUSY)
        ofi_distribute(link); /* makes room */
    else if (status != SUBLET_OK && !ofi_peer_is_lost(path->ofi, worker->target.peer))
        connection_over(link, worker, NULL);
    flight->sent = flight->used && status == SUBLET_OK;
    worker->unsent -= flight->sent ? 1 : 0;
    return status == SUBLET_OK;
}

void ofi_connection_pump(struct link *link, struct ofi_worker *worker)
{
    while (worker->state == OFI_OPEN && worker->unsent > 0) {
        uint32_t next = RING_SLOTS_MAX;
        for (uint32_t slot = 0; slot < link->slots; slot++) {
            const struct ofi_flight *flight = &worker->flights[slot];
            if (flight->used && !flight->sent &&
                (next == RING_SLOTS_MAX ||
                 (int32_t)(flight->request.sequence - worker->flights[next].request.sequence) < 0))
                next = slot;
        }
        if (next == RING_SLOTS_MAX || !write_request(link, worker, next))
            break;
    }
    show(worker);
}

void ofi_connection_step(struct link *link, struct ofi_worker *worker)
{
    if (atomic_load(&link->lost) != 0)
        return;
    if (worker->state == OFI_CLOSED && (worker->count > 0 || link->fabric->opening))
        begin(link, worker);
    if (worker->state == OFI_CONNECTING)
        introduce(link, worker);
    if (worker->state == OFI_AWAITING && receive(link, worker, &worker->answer, sizeof(worker->answer)))
        meet(link, worker);
    if (worker->state == OFI_PROBING)
        probe(link, worker);
    if (worker->state != OFI_CLOSED && worker->state != OFI_OPEN && now_ns() > worker->end_ns) {
        fail(link);
        return;
    }
    if ((worker->state == OFI_OPEN || worker->state == OFI_PROBING) &&
        receive(link, worker, &worker->last, sizeof(worker->last)))
        connection_over(link, worker,
                        stream_status_answers(worker->last.status) && (worker->last.flags & STREAM_FLAG_LAST) != 0
                            ? &worker->last
                            : NULL);
    if (worker->state == OFI_OPEN && ofi_peer_is_lost(link->fabric->ofi, worker->target.peer)) {
        if (worker->broke_ns == 0)
            worker->broke_ns = now_ns();
        else if (now_ns() - worker->broke_ns > WORD_NS)
            connection_over(link, worker, NULL);
    }
    ofi_connection_pump(link, worker);
}
