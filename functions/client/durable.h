/**
 * Regions that outlive their node: `mirrored` and `evacuated`.
 *
 * A durable region is a way to memory like the others (a table region_transport), above them: its own link leads to no
 * executor but to copies of the content, each a region lease of its own on a node of its own (or a spill file). So the
 * public accesses, sublet_map's pager and `lost` work on it as on any region, and the other ways know nothing of it.
 *
 *   mirrored    two copies. A put is acknowledged when both have it; gets go to the near one.
 *   evacuated   one copy. When its lease is DRAINING, a second is made elsewhere within the budget; the first then
 *               goes back at once. Where nobody lends memory a file takes it (durable_spill.c), until somebody does.
 *
 *   durable.c         made, described, freed
 *   durable_job.c     accesses: one job becomes one part per copy
 *   durable_part.c    a part on its copy, and which copy gets go to
 *   durable_keep.c    the keeper, one thread per region: copies that are lost, leave, or are missing
 *   durable_fill.c    filling a copy while accesses go on
 *   durable_spill.c   the way to a file
 *
 * One order. `order` is held while a write is begun on all copies, so every copy is told the same writes in the same
 * order, and a way that says `ordered` has them take effect in it (of another way each write is waited for with `order`
 * held). The only writer is this process, hence copies that were equal stay equal, and an atomic can simply be done on
 * each of them: all find the same. Whoever reads two values in sequence sees them in the order they were begun, also
 * when the second read goes to the other copy: a get that fails over begins with `order` held.
 *
 * Life of a copy: JOINED (is told all writes; its content is not yet good, gets do not go there) -> WHOLE -> out of the
 * list, when its link is lost or it is not needed any more -> its parts under way end -> its lease is given back.
 * `whole` is never taken back: an answer of a copy that has left the list meanwhile still counts, since a copy that
 * replaced it was filled from it behind that write.
 *
 * Filling goes piece by piece. The get of a piece is begun with `order` held; what is written to that piece while it is
 * under way makes it dirty, and it is got again (from the fourth time on with `order` held). A piece that is not dirty
 * is put with `order` held, so that younger writes come behind it. Writes to pieces not yet filled reach the new copy
 * as well: what they leave there is overwritten later, with content that has them. No write waits for the filling.
 *
 * A write is acknowledged (OK) when every part has ended and one on a whole copy was good. A copy whose part failed is
 * lost: it may differ. A get that failed goes on at the next whole copy. So the caller hears of a loss only when no
 * whole copy is left: then the region's own link is lost, with the status of the last one.
 *
 * Asynchronous accesses wait in a list (`pending`) until flush, the keeper or a later access sees that they ended. A
 * get that fails over may see puts that were begun after it.
 *
 * What fails how
 *   a copy's node dies       its connection ends, or is silent for the session's timeout: that copy is lost
 *   both at once             REVOKED or LOST, as of an ephemeral region
 *   source lost while filling an evacuated region: lost. Mirrored: never, unless no other whole copy was there
 *   no second node lends     mirrored goes on with one copy (info.copies says 1) and asks again, 0.2 to 5 s apart
 *   budget too short         the lease is revoked before the copy is whole: REVOKED
 *   client dies              its leases end, spill files have no name: nothing is left
 *   fork                     the child is refused (DENIED): a second writer would break the order
 *
 * Locks: order -> a way's own lock -> session->lock. The session's lock holder never takes `order`: it wakes the keeper
 * by its descriptor. References: `refs` of a copy (with `order`) count parts; the keeper waits until they are gone.
 */
#ifndef SUBLET_CLIENT_DURABLE_H
#define SUBLET_CLIENT_DURABLE_H

#include "client/lease.h"
#include "client/region.h"
#include "client/session.h"

#define DURABLE_COPIES_MAX 4u
#define DURABLE_NODES_MAX  1024u

struct durable_copy {
    struct link *link;
    struct sublet_lease *lease; /* NULL: a spill file */
    uint32_t refs;              /* parts under way */
    bool whole;
};

/** What became of a job on one copy. */
struct durable_part {
    struct durable_copy *copy;
    struct region_job job;
    uint64_t before; /* what an atomic found */
    bool ended;      /* job.status is final */
};

/** A job under way. */
struct durable_flight {
    struct durable_flight *next;
    struct region_job *job;
    bool claimed; /* of `pending`: somebody waits for its parts */
    uint32_t count;
    struct durable_part parts[DURABLE_COPIES_MAX];
};

struct durable {
    struct sublet_session *session;
    struct durable *next; /* of the session; its lock */
    struct sublet_region *region;
    struct sublet_lease lease; /* the region's own: in no list, never renewed */
    uint32_t durability;
    uint64_t term_ms;
    char exclude_nodes[DURABLE_NODES_MAX];

    pthread_mutex_t order;
    pthread_cond_t changed; /* a flight ended, a copy's parts ended */
    struct durable_copy *copies[DURABLE_COPIES_MAX];
    uint32_t count;
    struct durable_flight *pending, *last_pending;
    struct durable_flight *unused;
    uint64_t added, retired;
    sublet_status first_error;
    uint64_t filling_offset, filling_bytes; /* the piece under way; 0 bytes = none */
    bool dirty;
    uint64_t moves; /* copies filled */

    const uint32_t *mine; /* 1; in a child of fork 0 */
    pthread_t keeper;
    bool running;
    atomic_bool stop;
    int wake_fd;
    uint64_t retry_ns, backoff_ns; /* the keeper's */
};

/** durable.c. Options checked; the durability is not EPHEMERAL. */
sublet_status durable_alloc(struct sublet_session *session, uint64_t bytes, const sublet_region_options *options,
                            struct sublet_region **region_out);
sublet_status durable_describe(struct durable *durable, sublet_lease_info *info);
void durable_free(struct durable *durable);
/** Wakes the keeper; any lock may be held. */
void durable_wake(struct durable *durable);
/** Without locks: all keepers of the session end, so that it can be closed. */
void durables_stop(struct sublet_session *session);
/** A link without an executor, with room for its region; its lease may be NULL. */
struct link *durable_link(struct sublet_session *session, struct sublet_lease *lease,
                          const struct region_transport *transport, uint64_t bytes);

/** durable_job.c */
extern const struct region_transport durable_transport;
/** With `order` held: takes asynchronous accesses that have ended off the list. */
void durable_reap(struct durable *durable);

/** durable_part.c */
/** As region_enter: a way works on a link that is not lost, and stays usable until its user has left. */
sublet_status durable_enter(const struct link *link);
/** With `order` held: begins a job on one copy. `part` stays until it has ended. */
void durable_part_begin(struct durable_part *part, struct durable_copy *copy, const struct region_job *job);
/** Without `order`: waits until it has ended. */
sublet_status durable_part_wait(struct durable_part *part);
/** The same in two steps: with `order` held, from then on the copy stays; then with or without. */
void durable_part_aim(struct durable_part *part, struct durable_copy *copy);
void durable_part_start(struct durable_part *part, const struct region_job *job);
bool durable_part_test(struct durable_part *part);
/** With `order` held: a whole copy that is alive, the nearest first; NULL = none. `besides` is not it. */
struct durable_copy *durable_reader(const struct durable *durable, const struct durable_copy *besides);
/** With `order` held: its content may differ, so it is no copy any more. */
void durable_copy_fail(struct durable *durable, struct durable_copy *copy, sublet_status status);
bool durable_copy_lost(const struct durable_copy *copy);
/** Its lease is DRAINING. */
bool durable_copy_leaves(const struct durable_copy *copy);
/** With `order` held: the part has ended, and is not looked at any more. */
void durable_part_let_go(struct durable *durable, struct durable_part *part);

/** durable_keep.c */
sublet_status durable_keeper_start(struct durable *durable);
/** Leases memory for a further copy and lets it join. */
sublet_status durable_copy_lease(struct durable *durable, const char *node, struct durable_copy **copy_out);
/** Takes it out of the list, waits for its parts and gives it back. */
void durable_copy_drop(struct durable *durable, struct durable_copy *copy);

/** durable_spill.c: a file of the session's spill folder; it has not joined yet. BUSY: there is no folder. */
sublet_status durable_copy_spill(struct durable *durable, struct durable_copy **copy_out);
/** A spill copy is gone: its part of the quota. */
void durable_spill_return(struct durable *durable);

/** durable_fill.c: makes a copy that has joined whole. Gives up when the copy or its source is lost, or at the end. */
sublet_status durable_fill(struct durable *durable, struct durable_copy *copy);

#endif
