/*
 * One recv brings many small requests, one send takes their answers: small answers are gathered while whole requests
 * are there, and leave when none is, when the turn is over, or before a function that is not known to be short. A lone
 * answer leaves from where the function wrote it. Bytes stay in the shared buffer until their call was answered, and
 * answers until they were sent, so that a successor goes on (stream_buffer.h).
 *
 * A peer that does not read its answers holds up the worker's other clients, so it is dropped when it takes less than a
 * megabyte a second, with STALL_NS of grace.
 */
#include "executor/stream_serve.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cycles.h"
#include "base/fds.h"

#define OUT_PATIENCE_NS     UINT64_C(500000000) /* others give back memory that they do not use within a part of this */
#define STALL_NS            UINT64_C(5000000000)
#define SLOWEST_NS_PER_BYTE 1000u                           /* a megabyte a second */
#define KEEP_BYTES          (UINT64_C(64) << 20)            /* of large memory after a call */
#define OUT_SMALL           (UINT64_C(2) * STREAM_IN_SMALL) /* memory for results that is kept for good */
#define TURN_CALLS          32u
#define TURN_CYCLES         UINT64_C(250000) /* some 100 us */
#define SHORT_CYCLES        50000u           /* some 20 us: answers may wait for it */
#define BATCHED_MOST        2048u            /* largest answer that is gathered */

/** What is still on its way to the peer is thrown away, too: it may never take it. */
static enum stream_look drop(struct stream *stream)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(stream->fd, SHUT_RDWR); /* the supervisor sees it, too, and takes the stream away */
    return STREAM_LOOK_DEAD;
}

static bool send_all(int fd, const unsigned char *bytes, size_t size)
{
    uint64_t blocked_ns = 0; /* when it could not go on for the first time */
    size_t before = 0;       /* what had been sent then */
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(fd, bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            done += (size_t)sent;
            continue;
        }
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return false;
        uint64_t now = now_ns();
        if (blocked_ns == 0) {
            blocked_ns = now;
            before = done;
        }
        uint64_t end_ns = blocked_ns + STALL_NS + (done - before) * SLOWEST_NS_PER_BYTE;
        if (now >= end_ns)
            return false;
        struct pollfd entry = {.fd = fd, .events = POLLOUT};
        poll(&entry, 1, left_ms(end_ns));
    }
    return true;
}

static void begin_move(struct stream_state *state)
{
    atomic_store_explicit(&state->moving, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static void end_move(struct stream_state *state)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&state->moving, 0, memory_order_relaxed);
}

/** Sends what was gathered. */
static bool flush(struct stream *stream)
{
    struct stream_state *state = stream->state;
    uint32_t size = atomic_load_explicit(&state->batched, memory_order_relaxed);
    if (size == 0)
        return true;
    if (size > STREAM_BATCH)
        return false; /* user code wrote here */
    begin_move(state);
    bool sent = send_all(stream->fd, stream->batch, size);
    atomic_store_explicit(&state->batched, 0, memory_order_relaxed);
    end_move(state);
    return sent;
}

/** It lacks `bytes`: the first one to say so in this worker is waited for. */
static void wait_in_turn(struct stream_server *server, enum memory_kind kind, uint32_t index, uint64_t bytes)
{
    struct memory_turn *turn = kind == MEMORY_IN ? &server->in_turn : &server->out_turn;
    if (turn->first == 0)
        *turn = (struct memory_turn){.first = index + 1, .bytes = bytes, .since_ns = now_ns()};
    if (turn->first == index + 1)
        memory_want(server->memory, kind, turn->bytes, turn->since_ns);
}

static void end_turn(struct stream_server *server, enum memory_kind kind, uint32_t index)
{
    struct memory_turn *turn = kind == MEMORY_IN ? &server->in_turn : &server->out_turn;
    if (turn->first != index + 1)
        return;
    turn->first = 0;
    memory_want(server->memory, kind, 0, 0);
}

void stream_waits_no_more(struct stream_server *server, uint32_t index)
{
    end_turn(server, MEMORY_IN, index);
    end_turn(server, MEMORY_OUT, index);
}

/** Moves what is not consumed to the start of `in`. */
static void compact(struct stream *stream, uint64_t *filled, uint64_t *consumed)
{
    if (*consumed == 0)
        return;
    memmove(stream->in, stream->in + *consumed, *filled - *consumed);
    *filled -= *consumed;
    *consumed = 0;
    atomic_store_explicit(&stream->state->consumed, 0, memory_order_relaxed);
    atomic_store_explicit(&stream->state->filled, *filled, memory_order_relaxed);
}

/** Receives what is there: the rest of a request of `need` bytes, and some bytes of the next. */
static enum stream_look receive(struct stream *stream, uint64_t *filled, uint64_t *consumed, uint64_t need)
{
    begin_move(stream->state);
    compact(stream, filled, consumed);
    ssize_t got = recv(stream->fd, stream->in + *filled, need + STREAM_READ_AHEAD - *filled, MSG_DONTWAIT);
    int error = errno;
    if (got > 0) {
        *filled += (uint64_t)got;
        atomic_store_explicit(&stream->state->filled, *filled, memory_order_relaxed);
    }
    end_move(stream->state);
    if (got > 0)
        return STREAM_LOOK_SERVED;
    if (got < 0 && (error == EAGAIN || error == EWOULDBLOCK || error == EINTR))
        return STREAM_LOOK_NOTHING;
    return STREAM_LOOK_DEAD;
}

/** Does another stream wait for what this one holds? Then nobody else takes any before it has had its turn. */
static bool is_owed(const struct stream_server *server, uint32_t index)
{
    const struct memory_turn *turn = &server->in_turn;
    if (turn->first != 0 && turn->first != index + 1 && memory_ours_suffices(server->memory, MEMORY_IN, turn->bytes))
        return true;
    return memory_owed(server->memory, MEMORY_IN, turn->first == index + 1 ? turn->since_ns : UINT64_MAX);
}

bool stream_trim(struct stream_server *server, struct stream *stream, uint32_t index)
{
    uint64_t small = stream_small(), large = stream->capacity - small;
    uint64_t filled = atomic_load_explicit(&stream->state->filled, memory_order_relaxed);
    uint64_t consumed = atomic_load_explicit(&stream->state->consumed, memory_order_relaxed);
    if (large == 0 || consumed > filled || filled > stream->capacity || filled - consumed > STREAM_READ_AHEAD)
        return false;
    if (filled - consumed >= sizeof(struct stream_request) && !is_owed(server, index)) {
        struct stream_request next;
        memcpy(&next, stream->in + consumed, sizeof(next));
        if (stream_request_size(&next) > STREAM_IN_SMALL)
            return false; /* it is wanted again at once */
    }
    begin_move(stream->state);
    compact(stream, &filled, &consumed);
    end_move(stream->state);
    stream_shrink(stream);
    memory_give(server->memory, MEMORY_IN, small + large - stream->capacity);
    return true;
}

/** Room for a request of `need` bytes and what is read ahead. BUSY: there is none now. */
static sublet_status take_room(struct stream_server *server, struct stream *stream, uint64_t need)
{
    uint64_t want = need + STREAM_READ_AHEAD, before = stream->capacity;
    if (want <= before)
        return SUBLET_OK;
    if (want > stream->most || !memory_possible(server->memory, want - stream_small()))
        return SUBLET_ERR_TOO_LARGE;
    uint64_t more = want - before + 4096; /* it grows by whole pages */
    if (!memory_take(server->memory, MEMORY_IN, more))
        return memory_possible(server->memory, more) ? SUBLET_ERR_BUSY : SUBLET_ERR_TOO_LARGE;
    sublet_status status = stream_grow(stream, want);
    memory_give(server->memory, MEMORY_IN, more - (stream->capacity - before));
    stream->moved_ns = now_ns();
    return status;
}

/** The same, in turn. */
static sublet_status make_room(struct stream_server *server, struct stream *stream, uint32_t index, uint64_t need)
{
    uint64_t want = need + STREAM_READ_AHEAD;
    if (want <= stream->capacity)
        return SUBLET_OK;
    sublet_status status = is_owed(server, index) ? SUBLET_ERR_BUSY : take_room(server, stream, need);
    if (status == SUBLET_ERR_BUSY)
        wait_in_turn(server, MEMORY_IN, index, want - stream->capacity + 4096);
    else
        end_turn(server, MEMORY_IN, index);
    return status;
}

bool stream_keeps_out(const struct stream_server *server)
{
    return server->out.size > OUT_SMALL;
}

bool stream_keeps(const struct stream *stream)
{
    return stream->capacity > stream_small();
}

void stream_trim_out(struct stream_server *server)
{
    space_free(server->memory, &server->out);
}

/** May a call begin that needs this room for its result? Other workers may have to give theirs back first. */
static bool may_take_out(struct stream_server *server, uint32_t index, const struct stream_request *request)
{
    const struct memory_turn *turn = &server->out_turn;
    uint64_t room = stream_request_room(request);
    bool first = turn->first == index + 1;
    bool there = server->out.bytes != NULL && room <= server->out.size - SPACE_GUARD;
    bool small = room < STREAM_IN_SMALL || (request->room_high & STREAM_ROOM_UP_TO) != 0;
    uint64_t bytes = space_takes(small ? STREAM_IN_SMALL : room);
    if (!there && memory_possible(server->memory, bytes) && (!first || now_ns() - turn->since_ns < OUT_PATIENCE_NS) &&
        (!memory_ours_suffices(server->memory, MEMORY_OUT, bytes) ||
         memory_owed(server->memory, MEMORY_OUT, first ? turn->since_ns : UINT64_MAX))) {
        wait_in_turn(server, MEMORY_OUT, index, bytes);
        return false;
    }
    end_turn(server, MEMORY_OUT, index);
    return true;
}

/** Room for the result; *room is what the caller may take. */
static sublet_status make_out(struct stream_server *server, const struct stream_request *request, uint64_t *room)
{
    *room = stream_request_room(request);
    if (server->out.bytes != NULL && *room <= server->out.size - SPACE_GUARD)
        return SUBLET_OK;
    space_free(server->memory, &server->out);
    if ((request->room_high & STREAM_ROOM_UP_TO) != 0) {
        uint64_t left = memory_left(server->memory, MEMORY_OUT) & ~UINT64_C(4095);
        left = left < STREAM_IN_SMALL ? 0 : left - SPACE_GUARD;
        *room = *room < left ? *room : left;
    }
    uint64_t size = *room < STREAM_IN_SMALL ? STREAM_IN_SMALL : *room;
    return space_make(server->memory, MEMORY_OUT, size, &server->out);
}

/** Arguments as a function may expect them: aligned like malloc's. */
static const void *aligned(struct stream_server *server, const unsigned char *arguments, uint64_t size)
{
    if (((uintptr_t)arguments & 63) == 0 || size > STREAM_READ_AHEAD)
        return arguments;
    memcpy(server->spare, arguments, size);
    return server->spare;
}

static sublet_status run(struct stream_server *server, struct stream *stream, const struct stream_request *request,
                         const unsigned char *arguments, uint64_t *size_out)
{
    uint64_t room = 0;
    sublet_status status = stream_request_check(request);
    if (status == SUBLET_OK)
        status = make_out(server, request, &room);
    if (atomic_load(&stream->state->cancelled) == request->sequence)
        status = SUBLET_ERR_TIMEOUT;
    if (atomic_load(&stream->state->closed) != 0)
        status = SUBLET_ERR_LOST;
    if (status != SUBLET_OK)
        return status;
    struct ring_call call = {
        .sequence = request->sequence,
        .function = request->function,
        .size = stream_request_size(request),
        .out_capacity = room,
        .timeout_ns = request->timeout_ns,
        .traced = (request->room_high & STREAM_ROOM_TRACE) != 0,
        .in = aligned(server, arguments, stream_request_size(request)),
        .out = server->out.bytes,
        .end = server->out.bytes + server->out.size,
    };
    uint64_t before = cycles();
    status = functions_run(server->functions, &call, size_out);
    uint64_t took = cycles() - before;
    if (request->function < FUNCTIONS_MAX)
        server->fast[request->function] = 1 + (took < UINT32_MAX / 2 ? (uint32_t)took : UINT32_MAX / 2);
    return status;
}

/** Is a whole request there, `consumed` bytes in? */
static bool whole_at(const struct stream *stream, uint64_t filled, uint64_t consumed)
{
    struct stream_request request;
    if (filled - consumed < sizeof(request))
        return false;
    memcpy(&request, stream->in + consumed, sizeof(request));
    return stream_request_size(&request) <= filled - consumed - sizeof(request);
}

bool stream_stalled(struct stream_server *server, struct stream *stream, uint64_t now)
{
    uint64_t filled = atomic_load_explicit(&stream->state->filled, memory_order_relaxed);
    uint64_t consumed = atomic_load_explicit(&stream->state->consumed, memory_order_relaxed);
    char next;
    if (!stream_keeps(stream) || now < stream->moved_ns + STALL_NS)
        return false;
    /* What has come meanwhile is not its fault: this worker was busy. */
    if (consumed > filled || filled > stream->capacity || whole_at(stream, filled, consumed) ||
        recv(stream->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return false;
    memory_give(server->memory, MEMORY_IN, stream->capacity - stream_small());
    atomic_store(&stream->state->filled, 0);
    atomic_store(&stream->state->consumed, 0);
    stream_shrink(stream);
    drop(stream);
    return true;
}

/** Calls of one connection that are served before the others are looked at. */
struct turn {
    uint64_t began; /* cycles */
    uint32_t served;
    bool last;
};

/** What goes before a result: `bytes` of it. */
struct answer_head {
    struct stream_response response;
    struct stream_trace trace;
    size_t bytes;
};

/** Of a call that came to its turn at `found`, in a turn that began at `began`. */
static void add_trace(const struct stream_server *server, struct answer_head *head, uint64_t began, uint64_t found)
{
    const struct functions *functions = server->functions;
    const struct stats_clock *clock = functions->sampler.clock;
    bool ran = functions->run_start >= found;
    uint64_t start = ran ? functions->run_start : found, end = ran ? functions->run_end : found;
    head->trace = (struct stream_trace){.queue_ns = stats_clock_ns(clock, found - began),
                                        .prepare_ns = stats_clock_ns(clock, start - found),
                                        .run_ns = stats_clock_ns(clock, end - start),
                                        .answer_ns = stats_clock_ns(clock, cycles() - end),
                                        .flags = functions_before(functions, found != began)};
    head->response.flags |= STREAM_FLAG_TRACED;
    head->bytes += sizeof(head->trace);
}

/** Sends or gathers an answer whose result lies in `out`. */
static bool answer(struct stream_server *server, struct stream *stream, const struct answer_head *head, bool more)
{
    uint64_t body = stream_response_body(&head->response), size = head->bytes + body;
    uint32_t batched = atomic_load_explicit(&stream->state->batched, memory_order_relaxed);
    if (batched > STREAM_BATCH)
        return false; /* user code wrote here */
    if (size <= BATCHED_MOST && size <= STREAM_BATCH - batched && (more || batched > 0)) {
        memcpy(stream->batch + batched, head, head->bytes);
        if (body > 0)
            memcpy(stream->batch + batched + head->bytes, server->out.bytes, body);
        atomic_store_explicit(&stream->state->batched, batched + (uint32_t)size, memory_order_release);
        return true;
    }
    if (!flush(stream))
        return false;
    if (body == 0)
        return send_all(stream->fd, (const unsigned char *)head, head->bytes);
    unsigned char *start = server->out.bytes - head->bytes; /* the page before it is there for this */
    memcpy(start, head, head->bytes);
    return send_all(stream->fd, start, size);
}

static bool serve(struct stream_server *server, struct stream *stream, uint32_t index,
                  const struct stream_request *request, uint64_t filled, uint64_t consumed, const struct turn *turn)
{
    struct worker_page *page = server->page;
    uint64_t end = consumed + sizeof(*request) + stream_request_size(request), size = 0;
    uint64_t call = call_pack_stream(index, request->sequence);
    bool known = request->function < FUNCTIONS_MAX && server->fast[request->function] != 0;
    if ((!known || server->fast[request->function] > SHORT_CYCLES) && !flush(stream))
        return false;
    bool traced = (request->room_high & STREAM_ROOM_TRACE) != 0;
    uint64_t found = traced && turn->served > 1 ? cycles() : turn->began;
    /* Full fence: either this sees the cancellation or the supervisor sees the announcement. */
    atomic_store(&page->current, call);
    sublet_status status = run(server, stream, request, stream->in + consumed + sizeof(*request), &size);
    stats_count(server->functions->sampler.stats, status, stream_request_size(request), status == SUBLET_OK ? size : 0);
    worker_begin_answer(page, call);
    struct answer_head head = {.response = {.sequence = request->sequence, .status = status},
                               .bytes = sizeof(head.response)};
    if (status == SUBLET_OK)
        stream_response_set(&head.response, size, 0);
    else if (status == SUBLET_ERR_TOO_LARGE && size > 0 && size <= STREAM_CALL_MAX)
        stream_response_set(&head.response, size, STREAM_FLAG_NEEDED);
    if (traced)
        add_trace(server, &head, turn->began, found);
    bool sent = answer(server, stream, &head, !turn->last && whole_at(stream, filled, end));
    atomic_store_explicit(&stream->state->consumed, end, memory_order_relaxed);
    atomic_store_explicit(&page->current, 0, memory_order_release);
    if (server->out.size > KEEP_BYTES || (stream_keeps_out(server) && memory_wanted(server->memory, MEMORY_OUT)))
        stream_trim_out(server);
    if (stream->capacity > KEEP_BYTES || (stream_keeps(stream) && is_owed(server, index)))
        (void)stream_trim(server, stream, index);
    return sent;
}

/** Its arguments cannot be taken, and what follows is part of them: the last answer. */
static enum stream_look refuse(struct stream_server *server, struct stream *stream, uint32_t sequence,
                               sublet_status status)
{
    struct answer_head head = {.response = {.sequence = sequence, .status = status, .flags = STREAM_FLAG_LAST},
                               .bytes = sizeof(head.response)};
    if (answer(server, stream, &head, false) && flush(stream))
        shutdown(stream->fd, SHUT_WR);
    return STREAM_LOOK_DEAD;
}

enum stream_look stream_serve(struct stream_server *server, struct stream *stream, uint32_t index)
{
    struct turn turn = {0};
    bool received = false;
    for (;;) {
        struct stream_request request;
        const struct stream_state *state = stream->state; /* room for a large request may have moved it */
        uint64_t filled = atomic_load_explicit(&state->filled, memory_order_relaxed);
        uint64_t consumed = atomic_load_explicit(&state->consumed, memory_order_relaxed);
        if (consumed > filled || (filled > stream->capacity && take_room(server, stream, filled) != SUBLET_OK))
            return drop(stream); /* user code wrote here, or a predecessor had more memory */
        uint64_t have = filled - consumed, need = sizeof(request);
        if (have >= sizeof(request)) {
            memcpy(&request, stream->in + consumed, sizeof(request));
            if (request.sequence == 0)
                return drop(stream);
            if (stream_request_size(&request) > STREAM_CALL_MAX)
                return refuse(server, stream, request.sequence, SUBLET_ERR_TOO_LARGE);
            need += stream_request_size(&request);
        }
        bool whole = have >= need && have >= sizeof(request);
        if (whole && !may_take_out(server, index, &request)) {
            if (!flush(stream))
                return drop(stream);
            return turn.served > 0 || received ? STREAM_LOOK_SERVED : STREAM_LOOK_WAITS;
        }
        if (whole) {
            if (turn.served == 0)
                turn.began = cycles();
            turn.last = ++turn.served == TURN_CALLS || cycles() - turn.began > TURN_CYCLES;
            if (!serve(server, stream, index, &request, filled, consumed, &turn))
                return drop(stream);
            if (!turn.last)
                continue;
        }
        if (turn.served > 0 || received)
            return flush(stream) ? STREAM_LOOK_SERVED : drop(stream);
        if (!flush(stream)) /* a predecessor has left some */
            return drop(stream);
        sublet_status room = make_room(server, stream, index, need);
        if (room == SUBLET_ERR_BUSY)
            return STREAM_LOOK_WAITS;
        if (room != SUBLET_OK)
            return refuse(server, stream, request.sequence, room);
        enum stream_look look = receive(stream, &filled, &consumed, need);
        if (look != STREAM_LOOK_SERVED)
            return look == STREAM_LOOK_DEAD ? drop(stream) : look;
        received = true;
        if (need > STREAM_IN_SMALL)
            stream->moved_ns = now_ns();
    }
}
