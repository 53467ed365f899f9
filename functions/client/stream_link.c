/**
 * Calls over TCP: one connection per worker (stream_connection.h).
 *
 * The thread that claims a call becomes the connection's reader; only the reader, or a thread that holds the lock
 * while there is none, receives and closes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/result.h"
#include "client/stream_connection.h"
#include "client/trace.h"

#define AGAIN_NS UINT64_C(5000000)

static void stream_progress_worker(struct link *link, struct stream_worker *worker)
{
    stream_connection_send(link, worker);
    if (worker->reader == NULL)
        stream_connection_receive(link, worker);
}
static sublet_status stream_start(struct link *link, uint32_t number, struct sublet_call *call, uint32_t function)
{
    struct stream_worker *worker = &link->streams[number];
    if (worker->count == link->slots)
        return SUBLET_ERR_BUSY;
    result_forget(call);
    if (++worker->sequence == 0)
        worker->sequence = 1;
    worker->flights[worker->count++] = (struct flight){
        .call = call,
        .request = {.sequence = worker->sequence, .function = function, .timeout_ns = call->timeout_ns},
        .bytes = call->in_bytes,
    };
    struct stream_request *request = &worker->flights[worker->count - 1].request;
    stream_request_set(request, call->in_bytes, call->out_capacity, call->allocates);
    if (call->trace != NULL)
        request->room_high |= trace_begin_stream(call->trace, link->traces) ? STREAM_ROOM_TRACE : 0;
    call->on_worker = number;
    call->slot = CONTROL_SLOT_STREAM;
    call->sequence = worker->sequence;
    return SUBLET_OK;
}

/** What stream_start queued goes out when the caller's state is complete. */
static void stream_fill(struct link *link, struct sublet_call *call)
{
    link->refs++; /* it may be lost meanwhile */
    stream_connection_send(link, &link->streams[call->on_worker]);
    link_unref(link);
}

static bool stream_claim(struct link *link, struct sublet_call *call)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    if (worker->reader != NULL)
        return false;
    worker->reader = call;
    call->claimed = true;
    stream_connection_show(worker);
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
    if ((worker->watch_events & POLLOUT) != 0) { /* the rest of the arguments: whoever waits sends them */
        struct pollfd entry = {.fd = worker->watch_fd, .events = worker->watch_events};
        return poll(&entry, 1, 0) != 0;
    }
    return recv(worker->watch_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void stream_sleep(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    const struct stream_worker *worker = &link->streams[call->on_worker];
    struct pollfd entry = {.fd = worker->watch_fd, .events = worker->watch_events};
    if (call->trace != NULL)
        call->trace->slept = true;
    struct timespec limit = {.tv_sec = (time_t)(timeout_ns / 1000000000u), .tv_nsec = (long)(timeout_ns % 1000000000u)};
    ppoll(&entry, 1, &limit, NULL);
}

static void stream_take(struct link *link, struct sublet_call *call)
{
    if (link->streams == NULL)
        return;
    link->refs++;
    stream_progress_worker(link, &link->streams[call->on_worker]);
    link_unref(link);
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
            stream_connection_drop(link, &link->streams[i], at);
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
        stream_connection_drop(link, worker, index);
}

static bool stream_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    if (worker->state != STREAM_OPEN || index_of(worker, call) >= worker->sending)
        return false;
    *cancel = (struct control_cancel){.worker = call->on_worker,
                                      .slot = CONTROL_SLOT_STREAM,
                                      .sequence = call->sequence,
                                      .connection = worker->hello.connection};
    worker->named = call->sequence;
    return true;
}

/** The only call of its connection was cancelled, and is not answered: its worker is busy with somebody else's. */
static bool held_up(const struct stream_worker *worker, const struct sublet_call *call)
{
    return worker->count == 1 && worker->named == call->sequence && worker->reader == NULL && !worker->in_body &&
           worker->begin == worker->end;
}

/**
 * Unsent: taken back. Sent, but behind another: left to itself, and cancelled once it is first. Held up: the connection
 * ends, and with it the call, which has not begun or is about to be ended; the next call makes another.
 */
static bool stream_detach(struct link *link, struct sublet_call *call)
{
    struct stream_worker *worker = &link->streams[call->on_worker];
    uint32_t index = index_of(worker, call);
    if (index >= worker->count)
        return false;
    if (index > worker->sending || (index == worker->sending && worker->sent == 0)) {
        stream_connection_drop(link, worker, index);
        return true;
    }
    if (held_up(worker, call)) {
        stream_connection_drop(link, worker, index);
        stream_connection_close(worker);
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
        stream_connection_close(&link->streams[i]);
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

sublet_status stream_link_prepare(struct link *link)
{
    link->streams = calloc(link->workers, sizeof(*link->streams));
    if (link->streams == NULL)
        return SUBLET_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < link->workers; i++) {
        link->streams[i].fd = -1;
        link->streams[i].number = i;
    }
    return SUBLET_OK;
}

void stream_link_begin(struct link *link)
{
    link->workers = 1;
    if (stream_link_prepare(link) != SUBLET_OK)
        return;
    link->transport = &stream_transport;
    if (stream_connection_begin(link, &link->streams[0]) == SUBLET_OK) /* else it is tried again */
        stream_connection_send(link, &link->streams[0]);
}

/** Room for all workers; the first may have been begun. */
static sublet_status stream_link_grow(struct link *link, uint32_t workers)
{
    struct stream_worker *begun = link->streams;
    uint32_t before = link->workers;
    link->workers = workers;
    link->streams = NULL;
    if (stream_link_prepare(link) == SUBLET_OK) {
        if (begun != NULL)
            link->streams[0] = *begun;
        free(begun);
        return SUBLET_OK;
    }
    link->streams = begun;
    link->workers = before;
    return SUBLET_ERR_NO_MEMORY;
}

sublet_status stream_link_open(struct link *link, uint32_t workers, uint64_t end_ns)
{
    sublet_status prepared = stream_link_grow(link, workers);
    if (prepared != SUBLET_OK)
        return prepared;
    link->transport = &stream_transport;
    /* All at once, then one after the other until each is open. */
    for (uint32_t i = 0; i < link->workers; i++) {
        if (link->streams[i].state != STREAM_CLOSED)
            continue;
        sublet_status status = stream_connection_begin(link, &link->streams[i]);
        if (status != SUBLET_OK)
            return status;
    }
    for (uint32_t i = 0; i < link->workers; i++) {
        struct stream_worker *worker = &link->streams[i];
        while (worker->state != STREAM_OPEN) {
            stream_connection_send(link, worker);
            stream_connection_receive(link, worker);
            if (atomic_load(&link->lost) != 0 || worker->state == STREAM_CLOSED)
                return SUBLET_ERR_LOST;
            if (now_ns() > end_ns)
                return SUBLET_ERR_TIMEOUT;
            stream_connection_show(worker);
            struct pollfd entry = {.fd = worker->watch_fd, .events = worker->watch_events};
            if (worker->state != STREAM_OPEN)
                poll(&entry, 1, left_ms(end_ns));
        }
    }
    return SUBLET_OK;
}
