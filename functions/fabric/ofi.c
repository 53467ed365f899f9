/*
 * Finding a provider, and opening what it offers. Which providers there are differs between sites, and what they say of
 * themselves between versions: so each of the list is asked for, and only one that opens everything is taken.
 */
#include "fabric/ofi.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fabric/ofi_internal.h"

#define API_VERSION FI_VERSION(1, 14) /* of Debian 11; later libraries keep to it */

/** The few functions that are not behind pointers in libfabric's own objects. */
static struct {
    pthread_once_t once;
    bool loaded;
    int (*getinfo)(uint32_t, const char *, const char *, uint64_t, const struct fi_info *, struct fi_info **);
    void (*freeinfo)(struct fi_info *);
    struct fi_info *(*dupinfo)(const struct fi_info *);
    int (*fabric)(struct fi_fabric_attr *, struct fid_fabric **, void *);
} library = {.once = PTHREAD_ONCE_INIT};

struct provider {
    const char *name;
    bool by_name_only;       /* sockets: no better than a connection of our own; ofi_rxm: see ofi.h */
    const char *connected;   /* an endpoint per peer: libfabric's name of it */
    const char *unconnected; /* and what does the same with one for all */
};

static const struct provider providers[] = {
    {"cxi", false, NULL, NULL},
    {"efa", false, NULL, NULL},
    {"verbs;msg", false, "verbs", "verbs;ofi_rxm"},
    {"verbs;ofi_rxm", true, NULL, NULL},
    {"psm3", false, NULL, NULL},
    {"opx", false, NULL, NULL},
    {"net", true, NULL, NULL},
    {"tcp", true, NULL, NULL},
    {"tcp;ofi_rxm", true, NULL, NULL},
    {"tcp;msg", true, "tcp", "tcp;ofi_rxm"},
};
#define PROVIDERS (sizeof(providers) / sizeof(providers[0]))

static void load(void)
{
    /* The library of PSM, which comes along, would take over SIGSEGV and others. */
    setenv("IPATH_NO_BACKTRACE", "1", 0);
    setenv("HFI_NO_BACKTRACE", "1", 0);
    /* The queues of verbs;ofi_rxm are sized by this, and those of soft-RoCE are short. */
    setenv("FI_UNIVERSE_SIZE", "64", 0);
    void *handle = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return;
    *(void **)&library.getinfo = dlsym(handle, "fi_getinfo");
    *(void **)&library.freeinfo = dlsym(handle, "fi_freeinfo");
    *(void **)&library.dupinfo = dlsym(handle, "fi_dupinfo");
    *(void **)&library.fabric = dlsym(handle, "fi_fabric");
    library.loaded =
        library.getinfo != NULL && library.freeinfo != NULL && library.dupinfo != NULL && library.fabric != NULL;
}

void ofi_keep_nothing(void)
{
    setenv("FI_MR_CACHE_MAX_COUNT", "0", 1);
}

static const struct provider *find(const char *name)
{
    for (size_t i = 0; i < PROVIDERS; i++)
        if (strcmp(providers[i].name, name) == 0)
            return &providers[i];
    return NULL;
}

struct fi_info *ofi_info_copy(const struct fi_info *info)
{
    return library.dupinfo(info);
}

void ofi_info_free(struct fi_info *info)
{
    library.freeinfo(info);
}

static struct fi_info *hints_for(const struct provider *provider, const struct ofi_settings *settings)
{
    struct fi_info *hints = library.dupinfo(NULL);
    if (hints == NULL)
        return NULL;
    bool connected = provider->connected != NULL;
    hints->fabric_attr->prov_name = strdup(connected ? provider->connected : provider->name);
    hints->ep_attr->type = connected ? FI_EP_MSG : FI_EP_RDM;
    hints->caps = FI_MSG | FI_RMA;
    hints->mode = connected ? FI_RX_CQ_DATA : 0; /* a write with data uses up a receive */
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
    hints->domain_attr->threading = settings->shared ? FI_THREAD_SAFE : FI_THREAD_DOMAIN;
    hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    if (settings->plain) /* a message is not to overtake the write before it */
        hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAW;
    else
        hints->domain_attr->cq_data_size = sizeof(uint32_t);
    if (hints->fabric_attr->prov_name == NULL) {
        library.freeinfo(hints);
        return NULL;
    }
    return hints;
}

/** An endpoint on the interface that was asked for, else on any: a fabric may have addresses of its own. */
static struct fi_info *ask(const struct provider *provider, const struct ofi_settings *settings)
{
    struct fi_info *found = NULL, *hints = hints_for(provider, settings);
    if (hints == NULL)
        return NULL;
    if (settings->address == NULL ||
        library.getinfo(API_VERSION, settings->address, NULL, FI_SOURCE | FI_NUMERICHOST, hints, &found) != 0)
        found = NULL;
    if (found == NULL && library.getinfo(API_VERSION, NULL, NULL, 0, hints, &found) != 0)
        found = NULL;
    library.freeinfo(hints);
    return found;
}

/** With a descriptor to sleep on, where the provider has that. */
static bool open_waiting(struct ofi *ofi, struct fi_cq_attr *attributes, struct fid_cq **queue)
{
    attributes->wait_obj = FI_WAIT_FD;
    if (fi_cq_open(ofi->domain, attributes, queue, NULL) != 0) {
        attributes->wait_obj = FI_WAIT_NONE;
        if (fi_cq_open(ofi->domain, attributes, queue, NULL) != 0)
            return false;
    } else if (fi_control(&(*queue)->fid, FI_GETWAIT, &ofi->wait_fd) != 0)
        ofi->wait_fd = -1;
    ofi->waits = *queue;
    attributes->wait_obj = FI_WAIT_NONE;
    return true;
}

static bool open_queues(struct ofi *ofi, const struct ofi_settings *settings, bool connected)
{
    size_t size = settings->completions < 64 ? 64 : settings->completions;
    if (connected) /* receives take their places beforehand, twice as many as are used, and some (ofi_connected.c) */
        size = 2 * (size + OFI_PEERS_MAX);
    struct fi_cq_attr attributes = {.size = size, .format = FI_CQ_FORMAT_DATA};
    struct fid_cq **waiting = settings->transfers ? &ofi->sent : &ofi->arrived,
                  **other = settings->transfers ? &ofi->arrived : &ofi->sent;
    return open_waiting(ofi, &attributes, waiting) && fi_cq_open(ofi->domain, &attributes, other, NULL) == 0;
}

/** `connected`: there will be an endpoint per peer. */
static bool open_domain(struct ofi *ofi, const struct ofi_settings *settings, bool connected)
{
    return library.fabric(ofi->info->fabric_attr, &ofi->fabric, NULL) == 0 &&
           fi_domain(ofi->fabric, ofi->info, &ofi->domain, NULL) == 0 && open_queues(ofi, settings, connected);
}

/** One for all peers. */
static bool open_endpoint(struct ofi *ofi)
{
    struct fi_av_attr table = {.type = FI_AV_TABLE};
    if (fi_av_open(ofi->domain, &table, &ofi->av, NULL) != 0) {
        table.type = FI_AV_MAP;
        if (fi_av_open(ofi->domain, &table, &ofi->av, NULL) != 0)
            return false;
    }
    return fi_endpoint(ofi->domain, ofi->info, &ofi->endpoint, NULL) == 0 &&
           fi_ep_bind(ofi->endpoint, &ofi->av->fid, 0) == 0 &&
           fi_ep_bind(ofi->endpoint, &ofi->sent->fid, FI_TRANSMIT | FI_SELECTIVE_COMPLETION) == 0 &&
           fi_ep_bind(ofi->endpoint, &ofi->arrived->fid, FI_RECV) == 0 && fi_enable(ofi->endpoint) == 0;
}

static void shut(struct ofi *ofi)
{
    if (ofi->connected != NULL)
        ofi_connected_close(ofi);
    struct fid *all[] = {ofi->endpoint == NULL ? NULL : &ofi->endpoint->fid,
                         ofi->notes_region == NULL ? NULL : &ofi->notes_region->fid,
                         ofi->av == NULL ? NULL : &ofi->av->fid,
                         ofi->sent == NULL ? NULL : &ofi->sent->fid,
                         ofi->arrived == NULL ? NULL : &ofi->arrived->fid,
                         ofi->domain == NULL ? NULL : &ofi->domain->fid,
                         ofi->fabric == NULL ? NULL : &ofi->fabric->fid};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] != NULL)
            fi_close(all[i]);
    free(ofi->notes);
}

/** Room for messages, which nobody can reach but by sending them. */
static bool open_notes(struct ofi *ofi, uint32_t count)
{
    const struct fi_domain_attr *domain = ofi->info->domain_attr;
    ofi->notes = calloc(count, sizeof(*ofi->notes));
    if (ofi->notes == NULL || fi_mr_reg(ofi->domain, ofi->notes, count * sizeof(*ofi->notes), FI_RECV, 0, ofi->keys, 0,
                                        &ofi->notes_region, NULL) != 0)
        return false;
    if ((domain->mr_mode & FI_MR_ENDPOINT) != 0 &&
        (fi_mr_bind(ofi->notes_region, &ofi->endpoint->fid, 0) != 0 || fi_mr_enable(ofi->notes_region) != 0))
        return false;
    uint32_t posted = 0;
    while (posted < count && ofi_post_note(ofi, &ofi->notes[posted]) == 0)
        posted++;
    return posted > 0; /* what comes when all are taken waits */
}

/** Opens the first of a provider's offers that works. */
static bool try_provider(const struct provider *provider, const struct ofi_settings *settings, struct ofi *out)
{
    struct fi_info *found = ask(provider, settings);
    bool connected = provider->connected != NULL;
    for (struct fi_info *info = found; info != NULL; info = info->next) {
        struct ofi ofi = {.info = info, .wait_fd = -1};
        if (open_domain(&ofi, settings, connected) &&
            (connected ? ofi_connected_open(&ofi, settings->connects == OFI_LISTENS) : open_endpoint(&ofi)) &&
            (ofi.info = library.dupinfo(info)) != NULL) {
            library.freeinfo(found);
            snprintf(ofi.provider, sizeof(ofi.provider), "%s", provider->name);
            ofi.plain = settings->plain;
            *out = ofi;
            return true;
        }
        shut(&ofi);
    }
    if (found != NULL)
        library.freeinfo(found);
    return false;
}

/** The provider that is named, or what a side that has no connections takes instead. NULL: not known. */
static const struct provider *named(const struct ofi_settings *settings)
{
    const struct provider *provider = find(settings->provider);
    bool connects = settings->connects != OFI_CONNECTS_NOT && !settings->plain;
    return provider == NULL || provider->connected == NULL || connects ? provider : find(provider->unconnected);
}

/** What is tried of it where none is named; NULL: nothing. */
static const struct provider *tried(const struct provider *provider, const struct ofi_settings *settings)
{
    if (provider->by_name_only)
        return NULL;
    return provider->connected == NULL || settings->connects != OFI_CONNECTS_NOT ? provider
                                                                                 : find(provider->unconnected);
}

/** With data in messages as the second choice, where there is one endpoint for all. */
static bool open_provider(const struct provider *provider, const struct ofi_settings *settings, struct ofi *out)
{
    struct ofi_settings plain = *settings;
    plain.plain = true;
    return (!settings->plain && try_provider(provider, settings, out)) ||
           (provider->connected == NULL && try_provider(provider, &plain, out));
}

sublet_status ofi_open(const struct ofi_settings *settings, struct ofi **out)
{
    const struct provider *wanted = settings->provider == NULL ? NULL : named(settings);
    if (settings->provider != NULL && wanted == NULL)
        return SUBLET_ERR_NOT_FOUND;
    pthread_once(&library.once, load);
    if (!library.loaded)
        return SUBLET_ERR_NOT_FOUND;
    struct ofi *ofi = calloc(1, sizeof(*ofi));
    if (ofi == NULL)
        return SUBLET_ERR_NO_MEMORY;
    bool opened = wanted != NULL && open_provider(wanted, settings, ofi);
    for (size_t i = 0; wanted == NULL && !opened && i < PROVIDERS; i++) {
        const struct provider *one = tried(&providers[i], settings);
        opened = one != NULL && open_provider(one, settings, ofi);
    }
    if (opened && getrandom(&ofi->keys, sizeof(ofi->keys), 0) == (ssize_t)sizeof(ofi->keys) &&
        (!ofi->plain || open_notes(ofi, settings->completions < 64 ? 64 : settings->completions))) {
        *out = ofi;
        return SUBLET_OK;
    }
    if (opened)
        ofi_close(ofi);
    else
        free(ofi);
    return SUBLET_ERR_NOT_FOUND;
}

void ofi_close(struct ofi *ofi)
{
    shut(ofi);
    library.freeinfo(ofi->info);
    free(ofi);
}

const char *ofi_provider(const struct ofi *ofi)
{
    return ofi->provider;
}

bool ofi_is_connected(const struct ofi *ofi)
{
    return ofi->connected != NULL;
}

const char *ofi_provider_with_connections(const char *provider)
{
    for (size_t i = 0; i < PROVIDERS; i++)
        if (providers[i].unconnected != NULL && strcmp(providers[i].unconnected, provider) == 0)
            return providers[i].name;
    return provider;
}

bool ofi_is_plain(const struct ofi *ofi)
{
    return ofi->plain;
}

sublet_status ofi_name(const struct ofi *ofi, void *bytes, uint32_t capacity, uint32_t *size_out)
{
    size_t size = capacity;
    if (ofi->connected != NULL)
        return ofi_connected_name(ofi, bytes, capacity, size_out);
    if (fi_getname(&ofi->endpoint->fid, bytes, &size) != 0 || size > capacity)
        return SUBLET_ERR_TOO_LARGE;
    *size_out = (uint32_t)size;
    return SUBLET_OK;
}

sublet_status ofi_peer_add(struct ofi *ofi, const void *name, uint32_t size, uint32_t depth, uint64_t *peer_out)
{
    unsigned char copy[OFI_NAME_MAX] = {0}; /* the provider reads as much as it thinks a name has */
    fi_addr_t peer;
    if (ofi->connected != NULL)
        return ofi_connected_add(ofi, name, size, depth, peer_out);
    if (size > sizeof(copy) || (ofi->info->src_addrlen != 0 && size < ofi->info->src_addrlen))
        return SUBLET_ERR_INVALID;
    memcpy(copy, name, size);
    if (fi_av_insert(ofi->av, copy, 1, &peer, 0, NULL) != 1)
        return SUBLET_ERR_INVALID;
    *peer_out = peer;
    return SUBLET_OK;
}

void ofi_peer_remove(struct ofi *ofi, uint64_t peer)
{
    fi_addr_t address = peer;
    if (ofi->connected != NULL) {
        ofi_connected_remove(ofi, peer);
        return;
    }
    fi_av_remove(ofi->av, &address, 1, 0);
}

bool ofi_peer_is_lost(struct ofi *ofi, uint64_t peer)
{
    struct fid_ep *ignored;
    return ofi->connected != NULL && ofi_connected_way(ofi, peer, &ignored) == SUBLET_ERR_LOST;
}
