#include "executor/streams.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cycles.h"
#include "base/fds.h"

#define LOOK_CYCLES UINT64_C(100000) /* some 40 us */
#define MISSES_HOT  256u
#define WAITS_MS    1   /* naps of one that waits for memory, */
#define KEEPS_MS    100 /* and of one that keeps some after a large call */
#define HOT_KEPT    8u  /* silent ones that keep their place: a few cost less than the epoll set */
#define ROTATE      32u /* that make room when all places are taken */

/** From now on epoll tells, once, when there is something to read. */
static void arm(struct streams *streams, uint32_t index, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.u32 = index};
    if (epoll_ctl(streams->epoll_fd, operation, streams->start->streams[index].fd, &event) != 0)
        fprintf(stderr, "sublet-executor: cannot watch a connection: %m\n");
}

static void remove_hot(struct streams *streams, uint32_t at)
{
    streams->hot_count--;
    memmove(&streams->hot[at], &streams->hot[at + 1], (streams->hot_count - at) * sizeof(streams->hot[0]));
}

static void cool(struct streams *streams, uint32_t at)
{
    uint32_t index = streams->hot[at].index;
    remove_hot(streams, at);
    arm(streams, index, EPOLL_CTL_MOD);
}

void streams_start(struct streams *streams, struct worker_start *start, struct functions *functions,
                   struct memory *memory)
{
    streams->start = start;
    streams->server.page = start->page;
    streams->server.functions = functions;
    streams->server.memory = memory;
    streams->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (streams->epoll_fd < 0) {
        fprintf(stderr, "sublet-executor: cannot watch connections: %m\n");
        _exit(1);
    }
    streams->end = start->stream_end;
    for (uint32_t i = 0; i < streams->end; i++) {
        struct stream *stream = &start->streams[i];
        if (stream->state == NULL || stream->fabric) /* a fabric ends with its worker */
            continue;
        streams->count++;
        arm(streams, i, EPOLL_CTL_ADD);
        /* What a predecessor has read or not sent is not to be seen by epoll. */
        if (streams->hot_count < STREAMS_HOT &&
            (atomic_load(&stream->state->filled) > 0 || atomic_load(&stream->state->batched) > 0))
            streams->hot[streams->hot_count++] = (struct hot_stream){.index = i};
    }
}

bool streams_add(struct streams *streams, uint32_t index, int buffer_fd, int connection_fd)
{
    struct stream *stream = &streams->start->streams[index];
    streams_remove(streams, index);
    if (stream_attach(buffer_fd, connection_fd, stream) != SUBLET_OK)
        return false;
    streams->count++;
    if (index >= streams->end)
        streams->end = index + 1;
    arm(streams, index, EPOLL_CTL_ADD);
    return true;
}

void streams_remove(struct streams *streams, uint32_t index)
{
    struct stream *stream = &streams->start->streams[index];
    if (stream->state == NULL)
        return;
    for (uint32_t i = 0; i < streams->hot_count; i++)
        if (streams->hot[i].index == index)
            remove_hot(streams, i--);
    epoll_ctl(streams->epoll_fd, EPOLL_CTL_DEL, stream->fd, NULL); /* the supervisor holds the same socket */
    memory_give(streams->server.memory, MEMORY_IN, stream->capacity - stream_small());
    stream_waits_no_more(&streams->server, index);
    stream_unmap(stream);
    close(stream->fd);
    streams->count--;
}

/** Somebody waits for memory, here or in another worker: whoever holds some without using it gives it back. */
static void make_memory(struct streams *streams)
{
    uint64_t now = now_ns();
    stream_trim_out(&streams->server);
    for (uint32_t i = 0; i < streams->end; i++) {
        struct stream *stream = &streams->start->streams[i];
        if (stream->state != NULL && !stream->fabric && !stream_trim(&streams->server, stream, i))
            (void)stream_stalled(&streams->server, stream, now);
    }
    streams->waits = false;
}

static bool wanted(const struct streams *streams)
{
    const struct memory *memory = streams->server.memory;
    return memory_wanted(memory, MEMORY_IN) || memory_wanted(memory, MEMORY_OUT);
}

/** Is large memory kept that the next call may want? */
static bool keeps(const struct streams *streams)
{
    bool any = stream_keeps_out(&streams->server);
    for (uint32_t i = 0; i < streams->end && !any; i++) {
        const struct stream *stream = &streams->start->streams[i];
        any = stream->state != NULL && !stream->fabric && stream_keeps(stream);
    }
    return any;
}

/** Makes those hot of which epoll says something. */
static void take_events(struct streams *streams)
{
    struct epoll_event events[STREAMS_HOT];
    if (streams->count == streams->hot_count)
        return;
    for (uint32_t i = streams->hot_count; i-- > 0 && streams->hot_count > HOT_KEPT;)
        if (streams->hot[i].misses >= MISSES_HOT)
            cool(streams, i);
    for (uint32_t i = 0; i < ROTATE && streams->hot_count > STREAMS_HOT - ROTATE; i++)
        cool(streams, 0);
    int count = epoll_wait(streams->epoll_fd, events, (int)(STREAMS_HOT - streams->hot_count), 0);
    for (int i = 0; i < count; i++) {
        uint32_t index = events[i].data.u32;
        bool known = false;
        for (uint32_t k = 0; k < streams->hot_count; k++)
            known |= streams->hot[k].index == index;
        if (!known)
            streams->hot[streams->hot_count++] = (struct hot_stream){.index = index};
    }
}

bool streams_look(struct streams *streams, bool idle)
{
    bool served = false, all = false;
    if (streams->count == 0)
        return false;
    uint64_t now = cycles();
    if (idle || now - streams->seen > LOOK_CYCLES) {
        streams->seen = now;
        all = true;
        take_events(streams);
        if (streams->waits || wanted(streams))
            make_memory(streams);
    }
    for (uint32_t i = 0; i < streams->hot_count; i++) {
        struct hot_stream *hot = &streams->hot[i];
        if (!all && hot->misses >= MISSES_HOT)
            continue;
        stats_turn(&streams->server.functions->sampler, 1);
        switch (stream_serve(&streams->server, &streams->start->streams[hot->index], hot->index)) {
        case STREAM_LOOK_SERVED:
            hot->misses = 0;
            served = true;
            break;
        case STREAM_LOOK_NOTHING:
            hot->misses++;
            break;
        case STREAM_LOOK_WAITS:
            streams->waits = true;
            hot->misses = 0;
            break;
        case STREAM_LOOK_DEAD: /* until the supervisor takes it away */
            remove_hot(streams, i--);
            break;
        }
    }
    return served;
}

void streams_before_nap(struct streams *streams, struct nap *nap)
{
    if (streams->count == 0)
        return;
    nap_add_stream(nap, streams->epoll_fd);
    /* A worker that sleeps for long keeps nothing that another one may wait for: nobody could ask it. */
    bool some = streams->waits || keeps(streams);
    if (some && !streams->waits && wanted(streams)) {
        make_memory(streams);
        some = keeps(streams);
    }
    if (some)
        nap_end_after(nap, streams->waits ? WAITS_MS : KEEPS_MS);
    for (uint32_t i = 0; i < streams->hot_count; i++)
        nap_add_stream(nap, streams->start->streams[streams->hot[i].index].fd);
}

void streams_after_nap(struct streams *streams, const struct nap *nap)
{
    if (streams->count == 0)
        return;
    for (uint32_t i = 0; i < streams->hot_count; i++)
        if (nap_stream_woke(nap, 1 + i))
            streams->hot[i].misses = 0;
    if (nap_stream_woke(nap, 0))
        streams->seen = 0; /* the next look is at all of them */
    if (nap->timed_out && !streams->waits)
        make_memory(streams);
}
