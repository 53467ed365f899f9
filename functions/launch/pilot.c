#include "launch/pilot.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch/log.h"
#include "launch/starter.h"

/** Beyond the lease's memory: what executor and loader need in one process. */
enum { OVERHEAD_BYTES = 64 << 20, STRAY_ROUNDS = 200 };

bool pilot_begin(void)
{
    signal(SIGTERM, SIG_IGN); /* guests inherit it */
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
}

/** "0,2-3"; request_start() has seen that it holds digits, commas and dashes only. */
static bool parse_cores(const char *text, cpu_set_t *set)
{
    CPU_ZERO(set);
    while (*text != '\0') {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (end == text)
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text)
                return false;
        }
        if (first > last || last >= CPU_SETSIZE || (*end != ',' && *end != '\0'))
            return false;
        for (unsigned long cpu = first; cpu <= last; cpu++)
            CPU_SET(cpu, set);
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

const char *pilot_confine(const struct start_request *request)
{
    cpu_set_t cores;
    if (!parse_cores(request->cores, &cores)) {
        errno = EINVAL;
        return "cores";
    }
    /* A region has no cores of its own: it may run wherever the job may. */
    if (CPU_COUNT(&cores) > 0 && sched_setaffinity(0, sizeof(cores), &cores) != 0)
        return "sched_setaffinity";
    /* Not RLIMIT_AS: buffers are sparse, and what of a shared mapping is not touched costs nothing. */
    rlim_t bytes = request->memory_bytes + OVERHEAD_BYTES;
    struct rlimit old;
    if (getrlimit(RLIMIT_DATA, &old) != 0)
        return "getrlimit";
    if (bytes > old.rlim_max)
        bytes = old.rlim_max;
    if (setrlimit(RLIMIT_DATA, &(struct rlimit){.rlim_cur = bytes, .rlim_max = bytes}) != 0)
        return "setrlimit";
    /* When the job runs out of memory guests go before the agent. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1000", 4) != 4)
        return "oom_score_adj";
    close(fd);
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? NULL : "no_new_privs";
}

static bool is_guest(const struct starter *starter, pid_t pid)
{
    for (size_t i = 0; i < GUESTS_MAX; i++)
        if (starter->guests[i].state != GUEST_FREE && !starter->guests[i].reaped && starter->guests[i].pid == pid)
            return true;
    return false;
}

/** Sends SIGKILL to the strays of this moment, and reaps what has ended; how many there were. */
static size_t kill_strays(const struct starter *starter)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    size_t found = 0;
    int pid;
    while (children != NULL && fscanf(children, "%d", &pid) == 1) {
        if (is_guest(starter, pid) || code_is_helper(starter, pid))
            continue;
        found++;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, WNOHANG);
    }
    if (children != NULL)
        fclose(children);
    return found;
}

void pilot_end_strays(const struct starter *starter)
{
    size_t left = 1;
    for (int round = 0; round < STRAY_ROUNDS && (left = kill_strays(starter)) > 0; round++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (left > 0)
        log_event(LOG_LEVEL_WARN, "%zu processes that guests left do not die", left);
}
