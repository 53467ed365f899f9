/**
 * After LAST, what was sent behind it did not begin and is sent again. After an end without LAST it may have begun:
 * what was sent moves like the calls of a lost lease, the rest is sent again.
 */
#include "client/stream_connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"

#define FAILURES_MAX 3u /* connections in a row that end without an answer */

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
    worker->in_body = false;
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
static size_t push(int fd, const void *bytes, size_t size, bool more)
{
    ssize_t sent;
    do
        sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : (size_t)sent;
}

static bool connected(struct stream_worker *worker)
{
    struct pollfd entry = {.fd = worker->fd, .events = POLLOUT};
    return poll(&entry, 1, 0) > 0;
}

/** Head and arguments of small calls leave in one packet. */
static bool send_flight(struct stream_worker *worker)
{
    struct flight *flight = &worker->flights[worker->sending];
    size_t head = sizeof(flight->request), size = flight->request.size;
    while (worker->sent < head + size) {
        size_t sent;
        if (worker->sent < head)
            sent = push(worker->fd, (const char *)&flight->request + worker->sent, head - worker->sent, size > 0);
        else
            sent = push(worker->fd, (const char *)flight->call->in + (worker->sent - head), head + size - worker->sent,
                        false);
        if (sent == 0)
            return false;
        worker->sent += sent;
    }
    return true;
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
    if (worker->state == STREAM_CONNECTING && connected(worker))
        worker->state = STREAM_SAY_HELLO;
    if (worker->state == STREAM_SAY_HELLO) {
        worker->hello_sent += push(worker->fd, (const char *)&worker->hello + worker->hello_sent,
                                   sizeof(worker->hello) - worker->hello_sent, false);
        if (worker->hello_sent == sizeof(worker->hello))
            worker->state = STREAM_AWAIT_WELCOME;
    }
    while (worker->state == STREAM_OPEN && worker->sending < worker->count) {
        if (!send_flight(worker))
            return;
        worker->sending++;
        worker->sent = 0;
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
    worker->in_body = false;
    worker->failures = 0;
    stream_connection_drop(link, worker, 0);
    link->calls++;
    if (call != NULL)
        calls_finish(call, (sublet_status)response.status, response.status == SUBLET_OK ? response.size : 0);
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
        if (!pop(worker, &worker->response, sizeof(worker->response)))
            return false;
        if (worker->sending == 0 ||
            stream_response_check(&worker->response, request->sequence, request->out_capacity) != SUBLET_OK) {
            link_lost(link, SUBLET_ERR_LOST); /* it answers what was not asked */
            return false;
        }
        worker->in_body = true;
        worker->body_done = 0;
    }
    size_t size = worker->end - worker->begin, left = worker->response.size - worker->body_done;
    size = size < left ? size : left;
    if (size > 0 && worker->flights[0].call != NULL)
        memcpy((char *)worker->flights[0].call->out + worker->body_done, worker->input + worker->begin, size);
    worker->begin += size;
    worker->body_done += size;
    if (worker->body_done < worker->response.size)
        return false;
    answered(link, worker);
    return true;
}

/** Receives into the input, or a long result straight to where it belongs. */
static ssize_t fetch(struct stream_worker *worker)
{
    ssize_t got;
    bool direct = worker->in_body && worker->begin == worker->end && worker->flights[0].call != NULL &&
                  worker->response.size - worker->body_done >= STREAM_INPUT_BYTES;
    if (worker->begin > 0) {
        worker->end -= worker->begin;
        memmove(worker->input, worker->input + worker->begin, worker->end);
        worker->begin = 0;
    }
    do
        got = direct ? recv(worker->fd, (char *)worker->flights[0].call->out + worker->body_done,
                            worker->response.size - worker->body_done, MSG_DONTWAIT)
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
    while (worker->fd >= 0 && worker->state >= STREAM_AWAIT_WELCOME) {
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
    }
}
