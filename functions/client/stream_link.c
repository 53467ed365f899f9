/**
 * Calls over TCP (wire/stream.h): one connection per worker, calls in flight in the order in which they are answered.
 *
 *   CLOSED ─► CONNECTING ─► HELLO ─► WELCOME ─► OPEN ─┐
 *      ▲───── LAST, or closed by the executor ────────┘
 *
 * Nothing here blocks: every step goes on where the socket let it stop. The thread that claims a call becomes the
 * connection's reader; only the reader, or a thread that holds the lock while there is none, receives and closes.
 * After LAST, what was sent behind it did not begin and is sent again. After an end without LAST it may have begun:
 * what was sent moves like the calls of a lost lease, the rest is sent again.
 */
#include "client/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/error.h"

#define INPUT_BYTES  16384u
#define FAILURES_MAX 3u /* connections in a row that end without an answer */
#define AGAIN_NS     UINT64_C(5000000)

enum stream_state { STREAM_CLOSED, STREAM_CONNECTING, STREAM_SAY_HELLO, STREAM_AWAIT_WELCOME, STREAM_OPEN };

struct flight {
    struct sublet_call *call; /* NULL: its caller has gone, the answer is thrown away */
    struct stream_request request;
    uint64_t cancel_ns; /* without a caller: when to cancel it (again) once it is first */
};

struct stream_worker {
    enum stream_state state;
    int fd;
    uint64_t end_ns; /* until then it must be OPEN */
    uint32_t number; /* of this worker */
    uint32_t failures;
    uint32_t sequence;
    struct stream_hello hello;
    size_t hello_sent;

    struct flight flights[RING_SLOTS_MAX]; /* oldest first */
    uint32_t count;
    uint32_t sending; /* the flight that is being sent, or count */
    size_t sent;      /* bytes of it */

    unsigned char input[INPUT_BYTES];
    size_t begin, end;
    struct stream_response response; /* of the first flight, once its head is there */
    bool in_body;
    size_t body_done;

    const struct sublet_call *reader; /* the claimed call */
    int watch_fd;                     /* the reader's copies */
    short watch_events;
};

static void wake_reader_state(struct stream_worker *worker)
{
    bool output =
        worker->state < STREAM_AWAIT_WELCOME || (worker->state == STREAM_OPEN && worker->sending < worker->count);
    worker->watch_fd = worker->fd;
    worker->watch_events = (short)(POLLIN | (output ? POLLOUT : 0));
}

static void hang_up(struct stream_worker *worker)
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

/** Takes flight `index` out of the order. The caller says what becomes of its call. */
static void drop(struct link *link, struct stream_worker *worker, uint32_t index)
{
    worker->count--;
    memmove(&worker->flights[index], &worker->flights[index + 1], (worker->count - index) * sizeof(struct flight));
    if (worker->sending > index)
        worker->sending--;
    link->busy--;
    link->worker_busy[worker->number]--;
}

static sublet_status begin_connect(struct link *link, struct stream_worker *worker)
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

/** Sends what the socket takes. */
static void pump_out(struct link *link, struct stream_worker *worker)
{
    if (worker->state == STREAM_CLOSED && worker->count > 0 && begin_connect(link, worker) != SUBLET_OK) {
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
    hang_up(worker);
    while (begun-- > 0) {
        struct sublet_call *call = worker->flights[0].call;
        drop(link, worker, 0);
        if (call != NULL)
            calls_move(call, SUBLET_ERR_LOST);
    }
    for (uint32_t i = worker->count; i-- > 0;)
        if (worker->flights[i].call == NULL) /* nobody wants it, and it never began */
            drop(link, worker, i);
    worker->sending = 0;
    if (++worker->failures > FAILURES_MAX)
        link_lost(link, SUBLET_ERR_LOST);
    else
        pump_out(link, worker);
}

static void answered(struct link *link, struct stream_worker *worker)
{
    struct sublet_call *call = worker->flights[0].call;
    struct stream_response response = worker->response;
    worker->in_body = false;
    worker->failures = 0;
    drop(link, worker, 0);
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
        pump_out(link, worker);
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
                  worker->response.size - worker->body_done >= INPUT_BYTES;
    if (worker->begin > 0) {
        worker->end -= worker->begin;
        memmove(worker->input, worker->input + worker->begin, worker->end);
        worker->begin = 0;
    }
    do
        got = direct ? recv(worker->fd, (char *)worker->flights[0].call->out + worker->body_done,
                            worker->response.size - worker->body_done, MSG_DONTWAIT)
                     : recv(worker->fd, worker->input + worker->end, INPUT_BYTES - worker->end, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0 && direct)
        worker->body_done += (size_t)got;
    else if (got > 0)
        worker->end += (size_t)got;
    return got;
}

/** Receives what is there. */
static void pump_in(struct link *link, struct stream_worker *worker)
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

static void stream_progress_worker(struct link *link, struct stream_worker *worker)
{
    pump_out(link, worker);
    if (worker->reader == NULL)
        pump_in(link, worker);
}

static sublet_status stream_start(struct link *link, uint32_t number, struct sublet_call *call, uint32_t function)
{
    struct stream_worker *worker = &link->streams[number];
    if (worker->count == link->slots)
        return SUBLET_ERR_BUSY;
    if (++worker->sequence == 0)
        worker->sequence = 1;
    worker->flights[worker->count++] = (struct flight){
        .call = call,
        .request = {.sequence = worker->sequence,
                    .function = function,
                    .size = (uint32_t)call->in_bytes,
                    .out_capacity =
                        (uint32_t)(call->out_capacity < link->out_bytes ? call->out_capacity : link->out_bytes),
                    .timeout_ns = call->timeout_ns},
    };
    call->on_worker = number;
    call->slot = CONTROL_SLOT_STREAM;
    call->sequence = worker->sequence;
    return SUBLET_OK;
}

/** What stream_start queued goes out when the caller's state is complete. */
static void stream_fill(struct link *link, struct sublet_call *call)
{
    pump_out(link, &link->streams[call->on_worker]);
}

static bool stream_claim(struct link *link, struct sublet_call *call)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    if (worker->reader != NULL)
        return false;
    worker->reader = call;
    call->claimed = true;
    wake_reader_state(worker);
    return true;
}

static void stream_unclaim(struct link *link, struct sublet_call *call)
{
    link->streams[call->on_worker].reader = NULL;
    call->claimed = false;
}

static bool stream_ready(struct link *link, const struct sublet_call *call)
{
    char byte;
    const struct stream_worker *worker = &link->streams[call->on_worker];
    return recv(worker->watch_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void stream_sleep(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    const struct stream_worker *worker = &link->streams[call->on_worker];
    struct pollfd entry = {.fd = worker->watch_fd, .events = worker->watch_events};
    struct timespec limit = {.tv_sec = (time_t)(timeout_ns / 1000000000u), .tv_nsec = (long)(timeout_ns % 1000000000u)};
    ppoll(&entry, 1, &limit, NULL);
}

static void stream_take(struct link *link, struct sublet_call *call)
{
    if (link->streams != NULL)
        stream_progress_worker(link, &link->streams[call->on_worker]);
}

static void stream_progress(struct link *link)
{
    for (uint32_t i = 0; link->streams != NULL && i < link->workers; i++)
        if (link->worker_busy[i] > 0)
            stream_progress_worker(link, &link->streams[i]);
}

static uint32_t index_of(const struct stream_worker *worker, const struct sublet_call *call)
{
    uint32_t index = 0;
    while (index < worker->count && worker->flights[index].call != call)
        index++;
    return index;
}

static struct sublet_call *stream_strip(struct link *link)
{
    for (uint32_t i = 0; link->streams != NULL && i < link->workers; i++)
        for (uint32_t at = link->streams[i].count; at-- > 0;) {
            struct sublet_call *call = link->streams[i].flights[at].call;
            if (call != NULL && call->claimed)
                continue;
            drop(link, &link->streams[i], at);
            if (call != NULL)
                return call;
        }
    return NULL;
}

static void stream_remove(struct link *link, struct sublet_call *call)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    uint32_t index = index_of(worker, call);
    if (index < worker->count)
        drop(link, worker, index);
}

static bool stream_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    const struct stream_worker *worker = &link->streams[call->on_worker];
    if (worker->state != STREAM_OPEN || index_of(worker, call) >= worker->sending)
        return false;
    *cancel = (struct control_cancel){.worker = call->on_worker,
                                      .slot = CONTROL_SLOT_STREAM,
                                      .sequence = call->sequence,
                                      .connection = worker->hello.connection};
    return true;
}

/** Unsent: taken back. Sent, but behind another: left to itself, and cancelled once it is first. */
static bool stream_detach(struct link *link, struct sublet_call *call)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    uint32_t index = index_of(worker, call);
    if (index >= worker->count)
        return false;
    if (index > worker->sending || (index == worker->sending && worker->sent == 0)) {
        drop(link, worker, index);
        return true;
    }
    if (index == 0 || index == worker->sending)
        return false;
    worker->flights[index].call = NULL;
    worker->flights[index].cancel_ns = 1;
    background_wake(link->session);
    return true;
}

static bool stream_stray(struct link *link, struct control_cancel *cancel)
{
    for (uint32_t i = 0; link->streams != NULL && i < link->workers; i++) {
        struct stream_worker *worker = &link->streams[i];
        struct flight *first = &worker->flights[0];
        if (worker->count == 0 || first->call != NULL || worker->sending == 0 || worker->state != STREAM_OPEN ||
            now_ns() < first->cancel_ns)
            continue;
        first->cancel_ns = now_ns() + AGAIN_NS;
        *cancel = (struct control_cancel){.worker = i,
                                          .slot = CONTROL_SLOT_STREAM,
                                          .sequence = first->request.sequence,
                                          .connection = worker->hello.connection};
        return true;
    }
    return false;
}

static bool stream_has_strays(struct link *link)
{
    for (uint32_t i = 0; link->streams != NULL && i < link->workers; i++)
        for (uint32_t at = 0; at < link->streams[i].count; at++)
            if (link->streams[i].flights[at].call == NULL)
                return true;
    return false;
}

static int stream_pollable(struct link *link, const struct sublet_call *call)
{
    return link->streams[call->on_worker].fd;
}

static void stream_close(struct link *link)
{
    for (uint32_t i = 0; link->streams != NULL && i < link->workers; i++)
        hang_up(&link->streams[i]);
    free(link->streams);
    link->streams = NULL;
}

const struct transport stream_transport = {
    .start = stream_start,
    .fill = stream_fill,
    .claim = stream_claim,
    .unclaim = stream_unclaim,
    .ready = stream_ready,
    .sleep = stream_sleep,
    .take = stream_take,
    .progress = stream_progress,
    .strip = stream_strip,
    .remove = stream_remove,
    .name = stream_name,
    .detach = stream_detach,
    .stray = stream_stray,
    .has_strays = stream_has_strays,
    .pollable = stream_pollable,
    .close = stream_close,
};

sublet_status stream_link_open(struct link *link, uint64_t end_ns)
{
    link->streams = calloc(link->workers, sizeof(*link->streams));
    if (link->streams == NULL)
        return SUBLET_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < link->workers; i++) {
        link->streams[i].fd = -1;
        link->streams[i].number = i;
    }
    link->transport = &stream_transport;
    /* All at once, then one after the other until each is open. */
    for (uint32_t i = 0; i < link->workers; i++) {
        sublet_status status = begin_connect(link, &link->streams[i]);
        if (status != SUBLET_OK)
            return status;
    }
    for (uint32_t i = 0; i < link->workers; i++) {
        struct stream_worker *worker = &link->streams[i];
        while (worker->state != STREAM_OPEN) {
            pump_out(link, worker);
            pump_in(link, worker);
            if (atomic_load(&link->lost) != 0 || worker->state == STREAM_CLOSED)
                return SUBLET_ERR_LOST;
            if (now_ns() > end_ns)
                return SUBLET_ERR_TIMEOUT;
            wake_reader_state(worker);
            struct pollfd entry = {.fd = worker->watch_fd, .events = worker->watch_events};
            if (worker->state != STREAM_OPEN)
                poll(&entry, 1, left_ms(end_ns));
        }
    }
    return SUBLET_OK;
}
