/** What the tests call: each does one thing, some of them bad. */
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sublet/function.h"
#include "touch.h"
#include "vandal.h"

#define PLAIN __attribute__((visibility("default"))) uint32_t

PLAIN empty(void *in, uint32_t size, void *out);
PLAIN echo(void *in, uint32_t size, void *out);
PLAIN scribble(void *in, uint32_t size, void *out);
PLAIN where(void *in, uint32_t size, void *out);
PLAIN crash(void *in, uint32_t size, void *out);
PLAIN leave(void *in, uint32_t size, void *out);

PLAIN empty(void *in, uint32_t size, void *out)
{
    (void)in;
    (void)size;
    (void)out;
    return 0;
}

PLAIN echo(void *in, uint32_t size, void *out)
{
    memcpy(out, in, size);
    return size;
}

/** Writes over its arguments, as the plain form may. */
PLAIN scribble(void *in, uint32_t size, void *out)
{
    memcpy(out, in, size);
    memset(in, 0xff, size);
    return size;
}

PLAIN where(void *in, uint32_t size, void *out)
{
    (void)in;
    (void)size;
    pid_t pid = getpid();
    memcpy(out, &pid, sizeof(pid));
    return sizeof(pid);
}

PLAIN crash(void *in, uint32_t size, void *out)
{
    (void)in;
    (void)size;
    (void)out;
    raise(SIGSEGV);
    return 0;
}

PLAIN leave(void *in, uint32_t size, void *out)
{
    (void)in;
    (void)size;
    (void)out;
    exit(0);
}

SUBLET_FUNCTION(hang)
{
    (void)context;
    (void)in;
    (void)out;
    for (;;)
        pause();
}

static in_port_t port_of(int fd)
{
    struct sockaddr_in own = {0};
    socklen_t size = sizeof(own);
    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && own.sin_family == AF_INET ? own.sin_port : 0;
}

static bool listens(int fd)
{
    int yes = 0;
    socklen_t size = sizeof(yes);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

/** Cuts the connections that came to where this process listens, and never returns. */
SUBLET_FUNCTION(cut)
{
    (void)context;
    (void)in;
    (void)out;
    for (int door = 0; door < 256; door++)
        for (int fd = 0; listens(door) && port_of(door) != 0 && fd < 256; fd++)
            if (!listens(fd) && port_of(fd) == port_of(door))
                shutdown(fd, SHUT_RDWR);
    for (;;)
        pause();
}

/** Sleeps for as many milliseconds as its argument says, then echoes it. */
SUBLET_FUNCTION(nap)
{
    uint32_t ms;
    if (context->in_bytes < sizeof(ms) || context->out_bytes < sizeof(ms))
        return 1;
    memcpy(&ms, in, sizeof(ms));
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&limit, &limit) != 0) {
    }
    memcpy(out, &ms, sizeof(ms));
    context->result_bytes = sizeof(ms);
    return 0;
}

SUBLET_FUNCTION(refuse)
{
    (void)context;
    (void)in;
    (void)out;
    return 7;
}

SUBLET_FUNCTION(too_much)
{
    (void)in;
    (void)out;
    context->result_bytes = context->out_bytes + 1;
    return 0;
}

SUBLET_FUNCTION(worker_number)
{
    (void)in;
    memcpy(out, &context->worker, sizeof(context->worker));
    context->result_bytes = sizeof(context->worker);
    return 0;
}

/** A few hundred microseconds of arithmetic whose result depends on every bit of its argument. */
SUBLET_FUNCTION(grind)
{
    uint64_t x;
    memcpy(&x, in, sizeof(x));
    for (int i = 0; i < 100000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x += 0x9e3779b97f4a7c15u;
    }
    memcpy(out, &x, sizeof(x));
    context->result_bytes = sizeof(x);
    return 0;
}

/** Naps, then says which process it is: `in` is the caller's process, how long to nap there, and how long elsewhere. */
SUBLET_FUNCTION(stamp)
{
    uint32_t words[3];
    if (context->in_bytes != sizeof(words) || context->out_bytes < sizeof(words[0]))
        return 1;
    memcpy(words, in, sizeof(words));
    uint32_t me = (uint32_t)getpid(), ms = me == words[0] ? words[1] : words[2];
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&limit, &limit) != 0) {
    }
    memcpy(out, &me, sizeof(me));
    context->result_bytes = sizeof(me);
    return 0;
}

extern uint64_t counting_total(void) __attribute__((weak)); /* of counting.so, where it was preloaded */

/** Allocations and locks of this worker so far; refuses where they are not counted. */
SUBLET_FUNCTION(counted)
{
    (void)in;
    if (counting_total == NULL || context->out_bytes < sizeof(uint64_t))
        return 1;
    uint64_t total = counting_total();
    memcpy(out, &total, sizeof(total));
    context->result_bytes = sizeof(total);
    return 0;
}

/** Starts a process that writes over this worker's rings until the worker ends. */
SUBLET_FUNCTION(vandal)
{
    (void)context;
    (void)in;
    (void)out;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* here no cgroup is killed with the executor */
        vandal_run(NULL);
        _exit(1);
    }
    return child < 0;
}

/** Works for as many microseconds as its argument says, then tells how many calls of it this worker has done. */
SUBLET_FUNCTION(tick)
{
    static uint32_t ticks;
    uint32_t us;
    struct timespec now;
    memcpy(&us, in, sizeof(us));
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t end_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + us * UINT64_C(1000);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec < end_ns);
    ticks++;
    memcpy(out, &ticks, sizeof(ticks));
    context->result_bytes = sizeof(ticks);
    return 0;
}

/** Reads all of its arguments and writes all of its result. */
SUBLET_FUNCTION(touch)
{
    touch_write(out, (size_t)context->out_bytes, touch_read(in, (size_t)context->in_bytes));
    context->result_bytes = context->out_bytes;
    return 0;
}

/** Gives all of its room as the result, untouched. */
SUBLET_FUNCTION(give)
{
    (void)in;
    (void)out;
    context->result_bytes = context->out_bytes;
    return 0;
}

/** As many x as its argument (u64) says, whether there is room for them or not. */
SUBLET_FUNCTION(repeat)
{
    uint64_t count;
    if (context->in_bytes != sizeof(count))
        return 1;
    memcpy(&count, in, sizeof(count));
    memset(out, 'x', count < context->out_room ? count : context->out_room);
    context->result_size = count;
    return 0;
}

/** Whether there is memory behind its arguments. */
SUBLET_FUNCTION(is_there)
{
    context->result_bytes = 1;
    *(char *)out = in != NULL;
    return 0;
}
