/**
 * The far side of stream_access (wire/stream.h): one thread per connection that sleeps in recv, and moves bytes
 * straight between socket and mapping. Small pieces of lists and strides are gathered in a buffer first, since a system
 * call each would cost more than the copy. Atomics work on the mapping itself, so that they are atomic for clients that
 * have it mapped, too.
 *
 * What a peer sends is copied once and bounded before it is used; an access whose end nobody can tell ends the
 * connection, one outside of the region is answered.
 */
#include "executor/region.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "wire/stream.h"

#define READ_AHEAD 16384u
#define GATHER     65536u
#define STALL_MS   5000 /* within an access: what does not move for this long is dropped */

struct session {
    struct region *region;
    int fd;
    uint32_t filled;
    uint32_t consumed;
    uint32_t out_filled;
    struct stream_access access;
    struct stream_piece pieces[STREAM_PIECES_MAX];
    unsigned char ahead[READ_AHEAD];
    unsigned char out[GATHER];
};

static bool wait_for(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    int ready;
    do
        ready = poll(&entry, 1, STALL_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

/**
 * A large piece straight into the region. The kernel waits for all of it: waking us for every packet would cost more
 * than the copy. A peer that falls silent is given up after STALL_MS, one that is slow is not.
 */
static bool take_direct(struct session *session, unsigned char *to, size_t size)
{
    static const struct timeval patience = {.tv_sec = STALL_MS / 1000, .tv_usec = STALL_MS % 1000 * 1000},
                                endless = {0};
    setsockopt(session->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    while (size > 0) {
        ssize_t got = recv(session->fd, to, size, MSG_WAITALL);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        size -= (size_t)got;
    }
    return setsockopt(session->fd, SOL_SOCKET, SO_RCVTIMEO, &endless, sizeof(endless)) == 0;
}

/** Takes exactly `size` bytes, first of what was read ahead. */
static bool take(struct session *session, unsigned char *to, size_t size)
{
    while (size > 0) {
        uint32_t here = session->filled - session->consumed;
        if (here > 0) {
            if (here > size)
                here = (uint32_t)size;
            memcpy(to, session->ahead + session->consumed, here);
            session->consumed += here;
            to += here;
            size -= here;
            continue;
        }
        if (size >= READ_AHEAD)
            return take_direct(session, to, size);
        ssize_t got = recv(session->fd, session->ahead, READ_AHEAD, MSG_DONTWAIT);
        if (got > 0) {
            session->consumed = 0;
            session->filled = (uint32_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(session->fd, POLLIN))
            return false;
    }
    return true;
}

/** Sends what was gathered and, behind it, `bytes`. */
static bool push(struct session *session, const unsigned char *bytes, size_t size)
{
    struct iovec parts[2] = {{.iov_base = session->out, .iov_len = session->out_filled},
                             {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};
    size_t left = session->out_filled + size;
    session->out_filled = 0;
    while (left > 0) {
        ssize_t sent = sendmsg(session->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EINTR && (errno != EAGAIN || !wait_for(session->fd, POLLOUT)))
                return false;
            continue;
        }
        left -= (size_t)sent;
        for (size_t gone = (size_t)sent; gone > 0;) {
            size_t here = gone < message.msg_iov->iov_len ? gone : message.msg_iov->iov_len;
            message.msg_iov->iov_base = (unsigned char *)message.msg_iov->iov_base + here;
            message.msg_iov->iov_len -= here;
            gone -= here;
            if (message.msg_iov->iov_len == 0 && message.msg_iovlen > 1) {
                message.msg_iov++;
                message.msg_iovlen--;
            }
        }
    }
    return true;
}

static bool give(struct session *session, const unsigned char *bytes, size_t size)
{
    if (size > GATHER - session->out_filled || size >= READ_AHEAD)
        return push(session, bytes, size);
    memcpy(session->out + session->out_filled, bytes, size);
    session->out_filled += (uint32_t)size;
    return true;
}

static void begin_answer(struct session *session, sublet_status status, uint32_t size)
{
    struct stream_response response = {.sequence = session->access.sequence, .status = status, .size = size};
    memcpy(session->out, &response, sizeof(response));
    session->out_filled = sizeof(response);
}

/** Sleeps until a whole access header is read ahead. Between accesses for as long as it takes. */
static bool next_access(struct session *session)
{
    while (session->filled - session->consumed < sizeof(session->access)) {
        uint32_t have = session->filled - session->consumed;
        memmove(session->ahead, session->ahead + session->consumed, have);
        session->consumed = 0;
        session->filled = have;
        if (have > 0 && !wait_for(session->fd, POLLIN))
            return false;
        ssize_t got = recv(session->fd, session->ahead + have, READ_AHEAD - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        session->filled += (uint32_t)got;
    }
    memcpy(&session->access, session->ahead + session->consumed, sizeof(session->access));
    session->consumed += sizeof(session->access);
    return true;
}

/** One block of the content: to the region, or out of it. */
static bool move(struct session *session, uint64_t offset, uint32_t size)
{
    unsigned char *at = session->region->base + offset;
    return stream_access_puts(session->access.operation) ? take(session, at, size) : give(session, at, size);
}

static bool atomic_access(struct session *session, const struct stream_atomic *operands)
{
    _Atomic uint64_t *at = (_Atomic uint64_t *)(void *)(session->region->base + session->access.offset);
    uint64_t before = operands->expected;
    if (session->access.operation == STREAM_ADD)
        before = atomic_fetch_add(at, operands->operand);
    else
        atomic_compare_exchange_strong(at, &before, operands->operand);
    return give(session, (unsigned char *)&before, sizeof(before));
}

/** Reads what follows the header; OK when all of it is within its bounds. False: the connection is over. */
static bool read_extra(struct session *session, sublet_status *status_out)
{
    const struct stream_access *access = &session->access;
    uint64_t bytes = session->region->bytes;
    *status_out = stream_access_check(access, bytes);
    if (*status_out != SUBLET_OK) /* nobody knows where the next one begins, but for a get */
        return access->operation == STREAM_GET && access->sequence != 0;
    if (!take(session, (unsigned char *)session->pieces, stream_access_extra(access)))
        return false;
    if (access->operation == STREAM_GET_LIST || access->operation == STREAM_PUT_LIST)
        *status_out = stream_pieces_check(access, session->pieces, bytes);
    else if (access->operation == STREAM_GET_STRIDED || access->operation == STREAM_PUT_STRIDED)
        *status_out = stream_stride_check(access, (const struct stream_stride *)session->pieces, bytes);
    return *status_out == SUBLET_OK || !stream_access_puts(access->operation);
}

static bool move_all(struct session *session)
{
    const struct stream_access *access = &session->access;
    const struct stream_stride *stride = (const struct stream_stride *)session->pieces;
    bool good = true;
    switch ((enum stream_operation)access->operation) {
    case STREAM_ADD:
    case STREAM_SWAP:
        return atomic_access(session, (const struct stream_atomic *)session->pieces);
    case STREAM_GET_LIST:
    case STREAM_PUT_LIST:
        for (uint32_t i = 0; i < access->count && good; i++)
            good = move(session, session->pieces[i].offset, session->pieces[i].size);
        return good;
    case STREAM_GET_STRIDED:
    case STREAM_PUT_STRIDED:
        for (uint32_t i = 0; i < access->count && good; i++)
            good = move(session, access->offset + i * stride->stride, stride->block);
        return good;
    default:
        return move(session, access->offset, access->size);
    }
}

/** One access; false when the connection is over. */
static bool serve_one(struct session *session)
{
    sublet_status status;
    bool goes_on = read_extra(session, &status);
    if (!goes_on && status == SUBLET_OK)
        return false;
    bool puts = stream_access_puts(session->access.operation);
    begin_answer(session, status, status == SUBLET_OK && !puts ? session->access.size : 0);
    if (status == SUBLET_OK) {
        if (!move_all(session))
            return false;
        atomic_thread_fence(memory_order_release); /* earlier puts are seen before later ones, by mappings as well */
    }
    return push(session, NULL, 0) && goes_on;
}

static void *serve(void *argument)
{
    struct session *session = argument;
    while (next_access(session) && serve_one(session)) {
    }
    shutdown(session->fd, SHUT_WR);
    /* A peer that still sends gets to read the answer first: a close with unread bytes would reset the connection. */
    for (int rounds = 0; rounds < 4096 && wait_for(session->fd, POLLIN); rounds++)
        if (recv(session->fd, session->ahead, READ_AHEAD, MSG_DONTWAIT) <= 0)
            break;
    close(session->fd);
    atomic_fetch_sub(&session->region->streams, 1);
    free(session);
    return NULL;
}

sublet_status region_serve(struct region *region, int fd)
{
    if (atomic_fetch_add(&region->streams, 1) >= REGION_STREAMS_MAX) {
        atomic_fetch_sub(&region->streams, 1);
        return SUBLET_ERR_BUSY;
    }
    struct session *session = malloc(sizeof(*session));
    if (session == NULL) {
        atomic_fetch_sub(&region->streams, 1);
        return SUBLET_ERR_NO_MEMORY;
    }
    session->region = region;
    session->fd = fd;
    session->filled = session->consumed = session->out_filled = 0;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 && region_thread(serve, session) == 0)
        return SUBLET_OK;
    free(session);
    atomic_fetch_sub(&region->streams, 1);
    return SUBLET_ERR_SYSTEM;
}
