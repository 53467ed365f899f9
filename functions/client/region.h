/**
 * Access to leased memory: mapped where it is on this node (region_mapped.c), else over a stream (region_stream.c,
 * wire/stream.h). A further way is a further table `region_transport`; region_access.c checks and the table moves.
 * Over a fabric (region_ofi.h) there is a stream beside it. Ways whose jobs take time share their queue and how it is
 * waited for (region_jobs.c).
 *
 * Every access is a job: an operation on one or many pieces. Whoever runs one counts as a user; memory and descriptors
 * go when the region is lost and the last user has left: memory that a batch job needs is not kept by us. A user comes
 * in without a lock: `users` rises before `lost` is looked at, and who closes sets `lost` before it looks at `users`.
 *
 * Over a stream, jobs queue in order and travel in chunks, many under way at once. Of the threads that wait, one leads:
 * it moves everybody's jobs; the others sleep. For jobs nobody waits for, the background thread does. `pumping` says
 * that such a thread is at it.
 */
#ifndef SUBLET_CLIENT_REGION_H
#define SUBLET_CLIENT_REGION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/link.h"

#define REGION_CHUNK_BYTES (1u << 20)
#define REGION_CHUNKS_MAX  32u

struct durable;
struct sublet_mapping;

struct sublet_region {
    struct sublet_lease *lease; /* leads to the link; not in the session's list if the region is durable */
    struct durable *durable;    /* NULL: ephemeral */
    uint64_t bytes;
};

/** How far a job's content has come. */
struct region_cursor {
    size_t piece;
    size_t at; /* bytes of it */
};

/** One access. Its pieces are the memory here, in order; what an atomic found goes to the first. */
struct region_job {
    struct region_job *next;
    enum stream_operation operation;
    const sublet_region_piece *pieces; /* bounded: inside of the region, none empty */
    size_t piece_count;
    sublet_region_piece one; /* what `pieces` points to where one is enough */
    struct stream_atomic atomic;
    uint64_t offset; /* strided: of the first block; its one piece is all blocks behind each other */
    struct stream_stride stride;
    size_t size;     /* bytes of all pieces */
    size_t asked;    /* bytes in chunks that were begun */
    size_t answered; /* bytes in chunks that are done */
    uint64_t number; /* in a queue: rises */
    struct region_cursor cut, sent, received;
    bool waited_for; /* else it frees itself, on the heap */
    bool left_alone; /* waited for later: until then the background thread moves it */
    bool done;       /* over a stream: read with the lock, or after wait */
    bool not_lent;   /* its memory is not to be registered with an adapter: it is copied */
    bool fenced;     /* begun after a fence, and writes */
    void *inner;     /* what a way that is made of others keeps about it */
    sublet_status status;
};

/** A way to the memory. The link's region is alive (a user holds it) in all but close and free. */
struct region_transport {
    bool ordered;   /* jobs take effect in the order they were begun */
    bool immediate; /* begin ends the job */
    /** Begins a job: get, put, atomic, list or strided access. On an error nothing was begun. */
    sublet_status (*begin)(struct link *link, struct region_job *job);
    /** Moves what moves without waiting, and says whether the job is done. */
    bool (*test)(struct link *link, struct region_job *job);
    /** Waits for a job, or with NULL for all begun so far; then the first error of those that nobody waited for. */
    sublet_status (*wait)(struct link *link, struct region_job *job);
    /** Puts that were begun before are seen before those that are begun after. */
    sublet_status (*fence)(struct link *link);
    /** A descriptor and the events on it that let jobs move; -1 = none. */
    int (*pollable)(struct link *link, short *events);
    /** Of a way with a queue; NULL = it has none. */
    const struct region_mover *mover;
    /** Lock held, no user: gives memory and connection back; again is no error. */
    void (*close)(struct region_access *access);
    void (*free)(struct region_access *access);
};

/** What moves a queue of jobs. With its lock, in all. */
struct region_mover {
    int nap_ms; /* at most, of who waits; 0 = as long as anybody sleeps: the descriptor can be relied on */
    /** Moves what moves without waiting; OK even if that is nothing. An error is the end of the way. */
    sublet_status (*pump)(struct link *link, struct region_access *access);
    /** Changes whenever something has moved, to tell a slow peer from a silent one. */
    uint64_t (*moved)(const struct region_access *access);
    /** Has the kernel enough to do? Then nobody spins. NULL = no. */
    bool (*full)(const struct region_access *access);
    /** A descriptor and the events on it that let jobs move; it may be slept on from now on. */
    short (*events)(struct region_access *access, int *fd_out);
    /** The way is over: ends all jobs, and touches none of their memory afterwards. */
    void (*abandon)(struct region_access *access, sublet_status status);
};

struct region_chunk {
    struct region_job *job;
    uint32_t sequence;
    uint32_t size;   /* bytes of the job that it stands for */
    uint32_t answer; /* bytes that a good answer brings */
};

struct region_access {
    const struct region_transport *transport;
    uint64_t bytes;
    atomic_int users;
    struct sublet_mapping *mappings; /* session's lock */
    struct durable *owner;           /* durable.h: whose it is, or whose copy it is; session's lock */
    atomic_bool leaving;             /* its lease is DRAINING */

    unsigned char *base; /* mapped; NULL over a stream */
    int memory_fd;       /* of the mapping; -1 over a stream */

    int fd; /* -1 when mapped */
    bool features_access;
    struct region_access *stream; /* the one of a stream: this, or the one beside it */
    struct region_fabric *fabric; /* region_ofi.h; NULL: none */
    pthread_mutex_t lock;
    pthread_cond_t changed;   /* a job was done, or the lead is free */
    bool led;                 /* a thread moves for all that wait */
    uint32_t followers;       /* asleep on `changed` */
    atomic_int pumping;       /* threads that wait for jobs, and so move them */
    atomic_bool waiting_jobs; /* there are jobs */
    sublet_status first_error;
    uint64_t added;           /* jobs */
    struct region_job *first; /* not yet done */
    struct region_job *last;
    struct region_job *asking; /* the next to be cut into chunks */
    struct region_chunk chunks[REGION_CHUNKS_MAX];
    uint32_t oldest, count; /* under way, in order */
    uint32_t sequence;
    struct region_job *sending; /* whose chunk is being sent; NULL = none */
    unsigned char head[sizeof(struct stream_access) + STREAM_PIECES_MAX * sizeof(struct stream_piece)];
    size_t head_bytes, head_sent;
    size_t body_left;
    struct stream_response response;
    size_t received; /* of the response and its body */
};

extern const struct region_transport region_stream_transport;

/** Both: only for link_open. The mapping takes no descriptor over. */
sublet_status region_access_map(struct link *link, int fd, uint64_t bytes);
sublet_status region_access_connect(struct link *link, uint64_t bytes, uint64_t end_ns);
/** Puts a fabric beside the stream, which it takes over when it returns OK (region_ofi.h). */
sublet_status region_access_fabric(struct link *link, struct region_access *stream, uint64_t end_ns);
/** How it is reached across nodes, as text. */
const char *region_path(const struct region_access *access);
static inline bool region_job_atomic(const struct region_job *job)
{
    return job->operation == STREAM_ADD || job->operation == STREAM_SWAP;
}
static inline bool region_job_writes(const struct region_job *job)
{
    return region_job_atomic(job) || stream_access_puts(job->operation);
}
/** Lock held: gives memory and connection back as soon as there is no user; again is no error. */
void region_access_close(struct link *link);
void region_access_free(struct link *link);
/** Lock held: its lease is DRAINING, or is no longer. */
void region_leaving(struct link *link, bool leaving);

/** Comes in: OK and a link to work on, or why the region is gone. No lock. */
sublet_status region_enter(struct sublet_region *region, struct link **link_out);
void region_leave(struct link *link);
/** Runs a job of the caller's and waits. In between enter and leave. */
sublet_status region_run(struct link *link, struct region_job *job);
/** The error text of an access that failed. */
sublet_status region_error(sublet_status status, const struct sublet_region *region);

/** `test` and `pollable` of a way whose begin ends the job. */
bool region_immediate_test(struct link *link, struct region_job *job);
int region_immediate_pollable(struct link *link, short *events);

/** region_jobs.c: the queue of a way. */
void region_jobs_start(struct region_access *access);
void region_jobs_stop(struct region_access *access);
/** All four with its lock. The last of the queue; whose turn it is to be cut. */
void region_jobs_add(struct region_access *access, struct region_job *job);
/** It has its status: leaves the queue, and is freed when nobody waits for it. */
void region_jobs_end(struct region_access *access, struct region_job *job);
void region_jobs_end_all(struct region_access *access, sublet_status status);
void region_job_advance(const struct region_job *job, struct region_cursor *cursor, size_t bytes);
/** Without locks, as in region_transport. */
bool region_jobs_test(struct link *link, struct region_access *access, struct region_job *job);
sublet_status region_jobs_wait(struct link *link, struct region_access *access, struct region_job *job);
/**
 * A job was begun. `status`: not OK, the way is over, and the job ended with that, as all did. `left_alone`: nobody
 * waits for it, so the background thread moves it, unless somebody does already. Returns OK.
 */
sublet_status region_jobs_begun(struct link *link, struct region_access *access, sublet_status status, bool left_alone);
int region_jobs_pollable(struct region_access *access, short *events);
/** The background thread: what it should poll for (0 = nothing to do), and its turn. */
short region_jobs_events(struct region_access *access, int *fd_out);
sublet_status region_jobs_turn(struct link *link);

/** Mappings (map.c). Lock held: the region is lost. Without the lock: the region is being freed. */
void mappings_lost(struct region_access *access);
void mappings_detach(struct sublet_region *region);

#endif
