/**
 * What the library reads from an executor that it reaches over a fabric: offers, answers that are written into its
 * memory and announced in its queue, what nobody announced, announcements of nothing, and the last word of a
 * connection. The fabric is a dummy.
 */
#define HOSTILE_FABRIC
#include "hostile_executor.h"

#include "client/ofi_connection.h"

#define AREAS 4u
#define QUEUE 64u

static struct area {
    unsigned char *base;
    size_t bytes;
} areas[AREAS];
static uint32_t queue[QUEUE], queued;
static uint32_t busy;
static bool broken;

sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out)
{
    uint32_t at = 0;
    must((char *)(void *)ofi == dummy && base != NULL && bytes > 0 && !readable);
    if (take(1) == 255)
        return SUBLET_ERR_NO_MEMORY;
    while (at < AREAS && areas[at].base != NULL)
        at++;
    must(at < AREAS);
    areas[at] = (struct area){base, bytes};
    *out = (struct ofi_memory){.region = &areas[at], .base = base, .bytes = bytes, .address = 4096, .key = 1 + at};
    return SUBLET_OK;
}

void ofi_unregister(struct ofi_memory *memory)
{
    struct area *area = memory->region;
    if (area != NULL)
        area->base = NULL;
    memory->region = NULL;
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

bool ofi_peer_is_lost(struct ofi *ofi, uint64_t peer)
{
    (void)ofi;
    (void)peer;
    return broken;
}

static void announce(uint32_t data)
{
    if (queued < QUEUE)
        queue[queued++] = data;
}

/** The client's probe is answered with one, to the tag of its offer. */
static void probe_back(uint32_t data)
{
    unsigned char said[sizeof(struct stream_hello) + sizeof(struct ofi_offer)];
    struct ofi_offer offer;
    uint32_t number = ofi_data_tag(data) - 64;
    if (number >= connected || take(1) == 255 ||
        recv(connections[number].fd, said, sizeof(said), MSG_PEEK | MSG_DONTWAIT) != (ssize_t)sizeof(said))
        return;
    memcpy(&offer, said + sizeof(struct stream_hello), sizeof(offer));
    announce(ofi_data(OFI_PROBE, offer.tag, 0));
}

sublet_status ofi_write_data(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                             const struct ofi_target *to, uint64_t offset, uint32_t data)
{
    const struct area *area = from->region;
    const unsigned char *first = bytes;
    volatile unsigned char sum = 0;
    must((char *)(void *)ofi == dummy && area != NULL && area->base == from->base && to->peer != 0);
    must(first >= area->base && size <= area->bytes && (size_t)(first - area->base) <= area->bytes - size);
    must(ofi_data_kind(data) == OFI_PROBE || offset % 64 == OFI_WIRE_HEAD - sizeof(struct stream_request));
    for (size_t i = 0; i < size; i++)
        sum ^= first[i];
    (void)sum;
    if (busy > 0) {
        busy--;
        return SUBLET_ERR_BUSY;
    }
    if (ofi_data_kind(data) == OFI_PROBE && !broken)
        probe_back(data);
    return broken ? SUBLET_ERR_LOST : SUBLET_OK;
}

static void say_offer(const struct connection *connection)
{
    struct ofi_offer offer = {.magic = OFI_WIRE_MAGIC,
                              .version = OFI_WIRE_VERSION,
                              .name_bytes = 16,
                              .tag = 64 + connection->number,
                              .slots = lease->slots,
                              .in_bytes = (uint32_t)lease->in_bytes,
                              .out_bytes = (uint32_t)lease->out_bytes,
                              .address = UINT64_MAX - take(1),
                              .key = take(1)};
    memcpy(offer.provider, "net", 3);
    bend(&offer, sizeof(offer));
    say(connection, &offer, sizeof(offer));
}

static void way_came(struct connection *connection)
{
    uint32_t how = take(1);
    if ((how & 15) == 0)
        babble(connection);
    else if ((how & 15) == 1)
        hang_up(connection);
    else if ((how & 15) != 2) {
        say_welcome(connection);
        if (connection->number > 0)
            say_offer(connection);
    }
}

/** One of the link's workers; NULL: the link is not open yet. */
static struct ofi_worker *worker_take(struct ofi_path **path_out)
{
    struct link *link = lease->link;
    uint32_t which = take(1);
    if (link == NULL || link->fabric == NULL || link->fabric->workers == NULL)
        return NULL;
    *path_out = link->fabric;
    return &link->fabric->workers[which % link->workers];
}

/** Writes an answer to a slot's call, or to none, and announces it, or not. */
static void answer(void)
{
    struct ofi_path *path = NULL;
    const struct ofi_worker *worker = worker_take(&path);
    uint32_t how = take(1), size = take(2), slot = take(1) % lease->slots;
    if (worker == NULL)
        return;
    for (uint32_t i = 0; (how & 1) == 0 && i < lease->slots && !worker->flights[slot].used; i++)
        slot = (slot + 1) % lease->slots;
    uint64_t stride = ofi_stride((uint32_t)lease->out_bytes);
    unsigned char *at = path->responses.base + ((uint64_t)worker->number * lease->slots + slot) * stride;
    const struct ofi_flight *flight = &worker->flights[slot];
    uint64_t room = stream_request_room(&flight->request);
    struct stream_response response = {.sequence = flight->request.sequence};
    response.status = (how & 6) == 6 ? take(1) % (SUBLET_STATUS_COUNT + 1) : SUBLET_OK;
    size = (how & 8) != 0 ? (uint32_t)room : (how & 16) != 0 && room > 0 ? size % (uint32_t)room : size;
    stream_response_set(&response, size, (how & 32) != 0 ? take(1) % 8 : 0);
    bend(&response, sizeof(response));
    memcpy(at + OFI_WIRE_HEAD - sizeof(response), &response, sizeof(response));
    if ((how & 192) != 192)
        announce(ofi_data(OFI_CALL, atomic_load(&worker->own_tag), slot));
}

/** The supervisor's last word: of a call that was begun, or of another. */
static void say_last(void)
{
    struct ofi_path *path = NULL;
    const struct ofi_worker *worker = worker_take(&path);
    uint32_t how = take(1);
    if (worker == NULL)
        return;
    struct stream_response last = {.sequence = worker->sequence - how % 8, .flags = STREAM_FLAG_LAST};
    last.status = how >> 4 == 15 ? take(1) : how >> 4;
    for (uint32_t i = 0; i < connected; i++)
        if (connections[i].client_fd == worker->fd)
            say(&connections[i], &last, sizeof(last));
}

static void way_acts(uint32_t what)
{
    struct ofi_path *path = NULL;
    const struct ofi_worker *worker;
    switch (what) {
    case 7:
        say_last();
        return;
    case 8: /* tags are 64 * n + worker, n counted from 1 */
        announce(ofi_data(take(1) % 4, (1 + take(1) % 8) << 6 | take(1) % 4, take(1) & 63));
        return;
    case 9:
        announce(take(4));
        return;
    case 10:
        busy = take(1) % 4;
        broken |= (take(1) & 7) == 0; /* what is broken stays so */
        return;
    case 11:
        worker = worker_take(&path);
        if (worker != NULL)
            announce(ofi_data(OFI_PROBE, atomic_load(&worker->own_tag), 0));
        return;
    default:
        answer();
    }
}

static void more(uint32_t what)
{
    (void)what;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    queued = busy = 0;
    broken = false;
    session_run(data, size, "", "net", more, NULL);
    for (uint32_t i = 0; i < AREAS; i++)
        must(areas[i].base == NULL);
    return 0;
}
