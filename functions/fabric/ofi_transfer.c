/*
 * What moves bytes. Writes with data report nothing to their sender unless they fail: that they arrived is known by the
 * peer's answer. A queue that is full makes the caller poll, since only polling empties it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fabric/ofi_internal.h"

#define NOTE_TRIES 1000u

static sublet_status make_region(struct ofi *ofi, void *base, size_t bytes, uint64_t access, struct ofi_memory *out)
{
    const struct fi_domain_attr *domain = ofi->info->domain_attr;
    struct fid_mr *region;
    uint64_t key = 0;
    if ((domain->mr_mode & FI_MR_PROV_KEY) == 0) { /* a step of odd width: none comes twice, none is easy to guess */
        key = ofi->keys += UINT64_C(0x9e3779b97f4a7c15);
        if (domain->mr_key_size < sizeof(key))
            key &= (UINT64_C(1) << domain->mr_key_size * 8) - 1;
    }
    int result = fi_mr_reg(ofi->domain, base, bytes, access, 0, key, 0, &region, NULL);
    if (result == 0 && (domain->mr_mode & FI_MR_ENDPOINT) != 0) {
        result = fi_mr_bind(region, &ofi->endpoint->fid, 0);
        if (result == 0)
            result = fi_mr_enable(region);
        if (result != 0)
            fi_close(&region->fid);
    }
    if (result != 0)
        return result == -FI_ENOMEM ? SUBLET_ERR_NO_MEMORY : SUBLET_ERR_SYSTEM;
    *out = (struct ofi_memory){
        .region = region,
        .descriptor = fi_mr_desc(region),
        .base = base,
        .bytes = bytes,
        .address = (domain->mr_mode & FI_MR_VIRT_ADDR) != 0 ? (uint64_t)(uintptr_t)base : 0,
        .key = fi_mr_key(region),
    };
    return SUBLET_OK;
}

sublet_status ofi_register(struct ofi *ofi, void *base, size_t bytes, bool readable, struct ofi_memory *out)
{
    return make_region(ofi, base, bytes, FI_REMOTE_WRITE | FI_WRITE | FI_READ | (readable ? FI_REMOTE_READ : 0), out);
}

bool ofi_needs_memory(const struct ofi *ofi)
{
    return (ofi->info->domain_attr->mr_mode & FI_MR_LOCAL) != 0;
}

sublet_status ofi_borrow(struct ofi *ofi, void *base, size_t bytes, struct ofi_memory *out)
{
    if (ofi_needs_memory(ofi))
        return make_region(ofi, base, bytes, FI_WRITE | FI_READ, out);
    *out = (struct ofi_memory){.base = base, .bytes = bytes};
    return SUBLET_OK;
}

void ofi_unregister(struct ofi_memory *memory)
{
    if (memory->region != NULL)
        fi_close(&((struct fid_mr *)memory->region)->fid);
    memory->region = NULL;
}

static sublet_status status_of(ssize_t result)
{
    if (result == 0)
        return SUBLET_OK;
    return result == -FI_EAGAIN ? SUBLET_ERR_BUSY : SUBLET_ERR_LOST;
}

/** The endpoint that leads to a peer. */
static inline sublet_status way(struct ofi *ofi, uint64_t peer, struct fid_ep **endpoint_out)
{
    *endpoint_out = ofi->endpoint;
    return ofi->connected == NULL ? SUBLET_OK : ofi_connected_way(ofi, peer, endpoint_out);
}

/** The write, and a message behind it. BUSY in between is no harm: the write is done again, and nobody knows of it yet.
 */
static sublet_status write_plain(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                                 const struct ofi_target *to, uint64_t address, uint32_t data)
{
    ssize_t result = 0;
    if (size > 0 && size <= ofi->info->tx_attr->inject_size)
        result = fi_inject_write(ofi->endpoint, bytes, size, to->peer, address, to->key);
    else if (size > 0)
        result = fi_write(ofi->endpoint, bytes, size, from->descriptor, to->peer, address, to->key, NULL);
    return status_of(result != 0 ? result : fi_inject(ofi->endpoint, &data, sizeof(data), to->peer));
}

static void tell(struct ofi *ofi, void *context, int how)
{
    _Atomic int *done = context;
    if (done == NULL)
        return;
    atomic_fetch_sub(&ofi->waited, 1);
    atomic_store_explicit(done, how, memory_order_release);
}

/** The error at the head of a queue: it must be taken, or the queue stands still. */
static void take_error(struct ofi *ofi, struct fid_cq *queue)
{
    struct fi_cq_err_entry entry;
    memset(&entry, 0, sizeof(entry));
    if (fi_cq_readerr(queue, &entry, 0) != 1)
        return;
    if (queue == ofi->sent)
        tell(ofi, entry.op_context, 2);
    else if (ofi->connected != NULL)
        ofi_connected_broke(ofi, (uint64_t)(uintptr_t)entry.op_context);
}

/** Takes what was sent, or failed. */
static void take_sent(struct ofi *ofi)
{
    struct fi_cq_data_entry entries[16];
    ssize_t count = fi_cq_read(ofi->sent, entries, 16);
    if (count == -FI_EAVAIL)
        take_error(ofi, ofi->sent);
    for (ssize_t i = 0; i < count; i++)
        tell(ofi, entries[i].op_context, 1);
}

ssize_t ofi_post_note(struct ofi *ofi, uint32_t *note)
{
    return fi_recv(ofi->endpoint, note, sizeof(*note), fi_mr_desc(ofi->notes_region), FI_ADDR_UNSPEC, note);
}

/** What a message said; then there is room for another. */
static uint32_t take_note(struct ofi *ofi, uint32_t *note)
{
    uint32_t data = *note;
    for (uint32_t tries = 0; ofi_post_note(ofi, note) == -FI_EAGAIN && tries < NOTE_TRIES; tries++)
        take_sent(ofi); /* progress makes room */
    return data;
}

sublet_status ofi_write_data(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                             const struct ofi_target *to, uint64_t offset, uint32_t data)
{
    uint64_t address = to->address + offset;
    struct fid_ep *endpoint;
    if (ofi->plain)
        return write_plain(ofi, from, bytes, size, to, address, data);
    sublet_status status = way(ofi, to->peer, &endpoint);
    if (status != SUBLET_OK)
        return status;
    if (size <= ofi->info->tx_attr->inject_size)
        return status_of(fi_inject_writedata(endpoint, bytes, size, data, to->peer, address, to->key));
    return status_of(fi_writedata(endpoint, bytes, size, from->descriptor, data, to->peer, address, to->key, NULL));
}

/** A transfer that somebody waits for. */
static sublet_status start(struct ofi *ofi, bool write, const struct ofi_memory *local, void *bytes, size_t size,
                           const struct ofi_target *remote, uint64_t offset, _Atomic int *done)
{
    struct iovec here = {bytes, size};
    struct fi_rma_iov there = {remote->address + offset, size, remote->key};
    void *descriptor = local->descriptor;
    struct fi_msg_rma message = {.msg_iov = &here,
                                 .desc = &descriptor,
                                 .iov_count = 1,
                                 .addr = remote->peer,
                                 .rma_iov = &there,
                                 .rma_iov_count = 1,
                                 .context = (void *)(uintptr_t)done};
    struct fid_ep *endpoint;
    sublet_status status = way(ofi, remote->peer, &endpoint);
    if (status != SUBLET_OK)
        return status;
    ssize_t result = write ? fi_writemsg(endpoint, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE)
                           : fi_readmsg(endpoint, &message, FI_COMPLETION);
    if (result == 0)
        atomic_fetch_add(&ofi->waited, 1);
    return status_of(result);
}

sublet_status ofi_get(struct ofi *ofi, const struct ofi_memory *into, void *bytes, size_t size,
                      const struct ofi_target *from, uint64_t offset, _Atomic int *done)
{
    return start(ofi, false, into, bytes, size, from, offset, done);
}

sublet_status ofi_put(struct ofi *ofi, const struct ofi_memory *from, const void *bytes, size_t size,
                      const struct ofi_target *to, uint64_t offset, _Atomic int *done)
{
    return start(ofi, true, from, (void *)(uintptr_t)bytes, size, to, offset, done);
}

size_t ofi_transfer_max(const struct ofi *ofi)
{
    return ofi->info->ep_attr->max_msg_size;
}

/** Threads that poll at once may count one poll only. */
static uint32_t count_poll(struct ofi *ofi)
{
    uint32_t polls = atomic_load_explicit(&ofi->polls, memory_order_relaxed);
    atomic_store_explicit(&ofi->polls, polls + 1, memory_order_relaxed);
    return polls;
}

void ofi_progress(struct ofi *ofi)
{
    take_sent(ofi);
    if (ofi->connected != NULL)
        ofi_connected_poll(ofi, false, count_poll(ofi));
}

uint32_t ofi_poll(struct ofi *ofi, uint32_t *data, uint32_t most)
{
    struct fi_cq_data_entry entries[16];
    uint32_t taken = 0;
    ssize_t count = fi_cq_read(ofi->arrived, entries, most < 16 ? most : 16);
    if (count == -FI_EAVAIL)
        take_error(ofi, ofi->arrived);
    for (ssize_t i = 0; i < count; i++) {
        if ((entries[i].flags & FI_REMOTE_CQ_DATA) != 0)
            data[taken++] = (uint32_t)entries[i].data;
        else if (ofi->plain && (entries[i].flags & FI_RECV) != 0 && entries[i].op_context != NULL)
            data[taken++] = take_note(ofi, entries[i].op_context);
        if (ofi->connected != NULL)
            ofi_connected_owe(ofi, (uint64_t)(uintptr_t)entries[i].op_context);
    }
    uint32_t polls = count_poll(ofi);
    if (atomic_load_explicit(&ofi->waited, memory_order_relaxed) != 0 || polls % OFI_SENT_EVERY == 0)
        take_sent(ofi);
    if (ofi->connected != NULL)
        ofi_connected_poll(ofi, count > 0, polls);
    return taken;
}

int ofi_fd(const struct ofi *ofi)
{
    return ofi->wait_fd;
}

bool ofi_may_sleep(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    struct fid *queues[] = {&ofi->waits->fid, connected == NULL ? NULL : &connected->events->fid};
    if (ofi->wait_fd < 0 || (connected != NULL && !ofi_connected_rest(ofi)))
        return false;
    return ofi->fabric->ops->trywait(ofi->fabric, queues, connected == NULL ? 1 : 2) == 0;
}
