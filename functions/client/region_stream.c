#include "client/region.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"

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
    access->bytes = bytes;
    pthread_mutex_init(&access->lock, NULL);
    link->region = access;
    return SUBLET_OK;
}

void region_stream_add(struct region_access *access, struct region_job *job)
{
    pthread_mutex_lock(&access->lock);
    if (access->first == NULL)
        access->first = job;
    else
        access->last->next = job;
    access->last = job;
    if (access->asking == NULL)
        access->asking = job;
    atomic_store(&access->waiting_jobs, true);
    pthread_mutex_unlock(&access->lock);
}

/** Takes the finished jobs from the front. */
static void retire(struct region_access *access)
{
    while (access->first != NULL && access->first->answered == access->first->size) {
        struct region_job *job = access->first;
        access->first = job->next;
        if (job->status != SUBLET_OK && access->first_error == SUBLET_OK && !job->waited_for)
            access->first_error = job->status;
        job->done = true;
        if (!job->waited_for)
            free(job);
    }
    atomic_store(&access->waiting_jobs, access->first != NULL);
}

/** The connection is over: so is every job. */
static void fail_all(struct region_access *access, sublet_status status)
{
    for (struct region_job *job = access->first; job != NULL; job = job->next) {
        job->status = status;
        job->answered = job->asked = job->size;
    }
    access->asking = NULL;
    access->count = 0;
    access->to_send = access->sent = access->received = 0;
    retire(access);
}

/** Cuts the next chunk; false when there is none, or enough are under way. */
static bool next_chunk(struct region_access *access)
{
    struct region_job *job = access->asking;
    if (job == NULL || access->count == REGION_CHUNKS_MAX)
        return false;
    size_t left = job->size - job->asked;
    uint32_t size = (uint32_t)(left < REGION_CHUNK_BYTES ? left : REGION_CHUNK_BYTES);
    if (++access->sequence == 0)
        access->sequence = 1;
    access->head = (struct stream_access){
        .sequence = access->sequence, .operation = job->operation, .offset = job->offset + job->asked, .size = size};
    access->body = job->bytes + job->asked;
    access->chunks[(access->oldest + access->count++) % REGION_CHUNKS_MAX] =
        (struct region_chunk){.job = job,
                              .sequence = access->sequence,
                              .size = size,
                              .bytes = job->bytes + job->asked,
                              .operation = job->operation};
    access->to_send = sizeof(access->head) + (job->operation == STREAM_PUT ? size : 0);
    access->sent = 0;
    job->asked += size;
    if (job->asked == job->size)
        access->asking = job->next;
    return true;
}

static sublet_status push(struct region_access *access)
{
    while (access->to_send > 0 || next_chunk(access)) {
        size_t head = sizeof(access->head);
        struct iovec parts[2] = {{.iov_base = (char *)&access->head, .iov_len = head},
                                 {.iov_base = (void *)(uintptr_t)access->body, .iov_len = access->to_send - head}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = access->to_send > head ? 2 : 1};
        if (access->sent < head) {
            parts[0].iov_base = (char *)&access->head + access->sent;
            parts[0].iov_len -= access->sent;
        } else {
            message.msg_iov = &parts[1];
            message.msg_iovlen = 1;
            parts[1].iov_base = (char *)parts[1].iov_base + (access->sent - head);
            parts[1].iov_len -= access->sent - head;
        }
        ssize_t sent = sendmsg(access->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? SUBLET_OK : SUBLET_ERR_LOST;
        access->sent += (size_t)sent;
        if (access->sent == access->to_send)
            access->to_send = 0;
    }
    return SUBLET_OK;
}

/** Checks the head of an answer against the chunk that it must be for. */
static bool expected(const struct region_access *access, const struct region_chunk *chunk)
{
    uint32_t size = chunk->operation == STREAM_GET && access->response.status == SUBLET_OK ? chunk->size : 0;
    return stream_response_check(&access->response, chunk->sequence, size) == SUBLET_OK &&
           access->response.size == size;
}

static void chunk_done(struct region_access *access, struct region_chunk *chunk)
{
    struct region_job *job = chunk->job;
    if (access->response.status != SUBLET_OK && job->status == SUBLET_OK)
        job->status = (sublet_status)access->response.status;
    job->answered += chunk->size;
    access->oldest = (access->oldest + 1) % REGION_CHUNKS_MAX;
    access->count--;
    access->received = 0;
    retire(access);
}

static sublet_status pull(struct region_access *access)
{
    while (access->count > 0) {
        struct region_chunk *chunk = &access->chunks[access->oldest];
        size_t head = sizeof(access->response);
        struct iovec part = {.iov_base = (char *)&access->response + access->received,
                             .iov_len = head - access->received};
        if (access->received >= head)
            part = (struct iovec){.iov_base = chunk->bytes + (access->received - head),
                                  .iov_len = chunk->size - (access->received - head)};
        ssize_t got = recv(access->fd, part.iov_base, part.iov_len, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return SUBLET_OK;
        if (got <= 0)
            return SUBLET_ERR_LOST;
        access->received += (size_t)got;
        if (access->received == head && !expected(access, chunk))
            return SUBLET_ERR_LOST;
        if (access->received >= head && access->received == head + access->response.size)
            chunk_done(access, chunk);
    }
    return SUBLET_OK;
}

sublet_status region_stream_pump(struct region_access *access)
{
    sublet_status status = access->fd < 0 ? SUBLET_ERR_LOST : push(access);
    if (status == SUBLET_OK)
        status = pull(access);
    if (status == SUBLET_OK)
        status = push(access); /* answers made room */
    if (status != SUBLET_OK)
        fail_all(access, status);
    return status;
}

static short events_of(const struct region_access *access)
{
    bool output = access->to_send > 0 || (access->asking != NULL && access->count < REGION_CHUNKS_MAX);
    return (short)((access->count > 0 ? POLLIN : 0) | (output ? POLLOUT : 0));
}

/** Bytes moved so far, to tell a slow peer from a silent one. */
static uint64_t moved(const struct region_access *access)
{
    return (uint64_t)access->sequence << 32 ^ ((uint64_t)access->sent + access->received * 3 + access->count * 7);
}

sublet_status region_stream_wait(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region;
    struct sublet_session *session = link->session;
    sublet_status status = SUBLET_OK;
    atomic_fetch_add(&access->pumping, 1);
    pthread_mutex_lock(&access->lock);
    uint64_t begin_ns = now_ns(), silent_ns = begin_ns, seen = 0;
    while (job == NULL ? access->first != NULL : !job->done) {
        int lost = atomic_load(&link->lost);
        if (lost != 0) {
            status = (sublet_status)lost;
            fail_all(access, status);
            break;
        }
        status = region_stream_pump(access);
        if (status != SUBLET_OK || (job == NULL ? access->first == NULL : job->done))
            break;
        uint64_t now = now_ns();
        if (moved(access) != seen) {
            seen = moved(access);
            silent_ns = now;
        } else if (now - silent_ns > session->timeout_ns) {
            status = SUBLET_ERR_TIMEOUT;
            fail_all(access, SUBLET_ERR_TIMEOUT);
            break;
        }
        if (now - begin_ns < session->spin_ns) {
            ring_relax();
            continue;
        }
        struct pollfd entry = {.fd = access->fd, .events = events_of(access)};
        poll(&entry, 1, 100);
    }
    pthread_mutex_unlock(&access->lock);
    atomic_fetch_sub(&access->pumping, 1);
    if (status == SUBLET_OK)
        return SUBLET_OK;
    pthread_mutex_lock(&session->lock);
    link_lost(link, SUBLET_ERR_LOST); /* what is under way on the connection cannot be told any more */
    pthread_mutex_unlock(&session->lock);
    return status;
}

short region_stream_events(const struct region_access *access)
{
    if (access->fd < 0 || atomic_load(&access->pumping) > 0 || !atomic_load(&access->waiting_jobs))
        return 0;
    struct region_access *mutable = (struct region_access *)(uintptr_t)access;
    if (pthread_mutex_trylock(&mutable->lock) != 0)
        return 0;
    short events = events_of(access);
    pthread_mutex_unlock(&mutable->lock);
    return events;
}

sublet_status region_stream_turn(struct region_access *access)
{
    if (atomic_load(&access->pumping) > 0 || pthread_mutex_trylock(&access->lock) != 0)
        return SUBLET_OK;
    sublet_status status = region_stream_pump(access);
    pthread_mutex_unlock(&access->lock);
    return status;
}
