#include "executor/stream_buffer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE     4096u
#define BATCH_AT PAGE
/* Arguments that follow a request at the start of `in` are aligned. */
#define IN_AT (BATCH_AT + STREAM_BATCH + 64u - sizeof(struct stream_request))

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

uint64_t stream_small(void)
{
    return whole_pages(IN_AT + sizeof(struct stream_request) + STREAM_IN_SMALL + STREAM_READ_AHEAD) - IN_AT;
}

static uint64_t file_bytes(void)
{
    uint64_t most = whole_pages(IN_AT + sizeof(struct stream_request) + STREAM_CALL_MAX + STREAM_READ_AHEAD);
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < most)
        most = limit.rlim_cur & ~(uint64_t)(PAGE - 1);
    return most;
}

static void point(struct stream *stream, unsigned char *base, uint64_t mapped)
{
    stream->state = (struct stream_state *)(void *)base;
    stream->batch = base + BATCH_AT;
    stream->in = base + IN_AT;
    stream->capacity = mapped - IN_AT;
}

sublet_status stream_attach(int fd, int connection_fd, struct stream *stream)
{
    struct stat info;
    uint64_t mapped = IN_AT + stream_small();
    if (fstat(fd, &info) != 0)
        return SUBLET_ERR_SYSTEM;
    if (info.st_size < (off_t)mapped)
        return SUBLET_ERR_NO_MEMORY;
    void *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    struct stream made = {.fd = connection_fd, .buffer_fd = -1, .most = (uint64_t)info.st_size - IN_AT};
    point(&made, base, mapped);
    *stream = made;
    return SUBLET_OK;
}

sublet_status stream_create(int connection_fd, struct stream *stream, int *fd_out)
{
    int fd = memfd_create("sublet-stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SUBLET_ERR_SYSTEM;
    sublet_status status = SUBLET_ERR_SYSTEM;
    if (ftruncate(fd, (off_t)file_bytes()) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        status = stream_attach(fd, connection_fd, stream);
    if (status != SUBLET_OK) {
        close(fd);
        return status;
    }
    *fd_out = fd;
    return SUBLET_OK;
}

static sublet_status map_again(struct stream *stream, uint64_t mapped)
{
    void *base = mremap(stream->state, IN_AT + stream->capacity, mapped, MREMAP_MAYMOVE);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    point(stream, base, mapped);
    return SUBLET_OK;
}

sublet_status stream_grow(struct stream *stream, uint64_t bytes)
{
    if (bytes <= stream->capacity)
        return SUBLET_OK;
    return bytes > stream->most ? SUBLET_ERR_TOO_LARGE : map_again(stream, whole_pages(IN_AT + bytes));
}

void stream_shrink(struct stream *stream)
{
    uint64_t small = stream_small();
    if (stream->capacity <= small)
        return;
    madvise(stream->in + small, stream->capacity - small, MADV_REMOVE);
    (void)map_again(stream, IN_AT + small);
}

void stream_unmap(struct stream *stream)
{
    if (stream->state != NULL)
        munmap(stream->state, IN_AT + stream->capacity);
    stream->state = NULL;
}
