/**
 * Memory of a worker for what does not fit the usual buffers: arguments and results of any size. Each of the two kinds
 * may take half of the lease's memory, all workers together; what each has taken stands in its page, so that a dead
 * worker's share is gone with it. What a worker waits for stands there, too: the others give back what they do not use,
 * and take nothing before it has had its turn.
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
/** This worker waits for that much since `since_ns`, and has just looked. Nothing, any more: 0 bytes. */
void memory_want(struct memory *memory, enum memory_kind kind, uint64_t bytes, uint64_t since_ns);
/** Does another worker wait? What is not used should go back then. */
bool memory_wanted(const struct memory *memory, enum memory_kind kind);
/**
 * Must what there is be left to another worker, which has waited for longer than since `since_ns` (UINT64_MAX: this one
 * has not waited)?
 */
bool memory_owed(const struct memory *memory, enum memory_kind kind, uint64_t since_ns);
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

/** What a space for `size` bytes takes. */
uint64_t space_takes(uint64_t size);
/** NO_MEMORY when that much is not left, TOO_LARGE when it never is. */
sublet_status space_make(struct memory *memory, enum memory_kind kind, uint64_t size, struct space *out);
void space_free(struct memory *memory, struct space *space);

#endif
