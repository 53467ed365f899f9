/** Shared by ofi.c and ofi_transfer.c only. */
#ifndef SUBLET_FABRIC_OFI_INTERNAL_H
#define SUBLET_FABRIC_OFI_INTERNAL_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "fabric/ofi.h"

struct ofi {
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

/** Begins to receive a message. */
ssize_t ofi_post_note(struct ofi *ofi, uint32_t *note);

#endif
