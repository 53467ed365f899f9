/**
 * From fork to exec, in this order: cgroups, namespaces, root, rlimits, uid, no_new_privs, filter, exec. The cgroups
 * come first, so that what the guest's start costs is the guest's. The executor is process 1 of its pid namespace:
 * when it ends, the kernel kills all that it forked.
 *
 * Moving a process by cgroup.procs makes the kernel wait for every CPU to pass (10 ms and more when it was idle).
 * A thread that moves itself needs no such wait: in v1 it writes "0" to `tasks`. In v2, clone3 puts it there at birth.
 *
 * PDEATHSIG is forgotten when the uid changes, so it is set before (a starter that dies during set-up) and after; what
 * lies between is caught by looking whether somebody still reads the ready pipe.
 */
#include "launch/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/fabric.h"
#include "launch/pilot.h"
#include "launch/root.h"
#include "wire/code.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

enum {
    FD_UNIX = 3,
    FD_TCP,
    FD_CONFIG,
    FD_READY,
    FD_STATS,
    FD_CODE_ASK,
    FD_CODE_ANSWER,
    FD_FREE,
    FILES_MAX = 16384,
    FSIZE_MIN = 64 << 20,
    MEMLOCK = 64 << 10,
    MEMLOCK_QUEUES = 128 << 20 /* what an adapter's library locks beside a region */
};

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t done = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return done == (ssize_t)strlen(text) ? 0 : -1;
}

_Noreturn static void fail(int ready_fd, const char *what)
{
    char text[ERROR_BYTES];
    const char *hint = errno == ENOSPC ? " (cpuset.cpus or cpuset.mems may be empty)" : "";
    int size = snprintf(text, sizeof(text), "E%s: %s%s", what, strerror(errno), hint);
    (void)!write(ready_fd, text, size < (int)sizeof(text) ? (size_t)size : sizeof(text) - 1);
    _exit(127);
}

/** v1 directories have `tasks`; those without it are v2, where the child was born into its group. */
static const char *join_cgroups(const struct child_plan *plan, const char *born_into)
{
    char path[PATH_BYTES + 16];
    for (size_t i = 0; i < plan->request->cgroup_count; i++) {
        const char *directory = plan->request->cgroups[i];
        if (born_into != NULL && strcmp(directory, born_into) == 0)
            continue;
        snprintf(path, sizeof(path), "%s/tasks", directory);
        if (write_file(path, "0") == 0)
            continue;
        if (errno == ENOENT) {
            snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
            if (write_file(path, "0") == 0)
                continue;
        }
        return directory;
    }
    return NULL;
}

static int limit_resources(const struct start_request *request)
{
    rlim_t file_bytes = request->memory_bytes > FSIZE_MIN ? request->memory_bytes : FSIZE_MIN;
    bool fabric = fabric_is_known(request->fabric);
    rlim_t locked_bytes = request->is_region || fabric ? request->memory_bytes : MEMLOCK;
    if (request->is_region && fabric)
        locked_bytes += MEMLOCK_QUEUES;
    const struct {
        __rlimit_resource_t resource;
        rlim_t soft, hard;
    } limits[] = {
        {RLIMIT_CORE, 0, 0},
        {RLIMIT_NOFILE, FILES_MAX, FILES_MAX},
        {RLIMIT_FSIZE, file_bytes, file_bytes}, /* of memfds too, of which regions are made */
        {RLIMIT_MEMLOCK, locked_bytes, locked_bytes},
        {RLIMIT_MSGQUEUE, 0, 0},
        {RLIMIT_RTPRIO, 0, 0},
        {RLIMIT_NICE, 0, 0},
        {RLIMIT_STACK, 8 << 20, RLIM_INFINITY},
        /* Counts per user, batch jobs included: processes are limited by the pids cgroup instead. */
        {RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit old, limit = {.rlim_cur = limits[i].soft, .rlim_max = limits[i].hard};
        if (getrlimit(limits[i].resource, &old) != 0)
            return -1;
        /* Root in a container may lack the right to raise what the starter itself was given. */
        if (limit.rlim_max > old.rlim_max)
            limit.rlim_max = old.rlim_max;
        if (limit.rlim_cur > limit.rlim_max)
            limit.rlim_cur = limit.rlim_max;
        if (setrlimit(limits[i].resource, &limit) != 0)
            return -1;
    }
    return 0;
}

/**
 * Before it may do nothing any more: the user by whom file systems judge, and nobody else. So its real owner cannot
 * signal or trace the process, nor does it count as one of his.
 */
static bool have_files_of(uid_t files)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct set_uid[2] = {{.effective = 1u << CAP_SETUID, .permitted = 1u << CAP_SETUID}};
    if (syscall(SYS_capset, &header, set_uid) != 0)
        return false;
    setfsuid(files);
    return (uid_t)setfsuid((uid_t)-1) == files;
}

const char *child_drop_privileges(uid_t uid, gid_t gid, uid_t files)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return "drop the capability bounding set";
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* from Linux 4.3; before, there is no such set */
    if (setgroups(0, NULL) != 0)
        return "setgroups";
    if (setresgid(gid, gid, gid) != 0)
        return "setresgid";
    if (files != uid && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        return "keep capabilities";
    if (setresuid(uid, uid, uid) != 0)
        return "setresuid";
    if (files != uid && !have_files_of(files))
        return "setfsuid";
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof(none));
    if (syscall(SYS_capset, &header, none) != 0)
        return "capset";
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? NULL : "no_new_privs";
}

/** Puts the descriptors into their places by way of numbers beyond them, and closes all others. */
static int place_fds(const struct child_plan *plan, int *ready_fd)
{
    const int from[] = {plan->unix_fd,  plan->tcp_fd,      plan->config_fd,     plan->ready_fd,
                        plan->stats_fd, plan->code_ask_fd, plan->code_answer_fd};
    enum { COUNT = sizeof(from) / sizeof(from[0]) };
    int high[COUNT];
    for (int i = 0; i < COUNT; i++)
        if ((high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, FD_FREE + 8)) < 0 && from[i] >= 0)
            return -1;
    for (int i = 0; i < COUNT; i++)
        if (high[i] < 0)
            close(FD_UNIX + i);
        else if (dup2(high[i], FD_UNIX + i) < 0)
            return -1;
    *ready_fd = FD_READY;
    /* The copy of the ready pipe's other end must go too, or nobody could tell that the starter is gone. */
    if (syscall(SYS_close_range, FD_FREE, ~0U, 0) != 0)
        for (int fd = FD_FREE; fd < FILES_MAX; fd++) /* before Linux 5.9 */
            close(fd);
    return 0;
}

static const char *enter_sandbox(const struct child_plan *plan, const char *born_into)
{
    const char *lease = plan->request->lease;
    const char *failed = join_cgroups(plan, born_into);
    if (failed != NULL)
        return failed;
    /* When the node runs out of memory guests go first; a guest's /proc is read-only, so it stays. */
    if (write_file("/proc/self/oom_score_adj", "1000") != 0)
        return "oom_score_adj";
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0)
        return "unshare";
    if ((failed = root_enter(plan)) != NULL)
        return failed;
    return sethostname(lease, strlen(lease)) == 0 ? NULL : "sethostname";
}

_Noreturn static void run(const struct child_plan *plan, const char *born_into)
{
    int ready_fd = plan->ready_fd;
    const struct start_request *request = plan->request;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char *failed = plan->pilot ? pilot_confine(request) : enter_sandbox(plan, born_into);
    if (failed != NULL)
        fail(ready_fd, failed);
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGIO, SIG_DFL);
    if (place_fds(plan, &ready_fd) != 0)
        fail(ready_fd, "place descriptors");
    if (limit_resources(request) != 0)
        fail(ready_fd, "setrlimit");
    if (!plan->pilot && (failed = child_drop_privileges(request->uid, request->gid, request->uid)) != NULL)
        fail(ready_fd, failed);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd pipe_end = {.fd = ready_fd, .events = POLLOUT};
    if (poll(&pipe_end, 1, 0) < 0 || (pipe_end.revents & POLLERR) != 0)
        _exit(127); /* the starter is gone */
    if (filter_apply(plan->filter) != 0)
        fail(ready_fd, "seccomp");
    char *arguments[] = {(char *)"sublet-executor", NULL};
    char *environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"HOME=/tmp", (char *)"LANG=C.UTF-8", NULL, NULL, NULL};
    size_t count = 3;
    if (plan->prepared)
        environment[count++] = (char *)"SUBLET_PREPARED=1";
    if (plan->code_ask_fd >= 0)
        environment[count++] = (char *)CODE_ENVIRONMENT "=" CODE_VALUE_PATHS;
    execve(request->executor, arguments, environment);
    fail(ready_fd, request->executor);
}

/** Opens the one v2 group among the directories, if there is one. */
static int open_v2(const struct start_request *request, const char **directory)
{
    char path[PATH_BYTES + 16];
    for (size_t i = 0; i < request->cgroup_count; i++) {
        snprintf(path, sizeof(path), "%s/tasks", request->cgroups[i]);
        if (access(path, F_OK) == 0)
            continue;
        *directory = request->cgroups[i];
        return open(request->cgroups[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    *directory = NULL;
    return -1;
}

static pid_t clone_into(int cgroup_fd)
{
    struct clone_args arguments;
    memset(&arguments, 0, sizeof(arguments));
    arguments.flags = CLONE_NEWPID | CLONE_INTO_CGROUP;
    arguments.exit_signal = SIGCHLD;
    arguments.cgroup = (uint64_t)cgroup_fd;
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

pid_t child_start(const struct child_plan *plan, char why[ERROR_BYTES])
{
    const char *born_into = NULL;
    int cgroup_fd = open_v2(plan->request, &born_into);
    if (born_into != NULL && cgroup_fd < 0) {
        snprintf(why, ERROR_BYTES, "%s: %s", born_into, strerror(errno));
        return -1;
    }
    pid_t pid = -1;
    if (cgroup_fd >= 0)
        pid = clone_into(cgroup_fd);
    if (pid < 0) {
        born_into = NULL; /* v1, or a kernel before 5.7: the child moves itself */
        pid = (pid_t)syscall(SYS_clone, (plan->pilot ? 0 : CLONE_NEWPID) | SIGCHLD, NULL, NULL, NULL, NULL);
    }
    if (pid == 0)
        run(plan, born_into);
    if (pid < 0)
        snprintf(why, ERROR_BYTES, "clone: %s", strerror(errno));
    if (cgroup_fd >= 0)
        close(cgroup_fd);
    return pid;
}
