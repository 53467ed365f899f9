/**
 * What the library reads from an executor that lends it a region: welcomes, answers to accesses, offers of a fabric,
 * its transfers that end, fail, or end late, and its last word. The first byte says whether there is a fabric, a dummy.
 *
 * When an access that is waited for returns, or a flush, for whatever reason, nobody writes to the caller's memory any
 * more: it is freed then.
 */
#define HOSTILE_REGION
#include "hostile_executor.h"

#include "client/region.h"
#include "client/region_ofi.h"

#define REGION_BYTES (UINT64_C(3) << 20)
#define LATER_MAX    32u
#define PIECES_MAX   40u

static struct transfer {
    unsigned char *to; /* NULL: a put */
    const unsigned char *from;
    size_t size;
    _Atomic int *done;
} transfers[2 * REGION_OPS];
static uint32_t transfer_count;
static uint32_t busy, borrowed;
static bool prompt, broken, needs_memory, copies;

static struct sublet_region region;
static void *later[LATER_MAX]; /* memory of accesses that nobody waits for yet */
static uint32_t later_count;
static const struct connection *owed_to; /* more of an answer is to come */
static size_t owed;

bool ofi_wanted_copies(void)
{
    return copies;
}

bool ofi_needs_memory(const struct ofi *ofi)
{
    (void)ofi;
    return needs_memory;
}

size_t ofi_transfer_max(const struct ofi *ofi)
{
    (void)ofi;
    return 100000;
}

bool ofi_peer_is_lost(struct ofi *ofi, uint64_t peer)
{
    (void)ofi;
    (void)peer;
    return broken;
}

sublet_status ofi_borrow(struct ofi *ofi, void *base, size_t bytes, struct ofi_memory *out)
{
    must((char *)(void *)ofi == dummy && base != NULL && bytes > 0);
    if (needs_memory && take(1) == 255)
        return SUBLET_ERR_NO_MEMORY;
    borrowed += needs_memory;
    *out = (struct ofi_memory){.region = needs_memory ? &borrowed : NULL, .base = base, .bytes = bytes};
    return SUBLET_OK;
}

void ofi_unregister(struct ofi_memory *memory)
{
    if (memory->region == NULL)
        return;
    must(memory->region == &borrowed && borrowed-- > 0);
    memory->region = NULL;
}

/** The oldest transfer ends so; what it was to bring is there then. */
static void end_transfer(int how)
{
    struct transfer ended = transfers[0];
    volatile unsigned char sum = 0;
    if (transfer_count == 0 || dummy == NULL)
        return;
    memmove(transfers, transfers + 1, --transfer_count * sizeof(*transfers));
    if (ended.to != NULL)
        memset(ended.to, 'f', ended.size);
    for (size_t i = 0; ended.to == NULL && i < ended.size; i++)
        sum ^= ended.from[i];
    (void)sum;
    atomic_store(ended.done, how);
}

void ofi_progress(struct ofi *ofi)
{
    must((char *)(void *)ofi == dummy);
    while (prompt && transfer_count > 0)
        end_transfer(1);
}

static sublet_status start_transfer(const struct ofi_memory *memory, struct transfer transfer)
{
    const unsigned char *bytes = transfer.to != NULL ? transfer.to : transfer.from;
    must((memory->region != NULL) == needs_memory && bytes >= memory->base && transfer.size <= memory->bytes);
    must((size_t)(bytes - memory->base) <= memory->bytes - transfer.size && transfer.size <= 100000);
    if (broken)
        return SUBLET_ERR_LOST;
    if (busy > 0) {
        busy--;
        return SUBLET_ERR_BUSY;
    }
    must(transfer_count < 2 * REGION_OPS);
    transfers[transfer_count++] = transfer;
    return SUBLET_OK;
}

sublet_status ofi_get(struct ofi *ofi, const struct ofi_memory *into, void *bytes, size_t size,
                      const struct ofi_target *from, uint64_t offset, _Atomic int *done)
{
    must((char *)(void *)ofi == dummy && from->peer != 0 && offset <= REGION_BYTES && size <= REGION_BYTES - offset);
    return start_transfer(into, (struct transfer){.to = bytes, .size = size, .done = done});
}

sublet_status ofi_put(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                      const struct ofi_target *to, uint64_t offset, _Atomic int *done)
{
    must((char *)(void *)ofi == dummy && to->peer != 0 && offset <= REGION_BYTES && size <= REGION_BYTES - offset);
    return start_transfer(from, (struct transfer){.from = bytes, .size = size, .done = done});
}

static void say_offer(const struct connection *connection)
{
    struct ofi_offer offer = {.magic = OFI_WIRE_MAGIC, .version = OFI_WIRE_VERSION, .name_bytes = 16, .key = take(1)};
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
        if ((how & 16) != 0)
            say_offer(connection);
    }
}

static struct connection *other_end(int fd)
{
    for (uint32_t i = 0; i < connected; i++)
        if (fd >= 0 && connections[i].client_fd == fd)
            return &connections[i];
    return NULL;
}

static void pay(void)
{
    unsigned char bytes[4096];
    memset(bytes, 'r', sizeof(bytes));
    while (owed > 0 && owed_to->fd >= 0) {
        ssize_t sent =
            send(owed_to->fd, bytes, owed < sizeof(bytes) ? owed : sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return;
        owed -= (size_t)sent;
    }
    owed = 0;
}

/** An answer to the oldest chunk, or to another, or one that is nearly so. */
static void answer(const struct region_access *access)
{
    uint32_t how = take(1);
    const struct region_access *stream = access->stream;
    const struct connection *to = other_end(stream->fd);
    if (owed > 0) {
        pay();
        return;
    }
    if (to == NULL || stream->count == 0)
        return;
    uint32_t which = (how & 7) == 7 ? take(1) % stream->count : 0;
    const struct region_chunk *chunk = &stream->chunks[(stream->oldest + which) % REGION_CHUNKS_MAX];
    struct stream_response response = {.sequence = chunk->sequence, .size = chunk->answer};
    response.status = (how & 24) == 24 ? take(1) % (SUBLET_STATUS_COUNT + 1) : SUBLET_OK;
    if (response.status != SUBLET_OK && (how & 32) == 0)
        response.size = 0;
    if ((how & 192) == 192)
        bend(&response, sizeof(response));
    hear(to);
    say(to, &response, sizeof(response));
    owed_to = to;
    owed = response.size < 2 * REGION_CHUNK_BYTES ? response.size : 0;
    pay();
}

static void way_acts(uint32_t what)
{
    const struct link *link = lease->link;
    const struct connection *fabric;
    if (link == NULL || link->region == NULL)
        return;
    switch (what) {
    case 7:
        prompt = !prompt;
        return;
    case 8:
        end_transfer(1);
        return;
    case 9:
        end_transfer(2);
        return;
    case 10:
        busy = take(1) % 4;
        broken |= (take(1) & 7) == 0; /* what is broken stays so */
        return;
    case 11: /* the service closes its end, or says what it never says */
        fabric = link->region->fabric == NULL ? NULL : other_end(link->region->fabric->fd);
        if (fabric != NULL && (take(1) & 1) == 0)
            hang_up(&connections[fabric->number]);
        else if (fabric != NULL)
            babble(fabric);
        return;
    default:
        answer(link->region);
    }
}

/** What the endpoint had under way ends with it: nobody hears of it any more. */
static void forget_transfers(void)
{
    if (dummy == NULL)
        transfer_count = 0;
}

static void *memory_for(size_t size, bool kept)
{
    unsigned char *bytes = malloc(size > 0 ? size : 1);
    must(bytes != NULL);
    memset(bytes, 'u', size);
    if (kept)
        later[later_count++] = bytes;
    return bytes;
}

static void forget_later(void)
{
    while (later_count > 0)
        free(later[--later_count]);
}

/** Mostly small; some that go in chunks. */
static size_t region_size_take(void)
{
    uint32_t how = take(1);
    return how >= 250 ? (size_t)(how - 249) * 300000 : how * (how > 200 ? 300 : 9);
}

static void plain(bool puts, bool kept)
{
    size_t size = region_size_take();
    uint64_t offset = take(2) * 16;
    void *bytes = memory_for(size, kept);
    if (puts)
        (void)(kept ? sublet_region_put_async : sublet_region_put)(&region, offset, bytes, size);
    else
        (void)(kept ? sublet_region_get_async : sublet_region_get)(&region, offset, bytes, size);
    if (!kept)
        free(bytes);
}

static void list(bool puts, bool kept)
{
    sublet_region_piece pieces[PIECES_MAX];
    size_t count = take(1) % (PIECES_MAX + 1), each = take(1) * (take(1) % 16), gap = take(1);
    unsigned char *bytes = memory_for(count * each, kept);
    for (size_t i = 0; i < count; i++)
        pieces[i] = (sublet_region_piece){
            .offset = i * (each + gap) % 100000, .bytes = bytes + i * each, .size = i % 7 == 6 ? 0 : each};
    if (puts)
        (void)(kept ? sublet_region_put_list_async : sublet_region_put_list)(&region, pieces, count);
    else
        (void)(kept ? sublet_region_get_list_async : sublet_region_get_list)(&region, pieces, count);
    if (!kept)
        free(bytes);
}

static void strided(bool puts, bool kept)
{
    size_t count = take(1), block = 1 + take(2) % 5000;
    uint64_t stride = block + take(1), offset = take(2);
    void *bytes = memory_for(count * block, kept);
    if (puts)
        (void)(kept ? sublet_region_put_strided_async : sublet_region_put_strided)(&region, offset, count, block,
                                                                                   stride, bytes);
    else
        (void)(kept ? sublet_region_get_strided_async : sublet_region_get_strided)(&region, offset, count, block,
                                                                                   stride, bytes);
    if (!kept)
        free(bytes);
}

static void atomic_access(bool swaps, bool kept)
{
    uint64_t offset = take(1) * 8, *before = memory_for(sizeof(*before), kept);
    if (swaps)
        (void)(kept ? sublet_region_compare_swap_async : sublet_region_compare_swap)(&region, offset, 1, 2, before);
    else
        (void)(kept ? sublet_region_fetch_add_async : sublet_region_fetch_add)(&region, offset, 1, before);
    if (!kept)
        free(before);
}

static void flush(void)
{
    must(sublet_region_flush(&region) < SUBLET_STATUS_COUNT);
    forget_transfers();
    forget_later();
}

/** The background thread's turn. */
static void turn(void)
{
    struct link *link = lease->link;
    sublet_status status = SUBLET_OK;
    int fd = -1;
    pthread_mutex_lock(&session->lock);
    link->refs++;
    bool due = atomic_load(&link->lost) == 0 && region_jobs_events(link->region, &fd) != 0;
    pthread_mutex_unlock(&session->lock);
    if (due)
        status = region_jobs_turn(link);
    pthread_mutex_lock(&session->lock);
    if (status != SUBLET_OK)
        link_lost(link, SUBLET_ERR_LOST);
    link_unref(link);
    pthread_mutex_unlock(&session->lock);
}

static void use(uint32_t what)
{
    bool puts = (what & 16) != 0, kept = (what & 32) != 0;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    region = (struct sublet_region){.lease = lease, .bytes = REGION_BYTES};
    if (kept && later_count == LATER_MAX)
        flush();
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
        plain(puts, kept);
        break;
    case 3:
    case 4:
        list(puts, kept);
        break;
    case 5:
    case 6:
        strided(puts, kept);
        break;
    case 7:
        atomic_access(puts, kept);
        break;
    case 8:
        flush();
        break;
    case 9:
        (void)sublet_region_fence(&region);
        break;
    case 10:
        must(sublet_region_info_get(&region, &info) == SUBLET_OK);
        break;
    case 11:
    case 12:
        turn();
        break;
    default:
        act();
    }
    forget_transfers();
}

static void last(void)
{
    region.lease = lease;
    if (lease->link != NULL)
        flush();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    transfer_count = busy = borrowed = 0;
    broken = false;
    prompt = (data[0] & 2) != 0;
    needs_memory = (data[0] & 4) != 0;
    copies = (data[0] & 8) != 0;
    owed = 0;
    region_bytes = REGION_BYTES;
    session_run(data + 1, size - 1, "", (data[0] & 1) != 0 ? "net" : "none", use, last);
    forget_transfers();
    forget_later();
    must(borrowed == 0 && transfer_count == 0);
    return 0;
}
