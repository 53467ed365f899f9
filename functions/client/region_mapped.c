/** A region of this node: its memory is mapped, an access is a copy. */
#include "client/region.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (UINT64_C(4) << 20) /* between two looks whether the region is still ours */
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW)

/** Copies in pieces: a region that is taken back is left within one of them. */
static sublet_status copy(struct link *link, bool puts, uint64_t offset, unsigned char *here, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t size = bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES;
        unsigned char *there = link->region->base + offset + done;
        int lost = atomic_load_explicit(&link->lost, memory_order_acquire);
        if (lost != 0)
            return (sublet_status)lost;
        if (puts)
            memcpy(there, here + done, size);
        else
            memcpy(here + done, there, size);
        done += size;
    }
    return (sublet_status)atomic_load_explicit(&link->lost, memory_order_acquire);
}

static void run_atomic(struct region_access *access, struct region_job *job)
{
    _Atomic uint64_t *at = (_Atomic uint64_t *)(void *)(access->base + job->offset);
    uint64_t before = job->atomic.expected;
    if (job->operation == STREAM_ADD)
        before = atomic_fetch_add(at, job->atomic.operand);
    else
        atomic_compare_exchange_strong(at, &before, job->atomic.operand);
    memcpy(job->one.bytes, &before, sizeof(before));
}

static sublet_status run(struct link *link, struct region_job *job)
{
    bool puts = stream_access_puts(job->operation);
    sublet_status status = SUBLET_OK;
    if (job->operation == STREAM_ADD || job->operation == STREAM_SWAP)
        run_atomic(link->region, job);
    else if (job->operation == STREAM_GET_STRIDED || job->operation == STREAM_PUT_STRIDED) {
        size_t block = job->stride.block;
        for (size_t at = 0; at < job->size && status == SUBLET_OK; at += block)
            status = copy(link, puts, job->offset + at / block * job->stride.stride,
                          (unsigned char *)job->one.bytes + at, block);
    } else
        for (size_t i = 0; i < job->piece_count && status == SUBLET_OK; i++)
            status = copy(link, puts, job->pieces[i].offset, job->pieces[i].bytes, job->pieces[i].size);
    return status;
}

static sublet_status begin(struct link *link, struct region_job *job)
{
    sublet_status status = run(link, job);
    job->status = status;
    job->done = true;
    if (!job->waited_for && status == SUBLET_OK)
        free(job);
    return status;
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    (void)job;
    return (sublet_status)atomic_load(&link->lost);
}

static sublet_status fence(struct link *link)
{
    atomic_thread_fence(memory_order_seq_cst);
    return (sublet_status)atomic_load(&link->lost);
}

static void close_mapping(struct region_access *access)
{
    if (access->base != NULL)
        munmap(access->base, access->bytes);
    access->base = NULL;
    if (access->memory_fd >= 0)
        close(access->memory_fd);
    access->memory_fd = -1;
}

static void free_mapping(struct region_access *access)
{
    close_mapping(access);
    free(access);
}

static const struct region_transport mapped_transport = {
    .ordered = true,
    .immediate = true,
    .begin = begin,
    .test = region_immediate_test,
    .wait = wait_for,
    .fence = fence,
    .pollable = region_immediate_pollable,
    .close = close_mapping,
    .free = free_mapping,
};

sublet_status region_access_map(struct link *link, int fd, uint64_t bytes)
{
    struct stat info;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS) /* else the other side could shrink it under our feet */
        return SUBLET_ERR_INVALID;
    if (fstat(fd, &info) != 0 || info.st_size < 0 || (uint64_t)info.st_size < bytes)
        return SUBLET_ERR_INVALID;
    struct region_access *access = calloc(1, sizeof(*access));
    if (access == NULL)
        return SUBLET_ERR_NO_MEMORY;
    access->transport = &mapped_transport;
    access->bytes = bytes;
    access->fd = -1;
    access->features_access = true;
    access->memory_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || access->memory_fd < 0) {
        if (base != MAP_FAILED)
            munmap(base, bytes);
        if (access->memory_fd >= 0)
            close(access->memory_fd);
        free(access);
        return SUBLET_ERR_SYSTEM;
    }
    madvise(base, bytes, MADV_HUGEPAGE); /* where the kernel offers it for shared memory */
    access->base = base;
    link->region = access;
    return SUBLET_OK;
}
