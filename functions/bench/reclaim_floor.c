/**
 * The floor of a reclaim: kill PROCESSES processes that hold MIB each in their own cgroups, wait until they are gone
 * and their cgroups removed. Nothing of Sublet is in it. Once with memory as a region is made of (a mapped memfd, whose
 * pages the last to close it gives back), once with anonymous memory, which is cheaper to give back; turn by turn, so
 * that both see the same machine. Root; prints one line of JSON.
 *
 *   sublet-reclaim-floor ROUNDS CGROUP_PARENT... (one per controller; a directory is made in each)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES   4
#define MIB         256
#define ROUNDS_MAX  99
#define PARENTS_MAX 12

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void path_of(char *path, size_t size, const char *parent, int process)
{
    snprintf(path, size, "%s/sublet_floor_%d_%d", parent, (int)getpid(), process);
}

static int copy_setting(const char *from, const char *to, const char *name)
{
    char path[4096], text[256] = "";
    snprintf(path, sizeof(path), "%s/%s", from, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0; /* not this controller */
    if (fgets(text, sizeof(text), file) == NULL)
        text[0] = 0;
    fclose(file);
    snprintf(path, sizeof(path), "%s/%s", to, name);
    file = fopen(path, "w");
    if (file == NULL)
        return -1;
    fputs(text, file);
    return fclose(file);
}

static void *take_memory(int shared)
{
    int fd = -1;
    if (shared && ((fd = memfd_create("sublet-floor", MFD_CLOEXEC)) < 0 || ftruncate(fd, (off_t)MIB << 20) != 0))
        return MAP_FAILED;
    return mmap(NULL, (size_t)MIB << 20, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd,
                0);
}

static pid_t start(char **parents, int count, int process, int shared, int ready)
{
    char path[4096];
    for (int i = 0; i < count; i++) {
        path_of(path, sizeof(path), parents[i], process);
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
        if (copy_setting(parents[i], path, "cpuset.cpus") != 0 || copy_setting(parents[i], path, "cpuset.mems") != 0)
            return -1;
    }
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid_t parent = getppid();
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/sublet_floor_%d_%d/cgroup.procs", parents[i], (int)parent, process);
        FILE *file = fopen(path, "w");
        if (file == NULL || fprintf(file, "%d", (int)getpid()) < 0 || fclose(file) != 0)
            _exit(1);
    }
    char *memory = take_memory(shared);
    if (memory == MAP_FAILED)
        _exit(1);
    memset(memory, 1, (size_t)MIB << 20);
    if (write(ready, "r", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/** Milliseconds of one round; negative when it cannot be done. */
static double one_round(char **parents, int count, int shared)
{
    pid_t pids[PROCESSES];
    int ready[2];
    char byte;
    if (pipe(ready) != 0)
        return -1;
    for (int i = 0; i < PROCESSES; i++)
        if ((pids[i] = start(parents, count, i, shared, ready[1])) < 0)
            return -1;
    close(ready[1]);
    for (int i = 0; i < PROCESSES; i++)
        if (read(ready[0], &byte, 1) != 1)
            return -1;
    close(ready[0]);
    double begin = seconds();
    for (int i = 0; i < PROCESSES; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < PROCESSES; i++)
        waitpid(pids[i], NULL, 0);
    for (int i = 0; i < PROCESSES; i++)
        for (int j = 0; j < count; j++) {
            char path[4096];
            path_of(path, sizeof(path), parents[j], i);
            while (rmdir(path) != 0 && errno == EBUSY) {
            }
        }
    return (seconds() - begin) * 1e3;
}

int main(int argc, char **argv)
{
    static double times[2][ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc - 2;
    if (count < 1 || count > PARENTS_MAX || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: %s ROUNDS CGROUP_PARENT...\n", argv[0]);
        return 2;
    }
    for (int round = 0; round < rounds; round++)
        for (int shared = 0; shared < 2; shared++)
            if ((times[shared][round] = one_round(argv + 2, count, shared)) < 0) {
                fprintf(stderr, "cannot start: %s\n", strerror(errno));
                return 1;
            }
    for (int shared = 0; shared < 2; shared++)
        qsort(times[shared], (size_t)rounds, sizeof(times[0][0]), by_value);
    printf("{\"processes\":%d,\"mib_each\":%d,\"rounds\":%d,\"shared_p50_ms\":%.3f,\"anonymous_p50_ms\":%.3f}\n",
           PROCESSES, MIB, rounds, times[1][rounds / 2], times[0][rounds / 2]);
    return 0;
}
