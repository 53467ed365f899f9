/** userfaultfd: what this kernel and this user may have of it, and the few calls we need. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/map.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0)
#endif

/** By the device, by the system call, and at last without the kernel's own faults, which any user may. */
static int new_descriptor(bool *kernel_faults_out)
{
    int flags = O_CLOEXEC | O_NONBLOCK, fd = -1;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    *kernel_faults_out = true;
    if (device >= 0) {
        fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
        close(device);
    }
    if (fd < 0)
        fd = (int)syscall(SYS_userfaultfd, flags);
    if (fd < 0) {
        *kernel_faults_out = false;
        fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
    }
    return fd;
}

int uffd_open(bool *write_protect_out, bool *kernel_faults_out)
{
    for (int with = 1; with >= 0; with--) {
        struct uffdio_api api = {.api = UFFD_API, .features = with ? UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0};
        int fd = new_descriptor(kernel_faults_out);
        if (fd < 0)
            return -1;
        if (ioctl(fd, UFFDIO_API, &api) == 0) {
            *write_protect_out = with == 1;
            return fd;
        }
        int error = errno;
        close(fd);
        errno = error;
    }
    return -1;
}

int uffd_register(int uffd, void *base, size_t length, bool write_protect)
{
    struct uffdio_register range = {.range = {.start = (uintptr_t)base, .len = length},
                                    .mode =
                                        UFFDIO_REGISTER_MODE_MISSING | (write_protect ? UFFDIO_REGISTER_MODE_WP : 0)};
    return ioctl(uffd, UFFDIO_REGISTER, &range);
}

int uffd_copy(int uffd, void *to, const void *from, size_t length, bool protect)
{
    for (size_t done = 0; done < length;) {
        struct uffdio_copy copy = {.dst = (uintptr_t)to + done,
                                   .src = (uintptr_t)from + done,
                                   .len = length - done,
                                   .mode = protect ? UFFDIO_COPY_MODE_WP : 0};
        if (ioctl(uffd, UFFDIO_COPY, &copy) == 0)
            return 0;
        if (copy.copy > 0)
            done += (size_t)copy.copy;
        else if (errno != EAGAIN)
            return -1;
    }
    return 0;
}

int uffd_protect(int uffd, void *base, size_t length, bool protect)
{
    struct uffdio_writeprotect range = {.range = {.start = (uintptr_t)base, .len = length},
                                        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
    int failed;
    do
        failed = ioctl(uffd, UFFDIO_WRITEPROTECT, &range);
    while (failed != 0 && errno == EAGAIN);
    return failed;
}

void uffd_wake(int uffd, void *base, size_t length)
{
    struct uffdio_range range = {.start = (uintptr_t)base, .len = length};
    (void)ioctl(uffd, UFFDIO_WAKE, &range);
}

int uffd_fault(int uffd, void **address_out, bool *writes_out, bool *protected_out)
{
    struct uffd_msg message;
    for (;;) {
        ssize_t got = read(uffd, &message, sizeof(message));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got != (ssize_t)sizeof(message))
            return -1;
        if (message.event != UFFD_EVENT_PAGEFAULT)
            continue;
        *address_out = (void *)(uintptr_t)message.arg.pagefault.address;
        *protected_out = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0;
        *writes_out = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0;
        return 1;
    }
}
