/**
 * Opens a library on a file system that nodes share, in a helper that has the rights of the lease's owner.
 *
 * It is never more than those. Of the owner's groups nothing is known here, and groups may be given less than all
 * others are; so what is not the owner's own must be open to its group as to all others, and have no list of rights
 * beside its mode. No link is followed and no other mount is entered, at any name; a name is looked at before it is
 * opened, and only a file is (a FIFO would wake who writes to it, a device may do anything). What is looked at is what
 * is opened: the same inode. That its bytes stay what they are is not needed, since the copy is what is checked.
 *
 * Each of these calls may take for ever when a server is gone. Nobody waits for them but this process.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "launch/code.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/** As the kernel has it since Linux 5.6; an older one reads no library from its path. */
struct how {
    uint64_t flags, mode, resolve;
};
enum { NO_XDEV = 0x01, NO_MAGICLINKS = 0x02, NO_SYMLINKS = 0x04, BENEATH = 0x08, FD_PATH_BYTES = 40 };

static void path_of(int fd, char path[FD_PATH_BYTES])
{
    snprintf(path, FD_PATH_BYTES, "/proc/self/fd/%d", fd);
}

/** May all of its group do what all others may: read (a file), pass (a folder)? */
static bool groups_do_not_matter(int fd, const struct stat *info, uid_t owner)
{
    mode_t others = S_ISDIR(info->st_mode) ? S_IXOTH : S_IROTH, both = others | others << 3;
    char path[FD_PATH_BYTES];
    if (info->st_uid == owner)
        return true;
    path_of(fd, path);
    return (info->st_mode & both) == both && getxattr(path, "system.posix_acl_access", NULL, 0) < 0;
}

/** Takes the folder, and gives what a name in it is, opened for nothing yet; -1 when it is not to be had. */
static int step(int folder, const char *name, bool last, uid_t owner, struct stat *info)
{
    struct how how = {.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW | (last ? 0 : O_DIRECTORY),
                      .resolve = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH};
    int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));
    close(folder);
    if (fd >= 0 && fstat(fd, info) == 0 && groups_do_not_matter(fd, info, owner))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int code_file_open(const char *prefix, const char *name, uid_t owner, uint64_t size)
{
    char names[CONTROL_PATH_MAX + 1], path[FD_PATH_BYTES];
    struct stat info;
    int at = open(prefix, O_PATH | O_CLOEXEC | O_DIRECTORY), fd = -1;
    if (at < 0 || fstat(at, &info) != 0 || !groups_do_not_matter(at, &info, owner) || strlen(name) >= sizeof(names))
        return -1;
    strcpy(names, name);
    for (char *next = names, *one; at >= 0 && (one = strsep(&next, "/")) != NULL;)
        at = step(at, one, next == NULL, owner, &info);
    if (at < 0)
        return -1;
    path_of(at, path);
    if (S_ISREG(info.st_mode) && (uint64_t)info.st_size == size)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    close(at);
    return fd;
}
