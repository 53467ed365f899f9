/**
 * Buffer of one connection that carries calls (wire/stream.h) to a worker. It lives in a memfd that supervisor and
 * worker map, so that a worker's successor goes on where it died: requests that had been read ahead are not lost.
 *
 *   0                  struct stream_state
 *   in  (aligned 64)   requests as they came: 32 + in_bytes + STREAM_READ_AHEAD
 *   spare              arguments of a request that lies unaligned in `in`: STREAM_READ_AHEAD
 *   out (aligned 64)   result; the response's header lies right before it, so that one send takes both
 *   64 bytes or more   up to the end of a page
 *   a page             that its worker makes inaccessible, so that a result cannot run on
 */
#ifndef SUBLET_EXECUTOR_STREAM_BUFFER_H
#define SUBLET_EXECUTOR_STREAM_BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"
#include "wire/stream.h"

#define STREAM_READ_AHEAD 16384u
#define STREAM_PAGE       4096u

struct stream_state {
    _Atomic uint32_t filled;    /* bytes in `in` */
    _Atomic uint32_t consumed;  /* of these, bytes of requests that were answered */
    _Atomic uint32_t moving;    /* 1 while the two change: who dies then leaves a stream out of step */
    _Atomic uint32_t cancelled; /* sequence of a request that must not be started; 0 = none */
    _Atomic uint32_t closed;    /* its client is gone: nothing must be started */
};

struct stream {
    int fd; /* the connection */
    uint32_t in_bytes;
    uint32_t out_bytes;
    uint32_t connection; /* supervisor: the client's number for it */
    uint32_t owner;      /* supervisor: the entry in its table */
    int buffer_fd;       /* supervisor: the memfd until the worker has got it, then -1 */
    struct stream_state *state;
    size_t mapped_bytes;
    unsigned char *in;
    unsigned char *spare;
    unsigned char *out;
};

/** Room in `in`. */
static inline uint32_t stream_capacity(const struct stream *stream)
{
    return (uint32_t)sizeof(struct stream_request) + stream->in_bytes + STREAM_READ_AHEAD;
}

/** Supervisor: makes the memfd and maps it. The caller owns *fd_out and the connection. */
sublet_status stream_create(int connection_fd, uint32_t in_bytes, uint32_t out_bytes, struct stream *stream,
                            int *fd_out);
/** Worker: maps a buffer that its supervisor made. */
sublet_status stream_attach(int fd, int connection_fd, uint32_t in_bytes, uint32_t out_bytes, struct stream *stream);
/** Worker: the page behind the room for a result, and making it inaccessible. */
static inline const void *stream_end(const struct stream *stream)
{
    return (const unsigned char *)stream->state + stream->mapped_bytes - STREAM_PAGE;
}
void stream_guard(const struct stream *stream);
/** Forgets the buffer; the connection stays open. */
void stream_unmap(struct stream *stream);

#endif
