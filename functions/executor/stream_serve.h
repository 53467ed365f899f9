/** The worker's side of a connection that carries calls: reads ahead, runs one call, sends its answer. */
#ifndef SUBLET_EXECUTOR_STREAM_SERVE_H
#define SUBLET_EXECUTOR_STREAM_SERVE_H

#include "executor/functions.h"
#include "executor/worker.h"

enum stream_look {
    STREAM_LOOK_NOTHING, /* nothing came */
    STREAM_LOOK_SERVED,  /* bytes came, or a call was answered */
    STREAM_LOOK_DEAD,    /* the connection was shut down: do not look again */
};

/** Takes what has come, without waiting, and serves one call if a whole one is there. */
enum stream_look stream_serve(struct stream *stream, uint32_t index, struct worker_page *page,
                              struct functions *functions);

#endif
