#include "base/fds.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int left_ms(uint64_t end_ns)
{
    uint64_t now = now_ns();
    if (now >= end_ns)
        return 0;
    uint64_t left = (end_ns - now + 999999) / 1000000;
    return left > 86400000 ? 86400000 : (int)left;
}

void fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static sublet_status wait_for(int socket, short events, uint64_t end_ns)
{
    for (;;) {
        struct pollfd entry = {.fd = socket, .events = events};
        int left = left_ms(end_ns);
        int ready = poll(&entry, 1, left);
        if (ready > 0)
            return SUBLET_OK;
        if (ready == 0)
            return SUBLET_ERR_TIMEOUT;
        if (errno != EINTR)
            return SUBLET_ERR_SYSTEM;
    }
}

sublet_status fds_send(int socket, const void *bytes, size_t size, const int *fds, size_t count, uint64_t end_ns)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_PASS_MAX * sizeof(int))];
    } control;
    if (count > FDS_PASS_MAX)
        return SUBLET_ERR_INVALID;
    size_t done = 0;
    while (done < size) {
        struct iovec part = {.iov_base = (char *)(uintptr_t)bytes + done, .iov_len = size - done};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        if (done == 0 && count > 0) {
            memset(&control, 0, sizeof(control));
            message.msg_control = control.bytes;
            message.msg_controllen = CMSG_SPACE(count * sizeof(int));
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(count * sizeof(int));
            memcpy(CMSG_DATA(header), fds, count * sizeof(int));
        }
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            done += (size_t)sent;
            continue;
        }
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return errno == EPIPE || errno == ECONNRESET ? SUBLET_ERR_LOST : SUBLET_ERR_SYSTEM;
        sublet_status status = wait_for(socket, POLLOUT, end_ns);
        if (status != SUBLET_OK)
            return status;
    }
    return SUBLET_OK;
}

/** Takes the descriptors out of a message; returns false when there were more than fit. */
static int take_fds(struct msghdr *message, int *fds, size_t capacity, size_t *count)
{
    int fits = (message->msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (*count < capacity)
                fds[(*count)++] = fd;
            else {
                close(fd);
                fits = 0;
            }
        }
    }
    return fits;
}

sublet_status fds_receive(int socket, void *bytes, size_t size, int *fds, size_t capacity, size_t *count_out,
                          uint64_t end_ns)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_PASS_MAX * sizeof(int))];
    } control;
    size_t done = 0, count = 0;
    sublet_status status = SUBLET_OK;
    while (done < size && status == SUBLET_OK) {
        struct iovec part = {.iov_base = (char *)bytes + done, .iov_len = size - done};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
        ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got > 0) {
            done += (size_t)got;
            if (!take_fds(&message, fds, capacity, &count))
                status = SUBLET_ERR_INVALID;
        } else if (got == 0)
            status = SUBLET_ERR_LOST;
        else if (errno == EAGAIN)
            status = wait_for(socket, POLLIN, end_ns);
        else if (errno != EINTR)
            status = errno == ECONNRESET ? SUBLET_ERR_LOST : SUBLET_ERR_SYSTEM;
    }
    if (status != SUBLET_OK) {
        fds_close(fds, count);
        return status;
    }
    *count_out = count;
    return SUBLET_OK;
}
