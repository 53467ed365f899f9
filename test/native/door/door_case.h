/** What the tests of the door share. Each program includes it once. */
#ifndef SUBLET_TEST_DOOR_CASE_H
#define SUBLET_TEST_DOOR_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATH_BYTES = 64, PATIENCE_MS = 10000 };

static inline int unix_socket(const char *path, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (listens) {
        unlink(path);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 16), 0);
    } else
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/** Reads all of it, or fails. */
static inline void read_all(int fd, void *bytes, size_t size)
{
    for (size_t have = 0; have < size;) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
        ssize_t got = read(fd, (char *)bytes + have, size - have);
        assert_true(got > 0);
        have += (size_t)got;
    }
}

#endif
