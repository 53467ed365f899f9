/*
 * Whatever arrives goes through one list, bounded by what clients were promised, and is served in that order. Memory of
 * a client is its slots for requests, which it writes, and for responses, from which this writes to the client's own.
 * The bytes behind a result that executor/guard.h uses are the unused head of the next slot.
 */
#include "executor/ofi_serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "fabric/ofi.h"
#include "wire/ofi.h"

#define CREDITS_MAX     1024u /* slots of all clients of a worker together */
#define OFI_CLIENTS_MAX 64u   /* of a worker: a tag has six bits for them */
#define TURN            8u
#define PAGE            4096u
#define GUARD_BYTES     64u /* behind the last room for a result (executor/guard.h) */
#define GREET_NS        UINT64_C(5000000000)
#define STALL_NS        UINT64_C(5000000000)

enum client_state { CLIENT_NONE, CLIENT_GREETING, CLIENT_READY };

struct ofi_client {
    enum client_state state;
    struct stream *stream;
    uint32_t index;         /* of the stream */
    struct ofi_offer offer; /* the client's */
    uint32_t have;          /* bytes of it */
    uint64_t deadline_ns;
    uint32_t generation;
    uint32_t sequence; /* of the last call */
    struct ofi_memory memory;
    uint64_t out_at; /* in the memory: where the responses begin */
    size_t bytes;    /* all of it; the last page is there to be run into */
    struct ofi_target target;
};

struct ofi_server {
    struct ofi *ofi;
    const char *only; /* the provider that may be used; "": any */
    uint32_t greeting;
    uint32_t credits; /* promised to clients */
    uint32_t first, count;
    uint32_t arrived[CREDITS_MAX];
    struct ofi_client clients[OFI_CLIENTS_MAX];
};

/** Tag: number of the connection, and how often it was taken, so that what comes late is told apart. */
static uint32_t tag_of(const struct ofi_server *server, const struct ofi_client *client)
{
    return (client->generation << 6 | (uint32_t)(client - server->clients)) & OFI_WIRE_TAG_MAX;
}

static struct ofi_client *free_client(struct ofi_server *server)
{
    for (uint32_t i = 0; i < OFI_CLIENTS_MAX; i++)
        if (server->clients[i].state == CLIENT_NONE)
            return &server->clients[i];
    return NULL;
}

void ofi_serve_add(struct ofi_server **server, const char *only, struct stream *stream, uint32_t index)
{
    if (*server == NULL && strcmp(only, "none") != 0)
        *server = calloc(1, sizeof(**server));
    struct ofi_client *client = *server == NULL ? NULL : free_client(*server);
    if (client == NULL) {
        shutdown(stream->fd, SHUT_RDWR);
        return;
    }
    (*server)->only = only;
    *client = (struct ofi_client){.state = CLIENT_GREETING,
                                  .stream = stream,
                                  .index = index,
                                  .deadline_ns = now_ns() + GREET_NS,
                                  .generation = client->generation + 1};
    (*server)->greeting++;
}

static void forget(struct ofi_server *server, struct ofi_client *client)
{
    if (client->state == CLIENT_GREETING)
        server->greeting--;
    if (client->state == CLIENT_READY) {
        void *base = client->memory.base;
        ofi_unregister(&client->memory); /* first: afterwards nobody can write there */
        ofi_peer_remove(server->ofi, client->target.peer);
        munmap(base, client->bytes);
        server->credits -= client->offer.slots;
    }
    client->state = CLIENT_NONE;
}

void ofi_serve_remove(struct ofi_server *server, const struct stream *stream)
{
    for (uint32_t i = 0; server != NULL && i < OFI_CLIENTS_MAX; i++)
        if (server->clients[i].state != CLIENT_NONE && server->clients[i].stream == stream)
            forget(server, &server->clients[i]);
}

/** The supervisor sees it, and takes the stream away. */
static void drop(struct ofi_server *server, struct ofi_client *client)
{
    shutdown(client->stream->fd, SHUT_RDWR);
    forget(server, client);
}

static sublet_status open_endpoint(struct ofi_server *server, const struct ofi_client *client)
{
    char address[OFI_ADDRESS_MAX];
    if (server->ofi != NULL)
        return strcmp(ofi_provider(server->ofi), client->offer.provider) == 0 &&
                       ofi_is_plain(server->ofi) == client->offer.plain
                   ? SUBLET_OK
                   : SUBLET_ERR_NOT_FOUND;
    if (!ofi_allows(server->only, client->offer.provider))
        return SUBLET_ERR_NOT_FOUND;
    ofi_keep_nothing();
    struct ofi_settings settings = {.provider = client->offer.provider,
                                    .address = ofi_own_address(client->stream->fd, address, sizeof(address)),
                                    .completions = CREDITS_MAX + OFI_CLIENTS_MAX,
                                    .connects = OFI_LISTENS,
                                    .plain = client->offer.plain == 1};
    sublet_status status = ofi_open(&settings, &server->ofi);
    if (status == SUBLET_OK && strcmp(ofi_provider(server->ofi), client->offer.provider) != 0) {
        ofi_close(server->ofi);
        server->ofi = NULL;
        status = SUBLET_ERR_NOT_FOUND;
    }
    if (status != SUBLET_OK)
        fprintf(stderr, "sublet-executor: a client wants fabric %s, which does not open here\n", settings.provider);
    return status;
}

/** Memory for a client's slots, and the answer to its offer. */
static sublet_status welcome(struct ofi_server *server, struct ofi_client *client)
{
    struct ofi_offer answer = client->offer;
    uint32_t slots = client->offer.slots, name_bytes = 0;
    client->out_at = slots * ofi_stride(client->offer.in_bytes);
    size_t used = client->out_at + slots * ofi_stride(client->offer.out_bytes) + GUARD_BYTES;
    client->bytes = ((used + PAGE - 1) & ~(size_t)(PAGE - 1)) + PAGE;
    sublet_status status = open_endpoint(server, client);
    if (status != SUBLET_OK)
        return status;
    if (server->credits + slots > CREDITS_MAX)
        return SUBLET_ERR_BUSY;
    void *base = mmap(NULL, client->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    (void)mprotect((unsigned char *)base + client->bytes - PAGE, PAGE, PROT_NONE);
    status = ofi_register(server->ofi, base, client->bytes - PAGE, false, &client->memory);
    if (status != SUBLET_OK)
        goto unmap;
    status = ofi_peer_add(server->ofi, client->offer.name, client->offer.name_bytes, slots + 1, &client->target.peer);
    if (status != SUBLET_OK)
        goto unregister;
    client->target.address = client->offer.address;
    client->target.key = client->offer.key;
    status = ofi_name(server->ofi, answer.name, sizeof(answer.name), &name_bytes);
    answer.name_bytes = (uint16_t)name_bytes;
    answer.plain = ofi_is_plain(server->ofi);
    answer.tag = tag_of(server, client);
    answer.address = client->memory.address;
    answer.key = client->memory.key;
    if (status == SUBLET_OK) /* fits the socket's buffer: it is the first that goes this way */
        status = fds_send(client->stream->fd, &answer, sizeof(answer), NULL, 0, now_ns());
    if (status == SUBLET_OK)
        return SUBLET_OK;
    ofi_peer_remove(server->ofi, client->target.peer);
unregister:
    ofi_unregister(&client->memory);
unmap:
    munmap(base, client->bytes);
    return status;
}

/** Goes on receiving a client's offer; true when something came of it. */
static bool greet(struct ofi_server *server, struct ofi_client *client)
{
    ssize_t got = recv(client->stream->fd, (char *)&client->offer + client->have, sizeof(client->offer) - client->have,
                       MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR) && now_ns() < client->deadline_ns)
        return false;
    client->have += got > 0 ? (uint32_t)got : 0;
    if (got > 0 && client->have < sizeof(client->offer))
        return true;
    if (client->have < sizeof(client->offer) || ofi_offer_check(&client->offer) != SUBLET_OK ||
        welcome(server, client) != SUBLET_OK) {
        drop(server, client);
        return true;
    }
    server->greeting--;
    server->credits += client->offer.slots;
    client->state = CLIENT_READY;
    return true;
}

/** Takes what has arrived into the list; what goes beyond was promised to nobody. */
static void collect(struct ofi_server *server)
{
    uint32_t data[16], taken;
    do {
        uint32_t room = CREDITS_MAX - server->count;
        if (room == 0)
            return;
        taken = ofi_poll(server->ofi, data, room < 16 ? room : 16);
        for (uint32_t i = 0; i < taken; i++)
            server->arrived[(server->first + server->count++) % CREDITS_MAX] = data[i];
    } while (taken == 16);
}

/** Writes `size` bytes that begin at `bytes` to the client; false when it does not take them. */
static bool write_back(struct ofi_server *server, struct ofi_client *client, const void *bytes, size_t size,
                       uint64_t offset, uint32_t data)
{
    uint64_t end_ns = 0;
    for (;;) {
        sublet_status status = ofi_write_data(server->ofi, &client->memory, bytes, size, &client->target, offset, data);
        if (status != SUBLET_ERR_BUSY)
            return status == SUBLET_OK;
        collect(server);
        if (atomic_load(&client->stream->state->closed) != 0)
            return false;
        uint64_t now = now_ns();
        if (end_ns == 0)
            end_ns = now + STALL_NS;
        else if (now > end_ns)
            return false;
    }
}

static bool answer(struct ofi_server *server, struct ofi_client *client, uint32_t slot, uint32_t sequence,
                   sublet_status status, uint64_t size)
{
    uint64_t stride = ofi_stride(client->offer.out_bytes), head = OFI_WIRE_HEAD - sizeof(struct stream_response);
    struct stream_response response = {.sequence = sequence, .status = status};
    bool needs = status == SUBLET_ERR_TOO_LARGE && size > 0;
    stream_response_set(&response, status == SUBLET_OK || needs ? size : 0, needs ? STREAM_FLAG_NEEDED : 0);
    unsigned char *bytes = client->memory.base + client->out_at + slot * stride + head;
    memcpy(bytes, &response, sizeof(response));
    return write_back(server, client, bytes, sizeof(response) + stream_response_body(&response), slot * stride + head,
                      ofi_data(OFI_CALL, client->offer.tag, slot));
}

static void serve(struct ofi_server *server, struct ofi_client *client, uint32_t slot, struct worker_page *page,
                  struct functions *functions)
{
    struct stream_request request;
    struct stream_state *state = client->stream->state;
    const unsigned char *in = client->memory.base + slot * ofi_stride(client->offer.in_bytes) + OFI_WIRE_HEAD;
    memcpy(&request, in - sizeof(request), sizeof(request));
    if (request.sequence == 0 || (int32_t)(request.sequence - client->sequence) <= 0)
        return; /* a write that announced nothing new */
    client->sequence = request.sequence;
    sublet_status status = stream_request_check(&request);
    if (stream_request_size(&request) > client->offer.in_bytes ||
        stream_request_room(&request) > client->offer.out_bytes)
        status = SUBLET_ERR_TOO_LARGE;
    uint64_t call = call_pack_stream(client->index, request.sequence);
    uint64_t size = 0;
    atomic_store_explicit(&state->begun, request.sequence, memory_order_relaxed);
    /* Full fence: either this sees the cancellation or the supervisor sees the announcement. */
    atomic_store(&page->current, call);
    if (atomic_load(&state->cancelled) == request.sequence)
        status = SUBLET_ERR_TIMEOUT;
    if (atomic_load(&state->closed) != 0)
        status = SUBLET_ERR_LOST;
    if (status == SUBLET_OK) {
        struct ring_call ring_call = {
            .sequence = request.sequence,
            .function = request.function,
            .size = request.size,
            .out_capacity = request.out_capacity,
            .timeout_ns = request.timeout_ns,
            .in = in,
            .out = client->memory.base + client->out_at + slot * ofi_stride(client->offer.out_bytes) + OFI_WIRE_HEAD,
            .end = client->memory.base + client->bytes - PAGE,
        };
        status = functions_run(functions, &ring_call, &size);
    }
    stats_count(functions->sampler.stats, status, stream_request_size(&request), status == SUBLET_OK ? size : 0);
    worker_begin_answer(page, call);
    bool sent = answer(server, client, slot, request.sequence, status, size);
    atomic_store_explicit(&page->current, 0, memory_order_release);
    if (!sent)
        drop(server, client);
}

static void take(struct ofi_server *server, uint32_t data, struct worker_page *page, struct functions *functions)
{
    uint32_t tag = ofi_data_tag(data), slot = ofi_data_slot(data);
    struct ofi_client *client = &server->clients[tag & 63];
    if (client->state != CLIENT_READY || tag != tag_of(server, client) || slot >= client->offer.slots)
        return; /* late, or nobody's */
    if (ofi_data_kind(data) == OFI_CALL)
        serve(server, client, slot, page, functions);
    else if (ofi_data_kind(data) == OFI_PROBE &&
             !write_back(server, client, client->memory.base, 0, 0, ofi_data(OFI_PROBE, client->offer.tag, 0)))
        drop(server, client);
}

bool ofi_serve(struct ofi_server *server, struct worker_page *page, struct functions *functions)
{
    bool served = false;
    if (server == NULL)
        return false;
    for (uint32_t i = 0; server->greeting > 0 && i < OFI_CLIENTS_MAX; i++)
        if (server->clients[i].state == CLIENT_GREETING)
            served |= greet(server, &server->clients[i]);
    if (server->credits == 0)
        return served;
    collect(server);
    for (uint32_t turn = 0; turn < TURN && server->count > 0; turn++) {
        uint32_t data = server->arrived[server->first];
        server->first = (server->first + 1) % CREDITS_MAX;
        server->count--;
        take(server, data, page, functions);
        served = true;
    }
    return served;
}

bool ofi_serve_sleep(struct ofi_server *server, int fds[OFI_SERVE_FDS_MAX], uint32_t *count_out)
{
    uint32_t count = 0;
    *count_out = 0;
    if (server == NULL)
        return true;
    if (server->count > 0)
        return false;
    for (uint32_t i = 0; server->greeting > 0 && i < OFI_CLIENTS_MAX; i++)
        if (server->clients[i].state == CLIENT_GREETING) {
            if (count == OFI_SERVE_FDS_MAX - 1)
                return false; /* a crowd at the door: it is awake until they are in */
            fds[count++] = server->clients[i].stream->fd;
        }
    if (server->credits > 0) {
        if (!ofi_may_sleep(server->ofi))
            return false;
        fds[count++] = ofi_fd(server->ofi);
    }
    *count_out = count;
    return true;
}
