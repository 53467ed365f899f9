/** A region over a fabric: the way, and its opening. What is under way: region_ofi_ops.c. */
#include "client/region_ofi.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/background.h"
#include "client/lease.h"
#include "wire/ofi.h"

#define PROBE_BYTES 8u

static uint64_t moved(const struct region_access *access)
{
    const struct region_access *stream = access->stream;
    uint64_t moves = access->fabric->moves << 32;
    pthread_mutex_lock(&access->stream->lock);
    moves ^= stream->transport->mover->moved(stream);
    pthread_mutex_unlock(&access->stream->lock);
    return moves;
}

/** The stream's socket, for what is to be sent or received there. */
static void watch_stream(struct region_access *access)
{
    struct region_fabric *fabric = access->fabric;
    struct region_access *stream = access->stream;
    int fd;
    pthread_mutex_lock(&stream->lock);
    short events = stream->transport->mover->events(stream, &fd);
    pthread_mutex_unlock(&stream->lock);
    if (events == fabric->stream_events || fd < 0)
        return;
    struct epoll_event event = {.events = (uint32_t)events};
    if (epoll_ctl(fabric->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        fabric->stream_events = events;
}

static short events_of(struct region_access *access, int *fd_out)
{
    struct region_fabric *fabric = access->fabric;
    const uint64_t one = 1;
    *fd_out = fabric->epoll_fd;
    if (fabric->epoll_fd < 0)
        return 0;
    watch_stream(access);
    fabric->looks = UINT32_MAX; /* it may be woken by the other side's end */
    if (fabric->ofi != NULL && !fabric->busy && !ofi_may_sleep(fabric->ofi))
        fabric->busy = write(fabric->busy_fd, &one, sizeof(one)) == sizeof(one);
    return POLLIN;
}

static void close_fabric(struct region_access *access)
{
    struct region_fabric *fabric = access->fabric;
    int *const fds[] = {&fabric->fd, &fabric->epoll_fd, &fabric->busy_fd};
    region_ofi_shut(fabric);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    if (access->stream != NULL)
        access->stream->transport->close(access->stream);
}

static void abandon(struct region_access *access, sublet_status status)
{
    struct region_fabric *fabric = access->fabric;
    struct region_access *stream = access->stream;
    region_ofi_shut(fabric);
    pthread_mutex_lock(&stream->lock);
    stream->transport->mover->abandon(stream, status);
    pthread_mutex_unlock(&stream->lock);
    for (uint32_t i = 0; i < REGION_OPS; i++)
        fabric->ops[i].job = NULL;
    fabric->used = 0;
    fabric->state = REGION_FABRIC_GONE;
    region_jobs_end_all(access, status);
}

static sublet_status begin(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region;
    struct region_fabric *fabric = access->fabric;
    pthread_mutex_lock(&access->lock);
    bool idle = access->first == NULL;
    bool waited_for = job->waited_for && !job->left_alone; /* it may be over, and gone, in a moment */
    if (idle)
        fabric->moved_ns = now_ns();
    job->fenced = fabric->fenced && region_job_writes(job);
    fabric->fenced = fabric->fenced && !job->fenced;
    region_jobs_add(access, job);
    sublet_status status = region_ofi_pump(link, access);
    if (status != SUBLET_OK)
        abandon(access, status);
    bool unsent = access->asking != NULL;
    pthread_mutex_unlock(&access->lock);
    return region_jobs_begun(link, access, status, !waited_for && (idle || unsent));
}

static bool test(struct link *link, struct region_job *job)
{
    return region_jobs_test(link, link->region, job);
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    return region_jobs_wait(link, link->region, job);
}

static sublet_status fence(struct link *link)
{
    struct region_access *access = link->region;
    pthread_mutex_lock(&access->lock);
    access->fabric->fenced = true;
    pthread_mutex_unlock(&access->lock);
    return (sublet_status)atomic_load(&link->lost);
}

static int pollable(struct link *link, short *events)
{
    return region_jobs_pollable(link->region, events);
}

static void free_fabric(struct region_access *access)
{
    close_fabric(access);
    if (access->stream != NULL)
        access->stream->transport->free(access->stream);
    region_jobs_stop(access);
    free(access->fabric);
    free(access);
}

static const struct region_mover fabric_mover = {
    .nap_ms = 1, .pump = region_ofi_pump, .moved = moved, .events = events_of, .abandon = abandon};

static const struct region_transport fabric_region_transport = {
    .ordered = true,
    .begin = begin,
    .test = test,
    .wait = wait_for,
    .fence = fence,
    .pollable = pollable,
    .mover = &fabric_mover,
    .close = close_fabric,
    .free = free_fabric,
};

static sublet_status open_endpoint(const struct link *link, struct region_fabric *fabric)
{
    char address[OFI_ADDRESS_MAX];
    const char *wanted = link->session->fabric;
    struct ofi_settings settings = {.provider = wanted[0] == '\0' ? NULL : wanted,
                                    .address = ofi_own_address(link->control, address, sizeof(address)),
                                    .completions = 2 * REGION_OPS,
                                    .connects = OFI_CONNECTS,
                                    .transfers = true};
    sublet_status status = ofi_open(&settings, &fabric->ofi);
    if (status != SUBLET_OK)
        return status;
    fabric->copies = ofi_wanted_copies();
    bool staged = fabric->copies || ofi_needs_memory(fabric->ofi);
    size_t bytes = staged ? (size_t)REGION_OPS * REGION_STAGE_BYTES : REGION_STAGE_BYTES;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    status = ofi_borrow(fabric->ofi, base, bytes, &fabric->stage);
    if (status != SUBLET_OK)
        munmap(base, bytes);
    memcpy(fabric->provider, ofi_provider(fabric->ofi), strlen(ofi_provider(fabric->ofi)));
    return status;
}

/** The executor's offer for ours. */
static sublet_status meet(struct region_fabric *fabric, uint64_t end_ns)
{
    struct ofi_offer offer = {.magic = OFI_WIRE_MAGIC, .version = OFI_WIRE_VERSION};
    uint32_t name_bytes = 0;
    size_t fds = 0;
    sublet_status status = ofi_name(fabric->ofi, offer.name, sizeof(offer.name), &name_bytes);
    offer.name_bytes = (uint16_t)name_bytes;
    memcpy(offer.provider, fabric->provider, strlen(fabric->provider));
    if (status == SUBLET_OK)
        status = fds_send(fabric->fd, &offer, sizeof(offer), NULL, 0, end_ns);
    if (status == SUBLET_OK)
        status = fds_receive(fabric->fd, &offer, sizeof(offer), NULL, 0, &fds, end_ns);
    if (status == SUBLET_OK)
        status = ofi_region_offer_check(&offer);
    if (status == SUBLET_OK && strcmp(offer.provider, fabric->provider) != 0)
        status = SUBLET_ERR_INVALID;
    if (status == SUBLET_OK)
        status = ofi_peer_add(fabric->ofi, offer.name, offer.name_bytes, REGION_OPS, &fabric->target.peer);
    fabric->target.address = offer.address;
    fabric->target.key = offer.key;
    return status;
}

/** Reads the first bytes of the region, and throws them away. */
static sublet_status probe(struct region_fabric *fabric, uint64_t bytes, uint64_t end_ns)
{
    _Atomic int *done = &fabric->ops[0].done;
    size_t size = bytes < PROBE_BYTES ? (size_t)bytes : PROBE_BYTES;
    sublet_status status = SUBLET_ERR_BUSY;
    while (now_ns() < end_ns) {
        if (status == SUBLET_ERR_BUSY)
            status = ofi_get(fabric->ofi, &fabric->stage, fabric->stage.base, size, &fabric->target, 0, done);
        if (status != SUBLET_OK && status != SUBLET_ERR_BUSY)
            return status;
        ofi_progress(fabric->ofi);
        int now = atomic_load(done);
        if (now != 0)
            return now == 1 ? SUBLET_OK : SUBLET_ERR_LOST;
        poll(NULL, 0, 0);
    }
    return SUBLET_ERR_TIMEOUT;
}

static sublet_status open_watch(struct region_fabric *fabric, int stream_fd)
{
    fabric->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fabric->busy_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fabric->epoll_fd < 0 || fabric->busy_fd < 0)
        return SUBLET_ERR_SYSTEM;
    const int fds[] = {fabric->busy_fd, fabric->fd, ofi_fd(fabric->ofi), stream_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        struct epoll_event event = {.events = fds[i] == stream_fd ? 0 : EPOLLIN};
        if (fds[i] >= 0 && epoll_ctl(fabric->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0)
            return SUBLET_ERR_SYSTEM;
    }
    return SUBLET_OK;
}

sublet_status region_access_fabric(struct link *link, struct region_access *stream, uint64_t end_ns)
{
    struct region_access *access = calloc(1, sizeof(*access));
    struct region_fabric *fabric = calloc(1, sizeof(*fabric));
    if (access == NULL || fabric == NULL) {
        free(access);
        free(fabric);
        return SUBLET_ERR_NO_MEMORY;
    }
    uint64_t now = now_ns(), until_ns = now + (end_ns > now ? (end_ns - now) / 3 * 2 : 0); /* the rest is for TCP */
    fabric->fd = fabric->epoll_fd = fabric->busy_fd = -1;
    region_jobs_start(access);
    access->fabric = fabric;
    access->transport = &fabric_region_transport;
    access->features_access = true;
    access->bytes = stream->bytes;
    access->memory_fd = access->fd = -1;
    struct stream_welcome welcome;
    sublet_status status = link_stream(link, STREAM_REGION_FABRIC, until_ns, &welcome, &fabric->fd);
    if (status == SUBLET_OK) /* both sides load their library meanwhile */
        status = open_endpoint(link, fabric);
    if (status == SUBLET_OK)
        status = meet(fabric, until_ns);
    if (status == SUBLET_OK)
        status = probe(fabric, stream->bytes, until_ns);
    if (status == SUBLET_OK)
        status = open_watch(fabric, stream->fd);
    if (status != SUBLET_OK) {
        atomic_fetch_add(&link->falls, 1);
        free_fabric(access);
        return status;
    }
    access->stream = stream;
    link->region = access;
    return SUBLET_OK;
}

const char *region_path(const struct region_access *access)
{
    const struct region_fabric *fabric = access->fabric;
    return fabric != NULL && atomic_load(&fabric->state) == REGION_FABRIC_OPEN ? fabric->provider : "tcp";
}
