/**
 * Access to leased memory: mapped where it is on this node, else over a stream (wire/stream.h).
 *
 * Whoever accesses a region holds a reference to its link, so the mapping goes when the region is lost and the last
 * access has ended: memory that a batch job needs is not kept by us.
 *
 * Over a stream, accesses queue in order and travel in chunks, many under way at once. A thread that waits moves them;
 * for those nobody waits for, the background thread does. `pumping` says that such a thread is at it.
 */
#ifndef SUBLET_CLIENT_REGION_H
#define SUBLET_CLIENT_REGION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/link.h"

#define REGION_CHUNK_BYTES (1u << 20)
#define REGION_CHUNKS_MAX  32u

/** One put or get. Asynchronous ones free themselves. */
struct region_job {
    struct region_job *next;
    enum stream_operation operation;
    uint64_t offset;
    unsigned char *bytes;
    size_t size;
    size_t asked;    /* bytes in chunks that were begun */
    size_t answered; /* bytes in chunks that are done */
    bool waited_for;
    bool done;
    sublet_status status;
};

struct region_chunk {
    struct region_job *job;
    uint32_t sequence;
    uint32_t size;
    unsigned char *bytes;
    enum stream_operation operation;
};

struct region_access {
    uint64_t bytes;
    unsigned char *base; /* mapped; NULL over a stream */

    int fd; /* -1 when mapped */
    pthread_mutex_t lock;
    atomic_int pumping;       /* threads that wait for jobs, and so move them */
    atomic_bool waiting_jobs; /* there are jobs */
    sublet_status first_error;
    struct region_job *first; /* not yet done */
    struct region_job *last;
    struct region_job *asking; /* the next to be cut into chunks */
    struct region_chunk chunks[REGION_CHUNKS_MAX];
    uint32_t oldest, count; /* under way, in order */
    uint32_t sequence;
    struct stream_access head; /* of the chunk that is being sent */
    const unsigned char *body;
    size_t to_send, sent; /* of head and body together; to_send 0 = none */
    struct stream_response response;
    size_t received; /* of the response and its body */
};

/** Both: only for link_open. The mapping takes no descriptor over. */
sublet_status region_access_map(struct link *link, int fd, uint64_t bytes);
sublet_status region_access_connect(struct link *link, uint64_t bytes, uint64_t end_ns);
/** Lock held: gives memory and connection back; again is no error. */
void region_access_close(struct link *link);
void region_access_free(struct link *link);

/** Streams, without the session's lock. Appends a job, which must be on the heap unless it is waited for. */
void region_stream_add(struct region_access *access, struct region_job *job);
/** Moves what can be moved; OK even if that is nothing. An error is the end of the connection. */
sublet_status region_stream_pump(struct region_access *access);
/** Moves until `job`, or every job if NULL, is done. */
sublet_status region_stream_wait(struct link *link, struct region_job *job);
/** What the background thread should poll for; 0 = nothing to do. */
short region_stream_events(const struct region_access *access);
/** The background thread's turn. */
sublet_status region_stream_turn(struct region_access *access);

#endif
