/**
 * A region of another node over a fabric (wire/ofi.h), with the stream of region_stream.c beside it.
 *
 * A job is cut into operations, REGION_OPS at most under way: reads and writes of the region's memory, which the
 * adapter of its node serves alone, and what goes over the stream: atomics (they must be atomic against those who have
 * the memory mapped, and for an adapter's that is not so everywhere), and lists and strides of many small pieces (a
 * message with all of them is faster than one each). Where an adapter needs registered memory, large pieces are lent to
 * it for the while, small ones and those that cannot be registered are copied through `stage`.
 *
 * Operations start in the order of their jobs. One waits for those under way that touch the same bytes of the region if
 * either of them writes; so jobs that touch the same bytes take effect in order, whatever a fabric promises. After a
 * fence the next write waits for all before it.
 *
 *   OPEN ── a transfer fails, nothing moves for half the session's timeout ──► LEAVING ── the other side has closed ──►
 * GONE └──────────────────────────── the other side has closed
 * ────────────────────────────────────────────────────────┘
 *
 * Leaving closes the endpoint, so that no late answer is written to a caller's memory, and tells the other side, which
 * makes the key dead and closes: from then on no late write reaches the region. What was under way is done again over
 * the stream, as is all that follows. When the other side says nothing the region is lost (TIMEOUT).
 *
 * All with the access's lock. Order: this lock -> the stream's -> session->lock.
 */
#ifndef SUBLET_CLIENT_REGION_OFI_H
#define SUBLET_CLIENT_REGION_OFI_H

#include "client/region.h"
#include "fabric/ofi.h"

#define REGION_OPS         32u
#define REGION_STAGE_BYTES 65536u     /* of one operation */
#define REGION_LOAN_BYTES  (1u << 20) /* the same, not copied */
#define REGION_LOAN_LEAST  32768u     /* to register less costs more than to copy it */

enum region_fabric_state { REGION_FABRIC_OPEN, REGION_FABRIC_LEAVING, REGION_FABRIC_GONE };

struct region_op {
    struct region_job *job; /* NULL = free */
    uint64_t stamp;         /* in the order they were started */
    bool puts, staged, relayed;
    uint64_t begin, end; /* what it touches of the region; of many pieces, with all that lies between */
    size_t size;         /* bytes of the job */
    unsigned char *here;
    struct ofi_memory loan;
    _Atomic int done;        /* by the fabric: 1, or 2 = failed */
    struct region_job relay; /* over the stream */
};

struct region_fabric {
    _Atomic int state;
    struct ofi *ofi; /* NULL unless OPEN */
    struct ofi_target target;
    char provider[OFI_PROVIDER_MAX + 1];
    int fd;       /* its end is the service's */
    int epoll_fd; /* whatever lets jobs move */
    int busy_fd;  /* makes epoll_fd readable when there is something to poll already */
    bool busy;
    short stream_events; /* that are in epoll_fd */
    struct ofi_memory stage;
    uint64_t stamps, moves, moved_ns, leaving_ns;
    uint32_t used, looks;
    bool fenced; /* the next write waits for all before it */
    bool copies; /* all goes through `stage` */
    struct region_op ops[REGION_OPS];
};

/** region_ofi_ops.c */
sublet_status region_ofi_pump(struct link *link, struct region_access *access);
/** Closes the endpoint; nothing is written to callers' memory afterwards. Again is no error. */
void region_ofi_shut(struct region_fabric *fabric);

#endif
