/**
 * The way to a spill file: content that has no memory to go to. The file has no name, so nothing is left of it when
 * this process ends, however it ends; its blocks are reserved when it is made, so a full disk shows itself then and not
 * at a write. An access is a system call; atomics are exact because writes of a durable region come one at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "client/durable.h"
#include "client/error.h"

static sublet_status move(int fd, bool puts, uint64_t offset, unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t moved = puts ? pwrite(fd, bytes, size, (off_t)offset) : pread(fd, bytes, size, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return SUBLET_ERR_LOST;
        bytes += moved;
        offset += (uint64_t)moved;
        size -= (size_t)moved;
    }
    return SUBLET_OK;
}

static sublet_status run_atomic(int fd, const struct region_job *job)
{
    uint64_t before, after;
    sublet_status status = move(fd, false, job->offset, (unsigned char *)&before, sizeof(before));
    if (status != SUBLET_OK)
        return status;
    memcpy(job->one.bytes, &before, sizeof(before));
    after = job->operation == STREAM_ADD     ? before + job->atomic.operand
            : before == job->atomic.expected ? job->atomic.operand
                                             : before;
    return move(fd, true, job->offset, (unsigned char *)&after, sizeof(after));
}

static sublet_status begin(struct link *link, struct region_job *job)
{
    int fd = link->region->memory_fd;
    bool puts = stream_access_puts(job->operation);
    sublet_status status = SUBLET_OK;
    if (job->operation == STREAM_ADD || job->operation == STREAM_SWAP)
        status = run_atomic(fd, job);
    else if (job->operation == STREAM_GET_STRIDED || job->operation == STREAM_PUT_STRIDED) {
        size_t block = job->stride.block;
        for (size_t at = 0; at < job->size && status == SUBLET_OK; at += block)
            status = move(fd, puts, job->offset + at / block * job->stride.stride, (unsigned char *)job->one.bytes + at,
                          block);
    } else
        for (size_t i = 0; i < job->piece_count && status == SUBLET_OK; i++)
            status = move(fd, puts, job->pieces[i].offset, job->pieces[i].bytes, job->pieces[i].size);
    job->status = status;
    job->done = true;
    return status;
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    (void)link;
    return job == NULL ? SUBLET_OK : job->status;
}

static sublet_status fence(struct link *link)
{
    return (sublet_status)atomic_load(&link->lost);
}

static void close_file(struct region_access *access)
{
    if (access->memory_fd >= 0)
        close(access->memory_fd);
    access->memory_fd = -1;
}

static void free_file(struct region_access *access)
{
    close_file(access);
    free(access);
}

static const struct region_transport spill_transport = {
    .ordered = true,
    .immediate = true,
    .begin = begin,
    .test = region_immediate_test,
    .wait = wait_for,
    .fence = fence,
    .pollable = region_immediate_pollable,
    .close = close_file,
    .free = free_file,
};

static int open_nameless(const char *folder)
{
    char path[4096];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    if ((size_t)snprintf(path, sizeof(path), "%s/sublet-XXXXXX", folder) >= sizeof(path))
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/** Asked first: a reservation that fails may take all that is left for a moment, and others write there too. */
static bool has_room(int fd, uint64_t bytes)
{
    struct statvfs disk;
    return fstatvfs(fd, &disk) != 0 || disk.f_blocks == 0 || (uint64_t)disk.f_bavail * disk.f_frsize >= bytes;
}

static sublet_status reserve(int fd, uint64_t bytes)
{
    if (!has_room(fd, bytes))
        return SUBLET_ERR_NO_MEMORY;
    if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
        return SUBLET_OK;
    if (errno == EOPNOTSUPP && ftruncate(fd, (off_t)bytes) == 0) /* then a full disk is a lost copy */
        return SUBLET_OK;
    return errno == ENOSPC || errno == EDQUOT ? SUBLET_ERR_NO_MEMORY : SUBLET_ERR_SYSTEM;
}

void durable_spill_return(struct durable *durable)
{
    pthread_mutex_lock(&durable->session->lock);
    durable->session->spilled_bytes -= durable->region->bytes;
    pthread_mutex_unlock(&durable->session->lock);
}

/** Takes it from the session's quota. */
static bool within_quota(struct durable *durable)
{
    struct sublet_session *session = durable->session;
    uint64_t bytes = durable->region->bytes;
    pthread_mutex_lock(&session->lock);
    bool room = session->spill_bytes == 0 ||
                (bytes <= session->spill_bytes && session->spilled_bytes <= session->spill_bytes - bytes);
    if (room)
        session->spilled_bytes += bytes;
    pthread_mutex_unlock(&session->lock);
    return room;
}

sublet_status durable_copy_spill(struct durable *durable, struct durable_copy **copy_out)
{
    struct sublet_session *session = durable->session;
    if (session->spill_folder == NULL)
        return error_set(SUBLET_ERR_BUSY, "no spill folder is set");
    if (!within_quota(durable))
        return error_set(SUBLET_ERR_NO_MEMORY, "the session's spill_bytes are used up");
    struct durable_copy *copy = calloc(1, sizeof(*copy));
    struct link *link = durable_link(session, NULL, &spill_transport, durable->region->bytes);
    int fd = copy == NULL || link == NULL ? -1 : open_nameless(session->spill_folder);
    sublet_status status = fd < 0 ? error_set(SUBLET_ERR_SYSTEM, "cannot make a file in %s: %m", session->spill_folder)
                                  : reserve(fd, durable->region->bytes);
    if (link != NULL)
        link->region->memory_fd = fd;
    if (status != SUBLET_OK) {
        durable_spill_return(durable);
        if (link != NULL) {
            pthread_mutex_lock(&session->lock);
            link_unref(link);
            pthread_mutex_unlock(&session->lock);
        }
        free(copy);
        return status;
    }
    copy->link = link;
    *copy_out = copy;
    return SUBLET_OK;
}
