/**
 * Which connections of a worker are looked at. Hot ones are polled, by a recv each; all others wait in an epoll set,
 * so that a thousand silent clients cost nothing but one look every 40 us. A connection of which bytes came is hot
 * until it has been silent for a while or others are in want of its place: those that wait come in turn.
 */
#ifndef SUBLET_EXECUTOR_STREAMS_H
#define SUBLET_EXECUTOR_STREAMS_H

#include "executor/nap.h"
#include "executor/stream_serve.h"

#define STREAMS_HOT 64u

struct hot_stream {
    uint32_t index;
    uint32_t misses; /* looks in a row that found nothing */
};

struct streams {
    struct worker_start *start;
    struct stream_server server;
    int epoll_fd;
    uint32_t count; /* that are there */
    uint32_t end;   /* they lie before it */
    uint32_t hot_count;
    struct hot_stream hot[STREAMS_HOT]; /* in the order in which they became it */
    uint64_t seen;                      /* cycles at the last look at all of them */
    bool waits;                         /* one lacks memory */
};

/** Takes over what the start holds. Ends the process when the system refuses. */
void streams_start(struct streams *streams, struct worker_start *start, struct functions *functions,
                   struct memory *memory);
/** Takes a buffer and its connection; false leaves the connection to the caller. */
bool streams_add(struct streams *streams, uint32_t index, int buffer_fd, int connection_fd);
void streams_remove(struct streams *streams, uint32_t index);
/** Looks at the hot ones, and now and then at all; true when bytes came. */
bool streams_look(struct streams *streams, bool idle);
/** Adds what ends a sleep, and afterwards looks which it was. */
void streams_before_nap(struct streams *streams, struct nap *nap);
void streams_after_nap(struct streams *streams, const struct nap *nap);

#endif
