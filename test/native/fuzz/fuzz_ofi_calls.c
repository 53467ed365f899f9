/**
 * What strangers who have the token do to a worker over a fabric: offers in any pieces, writes to all that they may
 * write to (also while their call runs, and while it is answered), numbers in the worker's queue that were promised to
 * nobody, and ends at any time. The fabric is a dummy. Whatever comes, a function gets memory of one slot of the caller
 * only, each call has one answer, which is written where its client has said that there is room, and nothing stays of
 * clients that have gone.
 */
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dummy_fabric.h"
#include "executor/ofi_serve.h"

#define CLIENTS 6u
#define QUEUE   64u

struct client {
    bool there;
    int fd;
    struct stream stream;
    struct stream_state state;
    struct ofi_offer wanted, got;
    uint32_t said; /* bytes of `wanted` */
    uint32_t have; /* bytes of `got` */
};

/** Registered memory. No key is used twice; modulo CLIENTS it is the place here. */
struct area {
    unsigned char *base;
    size_t bytes;
    uint64_t key;
};

struct input {
    const uint8_t *data;
    size_t size;
};

static struct client clients[CLIENTS];
static struct area areas[CLIENTS];
static uint32_t queue[QUEUE], queued;
static uint64_t keys;
static uint32_t busy; /* writes that are refused next */
static bool lost;     /* and whether those after them fail */
static struct {
    bool owed;
    bool touched; /* by its client, since it was begun */
    uint32_t sequence;
} answer;
static struct worker_page page;
static struct input input;

static uint32_t take(uint32_t bytes)
{
    uint32_t value = 0;
    for (; bytes > 0 && input.size > 0; bytes--, input.size--)
        value = value << 8 | *input.data++;
    return value;
}

sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out)
{
    uint32_t at = 0;
    must((char *)(void *)ofi == dummy && base != NULL && bytes > 0 && !readable);
    while (at < CLIENTS && areas[at].base != NULL)
        at++;
    must(at < CLIENTS);
    areas[at] = (struct area){base, bytes, ++keys * CLIENTS + at};
    *out =
        (struct ofi_memory){.region = &areas[at], .base = base, .bytes = bytes, .address = 4096, .key = areas[at].key};
    return SUBLET_OK;
}

void ofi_unregister(struct ofi_memory *memory)
{
    struct area *area = memory->region;
    must(area != NULL && area->base == memory->base);
    area->base = NULL;
    memory->region = NULL;
}

/** What a client's key opens; NULL: nothing, or it has none. */
static const struct area *area_of(const struct client *client)
{
    const struct area *area = &areas[client->got.key % CLIENTS];
    bool opens = client->there && client->have == sizeof(client->got) && area->key == client->got.key;
    return opens && area->base != NULL ? area : NULL;
}

uint32_t ofi_poll(struct ofi *ofi, uint32_t *data, uint32_t most)
{
    must((char *)(void *)ofi == dummy && most > 0);
    uint32_t count = queued < most ? queued : most;
    memcpy(data, queue, count * sizeof(*data));
    memmove(queue, queue + count, (queued - count) * sizeof(*queue));
    queued -= count;
    return count;
}

/** A client writes where its key leads: a few bytes of the input, mostly over the head of a slot. */
static void scribble(void)
{
    const struct client *client = &clients[take(1) % CLIENTS];
    const struct area *area = area_of(client);
    uint64_t where = take(2), slot = take(1);
    uint32_t bytes = take(1) % 48;
    if (area == NULL)
        return;
    uint64_t stride = ofi_stride(client->got.in_bytes), results = (where & 2) != 0 ? client->got.slots * stride : 0;
    if ((where & 1) != 0)
        where *= 64;
    else
        where =
            results + slot % client->got.slots * stride + OFI_WIRE_HEAD - sizeof(struct stream_request) + where % 40;
    for (; bytes > 0 && input.size > 0; bytes--, where++)
        area->base[where % area->bytes] = (unsigned char)take(1);
}

sublet_status ofi_write_data(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                             const struct ofi_target *to, uint64_t offset, uint32_t data)
{
    const struct area *area = from->region;
    const unsigned char *first = bytes;
    struct stream_response response;
    must((char *)(void *)ofi == dummy && area != NULL && area->base == from->base && to->peer != 0);
    must(first >= area->base && size <= area->bytes && (size_t)(first - area->base) <= area->bytes - size);
    const struct client *client = NULL;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients[i].there && clients[i].wanted.tag == ofi_data_tag(data) && clients[i].wanted.key == to->key)
            client = &clients[i];
    must(client != NULL && to->address == client->wanted.address);
    if (ofi_data_kind(data) == OFI_PROBE) {
        must(size == 0 && !answer.owed);
    } else {
        uint64_t slot = ofi_data_slot(data), stride = ofi_stride(client->wanted.out_bytes);
        must(ofi_data_kind(data) == OFI_CALL && slot < client->wanted.slots && answer.owed);
        must(size >= sizeof(response) && offset >= slot * stride && offset + size <= (slot + 1) * stride);
        memcpy(&response, bytes, sizeof(response));
        must(answer.touched || (response.sequence == answer.sequence && response.status < SUBLET_STATUS_COUNT &&
                                size == sizeof(response) + stream_response_body(&response)));
        must((atomic_load(&page.current) & CALL_ANSWERING) != 0);
    }
    if (busy > 0) {
        busy--;
        answer.touched = true;
        scribble();
        return SUBLET_ERR_BUSY;
    }
    answer.owed = false;
    return lost ? SUBLET_ERR_LOST : SUBLET_OK;
}

void worker_begin_answer(struct worker_page *of, uint64_t call)
{
    must(of == &page && !answer.owed && atomic_compare_exchange_strong(&of->current, &call, call | CALL_ANSWERING));
    answer.owed = true;
    answer.touched = false;
    answer.sequence = call_sequence(call);
}

/** Is that within the memory of one client, and in one of its slots? */
static void must_be_a_slots(const struct ring_call *call)
{
    const unsigned char *in = call->in, *out = call->out, *end = call->end;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const struct area *area = &areas[i];
        if (area->base == NULL || in < area->base || in >= area->base + area->bytes)
            continue;
        must(end == area->base + area->bytes && out > in && out < end);
        must(call->size <= (uint64_t)(out - in) && call->out_capacity + 8 <= (uint64_t)(end - out));
        return;
    }
    must(false);
}

sublet_status functions_run(struct functions *functions, const struct ring_call *call, uint64_t *size_out)
{
    (void)functions;
    must(call->sequence != 0 && !call->lined && ((uintptr_t)call->in & 63) == 0 && ((uintptr_t)call->out & 63) == 0);
    must_be_a_slots(call);
    const unsigned char *in = call->in;
    unsigned char *out = call->out, sum = 0;
    if (call->size > 0)
        sum = in[0] ^ in[call->size - 1];
    if (call->out_capacity > 0)
        out[0] = out[call->out_capacity - 1] = sum;
    scribble();
    *size_out = call->out_capacity;
    if ((call->function & 2) != 0) {
        *size_out = UINT64_C(5) << 32;
        return SUBLET_ERR_TOO_LARGE;
    }
    return (call->function & 1) != 0 ? SUBLET_ERR_FUNCTION : SUBLET_OK;
}

/** Takes the worker's offer as far as it has come. */
static void listen_to(struct client *client)
{
    ssize_t got =
        recv(client->fd, (char *)&client->got + client->have, sizeof(client->got) - client->have, MSG_DONTWAIT);
    if (got <= 0)
        return;
    client->have += (uint32_t)got;
    must(client->have == sizeof(client->got) && ofi_offer_check(&client->got) == SUBLET_OK);
    const struct area *area = area_of(client); /* NULL: it was dropped again */
    uint64_t strides = ofi_stride(client->got.in_bytes) + ofi_stride(client->got.out_bytes);
    must(client->got.plain == opened_plain);
    must(area == NULL || area->bytes >= client->got.slots * strides + 8);
}

/** Goes on with the offer; behind it the connection is silent, so what is said then is too much. */
static void speak(struct client *client, uint32_t bytes)
{
    uint32_t left = sizeof(client->wanted) - client->said;
    if (left == 0)
        (void)!send(client->fd, &client->wanted, bytes % 4, MSG_NOSIGNAL | MSG_DONTWAIT);
    bytes = bytes < left ? bytes : left;
    (void)!send(client->fd, (const char *)&client->wanted + client->said, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    client->said += bytes;
}

static void come(struct ofi_server **server, struct client *client, uint32_t index, const char *only)
{
    int fds[2];
    uint32_t how = take(1);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    *client = (struct client){.there = true, .fd = fds[1], .stream = {.fd = fds[0], .fabric = true}};
    client->stream.state = &client->state;
    struct ofi_offer *offer = &client->wanted;
    *offer = (struct ofi_offer){.magic = OFI_WIRE_MAGIC,
                                .version = OFI_WIRE_VERSION,
                                .name_bytes = 16,
                                .tag = 64 + index,
                                .slots = 1 + take(1) % RING_SLOTS_MAX,
                                .in_bytes = take(2),
                                .out_bytes = take(2),
                                .address = UINT64_MAX - take(1),
                                .key = 1000 + index,
                                .plain = how >> 2 & 1};
    memcpy(offer->provider, (how & 2) != 0 ? "net" : "tcp", 3);
    if ((how & 8) != 0) /* other bytes, but for what tells whose answer it is */
        for (uint32_t bends = 1 + take(1) % 4; bends > 0; bends--) {
            uint32_t at = take(2) % sizeof(*offer);
            if ((at < 8 || at >= 12) && (at < 24 || at >= 40))
                ((unsigned char *)offer)[at] ^= (unsigned char)take(1);
        }
    speak(client, (how & 16) != 0 ? take(2) % sizeof(*offer) : sizeof(*offer));
    ofi_serve_add(server, only, &client->stream, index);
}

/** What the supervisor does when a client has gone. */
static void go(struct ofi_server *server, struct client *client)
{
    ofi_serve_remove(server, &client->stream);
    close(client->stream.fd);
    close(client->fd);
    client->there = false;
}

/** A right request, or one that is nearly so, and its announcement. */
static void call(const struct client *client)
{
    uint32_t kind = take(1), slot = take(1), function = take(1);
    struct stream_request request = {.sequence = take(1) % 8 + take(1) * 256, .function = function};
    stream_request_set(&request, take(2), take(2), (kind & 1) != 0);
    request.size_high ^= (kind & 2) != 0 ? 1 : 0;
    const struct area *area = area_of(client);
    if (area == NULL || queued == QUEUE)
        return;
    slot %= (kind & 4) != 0 ? 64 : client->got.slots;
    if (slot < client->got.slots)
        memcpy(area->base + slot * ofi_stride(client->got.in_bytes) + OFI_WIRE_HEAD - sizeof(request), &request,
               sizeof(request));
    queue[queued++] = ofi_data(OFI_CALL, client->got.tag, slot);
}

static void announce(const struct client *client)
{
    uint32_t kind = take(1), bits = take(4);
    if (queued < QUEUE)
        queue[queued++] =
            (kind & 1) != 0 ? bits : ofi_data(kind >> 1 & 3, client->got.tag, bits & 63) ^ (bits >> 12 & 64);
}

static void turn(struct ofi_server *server, struct functions *functions)
{
    int fds[OFI_SERVE_FDS_MAX];
    uint32_t count = 0;
    (void)ofi_serve(server, &page, functions);
    must(atomic_load(&page.current) == 0 && !answer.owed);
    (void)ofi_serve_sleep(server, fds, &count);
    must(count <= OFI_SERVE_FDS_MAX);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients[i].there)
            listen_to(&clients[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct functions functions;
    static struct stats_worker stats;
    struct ofi_server *server = NULL;
    functions.sampler.stats = &stats;
    input = (struct input){data, size};
    const char *only = (const char *const[]){"", "net", "tcp", "none"}[take(1) % 4];
    while (input.size > 0) {
        uint32_t what = take(1), index = (what >> 4) % CLIENTS;
        struct client *client = &clients[index];
        if (!client->there)
            come(&server, client, index, only);
        switch (what & 15) {
        case 0:
            go(server, client);
            break;
        case 1:
            busy = take(1) % 4;
            lost = (take(1) & 1) != 0;
            break;
        case 2:
            atomic_store(&client->state.cancelled, take(1) % 8 + take(1) * 256);
            break;
        case 3:
            if ((take(1) & 7) == 0)
                atomic_store(&client->state.closed, 1);
            else
                speak(client, take(2));
            break;
        case 4:
            shutdown(client->fd, SHUT_RDWR);
            break;
        case 5:
        case 6:
            announce(client);
            break;
        case 7:
        case 8:
            scribble();
            break;
        case 9:
        case 10:
        case 11:
            call(client);
            break;
        default:
            turn(server, &functions);
        }
    }
    lost = false;
    busy = 0;
    turn(server, &functions);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients[i].there)
            go(server, &clients[i]);
    for (uint32_t i = 0; i < CLIENTS; i++)
        must(areas[i].base == NULL);
    must(peers == 0);
    queued = 0;
    free(server);
    free(dummy);
    dummy = NULL;
    return 0;
}
