/**
 * sublet-hook: what Slurm's Prolog and Epilog call. It tells the agent that a job comes (or has gone) and waits, for a
 * bounded time, until the guests in its way are gone. When the agent does not say so, it empties the guests' cgroups
 * itself: in doubt the guest dies. (Before a job only: after it, no guest is in anybody's way.) Its exit status is 0
 * whatever happens, since any other drains the node; a timer ends it should anything block that has no deadline of its
 * own. It prints nothing on stdout, and one line to stderr and syslog when it had to help itself.
 *
 *   sublet-hook [prolog|epilog] [--socket PATH] [--roots PATH] [--timeout-ms N]
 *
 * Without a word it goes by SLURM_SCRIPT_CONTEXT. The job comes from SLURM_JOB_ID and SLURM_JOB_UID.
 */
#include "hook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS       2000
#define TIMEOUT_MAX_MS   60000
#define EMPTY_TIMEOUT_MS 1000
#define SLACK_MS         300
#define SYSLOG_WARNING   "<28>" /* daemon.warning */

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint32_t number(const char *text, uint32_t most, uint32_t otherwise)
{
    char *end;
    if (text == NULL || *text == '\0' || *text == '-')
        return otherwise;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    return errno != 0 || *end != '\0' || value > most ? otherwise : (uint32_t)value;
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

/** Ends the process with status 0 after a time, whatever it is doing then. */
static void limit_run_time(uint32_t ms)
{
    sigset_t set;
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000}};
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    signal(SIGALRM, on_alarm);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/** One line to stderr and to syslog; libc's syslog() would block on a full log. */
static void report(const char *text)
{
    char line[512];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    fprintf(stderr, "sublet-hook: %s\n", text);
    int size = snprintf(line, sizeof(line), SYSLOG_WARNING "sublet-hook[%d]: %s", (int)getpid(), text);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, line, size < (int)sizeof(line) ? (size_t)size : sizeof(line) - 1, 0, (struct sockaddr *)&address,
                  sizeof(address)); /* a node without syslog has stderr */
    close(fd);
}

int main(int argc, char **argv)
{
    const char *socket_path = "/run/sublet/agent.sock", *roots_path = "/run/sublet/cgroups";
    const char *context = getenv("SLURM_SCRIPT_CONTEXT");
    uint32_t timeout_ms = TIMEOUT_MS;
    enum hook_event event = context != NULL && strstr(context, "epilog") != NULL ? HOOK_EPILOG : HOOK_PROLOG;
    int64_t start_ms = now_ms();
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "prolog") == 0)
            event = HOOK_PROLOG;
        else if (strcmp(argv[i], "epilog") == 0)
            event = HOOK_EPILOG;
        else if (strcmp(argv[i], "--socket") == 0 && value != NULL)
            socket_path = argv[++i];
        else if (strcmp(argv[i], "--roots") == 0 && value != NULL)
            roots_path = argv[++i];
        else if (strcmp(argv[i], "--timeout-ms") == 0 && value != NULL)
            timeout_ms = number(argv[++i], TIMEOUT_MAX_MS, TIMEOUT_MS);
        else
            fprintf(stderr, "sublet-hook: %s is not understood and passed over\n", argv[i]);
    }
    limit_run_time(timeout_ms + EMPTY_TIMEOUT_MS + SLACK_MS);
    uint32_t job_id = number(getenv("SLURM_JOB_ID"), UINT32_MAX, 0);
    uint32_t uid = number(getenv("SLURM_JOB_UID"), UINT32_MAX, 0);
    bool there = false, found = false;
    const char *why = ask_agent(socket_path, event, job_id, uid, start_ms + timeout_ms, &there);
    if (why == NULL || event == HOOK_EPILOG)
        return 0;
    int left = empty_guests(roots_path, now_ms() + EMPTY_TIMEOUT_MS, &found);
    if (there || found) {
        char text[400];
        snprintf(text, sizeof(text), "job %u: %s after %lld ms: guests killed here, %d processes left", job_id, why,
                 (long long)(now_ms() - start_ms), left);
        report(text);
    }
    return 0;
}
