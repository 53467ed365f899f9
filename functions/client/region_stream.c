/** A region of another node, over one TCP connection (wire/stream.h): requests in chunks, answers in order. */
#include "client/region.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lease.h"
#include "fabric/ofi.h"

#define PARTS_MAX 64u

/** Takes the finished jobs from the front: answers come in order. */
static void retire(struct region_access *access)
{
    while (access->first != NULL && access->first->answered == access->first->size)
        region_jobs_end(access, access->first);
}

/** The connection is over: so is every job. */
static void abandon(struct region_access *access, sublet_status status)
{
    access->sending = NULL;
    access->count = 0;
    access->head_bytes = access->head_sent = access->body_left = access->received = 0;
    region_jobs_end_all(access, status);
}

/** Points at up to `limit` bytes of the job's memory from a cursor on. */
static size_t parts_of(const struct region_job *job, struct region_cursor cursor, size_t limit, struct iovec *parts,
                       size_t capacity)
{
    size_t count = 0;
    for (; limit > 0 && count < capacity; cursor.piece++, cursor.at = 0) {
        const sublet_region_piece *piece = &job->pieces[cursor.piece];
        size_t size = piece->size - cursor.at < limit ? piece->size - cursor.at : limit;
        parts[count++] = (struct iovec){.iov_base = (unsigned char *)piece->bytes + cursor.at, .iov_len = size};
        limit -= size;
    }
    return count;
}

/** Fills the table of a list's next chunk; its size. */
static uint32_t cut_list(struct region_job *job, struct stream_piece *table, uint32_t *count_out)
{
    uint32_t size = 0, count = 0;
    while (count < STREAM_PIECES_MAX && size < REGION_CHUNK_BYTES && job->cut.piece < job->piece_count) {
        const sublet_region_piece *piece = &job->pieces[job->cut.piece];
        size_t left = piece->size - job->cut.at;
        uint32_t here = (uint32_t)(left < REGION_CHUNK_BYTES - size ? left : REGION_CHUNK_BYTES - size);
        table[count++] = (struct stream_piece){.offset = piece->offset + job->cut.at, .size = here};
        size += here;
        region_job_advance(job, &job->cut, here);
    }
    *count_out = count;
    return size;
}

/** What the next chunk says and how much of the job it is. */
static uint32_t cut_chunk(struct region_job *job, struct stream_access *head, void *extra)
{
    size_t left = job->size - job->asked;
    uint32_t blocks, size = (uint32_t)(left < REGION_CHUNK_BYTES ? left : REGION_CHUNK_BYTES);
    switch (job->operation) {
    case STREAM_ADD:
    case STREAM_SWAP:
        head->offset = job->offset;
        memcpy(extra, &job->atomic, sizeof(job->atomic));
        break;
    case STREAM_GET_LIST:
    case STREAM_PUT_LIST:
        size = cut_list(job, extra, &head->count);
        break;
    case STREAM_GET_STRIDED:
    case STREAM_PUT_STRIDED:
        blocks = size / job->stride.block > 0 ? size / job->stride.block : 1;
        size = blocks * job->stride.block;
        head->count = blocks;
        head->offset = job->offset + job->asked / job->stride.block * job->stride.stride;
        memcpy(extra, &job->stride, sizeof(job->stride));
        break;
    default:
        head->offset = job->one.offset + job->asked;
        break;
    }
    head->size = size;
    return size;
}

/** Cuts the next chunk; false when there is none, or enough are under way. */
static bool next_chunk(struct region_access *access)
{
    struct region_job *job = access->asking;
    if (job == NULL || access->count == REGION_CHUNKS_MAX)
        return false;
    struct stream_access head = {.operation = job->operation};
    if (++access->sequence == 0)
        access->sequence = 1;
    head.sequence = access->sequence;
    uint32_t size = cut_chunk(job, &head, access->head + sizeof(head));
    bool puts = stream_access_puts(job->operation);
    memcpy(access->head, &head, sizeof(head));
    access->head_bytes = sizeof(head) + stream_access_extra(&head);
    access->head_sent = 0;
    access->body_left = puts ? size : 0;
    access->sending = job;
    access->chunks[(access->oldest + access->count++) % REGION_CHUNKS_MAX] =
        (struct region_chunk){.job = job, .sequence = access->sequence, .size = size, .answer = puts ? 0 : size};
    job->asked += size;
    if (job->asked == job->size)
        access->asking = job->next;
    return true;
}

static void account_sent(struct region_access *access, size_t sent)
{
    size_t head = access->head_bytes - access->head_sent;
    if (head > sent)
        head = sent;
    access->head_sent += head;
    region_job_advance(access->sending, &access->sending->sent, sent - head);
    access->body_left -= sent - head;
    if (access->head_sent == access->head_bytes && access->body_left == 0)
        access->sending = NULL;
}

static sublet_status push(struct region_access *access)
{
    while (access->sending != NULL || next_chunk(access)) {
        struct iovec parts[PARTS_MAX];
        size_t count = 0;
        if (access->head_sent < access->head_bytes)
            parts[count++] = (struct iovec){.iov_base = access->head + access->head_sent,
                                            .iov_len = access->head_bytes - access->head_sent};
        count += parts_of(access->sending, access->sending->sent, access->body_left, parts + count, PARTS_MAX - count);
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(access->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? SUBLET_OK : SUBLET_ERR_LOST;
        account_sent(access, (size_t)sent);
    }
    return SUBLET_OK;
}

/**
 * Checks the head of an answer against the chunk that it must be for. The last one may not be sent whole yet: an answer
 * to it would end a job whose memory is still read.
 */
static bool expected(const struct region_access *access, const struct region_chunk *chunk)
{
    if (access->sending != NULL && access->count == 1)
        return false;
    uint32_t size = access->response.status == SUBLET_OK ? chunk->answer : 0;
    return stream_response_check(&access->response, chunk->sequence, size) == SUBLET_OK &&
           access->response.size == size;
}

static void chunk_done(struct region_access *access, struct region_chunk *chunk)
{
    struct region_job *job = chunk->job;
    if (access->response.status != SUBLET_OK) {
        if (job->status == SUBLET_OK)
            job->status = (sublet_status)access->response.status;
        region_job_advance(job, &job->received, chunk->answer);
    }
    job->answered += chunk->size;
    access->oldest = (access->oldest + 1) % REGION_CHUNKS_MAX;
    access->count--;
    access->received = 0;
    retire(access);
}

/**
 * What the next bytes are: the rest of the head, and the content. Both at once only for the last answer that is due:
 * an error brings no content, and what then followed would be of the next answer.
 */
static size_t parts_due(struct region_access *access, const struct region_chunk *chunk, struct iovec *parts)
{
    size_t head = sizeof(access->response), count = 0, body_got = 0;
    if (access->received < head)
        parts[count++] = (struct iovec){.iov_base = (char *)&access->response + access->received,
                                        .iov_len = head - access->received};
    else
        body_got = access->received - head;
    if (count == 0 || access->count == 1)
        count += parts_of(chunk->job, chunk->job->received, chunk->answer - body_got, parts + count, PARTS_MAX - count);
    return count;
}

static sublet_status pull(struct region_access *access)
{
    size_t head = sizeof(access->response);
    while (access->count > 0) {
        struct region_chunk *chunk = &access->chunks[access->oldest];
        struct iovec parts[PARTS_MAX];
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = parts_due(access, chunk, parts)};
        ssize_t got = recvmsg(access->fd, &message, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return SUBLET_OK;
        if (got <= 0)
            return SUBLET_ERR_LOST;
        size_t before = access->received;
        access->received += (size_t)got;
        if (access->received < head)
            continue;
        if (before < head && !expected(access, chunk))
            return SUBLET_ERR_LOST;
        if (access->received > head + access->response.size)
            return SUBLET_ERR_LOST; /* content behind an error */
        region_job_advance(chunk->job, &chunk->job->received, access->received - (before > head ? before : head));
        if (access->received == head + access->response.size)
            chunk_done(access, chunk);
    }
    return SUBLET_OK;
}

static sublet_status pump(struct link *link, struct region_access *access)
{
    (void)link;
    sublet_status status = access->fd < 0 ? SUBLET_ERR_LOST : push(access);
    if (status == SUBLET_OK)
        status = pull(access);
    return status == SUBLET_OK ? push(access) : status; /* answers made room */
}

/** Something waits to be sent. */
static bool full(const struct region_access *access)
{
    return access->sending != NULL || (access->asking != NULL && access->count < REGION_CHUNKS_MAX);
}

static short events_of(struct region_access *access, int *fd_out)
{
    *fd_out = access->fd;
    return (short)((access->count > 0 ? POLLIN : 0) | (full(access) ? POLLOUT : 0));
}

static uint64_t moved(const struct region_access *access)
{
    return (uint64_t)access->sequence << 32 ^
           ((uint64_t)access->body_left + access->received * 3 + access->count * 7 + access->head_sent * 11);
}

/** Sends what goes without waiting. */
static sublet_status begin(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region->stream;
    if (job->operation >= STREAM_ADD && !access->features_access)
        return SUBLET_ERR_VERSION;
    pthread_mutex_lock(&access->lock);
    bool idle = access->first == NULL;
    bool waited_for = job->waited_for && !job->left_alone; /* it may be over, and gone, in a moment */
    region_jobs_add(access, job);
    sublet_status status = access->fd < 0 ? SUBLET_ERR_LOST : push(access);
    if (status != SUBLET_OK)
        abandon(access, status);
    bool unsent = access->sending != NULL || access->asking != NULL;
    pthread_mutex_unlock(&access->lock);
    return region_jobs_begun(link, access, status, !waited_for && (idle || unsent));
}

static bool test(struct link *link, struct region_job *job)
{
    return region_jobs_test(link, link->region->stream, job);
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    return region_jobs_wait(link, link->region->stream, job);
}

/** One connection, served in order by one thread: nothing to do. */
static sublet_status fence(struct link *link)
{
    return (sublet_status)atomic_load(&link->lost);
}

static int pollable(struct link *link, short *events)
{
    return region_jobs_pollable(link->region->stream, events);
}

static void close_stream(struct region_access *access)
{
    if (access->fd >= 0)
        close(access->fd);
    access->fd = -1;
}

static void free_stream(struct region_access *access)
{
    close_stream(access);
    region_jobs_stop(access);
    free(access);
}

static const struct region_mover stream_mover = {
    .pump = pump, .moved = moved, .full = full, .events = events_of, .abandon = abandon};

const struct region_transport region_stream_transport = {
    .ordered = true,
    .begin = begin,
    .test = test,
    .wait = wait_for,
    .fence = fence,
    .pollable = pollable,
    .mover = &stream_mover,
    .close = close_stream,
    .free = free_stream,
};

sublet_status region_access_connect(struct link *link, uint64_t bytes, uint64_t end_ns)
{
    struct stream_welcome welcome;
    struct region_access *access = calloc(1, sizeof(*access));
    if (access == NULL)
        return SUBLET_ERR_NO_MEMORY;
    sublet_status status = link_stream(link, STREAM_REGION, end_ns, &welcome, &access->fd);
    if (status == SUBLET_OK && welcome.region_bytes < bytes) {
        close(access->fd);
        status = SUBLET_ERR_INVALID;
    }
    if (status != SUBLET_OK) {
        free(access);
        return status;
    }
    region_jobs_start(access);
    access->transport = &region_stream_transport;
    access->stream = access;
    access->features_access = (welcome.features & STREAM_FEATURE_ACCESS) != 0;
    access->bytes = bytes;
    access->memory_fd = -1;
    bool fabric = (welcome.features & STREAM_FEATURE_FABRIC) != 0 && !link->imported;
    if (!fabric || !ofi_wanted(link->session->fabric) || region_access_fabric(link, access, end_ns) != SUBLET_OK)
        link->region = access;
    return SUBLET_OK;
}
