/**
 * The supervisor's side of its workers: fork, hand over rings, streams and libraries, end calls, reap, answer, fork
 * again. Nothing here waits for a worker: who ends one hears of it through workers_reap.
 */
#ifndef SUBLET_EXECUTOR_WORKERS_H
#define SUBLET_EXECUTOR_WORKERS_H

#include <sys/types.h>

#include "executor/options.h"
#include "executor/worker.h"

struct worker_slot {
    pid_t pid; /* 0: to be forked again by workers_tick */
    int socket;
    int wake_fd;
    struct worker_page *page;
    struct stats_worker *stats;
    struct ring rings[CLIENTS_MAX];
    struct stream streams[STREAMS_MAX];
    uint32_t stream_end;        /* those that are there lie before it */
    uint32_t stream_news;       /* how many the worker could not be told of yet */
    uint64_t rings_to_close;    /* bits: the worker could not be told yet; until then the number stays taken */
    uint64_t ended_call;        /* it is being killed in this call; 0 = it is not being killed */
    sublet_status ended_status; /* what the call's client is told; OK = nothing, it is gone */
};

struct workers {
    const struct executor_options *options;
    struct stats_clock clock;
    struct function_table *table; /* what workers read; they can write there, so nothing is read back from it */
    uint32_t libraries;
    int library_fds[LIBRARIES_MAX];
    uint32_t functions;
    struct {
        uint32_t library;
        char name[CONTROL_NAME_MAX + 1];
    } names[FUNCTIONS_MAX];
    struct worker_page *pages[CONTROL_WORKERS_MAX]; /* of the slots */
    struct worker_slot slots[CONTROL_WORKERS_MAX];
};

#define WORKERS_NOBODY UINT32_MAX

/** What became of a child. */
struct worker_end {
    uint32_t worker; /* WORKERS_NOBODY: the child was none */
    uint32_t owner;  /* of a stream that got its last answer; WORKERS_NOBODY = none. It was removed. */
};

sublet_status workers_start(struct workers *workers, const struct executor_options *options);
/** Forks what could not be forked before, tells workers what they could not be told; true: call again soon. */
bool workers_tick(struct workers *workers);
/** In a forked child: process group of its own, dies with the supervisor, no descriptors but 0 to 2 and `keep`. */
void workers_become_child(pid_t parent, int *keep, size_t count);

/** Is this number free in every worker? */
bool workers_client_free(const struct workers *workers, uint32_t client);
/** Makes a ring per worker for a client; fds_out takes two descriptors each: ring (caller closes), eventfd (not). */
sublet_status workers_add_client(struct workers *workers, uint32_t client, const struct control_hello *hello,
                                 int *fds_out);
/** Takes a client's rings away; a worker in the middle of its call is ended. */
void workers_remove_client(struct workers *workers, uint32_t client);

/** Makes room for a connection of calls; the caller keeps its descriptor until workers_remove_stream. */
sublet_status workers_add_stream(struct workers *workers, const struct stream_hello *hello, int fd, uint32_t owner,
                                 uint32_t *stream_out);
/** Passes it to its worker, which may answer from now on. */
void workers_start_stream(struct workers *workers, uint32_t worker, uint32_t stream);
/** Takes it away; a worker in the middle of its call is ended. */
void workers_remove_stream(struct workers *workers, uint32_t worker, uint32_t stream);

/** The number of a library with this content; NOT_FOUND before workers_add_library. */
sublet_status workers_find_library(const struct workers *workers, int fd, uint32_t *library_out);
/** Takes over a sealed library that a probe has loaded; one that is there already keeps its number. */
sublet_status workers_add_library(struct workers *workers, int fd, uint32_t *library_out);
/** The number of a function that is known; NOT_FOUND before workers_add_function. */
sublet_status workers_find_function(const struct workers *workers, uint32_t library, const char *name,
                                    uint32_t *function_out);
sublet_status workers_add_function(struct workers *workers, uint32_t library, const char *name, uint32_t *function_out);

/**
 * Ends a call whose deadline passed; it is answered with TIMEOUT unless the answer was faster. `client` is
 * WORKERS_NOBODY for one without rings. *wait_out: the worker that must be reaped before the call counts as ended, or
 * WORKERS_NOBODY.
 */
sublet_status workers_cancel(struct workers *workers, uint32_t client, const struct control_cancel *cancel,
                             uint32_t *wait_out);
/** The client of a ring or stream is gone: if the worker is in its call, it is ended and nobody is answered. */
void workers_leave_call(struct worker_slot *slot, bool stream, uint32_t number);
/** After waitid has named a dead child: answers for a worker, forks its successor. The caller reaps it. */
struct worker_end workers_reap(struct workers *workers, pid_t pid, bool exited);

#endif
