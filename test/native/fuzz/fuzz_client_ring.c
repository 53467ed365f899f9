/**
 * What the library reads from an executor on its own node: HELLO's answer with its descriptors, the ring, in which the
 * executor writes what and when it likes, and the connections for what no slot has room for.
 */
#include "hostile_executor.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include "fabric/ring.h"

#define RINGS_MAX   3u
#define BUFFERS_MAX 4u

static struct ring rings[RINGS_MAX];
static uint32_t ring_count;
static struct taken_buffer {
    sublet_buffer *buffer;
    bool begun;
} buffers[BUFFERS_MAX];

static void forget_rings(void)
{
    for (uint32_t i = 0; i < ring_count; i++)
        ring_unmap(&rings[i]);
    ring_count = 0;
}

/** A right answer to HELLO, or one that is nearly so. */
static void say_rings(const struct connection *connection)
{
    uint32_t how = take(1), count = 1 + how % RINGS_MAX;
    int fds[2 * RINGS_MAX + 1], sent = 0;
    struct {
        struct control_header header;
        struct control_welcome welcome;
    } answer = {{.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = CONTROL_HELLO}, {.workers = count}};
    answer.header.size = sizeof(answer.welcome);
    answer.welcome.features = take(1) % 8;
    forget_rings();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t in = lease->in_bytes + (how >> 4 & 1) * 64, out = lease->out_bytes;
        must(ring_create(lease->slots, in, out, -1, &rings[i], &fds[sent]) == SUBLET_OK);
        ring_count++;
        sent++;
        if ((how & 224) == 32)
            bend(rings[i].base, 64); /* the header lies */
        fds[sent++] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if ((how & 224) == 64)
        fds[sent++] = dup(fds[0]);
    if ((how & 224) == 96) { /* memory that may shrink */
        close(fds[0]);
        fds[0] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        must(ftruncate(fds[0], 1 << 20) == 0);
    }
    bend(&answer, sizeof(answer));
    size_t first = (how & 224) == 128 ? sizeof(answer.header) : sizeof(answer);
    (void)fds_send(connection->fd, &answer, first, fds, (size_t)sent - ((how & 224) == 160), 0);
    if (first < sizeof(answer)) /* descriptors may come with either piece */
        (void)fds_send(connection->fd, &answer.welcome, sizeof(answer.welcome), fds, (size_t)(how & 3), 0);
    fds_close(fds, (size_t)sent);
}

static void way_came(struct connection *connection)
{
    uint32_t how = take(1);
    if ((how & 15) == 0)
        babble(connection);
    else if ((how & 15) == 1)
        hang_up(connection);
    else if ((how & 15) != 2 && ring_count == 0)
        say_rings(connection);
    else if ((how & 15) != 2)
        say_welcome(connection);
}

/** Answers what a worker would find, in any order, with a result of the right size or another one. */
static void answer(struct ring *ring, uint32_t how)
{
    uint64_t waiting = ring_pending(ring);
    for (uint32_t skip = how & 3; skip > 0 && (waiting & (waiting - 1)) != 0; skip--)
        waiting &= waiting - 1;
    if (waiting == 0)
        return;
    struct ring_call call;
    uint32_t slot = (uint32_t)__builtin_ctzll(waiting);
    if (slot >= ring->header.slots || !ring_claim(ring, slot))
        return;
    sublet_status status = ring_read(ring, slot, &call);
    uint64_t size = (how & 4) != 0 ? call.out_capacity : take(2);
    if ((how & 24) == 24)
        status = (sublet_status)(take(1) % (SUBLET_STATUS_COUNT + 1));
    if ((how & 32) != 0)
        ring_put_needed(ring, slot, (uint64_t)take(2) << (take(1) % 48));
    if (call.traced && (how & 64) != 0) {
        struct ring_trace trace;
        memset(&trace, (int)take(1), sizeof(trace));
        ring_put_trace(ring, slot, &trace);
    }
    ring_answer(ring, slot, call.sequence + ((how & 128) != 0 ? take(1) % 3 : 0), status, (uint32_t)size);
}

/** Writes over heads of slots and of the ring, or anywhere. */
static void scribble(struct ring *ring, uint32_t how)
{
    size_t bytes = ring->header.total_bytes, at;
    if ((how & 3) == 0)
        at = take(3);
    else if ((how & 3) == 1)
        at = take(1);
    else
        at = RING_SLOTS_OFFSET + take(1) % ring->header.slots * ring->header.slot_stride + take(1) % (2 * RING_LINE);
    for (uint32_t count = take(1) % 32; count > 0 && input.size > 0; count--, at++)
        ring->base[at % bytes] = (unsigned char)take(1);
}

static void way_acts(uint32_t what)
{
    uint32_t how = take(1);
    if (ring_count == 0)
        return;
    struct ring *ring = &rings[how % ring_count];
    if (what >= 14)
        scribble(ring, take(1));
    else
        answer(ring, take(1));
}

static void look_at_buffer(struct taken_buffer *place, sublet_status status, size_t bytes)
{
    if (status == SUBLET_ERR_BUSY || !place->begun)
        return;
    place->begun = false;
    look_at_result(place->buffer->out, place->buffer->out_bytes, status, bytes);
}

static void more(uint32_t what)
{
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    uint32_t how = take(1);
    struct taken_buffer *place = &buffers[how % BUFFERS_MAX];
    size_t bytes = 0;
    options.lease = (how & 4) != 0 ? lease : NULL;
    options.timeout_ms = (how & 24) == 0 ? 0 : 1 + (how >> 3 & 3);
    options.in_bytes = options.out_bytes = (how & 32) != 0 ? 32 : 0;
    options.flags = (how & 64) != 0 ? SUBLET_CALL_ONCE : 0;
    if (place->buffer == NULL) {
        if (sublet_buffer_acquire(session, function_take(), &options, &place->buffer) == SUBLET_OK)
            memset(place->buffer->in, 'i', place->buffer->in_bytes);
        else
            place->buffer = NULL;
        return;
    }
    switch (what / 12 % 5) {
    case 0:
        place->begun |= sublet_buffer_submit(place->buffer, take(1) % (place->buffer->in_bytes + 1)) == SUBLET_OK;
        return;
    case 1:
        look_at_buffer(place, sublet_buffer_test(place->buffer, &bytes), bytes);
        return;
    case 2:
        if (place->begun)
            look_at_buffer(place, sublet_buffer_wait(place->buffer, 1 + take(1) % 8, &bytes), bytes);
        return;
    case 3:
        if (!place->begun) {
            sublet_status status = sublet_buffer_invoke(place->buffer, take(1) % (place->buffer->in_bytes + 1), &bytes);
            look_at_result(place->buffer->out, place->buffer->out_bytes, status, bytes);
        }
        return;
    default:
        sublet_buffer_release(place->buffer);
        *place = (struct taken_buffer){0};
    }
}

static void over_with_rings(void)
{
    for (uint32_t i = 0; i < BUFFERS_MAX; i++) {
        sublet_buffer_release(buffers[i].buffer);
        buffers[i] = (struct taken_buffer){0};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    session_run(data, size, "/dev/null", "none", more, over_with_rings);
    forget_rings();
    return 0;
}
