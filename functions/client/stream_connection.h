/**
 * One connection that carries calls to a worker (wire/stream.h): calls in flight in the order in which they are
 * answered.
 *
 *   CLOSED ─► CONNECTING ─► HELLO ─► WELCOME ─► OPEN ─┐
 *      ▲───── LAST, or closed by the executor ────────┘
 *
 * Nothing here blocks: every step goes on where the socket let it stop. All functions: lock held.
 */
#ifndef SUBLET_CLIENT_STREAM_CONNECTION_H
#define SUBLET_CLIENT_STREAM_CONNECTION_H

#include "client/link.h"

#define STREAM_INPUT_BYTES 16384u

enum stream_state { STREAM_CLOSED, STREAM_CONNECTING, STREAM_SAY_HELLO, STREAM_AWAIT_WELCOME, STREAM_OPEN };

struct flight {
    struct sublet_call *call; /* NULL: its caller has gone, the answer is thrown away */
    struct stream_request request;
    uint64_t bytes;     /* of the arguments */
    uint64_t cancel_ns; /* without a caller: when to cancel it (again) once it is first */
};

struct stream_worker {
    enum stream_state state;
    int fd;
    uint64_t end_ns; /* until then it must be OPEN */
    uint32_t number; /* of this worker */
    uint32_t failures;
    uint32_t sequence;
    uint32_t named; /* the last that was named to the executor, to be cancelled */
    struct stream_hello hello;
    size_t hello_sent;

    struct flight flights[RING_SLOTS_MAX]; /* oldest first */
    uint32_t count;
    uint32_t sending; /* the flight that is being sent, or count */
    uint64_t sent;    /* bytes of it */

    unsigned char input[STREAM_INPUT_BYTES];
    size_t begin, end;
    struct stream_response response; /* of the first flight, once its head is there */
    bool in_body;
    bool no_room; /* nobody wants the body, or there is no memory for it: thrown away */
    uint64_t body_done;

    const struct sublet_call *reader; /* the claimed call */
    int watch_fd;                     /* the reader's copies */
    short watch_events;
};

/** Begins to connect a closed one. */
sublet_status stream_connection_begin(struct link *link, struct stream_worker *worker);
/** Sends what the socket takes; connects first where that is due. May lose the link. */
void stream_connection_send(struct link *link, struct stream_worker *worker);
/** Receives what is there. Only the reader, or anybody while there is none. May lose the link. */
void stream_connection_receive(struct link *link, struct stream_worker *worker);
/** Takes flight `index` out of the order. The caller says what becomes of its call. */
void stream_connection_drop(struct link *link, struct stream_worker *worker, uint32_t index);
/** Copies what a reader without the lock has to watch. */
void stream_connection_show(struct stream_worker *worker);
void stream_connection_close(struct stream_worker *worker);

#endif
