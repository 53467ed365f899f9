/**
 * Leases of a session, of both kinds: asked for, renewed, ended. A region is a lease whose link leads to memory.
 *
 * A lease is renewed whenever a third of the time it had left is over. It ends for us when the agent says so, when its
 * term is over without an answer, or when its executor is gone; whichever is seen first. What ran on it then moves.
 *
 * DRAINING: it is wanted back, works still, and cannot be renewed: ends_ns is the end of its budget. The agent says so
 * with a notice, or (the notice may be lost on its way from another node) in its answer to a renewal.
 */
#ifndef SUBLET_CLIENT_LEASE_H
#define SUBLET_CLIENT_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/session.h"
#include "sublet/sublet.h"

struct link;

struct sublet_lease {
    struct sublet_lease *next;
    struct sublet_session *session;
    struct link *link;            /* NULL until it is connected */
    struct sublet_region *region; /* whose memory it is; NULL for functions */
    sublet_lease_state state;
    char id[64];
    char reason[64];
    char tcp_address[64];
    bool imported;                 /* of another session (export.c): neither renewed nor given back */
    uint32_t users;                /* of an imported one: imports that were not released */
    sublet_function_ref *function; /* what an imported one is for */
    const char *node;
    uint32_t slots; /* what the link was asked for */
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t ends_ns;
    uint64_t renew_ns;
    bool renewing;  /* asked, not yet answered */
    bool overtaken; /* asked before the notice that it drains: an answer that knows nothing of it is old */
    bool noticed;   /* the agent gave the reason itself */
    uint64_t request_ns;
};

struct lease_wish {
    Sublet__V1__LeaseRequest *request;
    const char *exclude_nodes;
    uint32_t slots;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t region_bytes; /* 0: functions */
};

/** Asks the agent and connects to the executor. Without the lock. */
sublet_status lease_take(struct sublet_session *session, const struct lease_wish *wish,
                         struct sublet_lease **lease_out);
/** Ends it, gives it back and frees it. Without the lock. */
void lease_give_back(struct sublet_lease *lease);
/** Fills what the caller has room for. Without the lock. */
sublet_status lease_describe(const struct sublet_lease *lease, sublet_lease_info *info);

/**
 * What a call of an imported function means where nothing was said: its lease, and an end, since it may be waiting for
 * the very worker that it runs on. No lock.
 */
static inline void lease_defaults(const struct sublet_lease *home, const struct sublet_session *session,
                                  struct sublet_lease **lease, uint64_t *timeout_ms)
{
    if (*lease == NULL)
        *lease = (struct sublet_lease *)(uintptr_t)home;
    if (*timeout_ms == 0 && *lease != NULL && (*lease)->imported)
        *timeout_ms = session->timeout_ns / 1000000;
}

/** The rest with the lock held. */
/** Marks it as ended and moves what ran on it. Later reasons only correct the text. */
void lease_end(struct sublet_lease *lease, sublet_lease_state state, const char *reason, sublet_status status);
void lease_revoked(struct sublet_session *session, const Sublet__V1__LocalRevoked *notice);
void lease_draining(struct sublet_session *session, const Sublet__V1__LocalDraining *notice);
/** It has not ended. */
static inline bool lease_lives(const struct sublet_lease *lease)
{
    return lease->state == SUBLET_LEASE_ACTIVE || lease->state == SUBLET_LEASE_DRAINING;
}
/** One of its users releases an imported lease: true when it stays, for the others or for who imports it again. */
bool import_keep(struct sublet_lease *lease);
/** Lets go of all that were kept. */
void imports_free(struct sublet_session *session);
/** The agent's answer to a renewal; NULL when the connection broke. */
void lease_renewed(struct sublet_session *session, const char *id, sublet_status status,
                   const Sublet__V1__LocalResponse *answer);
/** A new connection to the agent: all leases are renewed on it, which binds them to it. */
void leases_rebind(struct sublet_session *session);
/** Renews and ends what is due; returns when the next is. */
uint64_t leases_tick(struct sublet_session *session, uint64_t now);

#endif
