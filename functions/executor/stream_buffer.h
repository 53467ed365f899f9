/**
 * Buffer of one connection that carries calls (wire/stream.h) to a worker. It lives in a memfd that supervisor and
 * worker map, so that a worker's successor goes on where it died: requests that had been read ahead, arguments of
 * which a part has come and answers that were not sent are not lost.
 *
 *   0                  struct stream_state
 *   batch              answers that leave together: STREAM_BATCH
 *   in  (aligned 64)   requests as they came: 32 + STREAM_IN_SMALL + STREAM_READ_AHEAD, and more when one is larger
 *
 * The file is as large as the largest request, and empty: only what is touched takes memory. The worker maps more of
 * it when a large request comes and gives the memory back afterwards; the supervisor maps the small part only.
 */
#ifndef SUBLET_EXECUTOR_STREAM_BUFFER_H
#define SUBLET_EXECUTOR_STREAM_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"
#include "wire/stream.h"

#define STREAM_READ_AHEAD 16384u
#define STREAM_BATCH      16384u
#define STREAM_IN_SMALL   65536u

struct stream_state {
    _Atomic uint64_t filled;    /* bytes in `in` */
    _Atomic uint64_t consumed;  /* of these, bytes of requests that were answered */
    _Atomic uint32_t batched;   /* bytes of answers in `batch` */
    _Atomic uint32_t moving;    /* 1 while these change: who dies then leaves a stream out of step */
    _Atomic uint32_t cancelled; /* sequence of a request that must not be started; 0 = none */
    _Atomic uint32_t closed;    /* its client is gone: nothing must be started */
    _Atomic uint32_t begun;     /* over a fabric: sequence of the last request that was begun */
};

enum stream_news { STREAM_NO_NEWS, STREAM_TO_START, STREAM_TO_CLOSE };

struct stream {
    int fd;      /* the connection */
    bool fabric; /* requests come over a fabric: nothing is read here, the connection only tells of ends */
    struct stream_state *state;
    unsigned char *batch;
    unsigned char *in;
    uint64_t capacity;     /* mapped room in `in` */
    uint64_t most;         /* room in `in` that the file has */
    uint64_t moved_ns;     /* worker: when a large request moved last */
    uint32_t connection;   /* supervisor: the client's number for it */
    uint32_t owner;        /* supervisor: the entry in its table */
    int buffer_fd;         /* supervisor: the memfd until the worker has got it, then -1 */
    enum stream_news news; /* supervisor: what the worker could not be told yet */
};

/** Supervisor: makes the memfd and maps it. The caller owns *fd_out and the connection. */
sublet_status stream_create(int connection_fd, struct stream *stream, int *fd_out);
/** Worker: maps a buffer that its supervisor made. */
sublet_status stream_attach(int fd, int connection_fd, struct stream *stream);
/** Worker: maps room for `bytes` in `in`, which may move. TOO_LARGE beyond `most`. */
sublet_status stream_grow(struct stream *stream, uint64_t bytes);
/** Worker: gives back all but the small room, of which no byte beyond may be in use. */
void stream_shrink(struct stream *stream);
/** Room in `in` of a stream that has not grown. */
uint64_t stream_small(void);
/** Forgets the buffer; the connection stays open. */
void stream_unmap(struct stream *stream);

#endif
