/*
 * One recv brings a small request with its arguments, one send takes the answer. Bytes stay in the shared buffer until
 * their call was answered. A peer that does not read its answers holds up the worker's other clients, so it is dropped
 * when it takes less than a megabyte a second, with STALL_NS of grace.
 */
#include "executor/stream_serve.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fds.h"

#define STALL_NS            UINT64_C(5000000000)
#define SLOWEST_NS_PER_BYTE 1000u /* a megabyte a second */

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

static bool answer(struct stream *stream, uint32_t sequence, sublet_status status, uint32_t size, uint32_t flags)
{
    struct stream_response response = {.sequence = sequence, .status = status, .size = size, .flags = flags};
    unsigned char *start = stream->out - sizeof(response);
    memcpy(start, &response, sizeof(response));
    return send_all(stream->fd, start, sizeof(response) + size);
}

/** Receives what is there: the rest of a request of `need` bytes, and some bytes of the next. */
static enum stream_look receive(struct stream *stream, uint32_t *filled, uint32_t *consumed, uint64_t need)
{
    struct stream_state *state = stream->state;
    atomic_store_explicit(&state->moving, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (*consumed > 0) {
        memmove(stream->in, stream->in + *consumed, *filled - *consumed);
        *filled -= *consumed;
        *consumed = 0;
        atomic_store_explicit(&state->consumed, 0, memory_order_relaxed);
        atomic_store_explicit(&state->filled, *filled, memory_order_relaxed);
    }
    uint64_t room = need + STREAM_READ_AHEAD - *filled;
    ssize_t got = recv(stream->fd, stream->in + *filled, room, MSG_DONTWAIT);
    int error = errno;
    if (got > 0) {
        *filled += (uint32_t)got;
        atomic_store_explicit(&state->filled, *filled, memory_order_relaxed);
    }
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&state->moving, 0, memory_order_relaxed);
    if (got > 0)
        return STREAM_LOOK_SERVED;
    if (got < 0 && (error == EAGAIN || error == EWOULDBLOCK || error == EINTR))
        return STREAM_LOOK_NOTHING;
    return STREAM_LOOK_DEAD;
}

/** Arguments as a function may expect them: aligned like malloc's. */
static const void *aligned(struct stream *stream, const unsigned char *arguments, uint32_t size)
{
    if (((uintptr_t)arguments & 63) == 0 || size > STREAM_READ_AHEAD)
        return arguments;
    memcpy(stream->spare, arguments, size);
    return stream->spare;
}

static enum stream_look serve(struct stream *stream, uint32_t index, const struct stream_request *request,
                              const unsigned char *arguments, struct worker_page *page, struct functions *functions)
{
    uint32_t end = (uint32_t)(arguments - stream->in) + request->size;
    uint64_t call = call_pack_stream(index, request->sequence);
    sublet_status status = stream_request_check(request, stream->in_bytes, stream->out_bytes);
    uint64_t size = 0;
    /* Full fence: either this sees the cancellation or the supervisor sees the announcement. */
    atomic_store(&page->current, call);
    if (atomic_load(&stream->state->cancelled) == request->sequence)
        status = SUBLET_ERR_TIMEOUT;
    if (atomic_load(&stream->state->closed) != 0)
        status = SUBLET_ERR_LOST;
    if (status == SUBLET_OK) {
        struct ring_call ring_call = {
            .sequence = request->sequence,
            .function = request->function,
            .size = request->size,
            .out_capacity = request->out_capacity,
            .timeout_ns = request->timeout_ns,
            .in = aligned(stream, arguments, request->size),
            .out = stream->out,
            .end = stream_end(stream),
        };
        status = functions_run(functions, &ring_call, &size);
    }
    atomic_fetch_add_explicit(status == SUBLET_OK ? &page->calls : &page->failures, 1, memory_order_relaxed);
    worker_begin_answer(page, call);
    bool sent = answer(stream, request->sequence, status, status == SUBLET_OK ? (uint32_t)size : 0, 0);
    atomic_store_explicit(&stream->state->consumed, end, memory_order_relaxed);
    atomic_store_explicit(&page->current, 0, memory_order_release);
    return sent ? STREAM_LOOK_SERVED : drop(stream);
}

enum stream_look stream_serve(struct stream *stream, uint32_t index, struct worker_page *page,
                              struct functions *functions)
{
    struct stream_state *state = stream->state;
    bool received = false;
    for (;;) {
        struct stream_request request;
        uint32_t filled = atomic_load_explicit(&state->filled, memory_order_relaxed);
        uint32_t consumed = atomic_load_explicit(&state->consumed, memory_order_relaxed);
        if (filled > stream_capacity(stream) || consumed > filled)
            return drop(stream); /* user code wrote here */
        uint32_t have = filled - consumed;
        uint64_t need = sizeof(request);
        if (have >= sizeof(request)) {
            memcpy(&request, stream->in + consumed, sizeof(request));
            if (request.sequence == 0)
                return drop(stream);
            if (request.size > stream->in_bytes) { /* its arguments cannot be taken: the last answer */
                if (answer(stream, request.sequence, SUBLET_ERR_TOO_LARGE, 0, STREAM_FLAG_LAST))
                    shutdown(stream->fd, SHUT_WR);
                return STREAM_LOOK_DEAD;
            }
            need += request.size;
        }
        if (have >= need) {
            const unsigned char *arguments = stream->in + consumed + sizeof(request);
            return serve(stream, index, &request, arguments, page, functions);
        }
        if (received)
            return STREAM_LOOK_SERVED;
        enum stream_look look = receive(stream, &filled, &consumed, need);
        if (look != STREAM_LOOK_SERVED)
            return look == STREAM_LOOK_DEAD ? drop(stream) : look;
        received = true;
    }
}
