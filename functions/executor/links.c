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

static void tell_closed(struct worker_slot *slot, enum worker_message_kind kind, uint32_t index, uint64_t *later)
{
    struct worker_message message = {.kind = kind, .index = index};
    if (tell(slot, &message, NULL, 0) == SUBLET_OK)
        *later &= ~(UINT64_C(1) << index);
    else
        *later |= UINT64_C(1) << index;
}

bool links_tell_closed(struct worker_slot *slot)
{
    for (uint64_t bits = slot->rings_to_close; bits != 0; bits &= bits - 1)
        tell_closed(slot, WORKER_CLOSE, (uint32_t)__builtin_ctzll(bits), &slot->rings_to_close);
    for (uint64_t bits = slot->streams_to_close; bits != 0; bits &= bits - 1)
        tell_closed(slot, WORKER_STREAM_CLOSE, (uint32_t)__builtin_ctzll(bits), &slot->streams_to_close);
    return slot->rings_to_close == 0 && slot->streams_to_close == 0;
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
        tell_closed(slot, WORKER_CLOSE, client, &slot->rings_to_close);
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
        tell_closed(slot, WORKER_CLOSE, client, &slot->rings_to_close);
    }
}

sublet_status workers_add_stream(struct workers *workers, const struct stream_hello *hello, int fd, uint32_t owner,
                                 uint32_t *stream_out)
{
    if (hello->worker >= workers->options->workers)
        return SUBLET_ERR_NOT_FOUND;
    struct worker_slot *slot = &workers->slots[hello->worker];
    uint32_t index = 0;
    while (index < STREAMS_MAX && (slot->streams[index].state != NULL || (slot->streams_to_close >> index & 1) != 0))
        index++;
    if (index == STREAMS_MAX)
        return SUBLET_ERR_BUSY;
    struct stream *stream = &slot->streams[index];
    int buffer_fd = -1;
    sublet_status status = stream_create(fd, hello->in_bytes, hello->out_bytes, stream, &buffer_fd);
    if (status != SUBLET_OK)
        return status;
    stream->connection = hello->connection;
    stream->owner = owner;
    stream->buffer_fd = buffer_fd;
    *stream_out = index;
    return SUBLET_OK;
}

sublet_status workers_start_stream(struct workers *workers, uint32_t worker, uint32_t stream)
{
    struct worker_slot *slot = &workers->slots[worker];
    int fds[2] = {slot->streams[stream].fd, slot->streams[stream].buffer_fd};
    struct worker_message message = {.kind = WORKER_STREAM,
                                     .index = stream,
                                     .in_bytes = slot->streams[stream].in_bytes,
                                     .out_bytes = slot->streams[stream].out_bytes};
    sublet_status status = tell(slot, &message, fds, 2);
    close(fds[1]);
    slot->streams[stream].buffer_fd = -1;
    return status;
}

void workers_remove_stream(struct workers *workers, uint32_t worker, uint32_t stream)
{
    struct worker_slot *slot = &workers->slots[worker];
    if (slot->streams[stream].state == NULL)
        return;
    atomic_store(&slot->streams[stream].state->closed, 1); /* before the look at what the worker does */
    shutdown(slot->streams[stream].fd, SHUT_RDWR);         /* ends the send of an answer that nobody takes */
    workers_leave_call(slot, true, stream);
    if (slot->streams[stream].buffer_fd >= 0)
        close(slot->streams[stream].buffer_fd);
    stream_unmap(&slot->streams[stream]);
    tell_closed(slot, WORKER_STREAM_CLOSE, stream, &slot->streams_to_close);
}

sublet_status workers_add_library(struct workers *workers, int fd, uint32_t *library_out)
{
    for (uint32_t i = 0; i < workers->libraries; i++)
        if (library_equal(fd, workers->library_fds[i])) {
            close(fd);
            *library_out = i;
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
