/**
 * A lent region: one sealed memfd. Clients of this node get the descriptor, those of other nodes a thread each that
 * sleeps in recv and moves bytes straight between socket and mapping. The memory is touched in the background right
 * after the start, so that it is charged to the lease's cgroup and not to the first client.
 */
#ifndef SUBLET_EXECUTOR_REGION_H
#define SUBLET_EXECUTOR_REGION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#define REGION_STREAMS_MAX 64u

struct region {
    int fd;
    unsigned char *base;
    uint64_t bytes;
    int ready_fd;             /* eventfd: readable once `touched` is set */
    _Atomic uint32_t touched; /* 0 = under way, 1 = done, 2 = failed */
    _Atomic uint32_t streams;
    int fabric; /* leads to the process that serves it over a fabric (region_fabric.h); -1 = there is none */
};

/** Makes the memory. */
sublet_status region_start(struct region *region, uint64_t bytes);
/** Begins to touch it. */
sublet_status region_touch(struct region *region);
/** BUSY while the memory is being touched. */
sublet_status region_ready(const struct region *region);
/** Serves stream_access on a connection that was welcomed; takes the descriptor over when it returns OK. */
sublet_status region_serve(struct region *region, int fd);

/** For both: a detached thread with a small stack; 0 or an errno. */
int region_thread(void *(*run)(void *), void *argument);

#endif
