/** A region of another node, over one TCP connection (wire/stream.h): requests in chunks, answers in order. */
#include "client/region.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"

#define PARTS_MAX 64u
#define SLICE_NS  UINT64_C(100000000) /* between two looks whether the region is lost */

/** Takes the finished jobs from the front. */
static void retire(struct region_access *access)
{
    bool told = false;
    while (access->first != NULL && access->first->answered == access->first->size) {
        struct region_job *job = access->first;
        access->first = job->next;
        access->retired++;
        if (job->status != SUBLET_OK && access->first_error == SUBLET_OK && !job->waited_for)
            access->first_error = job->status;
        job->done = true;
        told = true;
        if (!job->waited_for)
            free(job);
    }
    atomic_store(&access->waiting_jobs, access->first != NULL);
    if (told && access->followers > 0)
        pthread_cond_broadcast(&access->changed);
}

/** The connection is over: so is every job. */
static void fail_all(struct region_access *access, sublet_status status)
{
    for (struct region_job *job = access->first; job != NULL; job = job->next) {
        job->status = status;
        job->answered = job->asked = job->size;
    }
    access->asking = access->sending = NULL;
    access->count = 0;
    access->head_bytes = access->head_sent = access->body_left = access->received = 0;
    retire(access);
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

static void advance(const struct region_job *job, struct region_cursor *cursor, size_t bytes)
{
    while (bytes > 0) {
        size_t left = job->pieces[cursor->piece].size - cursor->at;
        if (bytes < left) {
            cursor->at += bytes;
            return;
        }
        bytes -= left;
        cursor->piece++;
        cursor->at = 0;
    }
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
        advance(job, &job->cut, here);
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
    advance(access->sending, &access->sending->sent, sent - head);
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

/** Checks the head of an answer against the chunk that it must be for. */
static bool expected(const struct region_access *access, const struct region_chunk *chunk)
{
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
        advance(job, &job->received, chunk->answer);
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
        advance(chunk->job, &chunk->job->received, access->received - (before > head ? before : head));
        if (access->received == head + access->response.size)
            chunk_done(access, chunk);
    }
    return SUBLET_OK;
}

/** Moves what can be moved; OK even if that is nothing. An error is the end of the connection. */
static sublet_status pump(struct region_access *access)
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
    bool output = access->sending != NULL || (access->asking != NULL && access->count < REGION_CHUNKS_MAX);
    return (short)((access->count > 0 ? POLLIN : 0) | (output ? POLLOUT : 0));
}

/** Bytes moved so far, to tell a slow peer from a silent one. */
static uint64_t moved(const struct region_access *access)
{
    return (uint64_t)access->sequence << 32 ^
           ((uint64_t)access->body_left + access->received * 3 + access->count * 7 + access->head_sent * 11);
}

/** `target`: without a job, how many must have been retired. */
static bool finished(const struct region_access *access, const struct region_job *job, uint64_t target)
{
    return job == NULL ? access->retired >= target : job->done;
}

/** Moves everybody's jobs until this one is done. Lock held, dropped while it waits. */
static sublet_status lead(struct link *link, struct region_access *access, const struct region_job *job,
                          uint64_t target)
{
    struct sublet_session *session = link->session;
    uint64_t silent_ns = now_ns(), seen = moved(access);
    for (uint32_t round = 1;; round++) {
        sublet_status status = pump(access);
        if (status != SUBLET_OK || finished(access, job, target))
            return status;
        int lost = atomic_load(&link->lost);
        uint64_t now = now_ns();
        if (moved(access) != seen) {
            seen = moved(access);
            silent_ns = now;
        }
        if (lost != 0 || now - silent_ns > session->timeout_ns) {
            status = lost != 0 ? (sublet_status)lost : SUBLET_ERR_TIMEOUT;
            fail_all(access, status);
            return status;
        }
        struct pollfd entry = {.fd = access->fd, .events = events_of(access)};
        pthread_mutex_unlock(&access->lock);
        bool full = (entry.events & POLLOUT) != 0; /* the kernel has enough to do: do not take its core */
        if (full || now - silent_ns >= session->spin_ns)
            poll(&entry, 1, SLICE_NS / 1000000);
        else if (round % 16 == 0)
            sched_yield(); /* the other side may wait for this core */
        pthread_mutex_lock(&access->lock);
    }
}

static void follow(struct region_access *access)
{
    uint64_t until_ns = now_ns() + SLICE_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    access->followers++;
    pthread_cond_timedwait(&access->changed, &access->lock, &until);
    access->followers--;
}

/** Lock not held: what is under way on the connection cannot be told any more. */
static void give_up(struct link *link)
{
    pthread_mutex_lock(&link->session->lock);
    link_lost(link, SUBLET_ERR_LOST);
    pthread_mutex_unlock(&link->session->lock);
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region;
    sublet_status status = SUBLET_OK, status_of_jobs = SUBLET_OK;
    atomic_fetch_add(&access->pumping, 1);
    pthread_mutex_lock(&access->lock);
    uint64_t target = access->added; /* what others add from now on is not waited for */
    while (status == SUBLET_OK && !finished(access, job, target)) {
        if (access->led) {
            follow(access);
            continue;
        }
        access->led = true;
        status = lead(link, access, job, target);
        access->led = false;
        if (access->followers > 0)
            pthread_cond_broadcast(&access->changed);
    }
    if (job == NULL && status == SUBLET_OK) {
        status_of_jobs = access->first_error;
        access->first_error = SUBLET_OK;
    }
    pthread_mutex_unlock(&access->lock);
    if (atomic_fetch_sub(&access->pumping, 1) == 1 &&
        atomic_load(&access->waiting_jobs)) { /* jobs that nobody waits for now */
        pthread_mutex_lock(&link->session->lock);
        background_wake(link->session);
        pthread_mutex_unlock(&link->session->lock);
    }
    if (status != SUBLET_OK)
        give_up(link);
    return status == SUBLET_OK ? status_of_jobs : status;
}

/** Sends what goes without waiting. The background thread is told when it has to begin to look, or to send. */
static sublet_status begin(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region;
    if (job->operation >= STREAM_ADD && !access->features_access)
        return SUBLET_ERR_VERSION;
    bool waited_for = job->waited_for && !job->left_alone;
    pthread_mutex_lock(&access->lock);
    bool first = access->first == NULL;
    if (first)
        access->first = job;
    else
        access->last->next = job;
    access->last = job;
    access->added++;
    if (access->asking == NULL)
        access->asking = job;
    atomic_store(&access->waiting_jobs, true);
    sublet_status status = access->fd < 0 ? SUBLET_ERR_LOST : push(access);
    if (status != SUBLET_OK)
        fail_all(access, status);
    bool unsent = access->sending != NULL || access->asking != NULL;
    pthread_mutex_unlock(&access->lock);
    if (status != SUBLET_OK)
        give_up(link); /* the job ended with its status, as all did */
    else if (!waited_for && (first || unsent) && atomic_load(&access->pumping) == 0) {
        pthread_mutex_lock(&link->session->lock);
        background_wake(link->session);
        pthread_mutex_unlock(&link->session->lock);
    }
    return SUBLET_OK;
}

static bool test(struct link *link, struct region_job *job)
{
    struct region_access *access = link->region;
    pthread_mutex_lock(&access->lock);
    sublet_status status = job->done ? SUBLET_OK : pump(access);
    int lost = atomic_load(&link->lost);
    if (!job->done && lost != 0)
        fail_all(access, (sublet_status)lost);
    bool done = job->done;
    pthread_mutex_unlock(&access->lock);
    if (status != SUBLET_OK)
        give_up(link);
    return done;
}

/** One connection, served in order by one thread: nothing to do. */
static sublet_status fence(struct link *link)
{
    return (sublet_status)atomic_load(&link->lost);
}

static int pollable(struct link *link, short *events)
{
    struct region_access *access = link->region;
    pthread_mutex_lock(&access->lock);
    *events = events_of(access);
    pthread_mutex_unlock(&access->lock);
    return access->fd;
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
    sublet_status status = pump(access);
    pthread_mutex_unlock(&access->lock);
    return status;
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
    for (struct region_job *job = access->first, *next; job != NULL; job = next) {
        next = job->next;
        if (!job->waited_for)
            free(job);
    }
    pthread_cond_destroy(&access->changed);
    pthread_mutex_destroy(&access->lock);
    free(access);
}

static const struct region_transport stream_region_transport = {
    .ordered = true,
    .begin = begin,
    .test = test,
    .wait = wait_for,
    .fence = fence,
    .pollable = pollable,
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
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&access->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&access->lock, NULL);
    access->transport = &stream_region_transport;
    access->features_access = (welcome.features & STREAM_FEATURE_ACCESS) != 0;
    access->bytes = bytes;
    access->memory_fd = -1;
    link->region = access;
    return SUBLET_OK;
}
