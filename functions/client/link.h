/**
 * The way to one executor: its control connection, and a transport that carries calls to its workers or accesses to
 * its memory. One per lease.
 *
 * Life: made by link_open with one reference (the lease's). Every thread that looks at a link without the session's
 * lock holds another. `lost` rises from 0 to a status once and stays: from then on nothing new starts on it, and what
 * was on it is moved by whoever notices first. Memory and descriptors go with the last reference.
 *
 * The control connection has one request outstanding; control_lock says whose. An exchange that fails half-way leaves
 * the connection out of step, so the link is lost.
 */
#ifndef SUBLET_CLIENT_LINK_H
#define SUBLET_CLIENT_LINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "client/library.h"
#include "client/session.h"
#include "fabric/ring_slot.h"
#include "wire/control.h"
#include "wire/stream.h"

struct link;
struct sublet_call;
struct sublet_lease;

/** How calls reach a worker. Unless said otherwise the lock is held. */
struct transport {
    /** Gives a call a place on a worker that has room. */
    sublet_status (*start)(struct link *link, uint32_t worker, struct sublet_call *call, uint32_t function);
    /** Brings the arguments on their way. With fill_unlocked this may be done without the lock if the call is claimed.
     */
    void (*fill)(struct link *link, struct sublet_call *call);
    bool fill_unlocked; /* not for calls over a stream */
    /** Takes this thread as the one that waits for the call; false when another does. */
    bool (*claim)(struct link *link, struct sublet_call *call);
    void (*unclaim)(struct link *link, struct sublet_call *call);
    /** No lock, claimed: may the call have been answered? */
    bool (*ready)(struct link *link, const struct sublet_call *call);
    /** No lock, claimed: sleeps until it may have been. */
    void (*sleep)(struct link *link, const struct sublet_call *call, uint64_t timeout_ns);
    /** Takes the answer of a call, if it is there. */
    void (*take)(struct link *link, struct sublet_call *call);
    /** Takes all answers that nobody has claimed, and sends on. */
    void (*progress)(struct link *link);
    /** Takes one call that nobody has claimed off a lost link. NULL when there is none. */
    struct sublet_call *(*strip)(struct link *link);
    /** Takes this call off a lost link. */
    void (*remove)(struct link *link, struct sublet_call *call);
    /** Names the call for CANCEL; false when it is not over there. */
    bool (*name)(struct link *link, const struct sublet_call *call, struct control_cancel *cancel);
    /** Takes a call that has not begun off the way; false when it may have. */
    bool (*detach)(struct link *link, struct sublet_call *call);
    /** Names a call that was detached and now is in the way; false when there is none. May be NULL. */
    bool (*stray)(struct link *link, struct control_cancel *cancel);
    bool (*has_strays)(struct link *link);
    /** A descriptor to poll while waiting for one of many calls; -1 = none. */
    int (*pollable)(struct link *link, const struct sublet_call *call);
    void (*close)(struct link *link);
};

extern const struct transport ring_transport;
extern const struct transport stream_transport;
extern const struct transport fabric_transport;
extern const struct transport here_transport;  /* ring and stream */
extern const struct transport there_transport; /* fabric and stream */

enum link_resolution { LINK_UNRESOLVED, LINK_RESOLVING, LINK_RESOLVED, LINK_REFUSED };

/** What the executor calls a library or a function. */
struct link_entry {
    enum link_resolution state;
    sublet_status why; /* REFUSED */
    uint32_t id;
};

struct link {
    int refs;
    struct sublet_session *session;
    struct sublet_lease *lease; /* NULL while it is opened, and after its release */
    bool imported;              /* the lease is another session's: never over a fabric */
    const char *node;
    _Atomic int lost; /* 0 = alive, else the status of what was on it */
    bool same_node;

    int control;
    pthread_mutex_t control_lock;
    uint16_t control_version; /* of control frames, as the executor agreed; 0 before its first answer */

    const struct transport *transport; /* functions only */
    uint32_t workers;
    uint32_t slots;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint32_t busy;
    uint32_t worker_busy[CONTROL_WORKERS_MAX];
    uint64_t calls;
    bool asks;      /* its executor can be asked for a library by its content */
    bool asks_path; /* and told where it lies */
    bool traces;    /* its executor can tell where the time of a call went */
    struct link_entry libraries[SESSION_LIBRARIES_MAX];
    struct link_entry functions[SESSION_FUNCTIONS_MAX];
    struct ring_worker *rings;     /* of ring_transport */
    struct stream_worker *streams; /* of stream_transport */
    struct ofi_path *fabric;       /* of fabric_transport */

    struct region_access *region; /* regions only */
    _Atomic uint32_t falls;       /* how often a fabric was given up for TCP */

    struct sockaddr_storage address; /* where to, and what to say there */
    socklen_t address_bytes;
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t next_connection;
};

/** Connects: by the unix socket where that exists, else over TCP. Without the lock. */
sublet_status link_open(struct sublet_lease *lease, const Sublet__V1__Endpoint *endpoint, uint64_t region_bytes,
                        uint64_t end_ns, struct link **link_out);
/** Lock held: the last one closes. */
void link_unref(struct link *link);
/** Lock held: nothing new starts, what nobody has claimed moves, the lease ends. Does nothing the second time. */
void link_lost(struct link *link, sublet_status status);
/** One request and its answer on the control connection. Neither lock held. */
sublet_status link_control(struct link *link, enum control_type type, const void *first, size_t first_bytes,
                           const void *second, size_t second_bytes, void *answer, size_t answer_bytes, uint64_t end_ns);
/** Makes a function known to the executor, its library first. Lock held; dropped for the exchange. */
void link_resolve(struct link *link, struct sublet_function_ref *function);
/** How it is reached, as text: memory, tcp, or the provider of a fabric. Lock held. */
const char *link_path(const struct link *link);
/** Has the executor closed its control connection? */
bool link_gone(const struct link *link);
/** A stream connection of a role, with hello and welcome done. Neither lock held. */
sublet_status link_stream(const struct link *link, enum stream_role role, uint64_t end_ns,
                          struct stream_welcome *welcome_out, int *fd_out);
/** A socket that connects to the executor; not done yet. */
sublet_status link_socket(const struct link *link, int *fd_out);

/** Transports: made from what HELLO brought; on failure nothing is left. */
sublet_status ring_link_open(struct link *link, const int *fds);
sublet_status stream_link_open(struct link *link, uint32_t workers, uint64_t end_ns);
/** Sends the first worker's hello off, before it is known how many there are; stream_link_open goes on from it. */
void stream_link_begin(struct link *link);
/** Of a link that has a fabric. */
const char *ofi_link_provider(const struct link *link);
/** NOT_FOUND: no fabric here, or none wanted. Before the link has a transport; loads libfabric, for up to 0.4 s. */
sublet_status ofi_link_open(struct link *link, uint64_t end_ns);
/** Room for connections, which are made when calls need them. */
sublet_status stream_link_prepare(struct link *link);

/** A slot of a ring that a buffer holds: it is neither free nor any call's. */
struct ring_place {
    struct link *link; /* referenced: the ring stays mapped when it is lost */
    uint32_t worker;
    uint32_t number;
    struct ring_slot slot;
    unsigned char *base; /* the slot's pages, which it shares with no other */
    size_t base_bytes;
    void *in, *out, *in_line, *out_line;
};

/** All with the lock held. False when the link has no ring, or none of its workers has a slot to spare. */
bool ring_link_hold(struct link *link, int32_t worker, struct ring_place *out);
void ring_link_let_go(const struct ring_place *place);
/** The call that was published in a held slot becomes one of the link's. */
void ring_link_adopt(const struct ring_place *place, struct sublet_call *call);

#endif
