/** libfaults.so: functions that misbehave, each in its own way; and one in the plain form, as rFaaS has them. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sublet/function.h"

/** Ends its process by a signal. */
SUBLET_FUNCTION(crash)
{
    (void)context;
    (void)in;
    (void)out;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
}

/** Ends its process as if its work were done. */
SUBLET_FUNCTION(exit_now)
{
    (void)context;
    (void)in;
    (void)out;
    exit(0);
}

/** Never returns, and uses its core meanwhile. */
SUBLET_FUNCTION(hang)
{
    (void)context;
    (void)in;
    (void)out;
    for (volatile unsigned long turns = 0;; turns++) {
    }
    return 0;
}

/** Calls itself, which takes 512 bytes and more of stack each time. */
static int deeper(uint64_t times)
{
    volatile char here[512];
    here[0] = (char)times;
    return times == 0 ? 0 : deeper(times - 1) + here[0];
}

SUBLET_FUNCTION(overflow_stack)
{
    (void)context;
    (void)in;
    (void)out;
    return deeper(UINT64_MAX);
}

/** Writes past the room for its result: by one byte, or by what its argument (u32) says. */
SUBLET_FUNCTION(overrun)
{
    uint32_t bytes = 1;
    if (context->in_bytes >= sizeof(bytes))
        memcpy(&bytes, in, sizeof(bytes));
    volatile unsigned char *at = (unsigned char *)out + context->out_bytes;
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = 0;
    return 0;
}

static void *sleeper(void *nothing)
{
    (void)nothing;
    while (pause() < 0) {
    }
    return NULL;
}

/** Returns while a thread that it has started goes on. */
SUBLET_FUNCTION(leave_thread)
{
    (void)context;
    (void)in;
    (void)out;
    pthread_t thread;
    return pthread_create(&thread, NULL, sleeper, NULL);
}

static void *adder(void *number)
{
    ++*(uint32_t *)number;
    return NULL;
}

/** Starts a thread and waits for its end, as it should be: the result is 1 (u32). */
SUBLET_FUNCTION(join_thread)
{
    (void)in;
    pthread_t thread;
    uint32_t number = 0;
    if (context->out_bytes < sizeof(number) || pthread_create(&thread, NULL, adder, &number) != 0 ||
        pthread_join(thread, NULL) != 0)
        return 1;
    memcpy(out, &number, sizeof(number));
    context->result_bytes = sizeof(number);
    return 0;
}

/** Says that its result is larger than the room for it. */
SUBLET_FUNCTION(too_large)
{
    (void)in;
    (void)out;
    context->result_bytes = context->out_bytes + 1;
    return 0;
}

/** Reports an error of its own. */
SUBLET_FUNCTION(fail)
{
    (void)context;
    (void)in;
    (void)out;
    return 7;
}

/**
 * Forks until the system refuses, or until as many as its argument (u32, if there is one) says. Its children fork, too,
 * if there is no such limit. The result is how many were made.
 */
SUBLET_FUNCTION(fork_bomb)
{
    uint32_t most = UINT32_MAX, made = 0;
    if (context->in_bytes >= sizeof(most))
        memcpy(&most, in, sizeof(most));
    while (made < most) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0 && most != UINT32_MAX)
            for (;;)
                pause();
        made++;
    }
    if (context->out_bytes >= sizeof(made)) {
        memcpy(out, &made, sizeof(made));
        context->result_bytes = sizeof(made);
    }
    return 0;
}

/** Forks, and both come back, the child first. The result is the u32 of the process that it returns in. */
SUBLET_FUNCTION(fork_return)
{
    (void)in;
    pid_t pid = fork();
    uint32_t own = (uint32_t)getpid();
    if (pid > 0)
        (void)waitpid(pid, NULL, 0); /* the child is first: both write the result where the caller reads it */
    if (pid < 0 || context->out_bytes < sizeof(own))
        return 1;
    memcpy(out, &own, sizeof(own));
    context->result_bytes = sizeof(own);
    return 0;
}

/** Takes and touches memory until the system refuses it (then it aborts) or kills it. */
SUBLET_FUNCTION(eat_memory)
{
    (void)context;
    (void)in;
    (void)out;
    for (;;) {
        char *piece = malloc(1 << 20);
        if (piece == NULL)
            abort();
        memset(piece, 1, 1 << 20);
        __asm__ volatile("" ::"r"(piece) : "memory");
    }
    return 0;
}

/** Plain form: adds up the bytes of its arguments, answers with a u32. */
__attribute__((visibility("default"))) uint32_t plain_sum(void *in, uint32_t size, void *out)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size; i++)
        sum += ((unsigned char *)in)[i];
    memcpy(out, &sum, sizeof(sum));
    return sizeof(sum);
}
