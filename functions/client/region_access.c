/** The public accesses to a region: checked here, moved by the region's transport. */
#include <stdlib.h>
#include <string.h>

#include "client/error.h"
#include "client/lease.h"
#include "client/region.h"

static sublet_status gone(sublet_status status, const struct sublet_region *region)
{
    return error_set(status, "the region on %s is gone, and its content: %s", region->lease->node,
                     sublet_status_text(status));
}

sublet_status region_error(sublet_status status, const struct sublet_region *region)
{
    if (status == SUBLET_ERR_REVOKED || status == SUBLET_ERR_LOST)
        return gone(status, region);
    if (status == SUBLET_ERR_VERSION)
        return error_set(status, "the executor of the region is older and knows only put and get");
    return status == SUBLET_OK ? status : error_set(status, "access to a region: %s", sublet_status_text(status));
}

sublet_status region_enter(struct sublet_region *region, struct link **link_out)
{
    struct link *link = region->lease->link;
    atomic_fetch_add(&link->region->users, 1);
    int lost = atomic_load(&link->lost);
    if (lost != 0) {
        region_leave(link);
        return (sublet_status)lost;
    }
    *link_out = link;
    return SUBLET_OK;
}

void region_leave(struct link *link)
{
    if (atomic_fetch_sub(&link->region->users, 1) != 1 || atomic_load(&link->lost) == 0)
        return;
    pthread_mutex_lock(&link->session->lock);
    link->refs++; /* the last look at a lost link gives its memory back */
    link_unref(link);
    pthread_mutex_unlock(&link->session->lock);
}

sublet_status region_run(struct link *link, struct region_job *job)
{
    const struct region_transport *transport = link->region->transport;
    job->waited_for = true;
    sublet_status status = transport->begin(link, job);
    if (status == SUBLET_OK && !transport->immediate) /* another thread may end it, with a lock of the way's */
        status = transport->wait(link, job);
    return status == SUBLET_OK ? job->status : status;
}

static bool inside(const struct sublet_region *region, uint64_t offset, uint64_t bytes)
{
    return offset <= region->bytes && bytes <= region->bytes - offset;
}

static sublet_status outside(const struct sublet_region *region, uint64_t offset, uint64_t bytes)
{
    return error_set(SUBLET_ERR_INVALID, "%llu bytes at %llu are outside of a region of %llu bytes",
                     (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)region->bytes);
}

static sublet_status is_null(void)
{
    return error_set(SUBLET_ERR_INVALID, "region and buffers must not be NULL");
}

/** A copy that lives until it is done; a list's pieces behind it. */
static struct region_job *keep(const struct region_job *job)
{
    struct region_job *kept = calloc(1, sizeof(*kept) + job->piece_count * sizeof(*job->pieces));
    if (kept == NULL)
        return NULL;
    *kept = *job;
    memcpy(kept + 1, job->pieces, job->piece_count * sizeof(*job->pieces));
    kept->pieces = (const sublet_region_piece *)(kept + 1);
    return kept;
}

static sublet_status access_now(struct sublet_region *region, struct region_job *job)
{
    struct link *link;
    sublet_status status = region_enter(region, &link);
    if (status != SUBLET_OK)
        return gone(status, region);
    if (job->size > 0)
        status = region_run(link, job);
    region_leave(link);
    return status == SUBLET_OK ? status : region_error(status, region);
}

static sublet_status access_later(struct sublet_region *region, const struct region_job *job)
{
    struct link *link;
    sublet_status status = region_enter(region, &link);
    if (status != SUBLET_OK)
        return gone(status, region);
    if (job->size > 0) {
        struct region_job *kept = keep(job);
        status = kept == NULL ? SUBLET_ERR_NO_MEMORY : link->region->transport->begin(link, kept);
        if (status != SUBLET_OK)
            free(kept);
    }
    region_leave(link);
    return status == SUBLET_OK ? status : region_error(status, region);
}

static sublet_status start(struct sublet_region *region, struct region_job *job, bool later)
{
    return later ? access_later(region, job) : access_now(region, job);
}

static sublet_status plain(struct sublet_region *region, enum stream_operation operation, uint64_t offset, void *bytes,
                           size_t size, bool later)
{
    if (region == NULL || (bytes == NULL && size > 0))
        return is_null();
    if (!inside(region, offset, size))
        return outside(region, offset, size);
    struct region_job job = {.operation = operation, .piece_count = 1, .size = size};
    job.one = (sublet_region_piece){.offset = offset, .bytes = bytes, .size = size};
    job.pieces = &job.one;
    return start(region, &job, later);
}

sublet_status sublet_region_put(sublet_region *region, uint64_t offset, const void *from, size_t bytes)
{
    return plain(region, STREAM_PUT, offset, (void *)(uintptr_t)from, bytes, false);
}

sublet_status sublet_region_get(sublet_region *region, uint64_t offset, void *to, size_t bytes)
{
    return plain(region, STREAM_GET, offset, to, bytes, false);
}

sublet_status sublet_region_put_async(sublet_region *region, uint64_t offset, const void *from, size_t bytes)
{
    return plain(region, STREAM_PUT, offset, (void *)(uintptr_t)from, bytes, true);
}

sublet_status sublet_region_get_async(sublet_region *region, uint64_t offset, void *to, size_t bytes)
{
    return plain(region, STREAM_GET, offset, to, bytes, true);
}

/** Lists without empty pieces are used as they are; else a copy without them is. */
static const sublet_region_piece *without_empty(const sublet_region_piece *pieces, size_t *count,
                                                sublet_region_piece **copy_out)
{
    size_t full = 0;
    for (size_t i = 0; i < *count; i++)
        full += pieces[i].size > 0;
    *copy_out = NULL;
    if (full == *count)
        return pieces;
    sublet_region_piece *copy = malloc((full + 1) * sizeof(*copy));
    *copy_out = copy;
    if (copy == NULL)
        return NULL;
    full = 0;
    for (size_t i = 0; i < *count; i++)
        if (pieces[i].size > 0)
            copy[full++] = pieces[i];
    *count = full;
    return copy;
}

static sublet_status list(struct sublet_region *region, enum stream_operation operation,
                          const sublet_region_piece *pieces, size_t count, bool later)
{
    struct region_job job = {.operation = operation};
    sublet_region_piece *copy;
    if (region == NULL || (pieces == NULL && count > 0))
        return is_null();
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].bytes == NULL && pieces[i].size > 0)
            return is_null();
        if (!inside(region, pieces[i].offset, pieces[i].size) ||
            __builtin_add_overflow(job.size, pieces[i].size, &job.size))
            return outside(region, pieces[i].offset, pieces[i].size);
    }
    job.pieces = without_empty(pieces, &count, &copy);
    if (job.pieces == NULL && count > 0)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    job.piece_count = count;
    sublet_status status = start(region, &job, later);
    free(copy);
    return status;
}

sublet_status sublet_region_put_list(sublet_region *region, const sublet_region_piece *pieces, size_t count)
{
    return list(region, STREAM_PUT_LIST, pieces, count, false);
}

sublet_status sublet_region_get_list(sublet_region *region, const sublet_region_piece *pieces, size_t count)
{
    return list(region, STREAM_GET_LIST, pieces, count, false);
}

sublet_status sublet_region_put_list_async(sublet_region *region, const sublet_region_piece *pieces, size_t count)
{
    return list(region, STREAM_PUT_LIST, pieces, count, true);
}

sublet_status sublet_region_get_list_async(sublet_region *region, const sublet_region_piece *pieces, size_t count)
{
    return list(region, STREAM_GET_LIST, pieces, count, true);
}

static sublet_status strided(struct sublet_region *region, enum stream_operation operation, uint64_t offset,
                             size_t count, size_t block, uint64_t stride, void *bytes, bool later)
{
    size_t size;
    uint64_t last;
    if (region == NULL || (bytes == NULL && count > 0 && block > 0))
        return is_null();
    if (count > 0 && (block == 0 || block > STREAM_PAYLOAD_MAX || stride < block))
        return error_set(SUBLET_ERR_INVALID, "a block has 1 to %u bytes, a stride at least those of its block",
                         STREAM_PAYLOAD_MAX);
    if (__builtin_mul_overflow(count, block, &size) ||
        __builtin_mul_overflow(stride, count > 0 ? (uint64_t)count - 1 : 0, &last) ||
        __builtin_add_overflow(last, offset, &last))
        return outside(region, offset, UINT64_MAX);
    if (!inside(region, last, count > 0 ? block : 0))
        return outside(region, last, block);
    struct region_job job = {.operation = operation, .piece_count = 1, .size = size, .offset = offset};
    job.one = (sublet_region_piece){.offset = offset, .bytes = bytes, .size = size};
    job.pieces = &job.one;
    job.stride = (struct stream_stride){.stride = stride, .block = (uint32_t)block};
    return start(region, &job, later);
}

sublet_status sublet_region_put_strided(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                        uint64_t stride, const void *from)
{
    return strided(region, STREAM_PUT_STRIDED, offset, count, block, stride, (void *)(uintptr_t)from, false);
}

sublet_status sublet_region_get_strided(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                        uint64_t stride, void *to)
{
    return strided(region, STREAM_GET_STRIDED, offset, count, block, stride, to, false);
}

sublet_status sublet_region_put_strided_async(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                              uint64_t stride, const void *from)
{
    return strided(region, STREAM_PUT_STRIDED, offset, count, block, stride, (void *)(uintptr_t)from, true);
}

sublet_status sublet_region_get_strided_async(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                              uint64_t stride, void *to)
{
    return strided(region, STREAM_GET_STRIDED, offset, count, block, stride, to, true);
}

static sublet_status atomic(struct sublet_region *region, enum stream_operation operation, uint64_t offset,
                            struct stream_atomic operands, uint64_t *before_out, bool later)
{
    if (region == NULL || before_out == NULL)
        return is_null();
    if (offset % 8 != 0)
        return error_set(SUBLET_ERR_INVALID, "atomics need an offset that is a multiple of 8");
    if (!inside(region, offset, 8))
        return outside(region, offset, 8);
    struct region_job job = {.operation = operation, .piece_count = 1, .size = 8, .offset = offset, .atomic = operands};
    job.one = (sublet_region_piece){.offset = offset, .bytes = before_out, .size = 8};
    job.pieces = &job.one;
    return start(region, &job, later);
}

sublet_status sublet_region_fetch_add(sublet_region *region, uint64_t offset, uint64_t value, uint64_t *before_out)
{
    return atomic(region, STREAM_ADD, offset, (struct stream_atomic){.operand = value}, before_out, false);
}

sublet_status sublet_region_fetch_add_async(sublet_region *region, uint64_t offset, uint64_t value,
                                            uint64_t *before_out)
{
    return atomic(region, STREAM_ADD, offset, (struct stream_atomic){.operand = value}, before_out, true);
}

sublet_status sublet_region_compare_swap(sublet_region *region, uint64_t offset, uint64_t expected, uint64_t desired,
                                         uint64_t *before_out)
{
    struct stream_atomic operands = {.operand = desired, .expected = expected};
    return atomic(region, STREAM_SWAP, offset, operands, before_out, false);
}

sublet_status sublet_region_compare_swap_async(sublet_region *region, uint64_t offset, uint64_t expected,
                                               uint64_t desired, uint64_t *before_out)
{
    struct stream_atomic operands = {.operand = desired, .expected = expected};
    return atomic(region, STREAM_SWAP, offset, operands, before_out, true);
}

bool region_immediate_test(struct link *link, struct region_job *job)
{
    (void)link;
    return job->done;
}

int region_immediate_pollable(struct link *link, short *events)
{
    (void)link;
    *events = 0;
    return -1;
}

sublet_status sublet_region_fence(sublet_region *region)
{
    struct link *link;
    if (region == NULL)
        return is_null();
    sublet_status status = region_enter(region, &link);
    if (status != SUBLET_OK)
        return gone(status, region);
    status = link->region->transport->fence(link);
    region_leave(link);
    return status == SUBLET_OK ? status : region_error(status, region);
}

sublet_status sublet_region_flush(sublet_region *region)
{
    struct link *link;
    if (region == NULL)
        return is_null();
    sublet_status status = region_enter(region, &link);
    if (status != SUBLET_OK)
        return gone(status, region);
    status = link->region->transport->wait(link, NULL);
    region_leave(link);
    return status == SUBLET_OK ? status : region_error(status, region);
}
