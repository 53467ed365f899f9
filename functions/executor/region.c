#include "executor/region.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "wire/stream.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define TOUCH_BYTES (UINT64_C(32) << 20)
#define READ_AHEAD  16384u
#define STALL_MS    5000
#define STACK_BYTES (256u << 10)
#define SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct session {
    struct region *region;
    int fd;
    uint32_t filled;
    uint32_t consumed;
    unsigned char ahead[READ_AHEAD];
};

static bool touch(unsigned char *at, uint64_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    for (uint64_t offset = 0; offset < bytes; offset += 4096) /* before Linux 5.14 */
        atomic_fetch_or((_Atomic unsigned char *)(at + offset), 0);
    return true;
}

static void *touch_all(void *argument)
{
    struct region *region = argument;
    bool done = true;
    for (uint64_t at = 0; at < region->bytes && done; at += TOUCH_BYTES) {
        uint64_t left = region->bytes - at;
        done = touch(region->base + at, left < TOUCH_BYTES ? left : TOUCH_BYTES);
    }
    if (!done)
        fprintf(stderr, "sublet-executor: cannot take the memory of the region: %m\n");
    atomic_store(&region->touched, done ? 1 : 2);
    uint64_t one = 1;
    if (write(region->ready_fd, &one, sizeof(one)) < 0)
        fprintf(stderr, "sublet-executor: cannot signal that the region is there: %m\n");
    return NULL;
}

static int start_thread(void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return error;
}

sublet_status region_start(struct region *region, uint64_t bytes)
{
    memset(region, 0, sizeof(*region));
    region->bytes = bytes;
    region->ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    region->fd = memfd_create("sublet-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->ready_fd < 0 || region->fd < 0)
        return SUBLET_ERR_SYSTEM;
    if (ftruncate(region->fd, (off_t)bytes) != 0 || fcntl(region->fd, F_ADD_SEALS, SEALS) != 0)
        return SUBLET_ERR_NO_MEMORY;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    region->base = base;
    madvise(base, bytes, MADV_HUGEPAGE); /* where the kernel offers it for shared memory */
    return start_thread(touch_all, region) == 0 ? SUBLET_OK : SUBLET_ERR_SYSTEM;
}

sublet_status region_ready(const struct region *region)
{
    static const sublet_status states[] = {SUBLET_ERR_BUSY, SUBLET_OK, SUBLET_ERR_NO_MEMORY};
    return states[atomic_load(&region->touched)];
}

/** Within an access: what does not move for STALL_MS is dropped. */
static bool wait_for(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    int ready;
    do
        ready = poll(&entry, 1, STALL_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static bool receive(int fd, unsigned char *to, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(fd, to, size, MSG_DONTWAIT);
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            return false;
        else if (!wait_for(fd, POLLIN))
            return false;
    }
    return true;
}

static bool answer(int fd, uint32_t sequence, sublet_status status, const unsigned char *bytes, uint32_t size)
{
    struct stream_response response = {.sequence = sequence, .status = status, .size = size};
    struct iovec parts[2] = {{.iov_base = &response, .iov_len = sizeof(response)},
                             {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};
    size_t left = sizeof(response) + size;
    while (left > 0) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait_for(fd, POLLOUT))
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

/** Sleeps until a whole access header is read ahead. Between accesses for as long as it takes. */
static bool next_access(struct session *session, struct stream_access *access)
{
    while (session->filled - session->consumed < sizeof(*access)) {
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
    memcpy(access, session->ahead + session->consumed, sizeof(*access));
    session->consumed += sizeof(*access);
    return true;
}

static bool put(struct session *session, const struct stream_access *access)
{
    unsigned char *to = session->region->base + access->offset;
    uint32_t here = session->filled - session->consumed;
    if (here > access->size)
        here = access->size;
    memcpy(to, session->ahead + session->consumed, here);
    session->consumed += here;
    return receive(session->fd, to + here, access->size - here) &&
           answer(session->fd, access->sequence, SUBLET_OK, NULL, 0);
}

static void *serve(void *argument)
{
    struct session *session = argument;
    struct region *region = session->region;
    struct stream_access access;
    while (next_access(session, &access)) {
        sublet_status status = stream_access_check(&access, region->bytes);
        if (status == SUBLET_OK && access.operation == STREAM_PUT) {
            if (!put(session, &access))
                break;
        } else if (status == SUBLET_OK) {
            if (!answer(session->fd, access.sequence, SUBLET_OK, region->base + access.offset, access.size))
                break;
        } else {
            /* A get outside is answered; after any other wrong access nobody knows where the next one begins. */
            if (!answer(session->fd, access.sequence, status, NULL, 0) || access.operation != STREAM_GET ||
                access.sequence == 0)
                break;
        }
    }
    shutdown(session->fd, SHUT_WR);
    /* A peer that still sends gets to read the answer first: a close with unread bytes would reset the connection. */
    for (int rounds = 0; rounds < 4096 && wait_for(session->fd, POLLIN); rounds++)
        if (recv(session->fd, session->ahead, READ_AHEAD, MSG_DONTWAIT) <= 0)
            break;
    close(session->fd);
    free(session);
    atomic_fetch_sub(&region->streams, 1);
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
    session->filled = session->consumed = 0;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 && start_thread(serve, session) == 0)
        return SUBLET_OK;
    free(session);
    atomic_fetch_sub(&region->streams, 1);
    return SUBLET_ERR_SYSTEM;
}
