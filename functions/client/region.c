#include "client/region.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/error.h"
#include "client/lease.h"

#define COPY_BYTES (UINT64_C(4) << 20) /* between two looks whether the region is still ours */
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW)

struct sublet_region {
    struct sublet_lease *lease;
    uint64_t bytes;
};

sublet_status region_access_map(struct link *link, int fd, uint64_t bytes)
{
    struct stat info;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS) /* else the other side could shrink it under our feet */
        return SUBLET_ERR_INVALID;
    if (fstat(fd, &info) != 0 || info.st_size < 0 || (uint64_t)info.st_size < bytes)
        return SUBLET_ERR_INVALID;
    struct region_access *access = calloc(1, sizeof(*access));
    if (access == NULL)
        return SUBLET_ERR_NO_MEMORY;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        free(access);
        return SUBLET_ERR_SYSTEM;
    }
    access->base = base;
    access->bytes = bytes;
    access->fd = -1;
    pthread_mutex_init(&access->lock, NULL);
    link->region = access;
    return SUBLET_OK;
}

void region_access_close(struct link *link)
{
    struct region_access *access = link->region;
    if (access->base != NULL)
        munmap(access->base, access->bytes);
    access->base = NULL;
    if (access->fd >= 0)
        close(access->fd);
    access->fd = -1;
}

void region_access_free(struct link *link)
{
    struct region_access *access = link->region;
    if (access == NULL)
        return;
    region_access_close(link);
    for (struct region_job *job = access->first, *next; job != NULL; job = next) {
        next = job->next;
        free(job);
    }
    pthread_mutex_destroy(&access->lock);
    free(access);
    link->region = NULL;
}

static sublet_status gone(sublet_status status, const struct sublet_region *region)
{
    return error_set(status, "the region on %s is gone, and its content: %s", region->lease->node,
                     sublet_status_text(status));
}

/** Begins an access: holds the link, or says why not. */
static sublet_status enter(struct sublet_region *region, uint64_t offset, const void *buffer, size_t bytes,
                           struct link **link_out)
{
    if (region == NULL || (buffer == NULL && bytes > 0))
        return error_set(SUBLET_ERR_INVALID, "region and buffer must not be NULL");
    if (offset > region->bytes || bytes > region->bytes - offset)
        return error_set(SUBLET_ERR_INVALID, "%zu bytes at %llu are outside of a region of %llu bytes", bytes,
                         (unsigned long long)offset, (unsigned long long)region->bytes);
    struct sublet_session *session = region->lease->session;
    pthread_mutex_lock(&session->lock);
    struct link *link = region->lease->link;
    int lost = atomic_load(&link->lost);
    if (lost == 0)
        link->refs++;
    pthread_mutex_unlock(&session->lock);
    if (lost != 0)
        return gone((sublet_status)lost, region);
    *link_out = link;
    return SUBLET_OK;
}

static void leave(struct link *link)
{
    struct sublet_session *session = link->session;
    pthread_mutex_lock(&session->lock);
    link_unref(link);
    pthread_mutex_unlock(&session->lock);
}

/** Copies in pieces: a region that is taken back is left within one of them. */
static sublet_status copy(struct link *link, enum stream_operation operation, uint64_t offset, void *buffer,
                          size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t size = bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES;
        unsigned char *there = link->region->base + offset + done, *here = (unsigned char *)buffer + done;
        int lost = atomic_load_explicit(&link->lost, memory_order_acquire);
        if (lost != 0)
            return (sublet_status)lost;
        if (operation == STREAM_PUT)
            memcpy(there, here, size);
        else
            memcpy(here, there, size);
        done += size;
    }
    return (sublet_status)atomic_load(&link->lost);
}

static sublet_status access_now(struct sublet_region *region, enum stream_operation operation, uint64_t offset,
                                void *buffer, size_t bytes)
{
    struct link *link;
    sublet_status status = enter(region, offset, buffer, bytes, &link);
    if (status != SUBLET_OK || bytes == 0) {
        if (status == SUBLET_OK)
            leave(link);
        return status;
    }
    if (link->same_node)
        status = copy(link, operation, offset, buffer, bytes);
    else {
        struct region_job job = {
            .operation = operation, .offset = offset, .bytes = buffer, .size = bytes, .waited_for = true};
        region_stream_add(link->region, &job);
        status = region_stream_wait(link, &job);
        if (status == SUBLET_OK)
            status = job.status;
        if (atomic_load(&link->region->waiting_jobs)) { /* others' jobs, which nobody waits for now */
            pthread_mutex_lock(&link->session->lock);
            background_wake(link->session);
            pthread_mutex_unlock(&link->session->lock);
        }
    }
    leave(link);
    if (status == SUBLET_ERR_REVOKED || status == SUBLET_ERR_LOST)
        return gone(status, region);
    return status == SUBLET_OK ? status : error_set(status, "access to a region: %s", sublet_status_text(status));
}

static sublet_status access_later(struct sublet_region *region, enum stream_operation operation, uint64_t offset,
                                  void *buffer, size_t bytes)
{
    struct link *link;
    sublet_status status = enter(region, offset, buffer, bytes, &link);
    if (status != SUBLET_OK)
        return status;
    if (link->same_node || bytes == 0) { /* copying is as quick as it gets */
        status = copy(link, operation, offset, buffer, bytes);
        leave(link);
        return status == SUBLET_OK ? status : gone(status, region);
    }
    struct region_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        leave(link);
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    }
    *job = (struct region_job){.operation = operation, .offset = offset, .bytes = buffer, .size = bytes};
    region_stream_add(link->region, job);
    pthread_mutex_lock(&link->session->lock);
    background_wake(link->session);
    link_unref(link);
    pthread_mutex_unlock(&link->session->lock);
    return SUBLET_OK;
}

sublet_status sublet_region_put(sublet_region *region, uint64_t offset, const void *from, size_t bytes)
{
    return access_now(region, STREAM_PUT, offset, (void *)(uintptr_t)from, bytes);
}

sublet_status sublet_region_get(sublet_region *region, uint64_t offset, void *to, size_t bytes)
{
    return access_now(region, STREAM_GET, offset, to, bytes);
}

sublet_status sublet_region_put_async(sublet_region *region, uint64_t offset, const void *from, size_t bytes)
{
    return access_later(region, STREAM_PUT, offset, (void *)(uintptr_t)from, bytes);
}

sublet_status sublet_region_get_async(sublet_region *region, uint64_t offset, void *to, size_t bytes)
{
    return access_later(region, STREAM_GET, offset, to, bytes);
}

sublet_status sublet_region_flush(sublet_region *region)
{
    struct link *link;
    sublet_status status = enter(region, 0, NULL, 0, &link);
    if (status != SUBLET_OK)
        return status;
    if (!link->same_node) {
        status = region_stream_wait(link, NULL);
        pthread_mutex_lock(&link->region->lock);
        if (status == SUBLET_OK)
            status = link->region->first_error;
        link->region->first_error = SUBLET_OK;
        pthread_mutex_unlock(&link->region->lock);
    }
    leave(link);
    if (status == SUBLET_ERR_REVOKED || status == SUBLET_ERR_LOST)
        return gone(status, region);
    return status == SUBLET_OK ? status : error_set(status, "access to a region: %s", sublet_status_text(status));
}

sublet_status sublet_region_alloc(sublet_session *session, uint64_t bytes, const sublet_region_options *options,
                                  sublet_region **region_out)
{
    sublet_region_options wanted = SUBLET_REGION_OPTIONS_INIT;
    if (session == NULL || region_out == NULL || bytes == 0)
        return error_set(SUBLET_ERR_INVALID, "session and region_out must not be NULL, bytes not 0");
    if (options != NULL)
        memcpy(&wanted, options, options->struct_bytes < sizeof(wanted) ? options->struct_bytes : sizeof(wanted));
    struct sublet_region *region = calloc(1, sizeof(*region));
    if (region == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    Sublet__V1__LeaseRequest request = SUBLET__V1__LEASE_REQUEST__INIT;
    request.kind = SUBLET__V1__LEASE_KIND__LEASE_KIND_REGION;
    request.memory_bytes = bytes;
    request.term_ms = wanted.term_ms;
    request.node = wanted.node == NULL ? request.node : (char *)(uintptr_t)wanted.node;
    struct lease_wish wish = {
        .request = &request, .exclude_nodes = wanted.exclude_nodes, .slots = 1, .region_bytes = bytes};
    sublet_status status = lease_take(session, &wish, &region->lease);
    if (status != SUBLET_OK) {
        free(region);
        return status;
    }
    region->bytes = bytes;
    region->lease->region = region;
    *region_out = region;
    return SUBLET_OK;
}

sublet_status sublet_region_info_get(const sublet_region *region, sublet_lease_info *info)
{
    return region == NULL ? error_set(SUBLET_ERR_INVALID, "region must not be NULL")
                          : lease_describe(region->lease, info);
}

void sublet_region_free(sublet_region *region)
{
    if (region == NULL)
        return;
    lease_give_back(region->lease);
    free(region);
}
