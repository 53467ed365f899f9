/*
 * An endpoint per peer. Who connects brings a cookie, which the other side has got by another way before; whoever
 * brings another one is sent away.
 *
 * Each write with data uses up one receive of the peer's endpoint. It has no room for anything: a peer that sends
 * messages breaks its own connection, and one that writes more than its depth waits by itself, since neither receives
 * nor places in the queue are shared. Receives are posted again when nothing else is to be done, or when as many as the
 * depth are owed, so that there are never too few.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "fabric/ofi_internal.h"

#define PLACES        (OFI_PEERS_MAX - 1)
#define EVENTS_EVERY  4096u /* polls between two looks at the events, where none is expected */
#define AWAITED_EVERY 8u    /* the same while a peer is to come: who serves others is not to be held up */

static struct ofi_peer *find(struct ofi *ofi, uint64_t id)
{
    struct ofi_peer *peer = &ofi->connected->peers[id & PLACES];
    return id != 0 && atomic_load_explicit(&peer->id, memory_order_acquire) == id ? peer : NULL;
}

static void become(struct ofi *ofi, struct ofi_peer *peer, enum ofi_peer_state next)
{
    int last = atomic_exchange(&peer->state, next);
    if (last == OFI_PEER_AWAITED || last == OFI_PEER_OPENING)
        atomic_fetch_sub(&ofi->connected->coming, 1);
    if (next == OFI_PEER_AWAITED || next == OFI_PEER_OPENING)
        atomic_fetch_add(&ofi->connected->coming, 1);
}

/** Lock held. What does not fit any more is not missing. */
static void post(struct ofi_peer *peer, uint32_t count)
{
    struct fi_msg message = {.context = (void *)(uintptr_t)atomic_load(&peer->id)};
    while (count-- > 0 && fi_recvmsg(peer->endpoint, &message, 0) == 0) {
    }
}

/** Lock held. */
static void settle(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    for (uint32_t i = 0; atomic_load(&connected->owing) > 0 && i < OFI_PEERS_MAX; i++) {
        struct ofi_peer *peer = &connected->peers[i];
        uint32_t owed = atomic_exchange(&peer->owed, 0);
        atomic_fetch_sub(&connected->owing, owed);
        if (peer->endpoint != NULL)
            post(peer, owed);
    }
}

/** Lock held. */
static void close_endpoint(struct ofi_peer *peer)
{
    if (peer->endpoint == NULL)
        return;
    (void)fi_shutdown(peer->endpoint, 0);
    fi_close(&peer->endpoint->fid);
    peer->endpoint = NULL;
}

/** Lock held; `info` says what it is made of. */
static bool make_endpoint(struct ofi *ofi, struct fi_info *info, struct ofi_peer *peer)
{
    uint32_t most = 2 * peer->depth + 2; /* as many may be owed as are under way */
    info->tx_attr->size = info->rx_attr->size = most;
    if (fi_endpoint(ofi->domain, info, &peer->endpoint, (void *)(uintptr_t)atomic_load(&peer->id)) != 0) {
        peer->endpoint = NULL;
        return false;
    }
    if (fi_ep_bind(peer->endpoint, &ofi->connected->events->fid, 0) != 0 ||
        fi_ep_bind(peer->endpoint, &ofi->sent->fid, FI_TRANSMIT | FI_SELECTIVE_COMPLETION) != 0 ||
        fi_ep_bind(peer->endpoint, &ofi->arrived->fid, FI_RECV) != 0 || fi_enable(peer->endpoint) != 0)
        return false;
    post(peer, most);
    return true;
}

/** Lock held. Somebody knocks. */
static void let_in(struct ofi *ofi, struct fi_info *info, const unsigned char *cookie, size_t size)
{
    struct ofi_connected *connected = ofi->connected;
    struct ofi_peer *peer = NULL;
    for (uint32_t i = 0; size >= OFI_COOKIE_BYTES && peer == NULL && i < OFI_PEERS_MAX; i++)
        if (atomic_load(&connected->peers[i].state) == OFI_PEER_AWAITED &&
            memcmp(connected->peers[i].cookie, cookie, OFI_COOKIE_BYTES) == 0)
            peer = &connected->peers[i];
    bool made = peer != NULL && make_endpoint(ofi, info, peer);
    if (made && fi_accept(peer->endpoint, NULL, 0) == 0)
        become(ofi, peer, OFI_PEER_OPENING);
    else if (peer != NULL)
        become(ofi, peer, OFI_PEER_DOWN);
    if (peer == NULL || peer->endpoint == NULL) /* otherwise the request belongs to the endpoint */
        (void)fi_reject(connected->door, info->handle, NULL, 0);
    ofi_info_free(info);
}

/** Lock held; false when there was none. */
static bool take_event(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    union {
        struct fi_eq_cm_entry entry;
        unsigned char bytes[sizeof(struct fi_eq_cm_entry) + OFI_COOKIE_BYTES];
    } said;
    struct fi_eq_err_entry error = {0};
    uint32_t event = 0;
    struct fid *of;
    ssize_t got = fi_eq_read(connected->events, &event, &said, sizeof(said), 0);
    if (got == -FI_EAVAIL) {
        event = FI_SHUTDOWN;
        of = fi_eq_readerr(connected->events, &error, 0) > 0 ? error.fid : NULL;
    } else if (got >= (ssize_t)sizeof(said.entry))
        of = said.entry.fid;
    else
        return false;
    if (event == FI_CONNREQ) {
        let_in(ofi, said.entry.info, said.bytes + sizeof(said.entry), (size_t)got - sizeof(said.entry));
        return true;
    }
    struct ofi_peer *peer = of == NULL ? NULL : find(ofi, (uint64_t)(uintptr_t)of->context);
    if (peer != NULL && event == FI_CONNECTED && atomic_load(&peer->state) == OFI_PEER_OPENING)
        become(ofi, peer, OFI_PEER_UP);
    else if (peer != NULL && event == FI_SHUTDOWN)
        become(ofi, peer, OFI_PEER_DOWN);
    return true;
}

static bool open_door(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    return fi_passive_ep(ofi->fabric, ofi->info, &connected->door, NULL) == 0 &&
           fi_pep_bind(connected->door, &connected->events->fid, 0) == 0 && fi_listen(connected->door) == 0;
}

/** One descriptor for what arrives and what happens. */
static bool open_watch(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    struct epoll_event event = {.events = EPOLLIN};
    int fd = -1;
    connected->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (connected->epoll_fd < 0 || ofi->wait_fd < 0 ||
        epoll_ctl(connected->epoll_fd, EPOLL_CTL_ADD, ofi->wait_fd, &event) != 0 ||
        fi_control(&connected->events->fid, FI_GETWAIT, &fd) != 0 ||
        epoll_ctl(connected->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return false;
    ofi->wait_fd = connected->epoll_fd;
    return true;
}

bool ofi_connected_open(struct ofi *ofi, bool listens)
{
    struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_FD};
    struct ofi_connected *connected = ofi->connected = calloc(1, sizeof(*connected));
    if (connected == NULL)
        return false;
    pthread_mutex_init(&connected->lock, NULL);
    connected->epoll_fd = -1;
    return ofi->info->src_addr != NULL && fi_eq_open(ofi->fabric, &attributes, &connected->events, NULL) == 0 &&
           open_watch(ofi) && (!listens || open_door(ofi)) &&
           getrandom(connected->cookie, OFI_COOKIE_BYTES, 0) == (ssize_t)OFI_COOKIE_BYTES;
}

void ofi_connected_close(struct ofi *ofi)
{
    struct ofi_connected *connected = ofi->connected;
    for (uint32_t i = 0; i < OFI_PEERS_MAX; i++)
        ofi_connected_remove(ofi, atomic_load(&connected->peers[i].id));
    if (connected->door != NULL)
        fi_close(&connected->door->fid);
    if (connected->events != NULL)
        fi_close(&connected->events->fid);
    if (connected->epoll_fd >= 0)
        close(connected->epoll_fd);
    pthread_mutex_destroy(&connected->lock);
    free(connected);
    ofi->connected = NULL;
}

sublet_status ofi_connected_name(const struct ofi *ofi, void *bytes, uint32_t capacity, uint32_t *size_out)
{
    const struct ofi_connected *connected = ofi->connected;
    size_t size = OFI_COOKIE_BYTES;
    if (connected->door != NULL) {
        size = capacity;
        if (fi_getname(&connected->door->fid, bytes, &size) != 0 || size > capacity)
            return SUBLET_ERR_TOO_LARGE;
    } else if (size > capacity)
        return SUBLET_ERR_TOO_LARGE;
    else
        memcpy(bytes, connected->cookie, size);
    *size_out = (uint32_t)size;
    return SUBLET_OK;
}

/** Lock held. */
static bool set_out(struct ofi *ofi, struct ofi_peer *peer, const void *name, uint32_t size)
{
    struct fi_info *info = ofi_info_copy(ofi->info);
    void *address = malloc(size);
    bool begun = false;
    if (info != NULL && address != NULL) {
        memcpy(address, name, size);
        free(info->dest_addr);
        info->dest_addr = address;
        info->dest_addrlen = size;
        begun = make_endpoint(ofi, info, peer) &&
                fi_connect(peer->endpoint, address, ofi->connected->cookie, OFI_COOKIE_BYTES) == 0;
    } else
        free(address);
    if (info != NULL)
        ofi_info_free(info);
    return begun;
}

sublet_status ofi_connected_add(struct ofi *ofi, const void *name, uint32_t size, uint32_t depth, uint64_t *peer_out)
{
    struct ofi_connected *connected = ofi->connected;
    bool listens = connected->door != NULL;
    uint32_t place = 0;
    if (size != (listens ? OFI_COOKIE_BYTES : ofi->info->src_addrlen))
        return SUBLET_ERR_INVALID;
    pthread_mutex_lock(&connected->lock);
    while (place < OFI_PEERS_MAX && atomic_load(&connected->peers[place].state) != OFI_PEER_NONE)
        place++;
    if (place == OFI_PEERS_MAX) {
        pthread_mutex_unlock(&connected->lock);
        return SUBLET_ERR_BUSY;
    }
    struct ofi_peer *peer = &connected->peers[place];
    uint64_t id = ++connected->generation * OFI_PEERS_MAX + place;
    peer->depth = depth;
    if (listens)
        memcpy(peer->cookie, name, size);
    become(ofi, peer, listens ? OFI_PEER_AWAITED : OFI_PEER_OPENING);
    atomic_store_explicit(&peer->id, id, memory_order_release);
    bool begun = listens || set_out(ofi, peer, name, size);
    pthread_mutex_unlock(&connected->lock);
    if (!begun) {
        ofi_connected_remove(ofi, id);
        return SUBLET_ERR_LOST;
    }
    *peer_out = id;
    return SUBLET_OK;
}

void ofi_connected_remove(struct ofi *ofi, uint64_t id)
{
    struct ofi_connected *connected = ofi->connected;
    struct ofi_peer *peer = find(ofi, id);
    if (peer == NULL)
        return;
    pthread_mutex_lock(&connected->lock);
    atomic_store(&peer->id, 0);
    close_endpoint(peer);
    atomic_fetch_sub(&connected->owing, atomic_exchange(&peer->owed, 0));
    become(ofi, peer, OFI_PEER_NONE);
    pthread_mutex_unlock(&connected->lock);
}

sublet_status ofi_connected_way(struct ofi *ofi, uint64_t id, struct fid_ep **endpoint_out)
{
    struct ofi_peer *peer = find(ofi, id);
    int state = peer == NULL ? OFI_PEER_DOWN : atomic_load_explicit(&peer->state, memory_order_acquire);
    if (state != OFI_PEER_UP)
        return state == OFI_PEER_DOWN ? SUBLET_ERR_LOST : SUBLET_ERR_BUSY;
    *endpoint_out = peer->endpoint;
    return SUBLET_OK;
}

void ofi_connected_broke(struct ofi *ofi, uint64_t id)
{
    struct ofi_peer *peer = find(ofi, id);
    if (peer != NULL)
        become(ofi, peer, OFI_PEER_DOWN);
}

void ofi_connected_owe(struct ofi *ofi, uint64_t id)
{
    struct ofi_peer *peer = find(ofi, id);
    if (peer == NULL)
        return;
    atomic_fetch_add_explicit(&ofi->connected->owing, 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&peer->owed, 1, memory_order_relaxed) + 1 < peer->depth)
        return;
    pthread_mutex_lock(&ofi->connected->lock);
    settle(ofi);
    pthread_mutex_unlock(&ofi->connected->lock);
}

void ofi_connected_poll(struct ofi *ofi, bool found, uint32_t polls)
{
    struct ofi_connected *connected = ofi->connected;
    bool owes = !found && atomic_load_explicit(&connected->owing, memory_order_relaxed) > 0;
    bool expects = atomic_load_explicit(&connected->coming, memory_order_relaxed) > 0 &&
                   (connected->door == NULL || polls % AWAITED_EVERY == 0);
    if ((!owes && !expects && polls % EVENTS_EVERY != 0) || pthread_mutex_trylock(&connected->lock) != 0)
        return; /* or another thread does it */
    if (owes)
        settle(ofi);
    if (expects || polls % EVENTS_EVERY == 0)
        (void)take_event(ofi);
    pthread_mutex_unlock(&connected->lock);
}

bool ofi_connected_rest(struct ofi *ofi)
{
    bool quiet = true;
    pthread_mutex_lock(&ofi->connected->lock);
    while (take_event(ofi))
        quiet = false;
    /* What broke may go on waking who sleeps. Who connects has other threads, which may be using it, and ends it soon.
     */
    for (uint32_t i = 0; ofi->connected->door != NULL && i < OFI_PEERS_MAX; i++)
        if (atomic_load(&ofi->connected->peers[i].state) == OFI_PEER_DOWN)
            close_endpoint(&ofi->connected->peers[i]);
    settle(ofi);
    pthread_mutex_unlock(&ofi->connected->lock);
    return quiet;
}
