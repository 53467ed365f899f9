/**
 * sublet-hook: what Slurm's Prolog and Epilog call. It tells the agent that a job comes (or has gone) and waits, for a
 * bounded time, until the guests in its way are gone. When the agent does not say so, it empties the guests' cgroups
 * itself: in doubt the guest dies. (Before a job only: after it, no guest is in anybody's way.) Its exit status is 0
 * whatever happens, since any other drains the node; a timer ends it should anything block that has no deadline of its
 * own. It prints nothing on stdout, and one line to stderr and syslog when it had to help itself.
 *
 *   sublet-hook [prolog|epilog] [--socket PATH] [--roots PATH] [--timeout-ms N]
 *
 * Without a word it goes by SLURM_SCRIPT_CONTEXT. The job comes from SLURM_JOB_ID and SLURM_JOB_UID,
 * what is known about its consent from SPANK_SUBLET_CONSENT, SLURM_JOB_PARTITION, SLURM_JOB_ACCOUNT and SLURM_JOB_QOS.
 */
#include "hook.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSLOG_WARNING "<28>" /* daemon.warning */

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
    struct hook_site site = {HOOK_SOCKET_PATH, HOOK_ROOTS_PATH, HOOK_TIMEOUT_MS};
    const char *context = getenv("SLURM_SCRIPT_CONTEXT");
    struct hook_notice notice = {
        .event = context != NULL && strstr(context, "epilog") != NULL ? HOOK_EPILOG : HOOK_PROLOG,
        .job_id = hook_number(getenv("SLURM_JOB_ID"), UINT32_MAX, 0),
        .uid = hook_number(getenv("SLURM_JOB_UID"), UINT32_MAX, 0),
        .consent = hook_consent_of(getenv("SPANK_SUBLET_CONSENT")), /* set by the SPANK plugin at submission */
        .partition = getenv("SLURM_JOB_PARTITION"),
        .account = getenv("SLURM_JOB_ACCOUNT"),
        .qos = getenv("SLURM_JOB_QOS"),
    };
    char text[400];
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "prolog") == 0)
            notice.event = HOOK_PROLOG;
        else if (strcmp(argv[i], "epilog") == 0)
            notice.event = HOOK_EPILOG;
        else if (strcmp(argv[i], "--socket") == 0 && value != NULL)
            site.socket_path = argv[++i];
        else if (strcmp(argv[i], "--roots") == 0 && value != NULL)
            site.roots_path = argv[++i];
        else if (strcmp(argv[i], "--timeout-ms") == 0 && value != NULL)
            site.timeout_ms = hook_number(argv[++i], HOOK_TIMEOUT_MAX_MS, HOOK_TIMEOUT_MS);
        else
            fprintf(stderr, "sublet-hook: %s is not understood and passed over\n", argv[i]);
    }
    limit_run_time(site.timeout_ms + HOOK_EMPTY_TIMEOUT_MS + HOOK_SLACK_MS);
    if (tell_agent(&site, &notice, text, sizeof(text)))
        report(text);
    return 0;
}
