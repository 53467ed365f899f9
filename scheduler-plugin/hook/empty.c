/**
 * The last resort: kills every process under the guest roots. The roots come from a file of the agent (root's, and
 * writable by nobody else), one directory of a cgroup hierarchy per line. A line that is not a directory below a cgroup
 * mount, or that is Slurm's, is passed over: a file gone wrong must not cost a job, let alone the node.
 *
 * Guests that fork faster than they are killed: nothing is born under pids.max 0. Frozen ones (v1) are out of a
 * signal's reach until thawed. Their cgroups stay; the agent removes them when it is back.
 */
#include "hook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_BYTES    4096
#define CGROUP1_MAGIC 0x27e0eb
#define CGROUP2_MAGIC 0x63677270
#define DEPTH_MAX     8

static bool is_cgroup(const char *path)
{
    struct statfs info;
    return statfs(path, &info) == 0 && (info.f_type == CGROUP1_MAGIC || info.f_type == CGROUP2_MAGIC);
}

/** A directory inside a cgroup mount (not its top, which holds the whole node) that is not Slurm's. */
static bool is_guest_root(const char *path)
{
    char parent[PATH_BYTES];
    struct stat here, above;
    const char *name = strrchr(path, '/');
    if (path[0] != '/' || name == path || name[1] == '\0' || strstr(path, "/..") != NULL ||
        strstr(path, "/slurm") != NULL)
        return false;
    if (snprintf(parent, sizeof(parent), "%.*s", (int)(name - path), path) >= (int)sizeof(parent))
        return false;
    return is_cgroup(path) && is_cgroup(parent) && lstat(path, &here) == 0 && S_ISDIR(here.st_mode) &&
           stat(parent, &above) == 0 && here.st_dev == above.st_dev;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* not every hierarchy has it */
    (void)!write(fd, text, strlen(text));
    close(fd);
}

static int kill_here(const char *folder)
{
    char path[PATH_BYTES];
    int count = 0, pid;
    if (snprintf(path, sizeof(path), "%s/cgroup.procs", folder) >= (int)sizeof(path))
        return 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fscanf(file, "%d", &pid) == 1)
        /* 0 stands for a process that cannot be seen from here; signalled, it would be our own process group. */
        if (pid > 1 && pid != getpid() && pid != getppid()) {
            count++;
            kill(pid, SIGKILL);
        }
    fclose(file);
    return count;
}

/** Kills what is in a directory and below; number of processes seen. */
static int kill_below(const char *folder, int depth)
{
    char path[PATH_BYTES];
    write_file(folder, "pids.max", "0"); /* nothing new may be born */
    write_file(folder, "freezer.state", "THAWED");
    write_file(folder, "cgroup.freeze", "0");
    write_file(folder, "cgroup.kill", "1");
    int count = kill_here(folder);
    DIR *directory = depth < DEPTH_MAX ? opendir(folder) : NULL;
    if (directory == NULL)
        return count;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < (int)sizeof(path))
            count += kill_below(path, depth + 1);
    }
    closedir(directory);
    return count;
}

/** Guests live in the directories below a root, never in the root itself. */
static int kill_guests(const char *root)
{
    char path[PATH_BYTES];
    write_file(root, "freezer.state", "THAWED"); /* its state is its children's too */
    write_file(root, "cgroup.freeze", "0");
    /* To die takes CPU time: not at the lowest priority now. The agent puts it back before the next guest. */
    write_file(root, "cpu.idle", "0");
    write_file(root, "cpu.shares", "1024");
    write_file(root, "cpu.weight", "100");
    int count = kill_here(root);
    DIR *directory = opendir(root);
    if (directory == NULL)
        return count;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            snprintf(path, sizeof(path), "%s/%s", root, entry->d_name) < (int)sizeof(path))
            count += kill_below(path, 1);
    closedir(directory);
    return count;
}

static FILE *open_roots(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    FILE *file = NULL;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == 0 && (info.st_mode & 022) == 0)
        file = fdopen(fd, "r");
    if (file == NULL)
        close(fd);
    return file;
}

int empty_guests(const char *roots_path, int64_t end_ms, bool *found)
{
    char line[PATH_BYTES];
    for (;;) {
        int left = 0;
        FILE *file = open_roots(roots_path);
        if (file == NULL)
            return 0; /* no agent has ever lent anything here */
        *found = true;
        while (fgets(line, sizeof(line), file) != NULL) {
            line[strcspn(line, "\n")] = '\0';
            if (is_guest_root(line))
                left += kill_guests(line);
        }
        fclose(file);
        if (left == 0 || now_ms() >= end_ms)
            return left;
        (void)poll(NULL, 0, 2);
    }
}
