/**
 * sublet-executor: serves one lease. Started by sublet-starter with
 *
 *   3  listening unix socket   4  listening TCP socket (may be closed: none)
 *   5  pipe with the configuration (options.h), then its end
 *   6  pipe on which it writes one byte, R, once clients may connect; and C, if it is to, when one has shown the token
 *   7  memfd of the lease's statistics (wire/stats_layout.h; may be missing: then nobody reads them)
 *
 * With SUBLET_PREPARED in its environment it writes W there first and waits for its configuration for as long as it
 * takes.
 *
 * Takes no arguments, writes nothing to disk, says what goes wrong on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/supervisor.h"

#define LISTEN_QUEUE   4096
#define CONFIG_NS      UINT64_C(10000000000)
#define FILE_BYTES_MIN (UINT64_C(64) << 20)

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "sublet-executor: %s: %s\n", what, why);
    return 1;
}

/**
 * A listening socket, which from now on does not block: a peer may give up between epoll's word and accept. It gets a
 * queue for many clients that come at once, as long as the system allows.
 */
static bool listening(int fd)
{
    int value = 0;
    socklen_t size = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0 &&
           listen(fd, LISTEN_QUEUE) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

/** Started before there is a lease: says so, and sleeps until the order comes or whoever gives orders is gone. */
static bool wait_for_order(void)
{
    struct pollfd entry = {.fd = OPTIONS_CONFIG_FD, .events = POLLIN};
    unsetenv(OPTIONS_PREPARED);
    if (write(OPTIONS_READY_FD, "W", 1) != 1)
        return false;
    while (poll(&entry, 1, -1) < 0)
        if (errno != EINTR)
            return false;
    return true;
}

/** What the starter sets for an executor whose memory it knows: no file, memfds included, beyond it. */
static void limit_files(uint64_t memory_bytes)
{
    rlim_t most = memory_bytes > FILE_BYTES_MIN ? memory_bytes : FILE_BYTES_MIN;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && most < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max = most;
        setrlimit(RLIMIT_FSIZE, &limit);
    }
}

static sublet_status read_config(char *text, size_t capacity, size_t *size_out)
{
    size_t size = 0;
    uint64_t end_ns = now_ns() + CONFIG_NS;
    for (;;) {
        struct pollfd entry = {.fd = OPTIONS_CONFIG_FD, .events = POLLIN};
        int ready = poll(&entry, 1, left_ms(end_ns));
        if (ready == 0)
            return SUBLET_ERR_TIMEOUT;
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t got = read(OPTIONS_CONFIG_FD, text + size, capacity - size);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return SUBLET_ERR_SYSTEM;
        size += got > 0 ? (size_t)got : 0;
        if (size == capacity)
            return SUBLET_ERR_TOO_LARGE;
    }
    close(OPTIONS_CONFIG_FD);
    *size_out = size;
    return SUBLET_OK;
}

int main(void)
{
    static struct supervisor supervisor;
    static struct executor_options options;
    static char text[OPTIONS_CONFIG_MAX];
    struct stats_clock clock;
    stats_clock_begin(&clock);
    size_t size = 0;
    const char *why = "";
    bool prepared = getenv(OPTIONS_PREPARED) != NULL;
    if (prepared && !wait_for_order())
        return fail("descriptor 5 or 6", "cannot wait for an order");
    sublet_status status = read_config(text, sizeof(text), &size);
    if (status != SUBLET_OK)
        return fail("cannot read the configuration on descriptor 5 (is it started by sublet-starter?)",
                    sublet_status_text(status));
    status = options_parse(text, size, &options, &why);
    explicit_bzero(text, sizeof(text));
    if (status != SUBLET_OK)
        return fail("configuration refused", why);
    if (!listening(OPTIONS_UNIX_FD))
        return fail("descriptor 3", "not a listening socket (is it started by sublet-starter?)");
    options.unix_fd = OPTIONS_UNIX_FD;
    options.stats_fd = OPTIONS_STATS_FD;
    options.clock = clock;
    options.tcp_fd = listening(OPTIONS_TCP_FD) ? OPTIONS_TCP_FD : -1;
    signal(SIGXFSZ, SIG_IGN); /* a ring above RLIMIT_FSIZE is refused, and harms nobody */
    if (prepared)
        limit_files(options.memory_bytes);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    status = supervisor_start(&supervisor, &options);
    if (status != SUBLET_OK)
        return fail("cannot start", sublet_status_text(status));
    if (write(OPTIONS_READY_FD, "R", 1) != 1)
        return fail("descriptor 6", "cannot say that it is ready");
    if (!options.says_client)
        close(OPTIONS_READY_FD);
    status = supervisor_run(&supervisor);
    return fail("cannot go on", sublet_status_text(status));
}
