/**
 * One worker: a process of its own on one core, since a function may crash, exit or never return and its caller
 * wants an answer all the same. The supervisor (supervisor.c) forks it, hands it rings and libraries, answers the
 * call it died in, and forks the next.
 *
 * Everything in `struct worker_page` can be overwritten by user code: the supervisor bounds what it reads there.
 */
#ifndef SUBLET_EXECUTOR_WORKER_H
#define SUBLET_EXECUTOR_WORKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "fabric/ring.h"

#define CLIENTS_MAX   64u
#define LIBRARIES_MAX 32u
#define FUNCTIONS_MAX 256u

/** Shared by supervisor and worker. */
struct worker_page {
    _Atomic uint64_t current;  /* the call being served, see call_pack; 0 = none */
    _Atomic uint32_t messages; /* how many messages the supervisor has sent */
    _Atomic uint64_t calls;    /* answered by the function */
    _Atomic uint64_t failures; /* answered with an error */
};

/** Shared by all; entries are written before `count` rises and never change. */
struct function_table {
    _Atomic uint32_t count;
    struct {
        uint32_t library;
        char name[128];
    } entries[FUNCTIONS_MAX];
};

enum worker_message_kind { WORKER_RING = 1, WORKER_CLOSE = 2, WORKER_LIBRARY = 3 };

/** On the seqpacket socket; RING and LIBRARY bring a descriptor. */
struct worker_message {
    uint32_t kind;
    uint32_t index;
};

struct worker_start {
    uint32_t number;
    int core; /* -1 = not pinned */
    int socket;
    int wake_fd;
    uint64_t spin_ns; /* how long to poll before sleeping */
    struct worker_page *page;
    struct function_table *table;
    struct ring *rings; /* CLIENTS_MAX; base NULL = none */
    int *library_fds;   /* LIBRARIES_MAX; -1 = none */
};

static inline uint64_t call_pack(uint32_t client, uint32_t slot, uint32_t sequence)
{
    return UINT64_C(1) << 63 | (uint64_t)client << 40 | (uint64_t)slot << 32 | sequence;
}

/** Serves until the supervisor closes the socket. */
_Noreturn void worker_run(struct worker_start *start);

/** dlopens a library from its descriptor; NULL with the reason in *why_out. */
void *library_open(int fd, const char **why_out);

#endif
