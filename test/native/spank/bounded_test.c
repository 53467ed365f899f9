/** A step goes on when taking cores back blocks, as the kernel may; the thread that blocks ends by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../../scheduler-plugin/spank/plugin.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { TIMEOUT_MS = 50, BLOCKED_MS = TIMEOUT_MS + HOOK_EMPTY_TIMEOUT_MS + HOOK_SLACK_MS + 500 };

static int block_ms;
static atomic_bool ended, took_signals;
static char errors[512];

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool tell_agent(const struct hook_site *site, const struct hook_notice *notice, char *text, size_t size)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    took_signals = !sigismember(&mask, SIGTERM);
    assert_int_equal(site->timeout_ms, TIMEOUT_MS);
    (void)poll(NULL, 0, block_ms);
    snprintf(text, size, "job %u", notice->job_id);
    ended = true;
    return true;
}

void slurm_error(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(errors, sizeof(errors), format, list);
    va_end(list);
}

static int64_t tell(void)
{
    struct settings settings = {"/x", "/y", TIMEOUT_MS};
    struct hook_notice notice = {.event = HOOK_STEP, .job_id = 4711};
    int64_t begin_ms = clock_ms();
    ended = false;
    tell_bounded(&settings, &notice);
    return clock_ms() - begin_ms;
}

static void what_was_done_is_said(void **state)
{
    (void)state;
    block_ms = 0;
    tell();
    assert_true(ended);
    assert_false(took_signals);
    assert_string_equal(errors, "sublet: job 4711");
}

static void what_blocks_is_left_behind(void **state)
{
    (void)state;
    block_ms = BLOCKED_MS;
    assert_in_range(tell(), BLOCKED_MS - 500, BLOCKED_MS - 1);
    assert_false(ended);
    assert_non_null(strstr(errors, "the step goes on"));
    for (int64_t end_ms = clock_ms() + 5000; !ended && clock_ms() < end_ms;)
        (void)poll(NULL, 0, 5);
    assert_true(ended);
    (void)poll(NULL, 0, 50); /* it frees what it was given: the sanitizer looks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_done_is_said),
        cmocka_unit_test(what_blocks_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
