#include "executor/region.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define TOUCH_BYTES (UINT64_C(32) << 20)
#define STACK_BYTES (256u << 10)
#define SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static bool touch(unsigned char *at, uint64_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    for (uint64_t offset = 0; offset < bytes; offset += 4096) /* before Linux 5.14 */
        atomic_fetch_or((_Atomic unsigned char *)(at + offset), 0);
    return true;
}

static void *touch_all(void *argument)
{
    struct region *region = argument;
    bool done = true;
    for (uint64_t at = 0; at < region->bytes && done; at += TOUCH_BYTES) {
        uint64_t left = region->bytes - at;
        done = touch(region->base + at, left < TOUCH_BYTES ? left : TOUCH_BYTES);
    }
    if (!done)
        fprintf(stderr, "sublet-executor: cannot take the memory of the region: %m\n");
    atomic_store(&region->touched, done ? 1 : 2);
    uint64_t one = 1;
    if (write(region->ready_fd, &one, sizeof(one)) < 0)
        fprintf(stderr, "sublet-executor: cannot signal that the region is there: %m\n");
    return NULL;
}

int region_thread(void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return error;
}

sublet_status region_start(struct region *region, uint64_t bytes)
{
    memset(region, 0, sizeof(*region));
    region->bytes = bytes;
    region->fabric = -1;
    region->ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    region->fd = memfd_create("sublet-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->ready_fd < 0 || region->fd < 0)
        return SUBLET_ERR_SYSTEM;
    if (ftruncate(region->fd, (off_t)bytes) != 0 || fcntl(region->fd, F_ADD_SEALS, SEALS) != 0)
        return SUBLET_ERR_NO_MEMORY;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    region->base = base;
    madvise(base, bytes, MADV_HUGEPAGE); /* where the kernel offers it for shared memory */
    return SUBLET_OK;
}

sublet_status region_touch(struct region *region)
{
    return region_thread(touch_all, region) == 0 ? SUBLET_OK : SUBLET_ERR_SYSTEM;
}

sublet_status region_ready(const struct region *region)
{
    static const sublet_status states[] = {SUBLET_ERR_BUSY, SUBLET_OK, SUBLET_ERR_NO_MEMORY};
    return states[atomic_load(&region->touched)];
}
