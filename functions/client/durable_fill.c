/** Filling a copy while accesses go on, piece by piece (durable.h). */
#include <stdlib.h>

#include "client/durable.h"
#include "client/error.h"

#define PIECE_BYTES (UINT64_C(1) << 20)
#define BUFFERS     4u
#define DIRTY_MAX   3u

/** A buffer and the put that empties it. */
struct fill {
    struct durable_part put;
    bool under_way;
    unsigned char *bytes;
};

static void job_make(struct region_job *job, enum stream_operation operation, uint64_t offset, void *bytes, size_t size)
{
    *job = (struct region_job){.operation = operation, .piece_count = 1, .size = size};
    job->one = (sublet_region_piece){.offset = offset, .bytes = bytes, .size = size};
    job->pieces = &job->one;
}

/** With `order` held. */
static void let_go(struct durable *durable, struct durable_part *part)
{
    if (part->job.status != SUBLET_OK)
        durable_copy_fail(durable, part->copy, part->job.status);
    durable_part_let_go(durable, part);
}

/** Waits for the buffer's put. Without `order`. */
static sublet_status empty(struct durable *durable, struct fill *fill)
{
    if (!fill->under_way)
        return SUBLET_OK;
    sublet_status status = durable_part_wait(&fill->put);
    pthread_mutex_lock(&durable->order);
    let_go(durable, &fill->put);
    pthread_mutex_unlock(&durable->order);
    fill->under_way = false;
    return status;
}

/** Gets a piece that nobody writes to meanwhile. Comes and leaves with `order` held. */
static sublet_status get_piece(struct durable *durable, struct durable_copy *copy, const struct region_job *get)
{
    sublet_status status = SUBLET_OK;
    durable->filling_offset = get->one.offset;
    durable->filling_bytes = get->one.size;
    durable->dirty = true;
    for (uint32_t tries = 0; durable->dirty && status == SUBLET_OK; tries++) {
        struct durable_part part;
        struct durable_copy *source = durable_reader(durable, copy);
        if (source == NULL) {
            status = SUBLET_ERR_LOST;
            break;
        }
        durable->dirty = false;
        durable_part_begin(&part, source, get);
        if (tries < DIRTY_MAX)
            pthread_mutex_unlock(&durable->order);
        status = durable_part_wait(&part);
        if (tries < DIRTY_MAX)
            pthread_mutex_lock(&durable->order);
        let_go(durable, &part);
        if (status != SUBLET_OK && durable_reader(durable, copy) != NULL) { /* the next one has it, too */
            status = SUBLET_OK;
            durable->dirty = true;
        }
    }
    durable->filling_bytes = 0;
    return status;
}

static sublet_status fill_piece(struct durable *durable, struct durable_copy *copy, struct fill *fill, uint64_t offset)
{
    struct region_job get, put;
    uint64_t left = durable->region->bytes - offset;
    size_t size = (size_t)(left < PIECE_BYTES ? left : PIECE_BYTES);
    sublet_status status = empty(durable, fill);
    if (status != SUBLET_OK)
        return status;
    job_make(&get, STREAM_GET, offset, fill->bytes, size);
    job_make(&put, STREAM_PUT, offset, fill->bytes, size);
    pthread_mutex_lock(&durable->order);
    status = get_piece(durable, copy, &get);
    if (status == SUBLET_OK) {
        durable_part_begin(&fill->put, copy, &put);
        fill->under_way = true;
    }
    pthread_mutex_unlock(&durable->order);
    return status;
}

sublet_status durable_fill(struct durable *durable, struct durable_copy *copy)
{
    struct fill fills[BUFFERS] = {0};
    sublet_status status = SUBLET_OK;
    unsigned char *bytes = malloc(BUFFERS * PIECE_BYTES);
    if (bytes == NULL)
        status = error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    uint32_t turn = 0;
    for (uint64_t offset = 0; offset < durable->region->bytes && status == SUBLET_OK; offset += PIECE_BYTES) {
        struct fill *fill = &fills[turn++ % BUFFERS];
        fill->bytes = bytes + (size_t)(fill - fills) * PIECE_BYTES;
        status = atomic_load(&durable->stop) ? SUBLET_ERR_BUSY : fill_piece(durable, copy, fill, offset);
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
        sublet_status put = empty(durable, &fills[i]);
        status = status == SUBLET_OK ? put : status;
    }
    free(bytes);
    pthread_mutex_lock(&durable->order);
    copy->whole = status == SUBLET_OK;
    durable->moves += copy->whole;
    pthread_mutex_unlock(&durable->order);
    return status;
}
