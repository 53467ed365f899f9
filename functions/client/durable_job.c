/** Accesses to a durable region: one job becomes a part on each copy (durable.h). */
#include <stdlib.h>
#include <string.h>

#include "client/durable.h"

#define HELPED_BYTES (256u << 10) /* from here on the background thread moves one copy while we wait for another */

static struct durable_flight *flight_take(struct durable *durable, struct region_job *job)
{
    struct durable_flight *flight = durable->unused;
    if (flight != NULL)
        durable->unused = flight->next;
    else if ((flight = malloc(sizeof(*flight))) == NULL)
        return NULL;
    flight->next = NULL;
    flight->job = job;
    flight->claimed = false;
    flight->count = 0;
    job->inner = flight;
    return flight;
}

/** The range that a job touches, as one. */
static void range_of(const struct region_job *job, uint64_t *from, uint64_t *to)
{
    *from = job->one.offset;
    *to = job->one.offset + job->one.size;
    if (region_job_atomic(job))
        *to = *from + sizeof(uint64_t);
    else if (job->operation == STREAM_PUT_STRIDED)
        *to = *from + (job->size / job->stride.block - 1) * job->stride.stride + job->stride.block;
    else if (job->operation == STREAM_PUT_LIST) {
        *from = UINT64_MAX;
        *to = 0;
        for (size_t i = 0; i < job->piece_count; i++) {
            uint64_t end = job->pieces[i].offset + job->pieces[i].size;
            *from = job->pieces[i].offset < *from ? job->pieces[i].offset : *from;
            *to = end > *to ? end : *to;
        }
    }
}

static void mark_dirty(struct durable *durable, const struct region_job *job)
{
    uint64_t from, to;
    if (durable->filling_bytes == 0)
        return;
    range_of(job, &from, &to);
    if (from < durable->filling_offset + durable->filling_bytes && to > durable->filling_offset)
        durable->dirty = true;
}

static bool ended(const struct durable_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++)
        if (!flight->parts[i].ended)
            return false;
    return true;
}

/** No copy is alive; the keeper is about to say so. */
static sublet_status why_gone(const struct durable *durable)
{
    int lost = atomic_load(&durable->lease.link->lost);
    for (uint32_t i = 0; i < durable->count && lost == 0; i++)
        lost = atomic_load(&durable->copies[i]->link->lost);
    return lost != 0 ? (sublet_status)lost : SUBLET_ERR_LOST;
}

/** All parts have ended: the job, too, or its get goes on elsewhere. */
static bool settle(struct durable *durable, struct durable_flight *flight)
{
    struct region_job *job = flight->job;
    sublet_status status = flight->count > 0 ? flight->parts[0].job.status : why_gone(durable);
    const struct durable_part *good = NULL;
    for (uint32_t i = 0; i < flight->count; i++) {
        struct durable_part *part = &flight->parts[i];
        if (part->job.status != SUBLET_OK)
            durable_copy_fail(durable, part->copy, part->job.status);
        else if (good == NULL && part->copy->whole)
            good = part;
    }
    if (good != NULL) {
        status = SUBLET_OK;
        if (region_job_atomic(job))
            memcpy(job->one.bytes, &good->before, sizeof(good->before));
    }
    for (uint32_t i = 0; i < flight->count; i++)
        durable_part_let_go(durable, &flight->parts[i]);
    struct durable_copy *next = good == NULL && !region_job_writes(job) ? durable_reader(durable, NULL) : NULL;
    flight->count = 0;
    if (next != NULL) {
        durable_part_begin(&flight->parts[flight->count++], next, job);
        return ended(flight) && settle(durable, flight); /* copies run out, so this ends */
    }
    job->status = status;
    job->done = true;
    job->inner = NULL;
    flight->next = durable->unused;
    durable->unused = flight;
    return true;
}

/** `order` held, and the job belongs to this thread. */
static bool poll_flight(struct durable *durable, struct durable_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++)
        (void)durable_part_test(&flight->parts[i]);
    return ended(flight) && settle(durable, flight);
}

static void wait_flight(struct durable *durable, struct durable_flight *flight)
{
    bool done = false;
    while (!done) {
        for (uint32_t i = 0; i < flight->count; i++)
            (void)durable_part_wait(&flight->parts[i]);
        pthread_mutex_lock(&durable->order);
        done = settle(durable, flight);
        pthread_mutex_unlock(&durable->order);
    }
}

/** The first of the list has ended. */
static void retire(struct durable *durable, struct durable_flight *next, struct region_job *job)
{
    durable->pending = next;
    if (next == NULL)
        durable->last_pending = NULL;
    durable->retired++;
    if (job->status != SUBLET_OK && durable->first_error == SUBLET_OK)
        durable->first_error = job->status;
    free(job);
    pthread_cond_broadcast(&durable->changed);
}

void durable_reap(struct durable *durable)
{
    struct durable_flight *flight;
    while ((flight = durable->pending) != NULL && !flight->claimed) {
        struct durable_flight *next = flight->next;
        struct region_job *job = flight->job;
        if (!poll_flight(durable, flight))
            return;
        retire(durable, next, job);
    }
}

static void enlist(struct durable *durable, struct durable_flight *flight)
{
    if (durable->last_pending == NULL)
        durable->pending = flight;
    else
        durable->last_pending->next = flight;
    durable->last_pending = flight;
    durable->added++;
}

static void ask_for_help(struct durable *durable, const struct durable_flight *flight)
{
    if (ended(flight) || !flight->job->waited_for || flight->count < 2 || flight->job->size < HELPED_BYTES)
        return;
    pthread_mutex_lock(&durable->session->lock);
    background_wake(durable->session);
    pthread_mutex_unlock(&durable->session->lock);
}

/** With `order` held, which a get leaves while it begins: its copy cannot go. */
static void begin_parts(struct durable *durable, struct durable_flight *flight)
{
    const struct region_job *job = flight->job;
    if (!region_job_writes(job)) {
        struct durable_copy *reader = durable_reader(durable, NULL);
        if (reader == NULL)
            return;
        durable_part_aim(&flight->parts[flight->count++], reader);
        pthread_mutex_unlock(&durable->order);
        durable_part_start(&flight->parts[0], job);
        pthread_mutex_lock(&durable->order);
        return;
    }
    mark_dirty(durable, job);
    for (uint32_t i = 0; i < durable->count; i++)
        if (!durable_copy_lost(durable->copies[i]))
            durable_part_begin(&flight->parts[flight->count++], durable->copies[i], job);
}

static sublet_status begin(struct link *link, struct region_job *job)
{
    struct durable *durable = link->region->owner;
    if (*durable->mine == 0)
        return SUBLET_ERR_DENIED;
    pthread_mutex_lock(&durable->order);
    if (!job->waited_for)
        durable_reap(durable);
    struct durable_flight *flight = flight_take(durable, job);
    if (flight != NULL) {
        begin_parts(durable, flight);
        ask_for_help(durable, flight);
        if (!job->waited_for)
            enlist(durable, flight);
        else if (ended(flight))
            (void)settle(durable, flight);
    }
    pthread_mutex_unlock(&durable->order);
    return flight == NULL ? SUBLET_ERR_NO_MEMORY : SUBLET_OK;
}

static bool test(struct link *link, struct region_job *job)
{
    struct durable *durable = link->region->owner;
    if (job->done)
        return true;
    pthread_mutex_lock(&durable->order);
    bool done = poll_flight(durable, job->inner);
    pthread_mutex_unlock(&durable->order);
    return done;
}

/** All asynchronous accesses begun so far, in turn; several threads may wait at once. */
static sublet_status flush(struct durable *durable)
{
    pthread_mutex_lock(&durable->order);
    uint64_t target = durable->added;
    while (durable->retired < target) {
        struct durable_flight *flight = durable->pending;
        if (flight->claimed) {
            pthread_cond_wait(&durable->changed, &durable->order);
            continue;
        }
        struct region_job *job = flight->job;
        flight->claimed = true;
        pthread_mutex_unlock(&durable->order);
        for (uint32_t i = 0; i < flight->count; i++)
            (void)durable_part_wait(&flight->parts[i]);
        pthread_mutex_lock(&durable->order);
        struct durable_flight *next = flight->next; /* others may have come behind it */
        if (settle(durable, flight))
            retire(durable, next, job);
        else
            flight->claimed = false; /* a get that goes on elsewhere: again */
    }
    sublet_status status = durable->first_error;
    durable->first_error = SUBLET_OK;
    pthread_mutex_unlock(&durable->order);
    return status;
}

static sublet_status wait_for(struct link *link, struct region_job *job)
{
    struct durable *durable = link->region->owner;
    if (*durable->mine == 0)
        return SUBLET_ERR_DENIED;
    if (job == NULL)
        return flush(durable);
    if (!job->done)
        wait_flight(durable, job->inner);
    return SUBLET_OK;
}

static sublet_status fence(struct link *link)
{
    struct durable *durable = link->region->owner;
    if (*durable->mine == 0)
        return SUBLET_ERR_DENIED;
    pthread_mutex_lock(&durable->order);
    for (uint32_t i = 0; i < durable->count; i++) {
        struct link *copy = durable->copies[i]->link;
        if (durable_enter(copy) == SUBLET_OK) {
            (void)copy->region->transport->fence(copy); /* an error shows itself at the next access */
            region_leave(copy);
        }
    }
    pthread_mutex_unlock(&durable->order);
    return (sublet_status)atomic_load(&link->lost);
}

/** That of the copy which gets go to. It may be gone by the time it is polled: then the poll ends early, or late. */
static int pollable(struct link *link, short *events)
{
    struct durable *durable = link->region->owner;
    int fd = -1;
    *events = 0;
    pthread_mutex_lock(&durable->order);
    const struct durable_copy *reader = durable_reader(durable, NULL);
    if (reader != NULL && durable_enter(reader->link) == SUBLET_OK) {
        fd = reader->link->region->transport->pollable(reader->link, events);
        region_leave(reader->link);
    }
    pthread_mutex_unlock(&durable->order);
    return fd;
}

/** The copies are closed by themselves; what is under way ends with them. */
static void close_nothing(struct region_access *access)
{
    (void)access;
}

static void free_access(struct region_access *access)
{
    free(access);
}

const struct region_transport durable_transport = {
    .begin = begin,
    .test = test,
    .wait = wait_for,
    .fence = fence,
    .pollable = pollable,
    .close = close_nothing,
    .free = free_access,
};
