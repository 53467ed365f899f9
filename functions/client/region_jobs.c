/**
 * The queue of a way whose jobs take time, and its waiting threads: one leads, which moves everybody's jobs, the others
 * follow (region.h). Jobs stand in the queue in the order they were begun, and leave it when they are over.
 */
#include "client/region.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>

#include "base/fds.h"

#define SLICE_NS UINT64_C(100000000) /* between two looks whether the region is lost */

void region_jobs_start(struct region_access *access)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&access->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&access->lock, NULL);
}

void region_jobs_stop(struct region_access *access)
{
    for (struct region_job *job = access->first, *next; job != NULL; job = next) {
        next = job->next;
        if (!job->waited_for)
            free(job);
    }
    pthread_cond_destroy(&access->changed);
    pthread_mutex_destroy(&access->lock);
}

void region_jobs_add(struct region_access *access, struct region_job *job)
{
    job->next = NULL;
    job->number = ++access->added;
    if (access->first == NULL)
        access->first = job;
    else
        access->last->next = job;
    access->last = job;
    if (access->asking == NULL)
        access->asking = job;
    atomic_store(&access->waiting_jobs, true);
}

static void unlink_job(struct region_access *access, struct region_job *job)
{
    struct region_job *before = NULL, **at = &access->first;
    while (*at != job) { /* near the front: those before it are under way, too */
        before = *at;
        at = &before->next;
    }
    *at = job->next;
    if (access->last == job)
        access->last = before;
    if (access->asking == job)
        access->asking = job->next;
    atomic_store(&access->waiting_jobs, access->first != NULL);
}

void region_jobs_end(struct region_access *access, struct region_job *job)
{
    unlink_job(access, job);
    if (access->followers > 0)
        pthread_cond_broadcast(&access->changed);
    if (job->waited_for) {
        job->done = true; /* it is its owner's again as soon as the lock is free */
        return;
    }
    if (job->status != SUBLET_OK && access->first_error == SUBLET_OK)
        access->first_error = job->status;
    free(job);
}

void region_jobs_end_all(struct region_access *access, sublet_status status)
{
    while (access->first != NULL) {
        access->first->status = status;
        region_jobs_end(access, access->first);
    }
}

void region_job_advance(const struct region_job *job, struct region_cursor *cursor, size_t bytes)
{
    while (bytes > 0) {
        size_t left = job->pieces[cursor->piece].size - cursor->at;
        if (bytes < left) {
            cursor->at += bytes;
            return;
        }
        bytes -= left;
        cursor->piece++;
        cursor->at = 0;
    }
}

static void wake_background(struct link *link)
{
    pthread_mutex_lock(&link->session->lock);
    background_wake(link->session);
    pthread_mutex_unlock(&link->session->lock);
}

/** The link is lost, since what is under way on it cannot be told any more. */
static void give_up(struct link *link)
{
    pthread_mutex_lock(&link->session->lock);
    link_lost(link, SUBLET_ERR_LOST);
    pthread_mutex_unlock(&link->session->lock);
}

sublet_status region_jobs_begun(struct link *link, struct region_access *access, sublet_status status, bool left_alone)
{
    if (status != SUBLET_OK)
        give_up(link);
    else if (left_alone && atomic_load(&access->pumping) == 0)
        wake_background(link);
    return SUBLET_OK;
}

int region_jobs_pollable(struct region_access *access, short *events)
{
    int fd;
    pthread_mutex_lock(&access->lock);
    *events = access->transport->mover->events(access, &fd);
    pthread_mutex_unlock(&access->lock);
    return fd;
}

/** `target`: without a job, the number of the last one that must have ended. */
static bool finished(const struct region_access *access, const struct region_job *job, uint64_t target)
{
    return job == NULL ? access->first == NULL || access->first->number > target : job->done;
}

static sublet_status pump(struct link *link, struct region_access *access)
{
    const struct region_mover *mover = access->transport->mover;
    sublet_status status = mover->pump(link, access);
    if (status != SUBLET_OK)
        mover->abandon(access, status);
    return status;
}

/** Moves everybody's jobs until this one is done. Lock held, dropped while it waits. */
static sublet_status lead(struct link *link, struct region_access *access, const struct region_job *job,
                          uint64_t target)
{
    const struct region_mover *mover = access->transport->mover;
    const struct sublet_session *session = link->session;
    uint64_t silent_ns = now_ns(), seen = mover->moved(access);
    for (uint32_t round = 1;; round++) {
        sublet_status status = pump(link, access);
        if (status != SUBLET_OK || finished(access, job, target))
            return status;
        int lost = atomic_load(&link->lost);
        uint64_t now = now_ns(), seen_now = mover->moved(access);
        if (seen_now != seen) {
            seen = seen_now;
            silent_ns = now;
        }
        if (lost != 0 || now - silent_ns > session->timeout_ns) {
            status = lost != 0 ? (sublet_status)lost : SUBLET_ERR_TIMEOUT;
            mover->abandon(access, status);
            return status;
        }
        struct pollfd entry = {0};
        bool nap = now - silent_ns >= session->spin_ns || (mover->full != NULL && mover->full(access));
        if (nap)
            entry.events = mover->events(access, &entry.fd);
        pthread_mutex_unlock(&access->lock);
        if (nap)
            poll(&entry, 1, mover->nap_ms != 0 ? mover->nap_ms : (int)(SLICE_NS / 1000000));
        else if (round % 16 == 0)
            sched_yield(); /* the other side may wait for this core */
        pthread_mutex_lock(&access->lock);
    }
}

static void follow(struct region_access *access)
{
    uint64_t until_ns = now_ns() + SLICE_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    access->followers++;
    pthread_cond_timedwait(&access->changed, &access->lock, &until);
    access->followers--;
}

sublet_status region_jobs_wait(struct link *link, struct region_access *access, struct region_job *job)
{
    sublet_status status = SUBLET_OK, status_of_jobs = SUBLET_OK;
    atomic_fetch_add(&access->pumping, 1);
    pthread_mutex_lock(&access->lock);
    uint64_t target = access->added; /* what others add from now on is not waited for */
    while (status == SUBLET_OK && !finished(access, job, target)) {
        if (access->led) {
            follow(access);
            continue;
        }
        access->led = true;
        status = lead(link, access, job, target);
        access->led = false;
        if (access->followers > 0)
            pthread_cond_broadcast(&access->changed);
    }
    if (job == NULL && status == SUBLET_OK) {
        status_of_jobs = access->first_error;
        access->first_error = SUBLET_OK;
    }
    pthread_mutex_unlock(&access->lock);
    if (atomic_fetch_sub(&access->pumping, 1) == 1 && atomic_load(&access->waiting_jobs))
        wake_background(link); /* jobs that nobody waits for now */
    if (status != SUBLET_OK)
        give_up(link);
    return status == SUBLET_OK ? status_of_jobs : status;
}

bool region_jobs_test(struct link *link, struct region_access *access, struct region_job *job)
{
    pthread_mutex_lock(&access->lock);
    sublet_status status = job->done ? SUBLET_OK : pump(link, access);
    int lost = atomic_load(&link->lost);
    if (!job->done && lost != 0)
        access->transport->mover->abandon(access, (sublet_status)lost);
    bool done = job->done;
    pthread_mutex_unlock(&access->lock);
    if (status != SUBLET_OK)
        give_up(link);
    return done;
}

short region_jobs_events(struct region_access *access, int *fd_out)
{
    const struct region_mover *mover = access->transport->mover;
    if (mover == NULL || atomic_load(&access->pumping) > 0 || !atomic_load(&access->waiting_jobs) ||
        pthread_mutex_trylock(&access->lock) != 0)
        return 0;
    short events = mover->events(access, fd_out);
    pthread_mutex_unlock(&access->lock);
    return *fd_out < 0 ? 0 : events;
}

sublet_status region_jobs_turn(struct link *link)
{
    struct region_access *access = link->region;
    if (atomic_load(&access->pumping) > 0 || pthread_mutex_trylock(&access->lock) != 0)
        return SUBLET_OK;
    sublet_status status = pump(link, access);
    pthread_mutex_unlock(&access->lock);
    return status;
}
