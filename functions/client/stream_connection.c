/**
 * After LAST, what was sent behind it did not begin and is sent again. After an end without LAST it may have begun:
 * what was sent moves like the calls of a lost lease, the rest is sent again.
 */
#include "client/stream_connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/result.h"
#include "client/trace.h"

#define PIECES_MAX   32u
#define STEP_BYTES   (UINT64_C(4) << 20) /* moved while the lock is held */
#define FAILURES_MAX 3u                  /* connections in a row that end without an answer */

void stream_connection_show(struct stream_worker *worker)
{
    bool output =
        worker->state < STREAM_AWAIT_WELCOME || (worker->state == STREAM_OPEN && worker->sending < worker->count);
    worker->watch_fd = worker->fd;
    worker->watch_events = (short)(POLLIN | (output ? POLLOUT : 0));
}

void stream_connection_close(struct stream_worker *worker)
{
    if (worker->fd >= 0)
        close(worker->fd);
    worker->fd = -1;
    worker->state = STREAM_CLOSED;
    worker->begin = worker->end = 0;
    worker->in_body = worker->no_room = false;
    worker->sending = 0;
    worker->sent = 0;
}

void stream_connection_drop(struct link *link, struct stream_worker *worker, uint32_t index)
{
    worker->count--;
    memmove(&worker->flights[index], &worker->flights[index + 1], (worker->count - index) * sizeof(struct flight));
    if (worker->sending > index)
        worker->sending--;
    link->busy--;
    link->worker_busy[worker->number]--;
}

sublet_status stream_connection_begin(struct link *link, struct stream_worker *worker)
{
    sublet_status status = link_socket(link, &worker->fd);
    if (status != SUBLET_OK)
        return status;
    worker->hello = (struct stream_hello){
        .magic = STREAM_MAGIC,
        .version = STREAM_VERSION,
        .role = STREAM_CALLS,
        .worker = worker->number,
        .in_bytes = (uint32_t)link->in_bytes,
        .out_bytes = (uint32_t)link->out_bytes,
        .connection = ++link->next_connection,
    };
    memcpy(worker->hello.token, link->token, sizeof(link->token));
    worker->hello_sent = 0;
    worker->end_ns = now_ns() + link->session->timeout_ns;
    worker->state = STREAM_CONNECTING;
    return SUBLET_OK;
}

/** send() that returns 0 when the socket is full or broken: a broken one shows itself to the receiver. */
static size_t push(int fd, const void *bytes, size_t size)
{
    ssize_t sent;
    do
        sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : (size_t)sent;
}

static bool connected(struct stream_worker *worker)
{
    struct pollfd entry = {.fd = worker->fd, .events = POLLOUT};
    return poll(&entry, 1, 0) > 0;
}

static bool refused(const struct stream_worker *worker)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(worker->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0;
}

/** What is left of the flights to send, `most` bytes at most, as pieces of memory. */
static size_t gather(const struct stream_worker *worker, struct iovec *pieces, uint64_t most)
{
    size_t count = 0;
    uint64_t skip = worker->sent, bytes = 0;
    for (uint32_t i = worker->sending; i < worker->count && count + 2 <= PIECES_MAX && bytes < most; i++) {
        const struct flight *flight = &worker->flights[i];
        const void *parts[2] = {&flight->request, flight->call->in};
        const uint64_t sizes[2] = {sizeof(flight->request), flight->bytes};
        for (int part = 0; part < 2; part++) {
            uint64_t gone = skip < sizes[part] ? skip : sizes[part], left = sizes[part] - gone;
            skip -= gone;
            if (left > most - bytes)
                left = most - bytes;
            if (left == 0)
                continue;
            pieces[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)parts[part] + gone, .iov_len = left};
            bytes += left;
        }
    }
    return count;
}

/** Many small calls leave in one packet. Returns the bytes the socket took; 0 when it is full or broken. */
static uint64_t send_flights(struct stream_worker *worker, uint64_t most)
{
    struct iovec pieces[PIECES_MAX];
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = gather(worker, pieces, most)};
    ssize_t sent;
    do
        sent = sendmsg(worker->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent <= 0)
        return 0;
    worker->sent += (uint64_t)sent;
    while (worker->sending < worker->count) {
        uint64_t whole = sizeof(struct stream_request) + worker->flights[worker->sending].bytes;
        if (worker->sent < whole)
            break;
        worker->sent -= whole;
        const struct sublet_call *call = worker->flights[worker->sending++].call;
        if (call != NULL && call->trace != NULL)
            call->trace->sent = cycles();
    }
    return (uint64_t)sent;
}

void stream_connection_send(struct link *link, struct stream_worker *worker)
{
    if (worker->state == STREAM_CLOSED && worker->count > 0 && stream_connection_begin(link, worker) != SUBLET_OK) {
        link_lost(link, SUBLET_ERR_LOST);
        return;
    }
    if (worker->state != STREAM_CLOSED && worker->state != STREAM_OPEN && now_ns() > worker->end_ns) {
        link_lost(link, SUBLET_ERR_LOST);
        return;
    }
    if (worker->state == STREAM_CONNECTING && connected(worker)) {
        if (refused(worker)) { /* nobody listens there any more */
            link_lost(link, SUBLET_ERR_LOST);
            return;
        }
        worker->state = STREAM_SAY_HELLO;
    }
    if (worker->state == STREAM_SAY_HELLO) {
        worker->hello_sent += push(worker->fd, (const char *)&worker->hello + worker->hello_sent,
                                   sizeof(worker->hello) - worker->hello_sent);
        if (worker->hello_sent == sizeof(worker->hello))
            worker->state = STREAM_AWAIT_WELCOME;
    }
    for (uint64_t done = 0, sent = 1; sent > 0 && done < STEP_BYTES; done += sent) {
        if (worker->state != STREAM_OPEN || worker->sending == worker->count)
            return;
        sent = send_flights(worker, STEP_BYTES - done);
    }
}

/** Takes `size` bytes that have been received; false when they are not all there. */
static bool pop(struct stream_worker *worker, void *into, size_t size)
{
    if (worker->end - worker->begin < size)
        return false;
    memcpy(into, worker->input + worker->begin, size);
    worker->begin += size;
    return true;
}

/** Takes what stands before a result; false when it is not all there. */
static bool pop_head(struct stream_worker *worker, struct stream_trace *trace, bool *traced_out)
{
    const struct stream_request *request = &worker->flights[0].request;
    size_t begin = worker->begin;
    if (!pop(worker, &worker->response, sizeof(worker->response)))
        return false;
    *traced_out = (worker->response.flags & STREAM_FLAG_TRACED) != 0 && (request->room_high & STREAM_ROOM_TRACE) != 0;
    if (!*traced_out || pop(worker, trace, sizeof(*trace)))
        return true;
    worker->begin = begin;
    return false;
}

/** The connection is over. `last`: what was sent behind the answered call did not begin. */
static void connection_over(struct link *link, struct stream_worker *worker, bool last)
{
    uint32_t begun = last ? 0 : worker->sending + (worker->sent > 0 ? 1 : 0);
    stream_connection_close(worker);
    while (begun-- > 0) {
        struct sublet_call *call = worker->flights[0].call;
        stream_connection_drop(link, worker, 0);
        if (call != NULL)
            calls_move(call, SUBLET_ERR_LOST);
    }
    for (uint32_t i = worker->count; i-- > 0;)
        if (worker->flights[i].call == NULL) /* nobody wants it, and it never began */
            stream_connection_drop(link, worker, i);
    worker->sending = 0;
    if (++worker->failures > FAILURES_MAX)
        link_lost(link, SUBLET_ERR_LOST);
    else
        stream_connection_send(link, worker);
}

static void answered(struct link *link, struct stream_worker *worker)
{
    struct sublet_call *call = worker->flights[0].call;
    struct stream_response response = worker->response;
    bool failed = worker->no_room && response.status == SUBLET_OK;
    worker->in_body = worker->no_room = false;
    worker->failures = 0;
    stream_connection_drop(link, worker, 0);
    link->calls++;
    if (call != NULL && call->trace != NULL)
        call->trace->seen = cycles();
    if (call != NULL)
        calls_finish(call, failed ? SUBLET_ERR_NO_MEMORY : (sublet_status)response.status,
                     failed ? 0 : stream_response_size(&response));
    if ((response.flags & STREAM_FLAG_LAST) != 0)
        connection_over(link, worker, true);
}

/** Works on what was received; false when more is needed, or the connection is over. */
static bool digest(struct link *link, struct stream_worker *worker)
{
    if (worker->state == STREAM_AWAIT_WELCOME) {
        struct stream_welcome welcome;
        if (!pop(worker, &welcome, sizeof(welcome)))
            return false;
        if (stream_welcome_check(&welcome) != SUBLET_OK) {
            link_lost(link, SUBLET_ERR_LOST);
            return false;
        }
        worker->state = STREAM_OPEN;
        stream_connection_send(link, worker);
    }
    if (worker->state != STREAM_OPEN || worker->count == 0)
        return false;
    if (!worker->in_body) {
        const struct stream_request *request = &worker->flights[0].request;
        struct stream_trace trace;
        bool traced;
        if (!pop_head(worker, &trace, &traced))
            return false;
        /* One that is refused may be answered while it is still being sent: the last of the connection. */
        bool sent = worker->sending > 0 ||
                    (worker->sent >= sizeof(*request) && (worker->response.flags & STREAM_FLAG_LAST) != 0);
        if (!sent ||
            stream_response_check(&worker->response, request->sequence, stream_request_room(request)) != SUBLET_OK) {
            link_lost(link, SUBLET_ERR_LOST); /* it answers what was not asked */
            return false;
        }
        struct sublet_call *call = worker->flights[0].call;
        if (traced && call != NULL && call->trace != NULL)
            trace_told_stream(call->trace, &trace);
        worker->no_room = call == NULL || !result_expect(call, stream_response_body(&worker->response));
        worker->in_body = true;
        worker->body_done = 0;
    }
    size_t size = worker->end - worker->begin;
    uint64_t body = stream_response_body(&worker->response), left = body - worker->body_done;
    size = size < left ? size : left;
    if (size > 0 && !worker->no_room && worker->flights[0].call != NULL)
        memcpy((char *)worker->flights[0].call->out + worker->body_done, worker->input + worker->begin, size);
    worker->begin += size;
    worker->body_done += size;
    if (worker->body_done < body)
        return false;
    answered(link, worker);
    return true;
}

/** Receives into the input, or a long result straight to where it belongs. */
static ssize_t fetch(struct stream_worker *worker)
{
    ssize_t got;
    uint64_t left = worker->in_body ? stream_response_body(&worker->response) - worker->body_done : 0;
    bool direct = left >= STREAM_INPUT_BYTES && worker->begin == worker->end && !worker->no_room &&
                  worker->flights[0].call != NULL;
    if (worker->begin > 0) {
        worker->end -= worker->begin;
        memmove(worker->input, worker->input + worker->begin, worker->end);
        worker->begin = 0;
    }
    do
        got = direct ? recv(worker->fd, (char *)worker->flights[0].call->out + worker->body_done,
                            left < STEP_BYTES ? left : STEP_BYTES, MSG_DONTWAIT)
                     : recv(worker->fd, worker->input + worker->end, STREAM_INPUT_BYTES - worker->end, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0 && direct)
        worker->body_done += (size_t)got;
    else if (got > 0)
        worker->end += (size_t)got;
    return got;
}

void stream_connection_receive(struct link *link, struct stream_worker *worker)
{
    for (uint64_t done = 0; worker->fd >= 0 && worker->state >= STREAM_AWAIT_WELCOME;) {
        while (digest(link, worker)) {
        }
        if (worker->fd < 0 || atomic_load(&link->lost) != 0 || (worker->count == 0 && worker->state == STREAM_OPEN))
            return;
        int fd = worker->fd;
        ssize_t got = fetch(worker);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0 && fd == worker->fd) {
            connection_over(link, worker, false);
            return;
        }
        done += got > 0 ? (uint64_t)got : 0;
        if (done >= STEP_BYTES) { /* others want the lock, too */
            while (digest(link, worker)) {
            }
            return;
        }
    }
}
