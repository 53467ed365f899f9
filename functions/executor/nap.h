/**
 * The sleep of a worker, and everything that ends it: a call in any of its rings, a message of the supervisor, bytes
 * on a stream. With rings alone it sleeps on futex words (one per ring, one of the page): waking it costs one call.
 * With streams, or on kernels before 5.16, it sleeps in poll, and clients write its eventfd.
 */
#ifndef SUBLET_EXECUTOR_NAP_H
#define SUBLET_EXECUTOR_NAP_H

#include <linux/futex.h>
#include <poll.h>
#include <stdbool.h>

#include "executor/worker.h"

#define NAP_STREAMS_MAX (65u + 9u) /* of TCP, and of fabrics */

/** Of Linux 5.16; older headers lack it. */
struct nap_word {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

struct nap {
    struct worker_start *start;
    const uint32_t *rings;
    uint32_t ring_count;
    uint32_t stream_count;
    int end_ms; /* -1 = none */
    bool timed_out;
    bool no_futex; /* the kernel cannot wait for several */
    struct nap_word words[1 + CLIENTS_MAX];
    struct pollfd entries[2 + NAP_STREAMS_MAX];
};

void nap_start(struct nap *nap, struct worker_start *start);
/** Prepares to sleep on these rings, and then on these connections. */
void nap_begin(struct nap *nap, const uint32_t *rings, uint32_t ring_count);
void nap_add_stream(struct nap *nap, int fd);
/** It ends after so long at the latest; with streams only. */
void nap_end_after(struct nap *nap, int ms);
/** Sleeps, unless a call is there already or a message beyond `messages_seen`; true when it slept. */
bool nap_take(struct nap *nap, uint32_t messages_seen);
/** When a call came that ended it, not before `since_ns`; 0 = something else ended it. */
uint64_t nap_end(const struct nap *nap, uint64_t since_ns);
bool nap_stream_woke(const struct nap *nap, uint32_t number);

#endif
