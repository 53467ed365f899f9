/** Told by Slurm that a job comes: the agent's word, or else what can be done without it. In doubt the guest dies. */
#include "hook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint32_t hook_number(const char *text, uint32_t most, uint32_t otherwise)
{
    char *end;
    if (text == NULL || *text == '\0' || *text == '-')
        return otherwise;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    return errno != 0 || *end != '\0' || value > most ? otherwise : (uint32_t)value;
}

enum hook_consent hook_consent_of(const char *text)
{
    if (text == NULL || *text == '\0')
        return HOOK_SAID_NOTHING;
    return strcmp(text, "share") == 0 ? HOOK_SHARE : HOOK_NO;
}

bool tell_agent(const struct hook_site *site, const struct hook_notice *notice, char *text, size_t size)
{
    bool there = false, found = false;
    int64_t start_ms = now_ms();
    const char *why = ask_agent(site->socket_path, notice, start_ms + site->timeout_ms, &there);
    if (why == NULL || notice->event == HOOK_EPILOG)
        return false;
    int left = empty_guests(site->roots_path, now_ms() + HOOK_EMPTY_TIMEOUT_MS, &found);
    if (!there && !found)
        return false;
    snprintf(text, size, "job %u: %s after %lld ms: guests killed here, %d processes left", notice->job_id, why,
             (long long)(now_ms() - start_ms), left);
    return true;
}
