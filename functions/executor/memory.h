/**
 * Memory of a worker for what does not fit the usual buffers: arguments and results of any size. Each of the two kinds
 * may take half of the lease's memory, all workers together; what each has taken stands in its page, so that a dead
 * worker's share is gone with it.
 */
#ifndef SUBLET_EXECUTOR_MEMORY_H
#define SUBLET_EXECUTOR_MEMORY_H

#include <stdbool.h>

#include "executor/worker.h"

/** Everything zero and `page` NULL: no limit, nothing is counted. */
struct memory {
    struct worker_page *page; /* this worker's */
    struct worker_page **pages;
    uint32_t workers;
    uint64_t limit; /* of one kind */
};

/** False when that much is not left. */
bool memory_take(struct memory *memory, enum memory_kind kind, uint64_t bytes);
void memory_give(struct memory *memory, enum memory_kind kind, uint64_t bytes);
/** Could it ever be taken? */
bool memory_possible(const struct memory *memory, uint64_t bytes);
/** Could it be taken if this worker gave back all that it has? */
bool memory_ours_suffices(const struct memory *memory, enum memory_kind kind, uint64_t bytes);
uint64_t memory_left(const struct memory *memory, enum memory_kind kind);

#define SPACE_GUARD 64u

/**
 * Anonymous memory, touched as it is used; a page for a head lies before it. Behind what was asked for there are
 * SPACE_GUARD bytes or more, up to the end of a page, and then a page that faults (executor/guard.h).
 */
struct space {
    unsigned char *bytes; /* NULL = none */
    uint64_t size;
    enum memory_kind kind;
};

/** NO_MEMORY when that much is not left, TOO_LARGE when it never is. */
sublet_status space_make(struct memory *memory, enum memory_kind kind, uint64_t size, struct space *out);
void space_free(struct memory *memory, struct space *space);

#endif
