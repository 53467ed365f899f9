#include "executor/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor/symbols.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

sublet_status library_begin(size_t size, int *fd_out, void **bytes_out)
{
    int fd = memfd_create("sublet-library", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("sublet-library", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SUBLET_ERR_SYSTEM;
    void *bytes = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        close(fd);
        return SUBLET_ERR_NO_MEMORY;
    }
    *fd_out = fd;
    *bytes_out = bytes;
    return SUBLET_OK;
}

sublet_status library_reuse(int fd, size_t size, void **bytes_out)
{
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    *bytes_out = bytes;
    return SUBLET_OK;
}

sublet_status library_seal(int fd, void *bytes, size_t size)
{
    munmap(bytes, size);
    if (fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return SUBLET_OK;
    close(fd);
    return SUBLET_ERR_SYSTEM;
}

int library_equal(int fd, int other_fd)
{
    struct stat one, other;
    if (fstat(fd, &one) != 0 || fstat(other_fd, &other) != 0 || one.st_size != other.st_size)
        return 0;
    if (one.st_dev == other.st_dev && one.st_ino == other.st_ino)
        return 1;
    size_t size = (size_t)one.st_size;
    int equal = 0;
    void *a = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    void *b = mmap(NULL, size, PROT_READ, MAP_SHARED, other_fd, 0);
    if (a != MAP_FAILED && b != MAP_FAILED)
        equal = memcmp(a, b, size) == 0;
    if (a != MAP_FAILED)
        munmap(a, size);
    if (b != MAP_FAILED)
        munmap(b, size);
    return equal;
}

bool library_defines(int fd, const char *name)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    size_t size = (size_t)info.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return false;
    bool defines = symbols_define(bytes, size, name);
    munmap(bytes, size);
    return defines;
}

/** Without /proc: by way of a file that is gone again when this returns. */
static void *open_copy(int fd, const char **why_out)
{
    char path[] = "/tmp/sublet-library-XXXXXX";
    struct stat info;
    void *library = NULL;
    *why_out = "neither /proc nor /tmp can be used to load it";
    int copy = mkostemp(path, O_CLOEXEC);
    if (copy < 0)
        return NULL;
    if (fstat(fd, &info) != 0)
        goto remove;
    for (off_t done = 0; done < info.st_size;) {
        char part[65536];
        ssize_t got = pread(fd, part, sizeof(part), done);
        if (got <= 0 || write(copy, part, (size_t)got) != got)
            goto remove;
        done += got;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        *why_out = dlerror();
remove:
    unlink(path);
    close(copy);
    return library;
}

void *library_open(int fd, const char **why_out)
{
    char path[64];
    const char *why = NULL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    void *library = NULL;
    if (access(path, R_OK) == 0) {
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            why = dlerror();
    } else
        library = open_copy(fd, &why);
    if (library == NULL && why_out != NULL)
        *why_out = why;
    return library;
}

_Noreturn void library_probe(int fd, const char *name)
{
    const char *why = NULL;
    void *library = library_open(fd, &why);
    if (library == NULL) {
        fprintf(stderr, "sublet-executor: library refused: %s\n", why != NULL ? why : "unknown");
        _exit(SUBLET_ERR_INVALID);
    }
    _exit(name != NULL && dlsym(library, name) == NULL ? SUBLET_ERR_NOT_FOUND : SUBLET_OK);
}
