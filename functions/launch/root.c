/**
 * Builds the guest's root on a tmpfs (charged to the guest's memory cgroup) and moves into it. What is not bound here
 * does not exist for a guest: no /etc but the loader's cache, no /home, no /run, no spool of Slurm, and no /sys, but
 * for what a fabric needs (fabric.c).
 *
 * Binds are not recursive: a file system mounted below /usr is not seen, rather than seen writable. All of it happens
 * in the child's mount namespace, made private first, and goes with it.
 */
#include "launch/root.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "launch/fabric.h"

enum { TMP_BYTES_MAX = 64 << 20 };

/** Makes the directories of a relative path. */
static int make_directories(const char *relative)
{
    char path[PATH_BYTES];
    size_t size = strlen(relative);
    if (size >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, relative, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        char kept = path[i];
        path[i] = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
        path[i] = kept;
    }
    return 0;
}

/** Those that lead to the last name of a relative path. */
static int make_parents(const char *relative)
{
    char path[PATH_BYTES];
    const char *slash = strrchr(relative, '/');
    if (slash == NULL)
        return 0;
    snprintf(path, sizeof(path), "%.*s", (int)(slash - relative), relative);
    return make_directories(path);
}

int root_bind(const char *path, bool device)
{
    const unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID;
    const char *here = path + 1;
    struct stat info;
    if (stat(path, &info) != 0)
        return -1;
    if (S_ISDIR(info.st_mode)) {
        if (make_directories(here) != 0)
            return -1;
    } else if (make_parents(here) != 0 || mknod(here, S_IFREG | 0444, 0) != 0)
        return -1;
    if (mount(path, here, NULL, MS_BIND, NULL) != 0)
        return -1;
    return mount(NULL, here, NULL, flags | (device ? MS_NOEXEC : MS_NODEV), NULL);
}

int root_symlink(const char *target, const char *path)
{
    return make_parents(path + 1) == 0 ? symlink(target, path + 1) : -1;
}

/** /lib and its like: a link into /usr on merged systems, a directory on others, and missing on some. */
static int show_system(const char *path)
{
    char target[256];
    ssize_t size = readlink(path, target, sizeof(target) - 1);
    if (size > 0) {
        target[size] = '\0';
        return symlink(target, path + 1);
    }
    return root_bind(path, false) == 0 || errno == ENOENT ? 0 : -1;
}

static int make_devices(void)
{
    static const struct {
        const char *path;
        unsigned minor;
    } devices[] = {{"dev/null", 3}, {"dev/zero", 5}, {"dev/urandom", 9}};
    if (mkdir("dev", 0755) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        if (mknod(devices[i].path, S_IFCHR | 0666, makedev(1, devices[i].minor)) != 0)
            return -1;
    return 0;
}

uint64_t root_tmp_bytes(uint64_t memory_bytes)
{
    uint64_t bytes = memory_bytes / 4 < TMP_BYTES_MAX ? memory_bytes / 4 : TMP_BYTES_MAX;
    return bytes > 4096 ? bytes : 4096;
}

static int mount_tmp(uint64_t memory_bytes)
{
    char options[64];
    snprintf(options, sizeof(options), "mode=1777,size=%llu,nr_inodes=4096",
             (unsigned long long)root_tmp_bytes(memory_bytes));
    return mkdir("tmp", 0755) == 0 ? mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) : -1;
}

/** Shows the processes of the guest's own pid namespace only. */
static int mount_proc(void)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    if (mkdir("proc", 0555) != 0)
        return -1;
    if (mount("proc", "proc", "proc", flags, "hidepid=2") == 0)
        return 0;
    return mount("proc", "proc", "proc", flags, NULL);
}

const char *root_enter(const struct child_plan *plan)
{
    /* The loader's cache and Debian's choice among BLAS libraries, without which functions do not find theirs. */
    static const char *const system[] = {"/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"};
    umask(0);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return "make mounts private";
    if (mount("sublet", plan->mount_point, "tmpfs", MS_NOSUID, "mode=755,size=1m,nr_inodes=1024") != 0 ||
        chdir(plan->mount_point) != 0)
        return "mount a tmpfs for the root";
    if (root_bind("/usr", false) != 0)
        return "bind /usr";
    if (mkdir("etc", 0755) != 0)
        return "make /etc";
    for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++)
        if (show_system(system[i]) != 0)
            return system[i];
    if (make_devices() != 0)
        return "make /dev";
    if (mount_tmp(plan->request->memory_bytes) != 0)
        return "mount /tmp";
    for (size_t i = 0; i < plan->read_only_count; i++)
        if (root_bind(plan->read_only[i], false) != 0)
            return plan->read_only[i];
    const char *failed = fabric_show(plan->request->fabric, plan->request->lease);
    if (failed != NULL)
        return failed;
    if (mount_proc() != 0)
        return "mount /proc";
    if (syscall(SYS_pivot_root, ".", ".") != 0)
        return "pivot_root";
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return "leave the old root";
    if (mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) != 0)
        return "make the root read-only";
    umask(077);
    return NULL;
}
