#include "executor/links.h"

#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fds.h"
#include "executor/library.h"

/**
 * BUSY when the worker's queue is full: it is in a long call. A worker that is dying or dead needs no message, since
 * its successor begins with all that the slot holds. The message also wakes a sleeping worker.
 */
static sublet_status tell(struct worker_slot *slot, const struct worker_message *message, const int *fds, size_t count)
{
    if (slot->pid == 0 || slot->ended_call != 0)
        return SUBLET_OK;
    if (fds_send(slot->socket, message, sizeof(*message), fds, count, now_ns()) == SUBLET_ERR_TIMEOUT)
        return SUBLET_ERR_BUSY;
    atomic_fetch_add(&slot->page->messages, 1);
    syscall(SYS_futex, &slot->page->messages, FUTEX_WAKE, 1, NULL, NULL, 0); /* it may sleep on that word */
    return SUBLET_OK;
}

static void tell_closed(struct worker_slot *slot, uint32_t index)
{
    struct worker_message message = {.kind = WORKER_CLOSE, .index = index};
    if (tell(slot, &message, NULL, 0) == SUBLET_OK)
        slot->rings_to_close &= ~(UINT64_C(1) << index);
    else
        slot->rings_to_close |= UINT64_C(1) << index;
}

static void set_news(struct worker_slot *slot, uint32_t index, enum stream_news news)
{
    struct stream *stream = &slot->streams[index];
    slot->stream_news += (news != STREAM_NO_NEWS) - (stream->news != STREAM_NO_NEWS);
    if (news != STREAM_TO_START && stream->buffer_fd >= 0) {
        close(stream->buffer_fd);
        stream->buffer_fd = -1;
    }
    stream->news = news;
    while (slot->stream_end > 0 && slot->streams[slot->stream_end - 1].state == NULL &&
           slot->streams[slot->stream_end - 1].news == STREAM_NO_NEWS)
        slot->stream_end--;
}

/** Tells of a stream what there is to tell; what cannot be told now stays news. */
static bool tell_stream(struct worker_slot *slot, uint32_t index)
{
    struct stream *stream = &slot->streams[index];
    int fds[2] = {stream->fd, stream->buffer_fd};
    bool start = stream->news == STREAM_TO_START;
    struct worker_message message = {.kind = !start           ? WORKER_STREAM_CLOSE
                                             : stream->fabric ? WORKER_FABRIC
                                                              : WORKER_STREAM,
                                     .index = index};
    if (tell(slot, &message, fds, start ? 2 : 0) != SUBLET_OK)
        return false;
    set_news(slot, index, STREAM_NO_NEWS);
    return true;
}

void links_told_all(struct worker_slot *slot)
{
    for (uint32_t i = slot->stream_end; i-- > 0 && slot->stream_news > 0;)
        if (slot->streams[i].news != STREAM_NO_NEWS)
            set_news(slot, i, STREAM_NO_NEWS);
}

bool links_tell_news(struct worker_slot *slot)
{
    for (uint64_t bits = slot->rings_to_close; bits != 0; bits &= bits - 1)
        tell_closed(slot, (uint32_t)__builtin_ctzll(bits));
    for (uint32_t i = slot->stream_end; i-- > 0 && slot->stream_news > 0;)
        if (slot->streams[i].news != STREAM_NO_NEWS && !tell_stream(slot, i))
            break;
    return slot->rings_to_close == 0 && slot->stream_news == 0;
}

bool workers_client_free(const struct workers *workers, uint32_t client)
{
    for (uint32_t i = 0; i < workers->options->workers; i++)
        if (workers->slots[i].rings[client].base != NULL || (workers->slots[i].rings_to_close >> client & 1) != 0)
            return false;
    return true;
}

sublet_status workers_add_client(struct workers *workers, uint32_t client, const struct control_hello *hello,
                                 int *fds_out)
{
    struct worker_message message = {.kind = WORKER_RING, .index = client};
    uint32_t made = 0;
    sublet_status status = SUBLET_OK;
    for (; made < workers->options->workers; made++) {
        struct worker_slot *slot = &workers->slots[made];
        status = ring_create(hello->slots, hello->in_bytes, hello->out_bytes, slot->wake_fd, &slot->rings[client],
                             &fds_out[made * 2]);
        if (status != SUBLET_OK)
            goto unwind;
        fds_out[made * 2 + 1] = slot->wake_fd;
        status = tell(slot, &message, &fds_out[made * 2], 1);
        if (status != SUBLET_OK) {
            ring_unmap(&slot->rings[client]);
            close(fds_out[made * 2]);
            goto unwind;
        }
    }
    return SUBLET_OK;
unwind:
    while (made-- > 0) {
        struct worker_slot *slot = &workers->slots[made];
        close(fds_out[made * 2]);
        ring_unmap(&slot->rings[client]);
        tell_closed(slot, client);
    }
    return status;
}

void workers_remove_client(struct workers *workers, uint32_t client)
{
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        struct worker_slot *slot = &workers->slots[i];
        if (slot->rings[client].base == NULL)
            continue;
        /* First what is pending, then the call: what the worker claims in between, it has announced before. */
        for (uint64_t pending = ring_pending(&slot->rings[client]); pending != 0; pending &= pending - 1)
            ring_claim(&slot->rings[client], (uint32_t)__builtin_ctzll(pending));
        workers_leave_call(slot, false, client);
        ring_unmap(&slot->rings[client]);
        tell_closed(slot, client);
    }
}

sublet_status workers_add_stream(struct workers *workers, const struct stream_hello *hello, int fd, uint32_t owner,
                                 uint32_t *stream_out)
{
    if (hello->worker >= workers->options->workers)
        return SUBLET_ERR_NOT_FOUND;
    struct worker_slot *slot = &workers->slots[hello->worker];
    uint32_t index = 0;
    while (index < slot->stream_end &&
           (slot->streams[index].state != NULL || slot->streams[index].news != STREAM_NO_NEWS))
        index++;
    if (index == STREAMS_MAX)
        return SUBLET_ERR_BUSY;
    struct stream *stream = &slot->streams[index];
    int buffer_fd = -1;
    sublet_status status = stream_create(fd, stream, &buffer_fd);
    if (status != SUBLET_OK)
        return status;
    stream->fabric = hello->role == STREAM_FABRIC;
    stream->connection = hello->connection;
    stream->owner = owner;
    stream->buffer_fd = buffer_fd;
    if (index == slot->stream_end)
        slot->stream_end++;
    *stream_out = index;
    return SUBLET_OK;
}

void workers_start_stream(struct workers *workers, uint32_t worker, uint32_t stream)
{
    struct worker_slot *slot = &workers->slots[worker];
    if (slot->streams[stream].fabric && slot->pid == 0)
        shutdown(slot->streams[stream].fd, SHUT_RDWR); /* a worker begins without those that came before it */
    set_news(slot, stream, STREAM_TO_START);
    if (slot->pid == 0 || slot->ended_call != 0)
        set_news(slot, stream, STREAM_NO_NEWS); /* its successor begins with it */
    else
        (void)tell_stream(slot, stream);
}

void workers_remove_stream(struct workers *workers, uint32_t worker, uint32_t stream)
{
    struct worker_slot *slot = &workers->slots[worker];
    struct stream *gone = &slot->streams[stream];
    if (gone->state == NULL)
        return;
    atomic_store(&gone->state->closed, 1); /* before the look at what the worker does */
    shutdown(gone->fd, SHUT_RDWR);         /* ends the send of an answer that nobody takes */
    workers_leave_call(slot, true, stream);
    stream_unmap(gone);
    bool unknown = gone->news == STREAM_TO_START; /* the worker has never heard of it */
    set_news(slot, stream, unknown ? STREAM_NO_NEWS : STREAM_TO_CLOSE);
    if (!unknown)
        (void)tell_stream(slot, stream);
}

sublet_status workers_find_library(const struct workers *workers, int fd, uint32_t *library_out)
{
    for (uint32_t i = 0; i < workers->libraries; i++)
        if (library_equal(fd, workers->library_fds[i])) {
            *library_out = i;
            return SUBLET_OK;
        }
    return SUBLET_ERR_NOT_FOUND;
}

sublet_status workers_add_library(struct workers *workers, int fd, uint32_t *library_out)
{
    if (workers_find_library(workers, fd, library_out) == SUBLET_OK) {
        close(fd);
        return SUBLET_OK;
    }
    if (workers->libraries == LIBRARIES_MAX)
        return SUBLET_ERR_BUSY;
    struct worker_message message = {.kind = WORKER_LIBRARY, .index = workers->libraries};
    for (uint32_t i = 0; i < workers->options->workers; i++) {
        /* Those that were told already learn of another library under this number later: only that one is named. */
        sublet_status status = tell(&workers->slots[i], &message, &fd, 1);
        if (status != SUBLET_OK)
            return status;
    }
    workers->library_fds[workers->libraries] = fd;
    *library_out = workers->libraries++;
    return SUBLET_OK;
}

sublet_status workers_find_function(const struct workers *workers, uint32_t library, const char *name,
                                    uint32_t *function_out)
{
    for (uint32_t i = 0; i < workers->functions; i++)
        if (workers->names[i].library == library && strcmp(workers->names[i].name, name) == 0) {
            *function_out = i;
            return SUBLET_OK;
        }
    return SUBLET_ERR_NOT_FOUND;
}

sublet_status workers_add_function(struct workers *workers, uint32_t library, const char *name, uint32_t *function_out)
{
    if (library >= workers->libraries)
        return SUBLET_ERR_NOT_FOUND;
    if (workers->functions == FUNCTIONS_MAX)
        return SUBLET_ERR_BUSY;
    uint32_t number = workers->functions++;
    snprintf(workers->names[number].name, sizeof(workers->names[number].name), "%s", name);
    workers->names[number].library = library;
    workers->table->entries[number].library = library;
    memcpy(workers->table->entries[number].name, workers->names[number].name, sizeof(workers->names[number].name));
    atomic_store(&workers->table->count, number + 1);
    *function_out = number;
    return SUBLET_OK;
}
