#include "executor/stream_buffer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE 64u

static size_t round_up(size_t bytes)
{
    return (bytes + LINE - 1) & ~(size_t)(LINE - 1);
}

/** Sets every pointer and size except the mapping itself. */
static void lay_out(struct stream *stream, int connection_fd, uint32_t in_bytes, uint32_t out_bytes)
{
    memset(stream, 0, sizeof(*stream));
    stream->fd = connection_fd;
    stream->buffer_fd = -1;
    stream->in_bytes = in_bytes;
    stream->out_bytes = out_bytes;
    /* Arguments that follow a request at the start of `in` are aligned. */
    size_t in_at = 2 * LINE - sizeof(struct stream_request);
    size_t spare_at = round_up(in_at + stream_capacity(stream));
    size_t out_at = spare_at + STREAM_READ_AHEAD + LINE;
    stream->in = (unsigned char *)in_at;
    stream->spare = (unsigned char *)spare_at;
    stream->out = (unsigned char *)out_at;
    size_t end_at = out_at + out_bytes + LINE;
    stream->mapped_bytes = ((end_at + STREAM_PAGE - 1) & ~(size_t)(STREAM_PAGE - 1)) + STREAM_PAGE;
}

static sublet_status map(int fd, struct stream *stream)
{
    void *base = mmap(NULL, stream->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return SUBLET_ERR_NO_MEMORY;
    stream->state = base;
    stream->in = (unsigned char *)base + (uintptr_t)stream->in;
    stream->spare = (unsigned char *)base + (uintptr_t)stream->spare;
    stream->out = (unsigned char *)base + (uintptr_t)stream->out;
    return SUBLET_OK;
}

sublet_status stream_create(int connection_fd, uint32_t in_bytes, uint32_t out_bytes, struct stream *stream,
                            int *fd_out)
{
    struct stream made;
    if (in_bytes > STREAM_PAYLOAD_MAX || out_bytes > STREAM_PAYLOAD_MAX)
        return SUBLET_ERR_TOO_LARGE;
    lay_out(&made, connection_fd, in_bytes, out_bytes);
    int fd = memfd_create("sublet-stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return SUBLET_ERR_SYSTEM;
    sublet_status status = SUBLET_ERR_SYSTEM;
    if (ftruncate(fd, (off_t)made.mapped_bytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        goto close_fd;
    status = map(fd, &made);
    if (status != SUBLET_OK)
        goto close_fd;
    *stream = made;
    *fd_out = fd;
    return SUBLET_OK;
close_fd:
    close(fd);
    return status;
}

sublet_status stream_attach(int fd, int connection_fd, uint32_t in_bytes, uint32_t out_bytes, struct stream *stream)
{
    struct stream made;
    lay_out(&made, connection_fd, in_bytes, out_bytes);
    sublet_status status = map(fd, &made);
    if (status == SUBLET_OK)
        *stream = made;
    return status;
}

void stream_guard(const struct stream *stream)
{
    /* Where it cannot be done, the bytes before that page still tell of an overrun. */
    (void)mprotect((unsigned char *)stream->state + stream->mapped_bytes - STREAM_PAGE, STREAM_PAGE, PROT_NONE);
}

void stream_unmap(struct stream *stream)
{
    if (stream->state != NULL)
        munmap(stream->state, stream->mapped_bytes);
    stream->state = NULL;
}
