/**
 * One worker: a process of its own on one core, since a function may crash, exit or never return and its caller
 * wants an answer all the same. The supervisor (supervisor.h) forks it, hands it rings, streams and libraries,
 * answers the call it died in, and forks the next.
 *
 * `current` in the page is the one word on which both agree who answers a call:
 *
 *   0 -> call            the worker announces the call, then claims it
 *   call -> ANSWERING    by compare-and-swap of the worker, once the function has returned: it answers
 *   call -> ENDED        by compare-and-swap of the supervisor (deadline, client gone): it kills the worker and answers
 *   ANSWERING -> 0       the worker has answered; nobody ends it for this call any more
 *
 * Everything in `struct worker_page` can be overwritten by user code: the supervisor bounds what it reads there.
 */
#ifndef SUBLET_EXECUTOR_WORKER_H
#define SUBLET_EXECUTOR_WORKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "executor/stats.h"
#include "executor/stream_buffer.h"
#include "fabric/ring.h"

#define CLIENTS_MAX   64u
#define STREAMS_MAX   2048u /* per worker */
#define LIBRARIES_MAX 32u
#define FUNCTIONS_MAX 256u

enum memory_kind { MEMORY_IN, MEMORY_OUT, MEMORY_KINDS };

/** Shared by supervisor and worker. */
struct worker_page {
    _Atomic uint64_t current;  /* the call being served, see call_pack; 0 = none */
    _Atomic uint32_t messages; /* how many messages the supervisor has sent */
    _Atomic uint32_t reason;   /* why the worker ended itself, see guard.h; 0 = not said */
    /* Memory (memory.h); all workers read it, so it has a cache line of its own. */
    _Alignas(64) _Atomic uint64_t large[MEMORY_KINDS];
    struct {
        _Atomic uint64_t bytes;    /* that the worker waits for; 0 = none */
        _Atomic uint64_t since_ns; /* when that began */
        _Atomic uint64_t seen_ns;  /* when it last looked */
    } wants[MEMORY_KINDS];
};

/** Shared by all; entries are written before `count` rises and never change. */
struct function_table {
    _Atomic uint32_t count;
    struct {
        uint32_t library;
        char name[CONTROL_NAME_MAX + 1];
    } entries[FUNCTIONS_MAX];
};

enum worker_message_kind {
    WORKER_RING = 1,
    WORKER_CLOSE,
    WORKER_LIBRARY,
    WORKER_STREAM,
    WORKER_STREAM_CLOSE,
    WORKER_FABRIC
};

/** On the seqpacket socket. RING and LIBRARY bring a descriptor, STREAM and FABRIC two: socket, buffer. */
struct worker_message {
    uint32_t kind;
    uint32_t index;
};

struct worker_start {
    uint32_t number;
    int core; /* -1 = not pinned */
    int socket;
    int wake_fd;
    uint32_t messages;     /* of page->messages, those that are part of this start */
    uint64_t spin_ns;      /* how long to poll before sleeping */
    uint64_t memory_bytes; /* of the lease; 0 = no limit */
    const char *fabric;    /* options.h */
    struct worker_page *page;
    struct stats_worker *stats;
    const struct stats_clock *clock;
    struct worker_page **pages; /* of all workers */
    uint32_t workers;
    struct function_table *table;
    struct ring *rings;     /* CLIENTS_MAX; base NULL = none */
    struct stream *streams; /* STREAMS_MAX; state NULL = none */
    uint32_t stream_end;    /* those of the start lie before it */
    int *library_fds;       /* LIBRARIES_MAX; -1 = none */
};

#define CALL_SET       (UINT64_C(1) << 63)
#define CALL_STREAM    (UINT64_C(1) << 62) /* `client` is the number of a stream */
#define CALL_ANSWERING (UINT64_C(1) << 61)
#define CALL_ENDED     (UINT64_C(1) << 60) /* alone: the supervisor has ended the call */

static inline uint64_t call_pack(uint32_t client, uint32_t slot, uint32_t sequence)
{
    return CALL_SET | (uint64_t)client << 40 | (uint64_t)slot << 32 | sequence;
}

static inline uint64_t call_pack_stream(uint32_t stream, uint32_t sequence)
{
    return CALL_SET | CALL_STREAM | (uint64_t)stream << 40 | sequence;
}

static inline uint32_t call_client(uint64_t call)
{
    return (uint32_t)(call >> 40) & 0xffff;
}

static inline uint32_t call_slot(uint64_t call)
{
    return (uint32_t)(call >> 32) & 0xff;
}

static inline uint32_t call_sequence(uint64_t call)
{
    return (uint32_t)call;
}

/** Takes the right to answer; ends the process when the supervisor took it (or user code wrote into the page). */
void worker_begin_answer(struct worker_page *page, uint64_t call);

/** Serves until the supervisor closes the socket. */
_Noreturn void worker_run(struct worker_start *start);

#endif
