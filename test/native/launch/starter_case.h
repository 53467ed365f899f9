/** What the tests of the starter share: one starter per test, and words to speak to it. Each program includes it once.
 */
#ifndef SUBLET_TEST_LAUNCH_STARTER_CASE_H
#define SUBLET_TEST_LAUNCH_STARTER_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

static struct driver driver;

static inline int begin(void **state)
{
    *state = &driver;
    driver_begin(&driver, NULL);
    return 0;
}

static inline int begin_impatient(void **state)
{
    *state = &driver;
    driver_begin(&driver, "--ready-timeout-ms=200");
    return 0;
}

static inline int begin_strict(void **state)
{
    *state = &driver;
    driver_begin(&driver, "--client-timeout-ms=200");
    return 0;
}

static inline int begin_short_stop(void **state)
{
    *state = &driver;
    driver_begin(&driver, "--stop-timeout-ms=200");
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    return driver_end(&driver) ? 0 : -1;
}

static inline bool ask(const char *text, unsigned id)
{
    return driver_ask(&driver, text, id);
}

static inline const char *field(const char *key)
{
    return driver_field(driver.text, key);
}

#define tell(lease, ...) driver_tell(&driver, lease, __VA_ARGS__)

/** The kernel closed it on the other side, within a time. */
static inline bool is_closed(int fd, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte;
    if (poll(&ready, 1, timeout_ms) != 1)
        return false;
    return recv(fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN;
}

#define STARTER_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
