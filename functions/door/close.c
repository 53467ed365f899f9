/** Closing what a user has sent descriptors into. */
#include "door/door.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNDERTAKERS_MAX = 32, LATE_MAX = VISITORS_MAX + ROOT_VISITORS };

static int late[LATE_MAX]; /* sockets that wait for a process to close them */
static size_t late_count;
static int undertakers; /* such processes that are not gone */

ssize_t look_and_take(int fd, void *bytes, size_t size)
{
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t found;
    do
        found = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
    while (found < 0 && errno == EINTR);
    /* Without room for them descriptors stay where they are, and the kernel says that there are some. */
    if (found >= 0 && (message.msg_flags & MSG_CTRUNC) != 0)
        return -2;
    if (found <= 0)
        return found;
    /* No more than was looked at: what comes behind it may bring descriptors. */
    return recv(fd, bytes, (size_t)found, MSG_DONTWAIT);
}

/**
 * A process that ends lingers for nobody (inet_release looks at PF_EXITING). It waits for our close, so that its own is
 * the last one.
 */
static bool close_by_ending(int fd)
{
    int pipe_fds[2];
    char byte;
    while (undertakers > 0 && waitpid(-1, NULL, WNOHANG) > 0)
        undertakers--;
    if (undertakers >= UNDERTAKERS_MAX || pipe2(pipe_fds, 0) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(pipe_fds[1]);
        while (read(pipe_fds[0], &byte, 1) < 0 && errno == EINTR)
            continue;
        _exit(0);
    }
    close(pipe_fds[0]);
    if (pid > 0) {
        close(fd);
        undertakers++;
    }
    close(pipe_fds[1]);
    return pid > 0;
}

void close_user(int fd)
{
    unsigned char bytes[4096];
    ssize_t got;
    shutdown(fd, SHUT_RDWR); /* from here on nobody can send into it */
    do
        got = look_and_take(fd, bytes, sizeof(bytes));
    while (got > 0);
    if (got != -2)
        close(fd);
    else if (!close_by_ending(fd) && late_count < LATE_MAX)
        late[late_count++] = fd;
}

bool close_late(void)
{
    while (late_count > 0 && close_by_ending(late[late_count - 1]))
        late_count--;
    return late_count > 0;
}
