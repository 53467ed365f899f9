/** Durable regions: made, described, freed (durable.h). */
#include "client/durable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/error.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

void durable_wake(struct durable *durable)
{
    uint64_t one = 1;
    (void)!write(durable->wake_fd, &one, sizeof(one)); /* full: it is about to wake anyway */
}

struct link *durable_link(struct sublet_session *session, struct sublet_lease *lease,
                          const struct region_transport *transport, uint64_t bytes)
{
    struct link *link = calloc(1, sizeof(*link));
    struct region_access *access = calloc(1, sizeof(*access));
    if (link == NULL || access == NULL) {
        free(link);
        free(access);
        return NULL;
    }
    link->refs = 1;
    link->session = session;
    link->lease = lease;
    link->node = "";
    link->control = -1;
    pthread_mutex_init(&link->control_lock, NULL);
    access->transport = transport;
    access->bytes = bytes;
    access->fd = access->memory_fd = -1;
    access->features_access = true;
    link->region = access;
    return link;
}

/** A word that a child of fork finds zeroed. */
static const uint32_t *mine_make(void)
{
    uint32_t *word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (word == MAP_FAILED)
        return NULL;
    (void)madvise(word, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK);
    *word = 1;
    return word;
}

static void destroy(struct durable *durable)
{
    struct durable_flight *flight;
    if (durable->lease.link != NULL) {
        pthread_mutex_lock(&durable->session->lock);
        durable->lease.link->lease = NULL;
        link_unref(durable->lease.link);
        pthread_mutex_unlock(&durable->session->lock);
    }
    while ((flight = durable->unused) != NULL) {
        durable->unused = flight->next;
        free(flight);
    }
    if (durable->mine != NULL)
        munmap((void *)(uintptr_t)durable->mine, sizeof(*durable->mine));
    if (durable->wake_fd >= 0)
        close(durable->wake_fd);
    pthread_cond_destroy(&durable->changed);
    pthread_mutex_destroy(&durable->order);
    free(durable->region);
    free(durable);
}

static void make_sync(struct durable *durable)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&durable->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&durable->order, NULL);
}

static struct durable *make(struct sublet_session *session, uint64_t bytes, const sublet_region_options *options)
{
    struct durable *durable = calloc(1, sizeof(*durable));
    if (durable == NULL)
        return NULL;
    make_sync(durable);
    durable->session = session;
    durable->durability = options->durability;
    durable->term_ms = options->term_ms;
    if (options->exclude_nodes != NULL)
        snprintf(durable->exclude_nodes, sizeof(durable->exclude_nodes), "%s", options->exclude_nodes);
    durable->lease.session = session;
    durable->lease.node = "its nodes";
    durable->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    durable->mine = mine_make();
    durable->region = calloc(1, sizeof(*durable->region));
    durable->lease.link = durable_link(session, &durable->lease, &durable_transport, bytes);
    if (durable->wake_fd < 0 || durable->mine == NULL || durable->region == NULL || durable->lease.link == NULL) {
        destroy(durable);
        return NULL;
    }
    durable->lease.link->region->owner = durable;
    *durable->region = (struct sublet_region){.lease = &durable->lease, .durable = durable, .bytes = bytes};
    durable->lease.region = durable->region;
    return durable;
}

static void enlist(struct durable *durable)
{
    pthread_mutex_lock(&durable->session->lock);
    durable->next = durable->session->durables;
    durable->session->durables = durable;
    pthread_mutex_unlock(&durable->session->lock);
}

static void delist(struct durable *durable)
{
    pthread_mutex_lock(&durable->session->lock);
    for (struct durable **at = &durable->session->durables; *at != NULL; at = &(*at)->next)
        if (*at == durable) {
            *at = durable->next;
            break;
        }
    pthread_mutex_unlock(&durable->session->lock);
}

static sublet_status check(const sublet_region_options *options)
{
    if (options->durability != SUBLET_MIRRORED && options->durability != SUBLET_EVACUATED)
        return error_set(SUBLET_ERR_INVALID, "there is no durability %u", options->durability);
    if (options->exclude_nodes != NULL && strlen(options->exclude_nodes) >= DURABLE_NODES_MAX / 2)
        return error_set(SUBLET_ERR_INVALID, "exclude_nodes has more than %u bytes", DURABLE_NODES_MAX / 2 - 1);
    if (options->node != NULL && options->durability == SUBLET_MIRRORED)
        return error_set(SUBLET_ERR_INVALID, "a mirrored region cannot be on one node");
    return SUBLET_OK;
}

sublet_status durable_alloc(struct sublet_session *session, uint64_t bytes, const sublet_region_options *options,
                            struct sublet_region **region_out)
{
    sublet_status status = check(options);
    if (status != SUBLET_OK)
        return status;
    struct durable *durable = make(session, bytes, options);
    if (durable == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    enlist(durable);
    uint32_t copies = durable->durability == SUBLET_MIRRORED ? 2 : 1;
    for (uint32_t i = 0; i < copies && status == SUBLET_OK; i++) {
        struct durable_copy *copy;
        status = durable_copy_lease(durable, options->node, &copy);
        if (status == SUBLET_OK)
            copy->whole = true; /* all are zeros */
    }
    if (status == SUBLET_OK)
        status = durable_keeper_start(durable);
    if (status != SUBLET_OK) {
        durable_free(durable); /* keeps the text of the error: it sets none */
        return status;
    }
    *region_out = durable->region;
    return SUBLET_OK;
}

static void stop_keeper(struct durable *durable)
{
    atomic_store(&durable->stop, true);
    durable_wake(durable);
    if (durable->running)
        pthread_join(durable->keeper, NULL);
    durable->running = false;
}

void durables_stop(struct sublet_session *session)
{
    pthread_mutex_lock(&session->lock);
    struct durable *durable = session->durables;
    pthread_mutex_unlock(&session->lock);
    for (; durable != NULL; durable = durable->next)
        stop_keeper(durable);
}

/** Ends what is under way, so that buffers are the caller's again. */
static void end_accesses(struct durable *durable)
{
    pthread_mutex_lock(&durable->session->lock);
    link_lost(durable->lease.link, SUBLET_ERR_REVOKED);
    pthread_mutex_unlock(&durable->session->lock);
    while (durable->count > 0)
        durable_copy_drop(durable, durable->copies[durable->count - 1]);
    pthread_mutex_lock(&durable->order);
    durable_reap(durable);
    pthread_mutex_unlock(&durable->order);
}

void durable_free(struct durable *durable)
{
    stop_keeper(durable);
    end_accesses(durable);
    delist(durable);
    destroy(durable);
}

sublet_status durable_describe(struct durable *durable, sublet_lease_info *info)
{
    sublet_lease_info all = {.struct_bytes = sizeof(all)};
    if (info == NULL || info->struct_bytes < sizeof(uint32_t) * 2)
        return error_set(SUBLET_ERR_INVALID, "set struct_bytes of the info to its size");
    pthread_mutex_lock(&durable->order);
    const struct durable_copy *reader = durable_reader(durable, NULL);
    bool spilled = reader != NULL && reader->lease == NULL;
    (void)lease_describe(reader != NULL && !spilled ? reader->lease : &durable->lease, &all);
    for (uint32_t i = 0; i < durable->count; i++)
        all.copies += durable->copies[i]->whole && !durable_copy_lost(durable->copies[i]);
    if (reader == NULL || spilled)
        all.node[0] = '\0';
    all.moves = durable->moves;
    all.spilled_bytes = spilled ? durable->region->bytes : 0;
    if (spilled)
        snprintf(all.path, sizeof(all.path), "file");
    pthread_mutex_unlock(&durable->order);
    all.struct_bytes = info->struct_bytes;
    memcpy(info, &all, info->struct_bytes < sizeof(all) ? info->struct_bytes : sizeof(all));
    return SUBLET_OK;
}
