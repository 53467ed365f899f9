/**
 * The thread behind a mapping of another node's region: takes faults, fetches pages, reads ahead.
 *
 * It looks around for the session's spin time after the last thing that happened (a wake-up costs more than a small
 * fetch), then sleeps on three descriptors: faults, requests, and the connection while something is under way.
 *
 * Read-ahead: a fault just behind the last one of a stream makes its window four times as large, up to the option; from
 * 16 pages on, two windows are kept under way or resident in front of the reader. A random fault fetches one page.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/map.h"

#define AHEAD_FROM 16u /* pages: smaller windows are not worth requests of their own */
#define LOST_MS    100 /* while something is under way: the link is looked at this often */

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

static unsigned char *page_at(const struct sublet_mapping *map, uint32_t page)
{
    return map->base + (size_t)page * MAP_PAGE;
}

static enum page_state state_of(const struct sublet_mapping *map, uint32_t page)
{
    return (enum page_state)(map->state[page] & PAGE_STATES);
}

/** Pages of a buffer go in place; EEXIST is none of ours, but no harm. */
static sublet_status install(struct sublet_mapping *map, uint32_t first, uint32_t pages, const unsigned char *from,
                             bool writes)
{
    sublet_status status = cache_room(map, pages);
    if (status != SUBLET_OK)
        return status;
    bool protect = !map->read_only && !writes;
    if (uffd_copy(map->uffd, page_at(map, first), from, (size_t)pages * MAP_PAGE, protect) != 0 && errno != EEXIST)
        return SUBLET_ERR_SYSTEM;
    cache_add(map, first, pages, writes);
    return SUBLET_OK;
}

static struct map_fetch *fetch_of(struct sublet_mapping *map, uint32_t page)
{
    for (uint32_t i = 0; i < MAP_FETCHES; i++) {
        struct map_fetch *fetch = &map->fetches[i];
        if (fetch->used && page >= fetch->first && page < fetch->first + fetch->count)
            return fetch;
    }
    return NULL;
}

/** The first page of what was read ahead stays outside, if nobody has asked for it. */
static sublet_status arrived(struct sublet_mapping *map, struct map_fetch *fetch)
{
    size_t bytes = fetch->job.size;
    map->flying--;
    if (fetch->job.status != SUBLET_OK)
        return fetch->job.status;
    count(&map->counters.fetched_bytes, bytes);
    memset(fetch->buffer + bytes, 0, (size_t)fetch->count * MAP_PAGE - bytes);
    if (!fetch->ahead) {
        fetch->used = false;
        return install(map, fetch->first, fetch->count, fetch->buffer, fetch->writes);
    }
    fetch->arrived = true;
    map->state[fetch->first] = PAGE_HELD;
    if (fetch->count == 1)
        return SUBLET_OK;
    uint32_t others = fetch->count - 1;
    fetch->count = 1;
    return install(map, fetch->first + 1, others, fetch->buffer + MAP_PAGE, false);
}

/** Takes in what has come, in the order it was asked for. `until` (may be NULL) is waited for. */
static sublet_status collect(struct sublet_mapping *map, const struct map_fetch *until)
{
    const struct region_transport *transport = map->link->region->transport;
    sublet_status status = SUBLET_OK;
    while (map->flying > 0 && status == SUBLET_OK) {
        struct map_fetch *oldest = NULL;
        for (uint32_t i = 0; i < MAP_FETCHES; i++) {
            struct map_fetch *fetch = &map->fetches[i];
            if (fetch->used && !fetch->arrived && (oldest == NULL || fetch->stamp < oldest->stamp))
                oldest = fetch;
        }
        if (oldest == NULL)
            return SUBLET_OK;
        bool wanted = until != NULL && oldest->stamp <= until->stamp;
        if (!transport->test(map->link, &oldest->job)) {
            if (!wanted)
                return SUBLET_OK;
            status = transport->wait(map->link, &oldest->job);
        }
        if (status == SUBLET_OK)
            status = arrived(map, oldest);
        if (oldest == until)
            return status;
    }
    return status;
}

/** A free fetch: an unused one, else the oldest whose held page is given up, else one that is waited for. */
static sublet_status fetch_take(struct sublet_mapping *map, struct map_fetch **out)
{
    struct map_fetch *held = NULL, *flying = NULL;
    for (uint32_t i = 0; i < MAP_FETCHES; i++) {
        struct map_fetch *fetch = &map->fetches[i];
        if (!fetch->used) {
            *out = fetch;
            return SUBLET_OK;
        }
        struct map_fetch **oldest = fetch->arrived ? &held : &flying;
        if (*oldest == NULL || fetch->stamp < (*oldest)->stamp)
            *oldest = fetch;
    }
    if (held == NULL) {
        flying->ahead = false; /* all of it is put in place */
        *out = flying;
        return collect(map, flying);
    }
    map->state[held->first] = PAGE_ABSENT;
    held->used = false;
    *out = held;
    return SUBLET_OK;
}

static sublet_status fetch_begin(struct sublet_mapping *map, uint32_t first, uint32_t pages, bool ahead, bool writes)
{
    struct map_fetch *fetch;
    sublet_status status = fetch_take(map, &fetch);
    if (status != SUBLET_OK)
        return status;
    fetch->used = true;
    fetch->arrived = false;
    fetch->ahead = ahead;
    fetch->writes = writes && pages == 1;
    fetch->first = first;
    fetch->count = pages;
    fetch->stamp = ++map->clock;
    fetch->job = (struct region_job){.operation = STREAM_GET, .piece_count = 1, .waited_for = true};
    fetch->job.size = map_bytes_of(map, first, pages);
    fetch->job.one = (sublet_region_piece){
        .offset = map->offset + (uint64_t)first * MAP_PAGE, .bytes = fetch->buffer, .size = fetch->job.size};
    fetch->job.pieces = &fetch->job.one;
    memset(map->state + first, PAGE_FETCHING, pages);
    map->flying++;
    return map->link->region->transport->begin(map->link, &fetch->job);
}

/** How many pages from `first` on may be fetched as one. */
static uint32_t absent_run(const struct sublet_mapping *map, uint32_t first, uint32_t most)
{
    uint32_t pages = 0;
    while (pages < most && first + pages < map->pages && map->state[first + pages] == PAGE_ABSENT)
        pages++;
    return pages;
}

/** The stream that this fault continues, else a new one in place of the oldest. */
static struct map_stream *stream_of(struct sublet_mapping *map, uint32_t page, bool *continues_out)
{
    struct map_stream *oldest = &map->streams[0];
    for (uint32_t i = 0; i < MAP_STREAMS; i++) {
        struct map_stream *stream = &map->streams[i];
        if (stream->stamp != 0 && page > stream->last && page <= stream->next) {
            *continues_out = true;
            return stream;
        }
        if (stream->stamp < oldest->stamp)
            oldest = stream;
    }
    *continues_out = false;
    *oldest = (struct map_stream){.window = 1};
    return oldest;
}

/** Keeps two windows in front of a reader under way, each request no larger than a buffer. */
static sublet_status read_ahead(struct sublet_mapping *map, struct map_stream *stream, uint32_t page)
{
    sublet_status status = SUBLET_OK;
    uint64_t goal = (uint64_t)page + 2 * (uint64_t)stream->window;
    while (status == SUBLET_OK && stream->next < goal && stream->next < map->pages) {
        uint32_t most = stream->window < MAP_FETCH_PAGES ? stream->window : MAP_FETCH_PAGES;
        uint32_t pages = absent_run(map, stream->next, most);
        if (pages == 0) {
            stream->next++;
            continue;
        }
        status = fetch_begin(map, stream->next, pages, true, false);
        stream->next += pages;
    }
    return status;
}

/** A page that is nowhere here. */
static sublet_status demand(struct sublet_mapping *map, uint32_t page, uint32_t window, bool writes)
{
    uint32_t most = window < MAP_FETCH_PAGES ? window : MAP_FETCH_PAGES;
    uint32_t pages = absent_run(map, page, most);
    sublet_status status = fetch_begin(map, page, pages, false, writes);
    return status == SUBLET_OK ? cache_room(map, pages) : status; /* room is made while it is under way */
}

static sublet_status take_held(struct sublet_mapping *map, uint32_t page, bool writes)
{
    struct map_fetch *fetch = fetch_of(map, page);
    if (fetch == NULL)
        return SUBLET_ERR_INVALID;
    fetch->used = false;
    return install(map, page, 1, fetch->buffer, writes && !map->read_only);
}

static sublet_status take_victim(struct sublet_mapping *map, uint32_t page, bool writes)
{
    sublet_status status = cache_room(map, 1);
    if (status != SUBLET_OK || state_of(map, page) != PAGE_VICTIM) /* making room took it */
        return status == SUBLET_OK ? demand(map, page, 1, writes) : status;
    count(&map->counters.second_chances, 1);
    return install(map, page, 1, map->cache.victims + (size_t)map->slot[page] * MAP_PAGE, writes && !map->read_only);
}

static sublet_status missing(struct sublet_mapping *map, uint32_t page, bool writes)
{
    bool continues;
    struct map_stream *stream = stream_of(map, page, &continues);
    sublet_status status = SUBLET_OK;
    if (continues)
        stream->window = stream->window * 4 < map->read_ahead ? stream->window * 4 : map->read_ahead;
    switch (state_of(map, page)) {
    case PAGE_ABSENT:
        status = demand(map, page, stream->window, writes);
        break;
    case PAGE_HELD:
        status = take_held(map, page, writes);
        break;
    case PAGE_VICTIM:
        status = take_victim(map, page, writes);
        break;
    case PAGE_FETCHING:
        fetch_of(map, page)->ahead = false; /* all of it is put in place as soon as it is here */
        break;
    default: /* another thread's fault brought it */
        uffd_wake(map->uffd, page_at(map, page), MAP_PAGE);
        break;
    }
    stream->last = page;
    stream->stamp = ++map->clock;
    if (stream->next <= page)
        stream->next = page + 1;
    while (stream->next < map->pages && stream->next - page < MAP_FETCH_PAGES &&
           state_of(map, stream->next) == PAGE_FETCHING)
        stream->next++;
    return status == SUBLET_OK && stream->window >= AHEAD_FROM ? read_ahead(map, stream, page) : status;
}

/** First write to a page. Writes that go forward get more pages at once; what is only made writable is dirty, too. */
static sublet_status written(struct sublet_mapping *map, uint32_t page)
{
    if (state_of(map, page) != PAGE_RESIDENT) { /* it has left meanwhile: the writer looks again */
        uffd_wake(map->uffd, page_at(map, page), MAP_PAGE);
        return SUBLET_OK;
    }
    map->write_ahead = page == map->next_write && map->write_ahead * 2 <= MAP_FETCH_PAGES ? map->write_ahead * 2
                       : page == map->next_write                                          ? map->write_ahead
                                                                                          : 1;
    uint32_t pages = 0;
    while (pages < map->write_ahead && page + pages < map->pages && state_of(map, page + pages) == PAGE_RESIDENT)
        cache_dirty(map, page + pages++);
    map->next_write = page + pages;
    return uffd_protect(map->uffd, page_at(map, page), (size_t)pages * MAP_PAGE, false) == 0 ? SUBLET_OK
                                                                                             : SUBLET_ERR_SYSTEM;
}

/** Answers faults until there is none; says whether there was one. */
static sublet_status faults(struct sublet_mapping *map, bool *any_out)
{
    void *address;
    bool writes, protected;
    int found;
    sublet_status status = SUBLET_OK;
    while (status == SUBLET_OK && (found = uffd_fault(map->uffd, &address, &writes, &protected)) != 0) {
        if (found < 0)
            return SUBLET_ERR_SYSTEM;
        uint32_t page = (uint32_t)(((uintptr_t)address - (uintptr_t)map->base) / MAP_PAGE);
        *any_out = true;
        if (page >= map->pages)
            continue;
        count(&map->counters.faults, 1);
        status = protected ? written(map, page) : missing(map, page, writes);
    }
    return status;
}

static void answer(struct sublet_mapping *map, sublet_status status)
{
    pthread_mutex_lock(&map->lock);
    map->answer = status;
    map->answered = true;
    map->wanted = MAP_NOTHING;
    pthread_cond_broadcast(&map->changed);
    pthread_mutex_unlock(&map->lock);
}

static enum map_request request(struct sublet_mapping *map)
{
    pthread_mutex_lock(&map->lock);
    enum map_request wanted = map->wanted;
    pthread_mutex_unlock(&map->lock);
    return wanted;
}

static void sleep_for_more(struct sublet_mapping *map)
{
    struct pollfd entries[3] = {{.fd = map->uffd, .events = POLLIN}, {.fd = map->wake_fd, .events = POLLIN}};
    uint64_t woken;
    nfds_t used = 2;
    if (map->flying > 0) {
        entries[2].fd = map->link->region->transport->pollable(map->link, &entries[2].events);
        used = entries[2].fd >= 0 ? 3 : 2;
    }
    poll(entries, used, map->flying > 0 ? LOST_MS : -1);
    (void)!read(map->wake_fd, &woken, sizeof(woken));
}

/** Serves until the end is asked for; an error is the end of the mapping. */
static sublet_status serve(struct sublet_mapping *map)
{
    uint64_t spin_ns = map->link->session->spin_ns, quiet_ns = now_ns();
    for (uint32_t round = 1;; round++) {
        bool any = false;
        uint32_t flying = map->flying;
        sublet_status status = faults(map, &any);
        if (status == SUBLET_OK)
            status = collect(map, NULL);
        int lost = atomic_load(&map->lost);
        if (status == SUBLET_OK && lost != 0)
            status = (sublet_status)lost;
        if (status != SUBLET_OK)
            return status;
        uint64_t now = now_ns();
        if (any || flying != map->flying)
            quiet_ns = now;
        enum map_request wanted = request(map);
        if (wanted == MAP_STOP)
            return SUBLET_OK;
        if (wanted == MAP_FLUSH) {
            status = cache_flush(map);
            answer(map, status);
            if (status != SUBLET_OK)
                return status;
        } else if (now - quiet_ns >= spin_ns)
            sleep_for_more(map);
        else if (map->flying == 0 || round % 16 == 0)
            sched_yield(); /* who touches may wait for this very core */
    }
}

static void finish(struct sublet_mapping *map, struct region_job *job)
{
    const struct region_transport *transport = map->link->region->transport;
    if (!transport->test(map->link, job))
        (void)transport->wait(map->link, job); /* an error ends the job, too */
}

/** Nothing under way may point into our buffers any more. */
static void drain(struct sublet_mapping *map)
{
    for (uint32_t i = 0; i < MAP_FETCHES; i++)
        if (map->fetches[i].used && !map->fetches[i].arrived)
            finish(map, &map->fetches[i].job);
    for (uint32_t i = 0; i < map->cache.write_count; i++)
        finish(map, &map->cache.writes[(map->cache.oldest_write + i) % MAP_WRITES].job);
    region_leave(map->link);
}

void *pager_run(void *mapping)
{
    struct sublet_mapping *map = mapping;
    sublet_status status = serve(map);
    drain(map);
    if (status == SUBLET_OK)
        return NULL;
    int lost = atomic_load(&map->link->lost);
    if (lost != 0) /* more exact than what an access saw of it */
        status = (sublet_status)lost;
    int alive = 0;
    atomic_compare_exchange_strong(&map->lost, &alive, (int)status);
    count(&map->counters.lost_bytes, cache_unsaved(map));
    map_poison(map);
    while (request(map) != MAP_STOP) {
        if (request(map) == MAP_FLUSH)
            answer(map, (sublet_status)atomic_load(&map->lost));
        struct pollfd entry = {.fd = map->wake_fd, .events = POLLIN};
        uint64_t woken;
        poll(&entry, 1, -1);
        (void)!read(map->wake_fd, &woken, sizeof(woken));
    }
    return NULL;
}
