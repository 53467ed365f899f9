/** What becomes of a job on one copy, and which copy gets go to (durable.h). */
#include "client/durable.h"

bool durable_copy_lost(const struct durable_copy *copy)
{
    return atomic_load(&copy->link->lost) != 0;
}

bool durable_copy_leaves(const struct durable_copy *copy)
{
    return atomic_load(&copy->link->region->leaving);
}

struct durable_copy *durable_reader(const struct durable *durable, const struct durable_copy *besides)
{
    struct durable_copy *best = NULL;
    int best_rank = -1;
    for (uint32_t i = 0; i < durable->count; i++) {
        struct durable_copy *copy = durable->copies[i];
        int rank =
            (copy->link->same_node ? 1 : 0) + (durable_copy_leaves(copy) ? 0 : 2) + (copy->lease == NULL ? 0 : 4);
        if (!copy->whole || copy == besides || durable_copy_lost(copy) || rank <= best_rank)
            continue;
        best = copy;
        best_rank = rank;
    }
    return best;
}

void durable_copy_fail(struct durable *durable, struct durable_copy *copy, sublet_status status)
{
    if (!durable_copy_lost(copy)) {
        pthread_mutex_lock(&durable->session->lock);
        link_lost(copy->link, status == SUBLET_ERR_REVOKED ? status : SUBLET_ERR_LOST);
        pthread_mutex_unlock(&durable->session->lock);
    }
    durable_wake(durable);
}

sublet_status durable_enter(const struct link *link)
{
    atomic_fetch_add(&link->region->users, 1);
    int lost = atomic_load(&link->lost);
    if (lost != 0)
        region_leave((struct link *)(uintptr_t)link);
    return (sublet_status)lost;
}

static void part_end(struct durable_part *part, sublet_status status)
{
    if (status != SUBLET_OK && part->job.status == SUBLET_OK)
        part->job.status = status;
    part->ended = true;
}

void durable_part_aim(struct durable_part *part, struct durable_copy *copy)
{
    part->copy = copy;
    part->ended = false;
    copy->refs++;
}

void durable_part_start(struct durable_part *part, const struct region_job *job)
{
    struct link *link = part->copy->link;
    const struct region_transport *transport = link->region->transport;
    part->job = *job;
    part->job.next = NULL;
    part->job.inner = NULL;
    part->job.waited_for = true;
    part->job.left_alone = !job->waited_for;
    if (job->pieces == &job->one)
        part->job.pieces = &part->job.one;
    if (region_job_atomic(job))
        part->job.one.bytes = &part->before;
    sublet_status status = durable_enter(link);
    if (status != SUBLET_OK) {
        part_end(part, status);
        return;
    }
    status = transport->begin(link, &part->job);
    if (status == SUBLET_OK && !transport->immediate && !transport->ordered && region_job_writes(job))
        status = transport->wait(link, &part->job);
    else if (status == SUBLET_OK && !transport->immediate)
        return;
    region_leave(link);
    part_end(part, status);
}

void durable_part_begin(struct durable_part *part, struct durable_copy *copy, const struct region_job *job)
{
    durable_part_aim(part, copy);
    durable_part_start(part, job);
}

bool durable_part_test(struct durable_part *part)
{
    if (!part->ended && part->copy->link->region->transport->test(part->copy->link, &part->job)) {
        region_leave(part->copy->link);
        part_end(part, SUBLET_OK);
    }
    return part->ended;
}

sublet_status durable_part_wait(struct durable_part *part)
{
    if (!part->ended) {
        struct link *link = part->copy->link;
        sublet_status status = link->region->transport->wait(link, &part->job);
        region_leave(link);
        part_end(part, part->job.done ? SUBLET_OK : status);
    }
    return part->job.status;
}

void durable_part_let_go(struct durable *durable, struct durable_part *part)
{
    if (--part->copy->refs == 0)
        pthread_cond_broadcast(&durable->changed);
}
