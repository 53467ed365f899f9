/**
 * Calls to the workers of one executor over a fabric (wire/ofi.h). One endpoint and two pieces of registered memory per
 * link (requests, responses), and per worker a connection that tells who may write where, and later of its end.
 *
 *   CLOSED ─► CONNECTING ─► AWAITING ─► PROBING ─► OPEN ─┐
 *      ▲──────────── LAST, or closed ─────────────────────┘
 *
 * What arrives is marked in `arrived`, by whichever thread polls; the answer itself is taken with the lock held, by the
 * thread that claimed the call, or by any when none did. All functions: lock held, unless said otherwise.
 */
#ifndef SUBLET_CLIENT_OFI_CONNECTION_H
#define SUBLET_CLIENT_OFI_CONNECTION_H

#include "client/link.h"
#include "fabric/ofi.h"
#include "wire/ofi.h"

enum ofi_state { OFI_CLOSED, OFI_CONNECTING, OFI_AWAITING, OFI_PROBING, OFI_OPEN };

/** A slot. */
struct ofi_flight {
    bool used, sent;
    sublet_status verdict;    /* the connection is over, and this is what became of the call; 0 = not so */
    struct sublet_call *call; /* NULL: its caller has gone, the answer is thrown away */
    struct stream_request request;
    uint64_t cancel_ns; /* without a caller: when to cancel it (again) */
};

struct ofi_worker {
    enum ofi_state state;
    int fd;
    uint64_t end_ns;   /* until then it must be OPEN */
    uint64_t broke_ns; /* OPEN, but the way there is broken since then; 0 = not so */
    uint32_t number;
    uint32_t failures;
    uint32_t sequence;
    uint32_t connection;
    bool probe_sent;
    struct {
        struct stream_welcome welcome;
        struct ofi_offer offer;
    } answer;
    uint32_t have; /* bytes of it; when OPEN, of `last` */
    struct stream_response last;
    uint32_t tag; /* the worker's */
    struct ofi_target target;
    uint32_t count, unsent;
    struct ofi_flight flights[RING_SLOTS_MAX];

    /* Also used without the lock. */
    _Atomic uint32_t own_tag; /* 0: nothing that arrives is meant */
    _Atomic bool probed;
    _Atomic bool restless; /* not open, or something is unsent: needs the lock to go on */
    _Atomic uint64_t arrived;
    _Atomic int watch_fd;
    _Atomic uint64_t watch_peer; /* target.peer, of the last connection that got that far */
};

struct ofi_path {
    struct ofi *ofi;
    struct ofi_memory requests, responses;
    bool opening, failed;
    uint32_t tags;
    uint64_t stepped_ns;   /* when silent connections were last looked at */
    _Atomic bool sleeping; /* one thread sleeps on the queue; others wake it when they take what is its */
    int wake_fd;
    struct ofi_worker *workers;
};

/** Polls and marks what has arrived. No lock needed. */
void ofi_distribute(struct link *link);
/** Goes on with a connection, sends what is unsent, hears of its end. May lose the link. */
void ofi_connection_step(struct link *link, struct ofi_worker *worker);
/** Sends what is unsent, as far as there is room. */
void ofi_connection_pump(struct link *link, struct ofi_worker *worker);
/** Takes what has arrived for a slot. */
void ofi_connection_take(struct link *link, struct ofi_worker *worker, uint32_t slot);
/** Frees a slot; the caller says what becomes of its call. */
void ofi_connection_drop(struct link *link, struct ofi_worker *worker, uint32_t slot);
/** The slot whose call was sent first and is not answered; RING_SLOTS_MAX = none. */
uint32_t ofi_connection_oldest(const struct link *link, const struct ofi_worker *worker);
void ofi_connection_close(struct link *link, struct ofi_worker *worker);

#endif
