/** A process in the agent's place: takes connections, hands the first bytes of each to the test, replies what it was
 * told. */
#ifndef SUBLET_TEST_LISTENER_H
#define SUBLET_TEST_LISTENER_H

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct reply {
    char bytes[256];
    size_t size;
    bool endless; /* again and again */
    bool closes;
};

#define REPLY(text)                                                                                                    \
    {                                                                                                                  \
        .bytes = text, .size = sizeof(text) - 1                                                                        \
    }
/* LocalRevoked with id 0, an answer to another request that failed, then {id: 1, hook_done: {leases_ended: 2}}. */
#define NOTICE "\x05\0\0\0\x4a\x03\x0a\x01x"
#define OTHER  "\x04\0\0\0\x08\x02\x10\x05"
#define DONE   "\x06\0\0\0\x08\x01\x3a\x02\x08\x02"

static void serve(int listener, int requests, const struct reply *reply)
{
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char bytes[256];
        int fd = accept(listener, NULL, NULL);
        ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
        (void)!write(requests, bytes, size > 0 ? (size_t)size : 0);
        ssize_t sent;
        do
            sent = send(fd, reply->bytes, reply->size, 0);
        while (reply->endless && sent > 0);
        if (reply->closes)
            close(fd);
    }
}

/** Its pid, to be killed; *request_pipe is the caller's to close. -1: no socket. */
static pid_t start_listener(const char *path, const struct reply *reply, int *request_pipe)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), requests[2];
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 8) != 0 ||
        pipe(requests) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        serve(listener, requests[1], reply);
    close(listener);
    close(requests[1]);
    *request_pipe = requests[0];
    return pid;
}

#endif
