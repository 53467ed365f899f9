/** Shared by ofi*.c only. */
#ifndef SUBLET_FABRIC_OFI_INTERNAL_H
#define SUBLET_FABRIC_OFI_INTERNAL_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include <pthread.h>

#include "fabric/ofi.h"

#define OFI_PEERS_MAX    64u
#define OFI_COOKIE_BYTES 16u

/** AWAITED: by who listens. OPENING: until both sides have said yes. */
enum ofi_peer_state { OFI_PEER_NONE, OFI_PEER_AWAITED, OFI_PEER_OPENING, OFI_PEER_UP, OFI_PEER_DOWN };

struct ofi_peer {
    _Atomic uint64_t id; /* generation, and its place in the table: what comes late is told apart */
    _Atomic int state;
    struct fid_ep *endpoint; /* NULL: AWAITED */
    uint32_t depth;
    _Atomic uint32_t owed; /* receives that were used up, and not posted again */
    unsigned char cookie[OFI_COOKIE_BYTES];
};

/** An endpoint per peer (ofi_connected.c). */
struct ofi_connected {
    pthread_mutex_t lock; /* endpoints come and go, receives are posted, events are read */
    struct fid_eq *events;
    struct fid_pep *door;                   /* who listens */
    unsigned char cookie[OFI_COOKIE_BYTES]; /* who connects */
    uint64_t generation;
    _Atomic uint32_t coming; /* peers that are AWAITED or OPENING */
    _Atomic uint32_t owing;  /* receives that are owed, of all */
    int epoll_fd;            /* for arrivals and events */
    struct ofi_peer peers[OFI_PEERS_MAX];
};

struct ofi {
    struct ofi_connected *connected; /* NULL: one endpoint for all */
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *sent;    /* errors, and transfers somebody waits for */
    struct fid_cq *arrived; /* writes with data */
    struct fid_ep *endpoint;
    struct fid_cq *waits; /* the one that wait_fd belongs to */
    int wait_fd;
    bool plain;
    _Atomic uint32_t polls;
    _Atomic uint32_t waited; /* transfers that somebody waits for */
    uint32_t *notes;         /* plain: where messages are received; NULL otherwise */
    struct fid_mr *notes_region;
    uint64_t keys; /* for providers that want to be told one */
    char provider[OFI_PROVIDER_MAX + 1];
};

/** Polls between two looks at the queue of what was sent, where nothing is expected. */
#define OFI_SENT_EVERY 64u

struct fi_info *ofi_info_copy(const struct fi_info *info);
void ofi_info_free(struct fi_info *info);

/** Instead of an endpoint; the queues are open. False: it does not work. */
bool ofi_connected_open(struct ofi *ofi, bool listens);
void ofi_connected_close(struct ofi *ofi);
sublet_status ofi_connected_name(const struct ofi *ofi, void *bytes, uint32_t capacity, uint32_t *size_out);
sublet_status ofi_connected_add(struct ofi *ofi, const void *name, uint32_t size, uint32_t depth, uint64_t *peer_out);
void ofi_connected_remove(struct ofi *ofi, uint64_t id);
/** BUSY: not yet. LOST: it is gone. */
sublet_status ofi_connected_way(struct ofi *ofi, uint64_t id, struct fid_ep **endpoint_out);
void ofi_connected_broke(struct ofi *ofi, uint64_t id);
/** A receive was used up. */
void ofi_connected_owe(struct ofi *ofi, uint64_t id);
/** A part of ofi_poll, which found something or not. */
void ofi_connected_poll(struct ofi *ofi, bool found, uint32_t polls);
/** Settles all before a sleep; false: something happened. */
bool ofi_connected_rest(struct ofi *ofi);

/** Begins to receive a message. */
ssize_t ofi_post_note(struct ofi *ofi, uint32_t *note);

#endif
