/**
 * The keeper of a durable region: a thread that sleeps until a copy is lost, its lease is DRAINING, or it is time to
 * ask for memory again. It does one thing per turn: takes out what is lost, makes what is missing, gives back what is
 * replaced (durable.h).
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/durable.h"
#include "client/error.h"

#define RETRY_FIRST_NS UINT64_C(200000000)
#define RETRY_LAST_NS  UINT64_C(5000000000)
#define RETRY_HURRY_NS UINT64_C(50000000)   /* a budget runs */
#define QUIET_NS       UINT64_C(2000000000) /* what is under way on a copy that is given back may take this long */
#define LOOK_NS        UINT64_C(1000000)
#define NEVER          UINT64_MAX

/** Nodes that must not hold a further copy: the caller's, and those of the others. Whole names, or none. */
static void nodes_taken(struct durable *durable, char *names, size_t room)
{
    size_t used = (size_t)snprintf(names, room, "%s", durable->exclude_nodes);
    pthread_mutex_lock(&durable->order);
    for (uint32_t i = 0; i < durable->count; i++) {
        const char *node = durable->copies[i]->link->node;
        if (node[0] != '\0' && used + strlen(node) + 2 <= room)
            used += (size_t)snprintf(names + used, room - used, ",%s", node);
    }
    pthread_mutex_unlock(&durable->order);
}

/** From here on it is told all writes. */
static sublet_status join(struct durable *durable, struct durable_copy *copy)
{
    struct sublet_session *session = durable->session;
    if (!copy->link->region->features_access)
        return error_set(SUBLET_ERR_VERSION, "the executor of the region is older and knows only put and get");
    pthread_mutex_lock(&session->lock);
    copy->link->region->owner = durable;
    if (copy->lease != NULL) {
        copy->lease->region = durable->region;
        atomic_store(&copy->link->region->leaving, copy->lease->state == SUBLET_LEASE_DRAINING);
    }
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_lock(&durable->order);
    bool room = durable->count < DURABLE_COPIES_MAX;
    if (room)
        durable->copies[durable->count++] = copy;
    pthread_mutex_unlock(&durable->order);
    return room ? SUBLET_OK : SUBLET_ERR_BUSY;
}

sublet_status durable_copy_lease(struct durable *durable, const char *node, struct durable_copy **copy_out)
{
    char names[DURABLE_NODES_MAX];
    Sublet__V1__LeaseRequest request = SUBLET__V1__LEASE_REQUEST__INIT;
    nodes_taken(durable, names, sizeof(names));
    request.kind = SUBLET__V1__LEASE_KIND__LEASE_KIND_REGION;
    request.memory_bytes = durable->region->bytes;
    request.term_ms = durable->term_ms;
    request.durability = (Sublet__V1__Durability)durable->durability;
    request.node = node == NULL ? request.node : (char *)(uintptr_t)node;
    struct lease_wish wish = {
        .request = &request, .exclude_nodes = names, .slots = 1, .region_bytes = durable->region->bytes};
    struct durable_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    sublet_status status = lease_take(durable->session, &wish, &copy->lease);
    if (status != SUBLET_OK) {
        free(copy);
        return status;
    }
    copy->link = copy->lease->link;
    status = join(durable, copy);
    if (status != SUBLET_OK) {
        durable_copy_drop(durable, copy);
        return status;
    }
    *copy_out = copy;
    return SUBLET_OK;
}

static void take_out(struct durable *durable, const struct durable_copy *copy)
{
    for (uint32_t i = 0; i < durable->count; i++)
        if (durable->copies[i] == copy) {
            durable->copies[i] = durable->copies[--durable->count];
            return;
        }
}

/** Waits, with `order` held, until no part is under way on the copy; false when it takes longer than `until_ns`. */
static bool quiet(struct durable *durable, const struct durable_copy *copy, uint64_t until_ns)
{
    while (copy->refs > 0 && now_ns() < until_ns) {
        uint64_t wakes_ns = now_ns() + LOOK_NS; /* nobody may be waiting for asynchronous ones */
        struct timespec wakes = {.tv_sec = (time_t)(wakes_ns / 1000000000u), .tv_nsec = (long)(wakes_ns % 1000000000u)};
        durable_reap(durable);
        if (copy->refs > 0)
            pthread_cond_timedwait(&durable->changed, &durable->order, &wakes);
    }
    return copy->refs == 0;
}

/** What still is under way ends now, and its node has its memory back. */
static void cut_off(struct durable *durable, struct durable_copy *copy)
{
    struct sublet_session *session = durable->session;
    pthread_mutex_lock(&session->lock);
    if (copy->lease != NULL && lease_lives(copy->lease))
        (void)agent_release(session, copy->lease->id, copy->lease->node);
    link_lost(copy->link, SUBLET_ERR_REVOKED);
    pthread_mutex_unlock(&session->lock);
}

void durable_copy_drop(struct durable *durable, struct durable_copy *copy)
{
    struct sublet_session *session = durable->session;
    pthread_mutex_lock(&durable->order);
    take_out(durable, copy);
    bool stays = atomic_load(&durable->lease.link->lost) == 0 && !durable_copy_lost(copy);
    if (!quiet(durable, copy, now_ns() + (stays ? QUIET_NS : 0))) {
        pthread_mutex_unlock(&durable->order);
        cut_off(durable, copy);
        pthread_mutex_lock(&durable->order);
        (void)quiet(durable, copy, NEVER); /* ways end what is on a lost link */
    }
    pthread_mutex_unlock(&durable->order);
    pthread_mutex_lock(&session->lock);
    copy->link->region->owner = NULL;
    if (copy->lease == NULL)
        link_unref(copy->link);
    pthread_mutex_unlock(&session->lock);
    if (copy->lease != NULL)
        lease_give_back(copy->lease);
    else
        durable_spill_return(durable);
    free(copy);
}

/** What the keeper wants to know, as of now. */
struct tally {
    uint32_t whole;  /* alive, wherever */
    uint32_t good;   /* of them in memory that stays */
    uint32_t steady; /* of them in memory that stays, or a file */
    struct durable_copy *lost, *leaving, *spilled;
    sublet_status why; /* of the lost one */
};

static struct tally count(struct durable *durable)
{
    struct tally tally = {0};
    pthread_mutex_lock(&durable->order);
    for (uint32_t i = 0; i < durable->count; i++) {
        struct durable_copy *copy = durable->copies[i];
        int lost = atomic_load(&copy->link->lost);
        if (lost != 0) {
            tally.lost = copy;
            tally.why = (sublet_status)lost;
            continue;
        }
        tally.whole += copy->whole;
        tally.steady += copy->whole && !durable_copy_leaves(copy);
        tally.good += copy->whole && !durable_copy_leaves(copy) && copy->lease != NULL;
        if (durable_copy_leaves(copy))
            tally.leaving = copy;
        if (copy->lease == NULL)
            tally.spilled = copy;
    }
    pthread_mutex_unlock(&durable->order);
    return tally;
}

/** No copy is left. */
static void lose(struct durable *durable, const struct tally *tally)
{
    struct sublet_session *session = durable->session;
    pthread_mutex_lock(&session->lock);
    if (tally->lost != NULL && tally->lost->lease != NULL) {
        struct sublet_lease *last = tally->lost->lease;
        durable->lease.noticed = last->noticed;
        lease_end(&durable->lease, last->state, last->reason, tally->why);
    }
    link_lost(durable->lease.link, tally->lost != NULL ? tally->why : SUBLET_ERR_LOST);
    pthread_mutex_unlock(&session->lock);
}

static sublet_status spill(struct durable *durable, struct durable_copy **copy_out)
{
    sublet_status status = durable_copy_spill(durable, copy_out);
    if (status == SUBLET_OK && (status = join(durable, *copy_out)) != SUBLET_OK)
        durable_copy_drop(durable, *copy_out);
    return status;
}

/** A further copy: leased, or a file where content would have to go. */
static void add_copy(struct durable *durable, const struct tally *tally)
{
    struct durable_copy *copy;
    sublet_status status = durable_copy_lease(durable, NULL, &copy);
    if (status != SUBLET_OK && tally->steady == 0)
        status = spill(durable, &copy);
    if (status == SUBLET_OK && (status = durable_fill(durable, copy)) != SUBLET_OK)
        durable_copy_drop(durable, copy);
    if (status == SUBLET_OK) {
        durable->backoff_ns = 0;
        durable->retry_ns = 0;
        return;
    }
    durable->backoff_ns = durable->backoff_ns == 0 ? RETRY_FIRST_NS : durable->backoff_ns * 2;
    if (durable->backoff_ns > RETRY_LAST_NS)
        durable->backoff_ns = RETRY_LAST_NS;
    if (tally->leaving != NULL)
        durable->backoff_ns = RETRY_HURRY_NS;
    durable->retry_ns = now_ns() + durable->backoff_ns;
}

/** Does what is due; returns when it should look again without being woken. */
static uint64_t turn(struct durable *durable)
{
    uint32_t wanted = durable->durability == SUBLET_MIRRORED ? 2 : 1;
    struct tally tally = count(durable);
    if (tally.whole == 0) {
        lose(durable, &tally);
        return NEVER;
    }
    if (tally.lost != NULL) {
        durable_copy_drop(durable, tally.lost);
        durable->retry_ns = 0;
        return 0;
    }
    struct durable_copy *surplus = tally.leaving != NULL && tally.steady >= wanted ? tally.leaving
                                   : tally.good >= wanted                          ? tally.spilled
                                                                                   : NULL;
    if (surplus != NULL) {
        durable_copy_drop(durable, surplus);
        return 0;
    }
    if (tally.good >= wanted)
        return NEVER;
    if (now_ns() < durable->retry_ns)
        return durable->retry_ns;
    add_copy(durable, &tally);
    return 0;
}

static void *keep(void *argument)
{
    struct durable *durable = argument;
    while (!atomic_load(&durable->stop)) {
        uint64_t next = turn(durable), woken;
        struct pollfd entry = {.fd = durable->wake_fd, .events = POLLIN};
        if (next != 0)
            poll(&entry, 1, next == NEVER ? -1 : left_ms(next) + 1);
        (void)!read(durable->wake_fd, &woken, sizeof(woken));
    }
    return NULL;
}

sublet_status durable_keeper_start(struct durable *durable)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it: no handler of the program runs there */
    int failed = pthread_create(&durable->keeper, NULL, keep, durable);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return error_set(SUBLET_ERR_SYSTEM, "cannot start a thread: %s", strerror(failed));
    durable->running = true;
    return SUBLET_OK;
}
