/** The supervisor's side of its workers: fork, hand over rings and libraries, reap, answer, fork again. */
#ifndef SUBLET_EXECUTOR_WORKERS_H
#define SUBLET_EXECUTOR_WORKERS_H

#include <sys/types.h>

#include "executor/supervisor.h"
#include "executor/worker.h"

struct worker_slot {
    pid_t pid;
    int socket;
    int wake_fd;
    struct worker_page *page;
    struct ring rings[CLIENTS_MAX];
};

struct workers {
    const struct executor_options *options;
    struct function_table *table;
    int library_fds[LIBRARIES_MAX];
    uint32_t libraries;
    struct worker_slot slots[CONTROL_WORKERS_MAX];
};

sublet_status workers_start(struct workers *workers, const struct executor_options *options);
/** Makes a ring per worker for a client; fds_out takes two descriptors each: ring (caller closes), eventfd (not). */
sublet_status workers_add_client(struct workers *workers, uint32_t client, const struct control_hello *hello,
                                 int *fds_out);
/** Takes a client's rings away; a worker in the middle of its call is ended. */
void workers_remove_client(struct workers *workers, uint32_t client);
/** Adds a library from its bytes, after a probe in a process of its own has loaded it. */
sublet_status workers_add_library(struct workers *workers, const void *bytes, size_t size, uint32_t *library_out);
sublet_status workers_add_function(struct workers *workers, uint32_t library, const char *name, uint32_t *function_out);
/** Ends a call whose deadline passed; its slot is answered with TIMEOUT unless the answer was faster. */
sublet_status workers_cancel(struct workers *workers, uint32_t client, const struct control_cancel *cancel);
/** After SIGCHLD: answers for the dead with CRASHED and forks their successors. */
sublet_status workers_reap(struct workers *workers);

#endif
