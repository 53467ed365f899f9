/** The worker's side of a connection that carries calls: reads ahead, runs calls, sends their answers. */
#ifndef SUBLET_EXECUTOR_STREAM_SERVE_H
#define SUBLET_EXECUTOR_STREAM_SERVE_H

#include "executor/functions.h"
#include "executor/memory.h"
#include "executor/worker.h"

enum stream_look {
    STREAM_LOOK_NOTHING, /* nothing came */
    STREAM_LOOK_SERVED,  /* bytes came, or calls were answered */
    STREAM_LOOK_WAITS,   /* for memory that others hold */
    STREAM_LOOK_DEAD,    /* the connection was shut down: do not look again */
};

/** Who of a worker's streams waits longest for memory of one kind. */
struct memory_turn {
    uint32_t first;    /* 1 + the stream; 0 = none */
    uint64_t bytes;    /* that it lacks */
    uint64_t since_ns; /* when it began */
};

/** What all streams of a worker share: results are sent before the next call is run. */
struct stream_server {
    struct worker_page *page;
    struct functions *functions;
    struct memory *memory;
    struct space out;
    struct memory_turn in_turn, out_turn;
    _Alignas(64) unsigned char spare[STREAM_READ_AHEAD]; /* arguments that lie unaligned */
    uint32_t fast[FUNCTIONS_MAX];                        /* cycles of each function's last calls; 0 = not known */
};

/** Takes what has come, without waiting, and serves one turn of calls. */
enum stream_look stream_serve(struct stream_server *server, struct stream *stream, uint32_t index);
/**
 * Gives large memory back that no request is using, nor the next one wants at once while nobody waits for it; true if
 * there was some.
 */
bool stream_trim(struct stream_server *server, struct stream *stream, uint32_t index);
/** Does this worker keep large memory for results, or for arguments of this stream, after a call? */
bool stream_keeps_out(const struct stream_server *server);
bool stream_keeps(const struct stream *stream);
void stream_trim_out(struct stream_server *server);
/** It has gone. */
void stream_waits_no_more(struct stream_server *server, uint32_t index);
/** Takes large memory from a peer that has not moved within a large request for a while; true if it did. */
bool stream_stalled(struct stream_server *server, struct stream *stream, uint64_t now);

#endif
