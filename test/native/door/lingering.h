/** Descriptors whose close takes long, and how they are passed along. */
#ifndef SUBLET_TEST_LINGERING_H
#define SUBLET_TEST_LINGERING_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_S = 60 };

/** A connection whose last close waits for LINGER_S seconds, since its peer reads nothing; -1: there is none. */
static inline int lingering(int *peer_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
    char bytes[65536] = "";
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool made = bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
                connect(fd, (struct sockaddr *)&address, size) == 0 &&
                (*peer_out = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;
    close(listener);
    while (made && send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        continue;
    return made && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0 ? fd : -1;
}

/** False: the other side takes nothing from here any more. */
static inline bool pass(int fd, const char *bytes, size_t size, int passed, int flags)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    memcpy(CMSG_DATA(&control.head), &passed, sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL | flags) >= 0;
}

#endif
