/**
 * What of a mapping is resident. Runs of pages leave in the order in which they came; those that leave wait in a ring
 * of copies, from where a fault takes them back without asking the other node: with it, what is used often stays (a
 * segmented FIFO, which needs no reference bits, since the kernel shows us none). The ring is also where write-backs
 * are sent from, so a page can be read again before its write-back has arrived.
 *
 * A dirty run is write-protected before it is copied: a writer then sleeps until its page is there again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/map.h"

#define ROOM_PAGES 16u

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

static unsigned char *page_at(const struct sublet_mapping *map, uint32_t page)
{
    return map->base + (size_t)page * MAP_PAGE;
}

static unsigned char *victim_at(const struct map_cache *cache, uint32_t slot)
{
    return cache->victims + (size_t)slot * MAP_PAGE;
}

size_t map_bytes_of(const struct sublet_mapping *map, uint32_t first, uint32_t pages)
{
    uint64_t begin = (uint64_t)first * MAP_PAGE, end = begin + (uint64_t)pages * MAP_PAGE;
    return (size_t)((end < map->bytes ? end : map->bytes) - begin);
}

/** An eighth for copies, the fetch buffers, and the rest for what is resident. */
sublet_status cache_init(struct map_cache *cache, uint64_t bytes, uint32_t pages)
{
    uint64_t all = bytes / MAP_PAGE;
    uint64_t victims = all / 8 > 2 * MAP_FETCH_PAGES ? all / 8 : 2 * MAP_FETCH_PAGES;
    uint64_t left = all > victims + MAP_RESIDENT_MIN ? all - victims : MAP_RESIDENT_MIN;
    if (victims > 65536)
        victims = 65536;
    cache->limit = (uint32_t)(left < pages || pages < MAP_RESIDENT_MIN ? left : pages);
    if (left > UINT32_MAX / 2)
        cache->limit = pages;
    cache->run_capacity = cache->limit + MAP_FETCH_PAGES;
    cache->victim_count = (uint32_t)victims;
    cache->runs = calloc(cache->run_capacity, sizeof(*cache->runs));
    cache->victim_page = malloc(victims * sizeof(*cache->victim_page));
    cache->victims = aligned_alloc(MAP_PAGE, victims * MAP_PAGE);
    if (cache->runs == NULL || cache->victim_page == NULL || cache->victims == NULL)
        return SUBLET_ERR_NO_MEMORY;
    memset(cache->victim_page, 0xff, victims * sizeof(*cache->victim_page));
    return SUBLET_OK;
}

void cache_free(struct map_cache *cache)
{
    free(cache->runs);
    free(cache->victim_page);
    free(cache->victims);
}

void cache_dirty(struct sublet_mapping *map, uint32_t page)
{
    if ((map->state[page] & PAGE_DIRTY) == 0)
        count(&map->counters.dirty_pages, 1);
    map->state[page] |= PAGE_DIRTY;
}

static void cache_clean(struct sublet_mapping *map, uint32_t page)
{
    map->state[page] &= (uint8_t)~PAGE_DIRTY;
    count(&map->counters.dirty_pages, UINT64_MAX);
}

void cache_add(struct sublet_mapping *map, uint32_t first, uint32_t pages, bool dirty)
{
    struct map_cache *cache = &map->cache;
    uint32_t at = (cache->oldest_run + cache->run_count++) % cache->run_capacity;
    cache->runs[at] = (struct map_run){.first = first, .count = pages};
    cache->resident += pages;
    count(&map->counters.resident_pages, pages);
    for (uint32_t page = first; page < first + pages; page++) {
        map->state[page] = PAGE_RESIDENT;
        if (dirty)
            cache_dirty(map, page);
    }
}

/** Waits for the oldest write-back. */
static sublet_status finish_write(struct sublet_mapping *map)
{
    struct map_cache *cache = &map->cache;
    struct map_write *write = &cache->writes[cache->oldest_write];
    sublet_status status = SUBLET_OK;
    if (!map->link->region->transport->test(map->link, &write->job))
        status = map->link->region->transport->wait(map->link, &write->job);
    if (status == SUBLET_OK)
        status = write->job.status;
    if (status != SUBLET_OK)
        return status; /* stays in the ring: unsaved */
    count(&map->counters.written_bytes, write->job.size);
    cache->oldest_write = (cache->oldest_write + 1) % MAP_WRITES;
    cache->write_count--;
    return SUBLET_OK;
}

static bool slots_in_use(const struct map_cache *cache, uint32_t slot, uint32_t pages)
{
    for (uint32_t i = 0; i < cache->write_count; i++) {
        const struct map_write *write = &cache->writes[(cache->oldest_write + i) % MAP_WRITES];
        if (write->slot < slot + pages && slot < write->slot + write->count)
            return true;
    }
    return false;
}

/** Slots behind each other; what was in them is forgotten. */
static sublet_status take_slots(struct sublet_mapping *map, uint32_t pages, uint32_t *slot_out)
{
    struct map_cache *cache = &map->cache;
    if (cache->next_victim + pages > cache->victim_count)
        cache->next_victim = 0;
    uint32_t slot = cache->next_victim;
    while (slots_in_use(cache, slot, pages)) {
        sublet_status status = finish_write(map);
        if (status != SUBLET_OK)
            return status;
    }
    for (uint32_t i = slot; i < slot + pages; i++) {
        uint32_t page = cache->victim_page[i];
        if (page != MAP_NO_PAGE && map->state[page] == PAGE_VICTIM && map->slot[page] == i)
            map->state[page] = PAGE_ABSENT;
        cache->victim_page[i] = MAP_NO_PAGE;
    }
    cache->next_victim += pages;
    *slot_out = slot;
    return SUBLET_OK;
}

static void put_job(struct sublet_mapping *map, struct region_job *job, uint32_t first, uint32_t pages, void *from)
{
    *job = (struct region_job){.operation = STREAM_PUT, .piece_count = 1, .waited_for = true};
    job->not_lent = true; /* to register pages that are write-protected would be a fault that only we could answer */
    job->size = map_bytes_of(map, first, pages);
    job->one =
        (sublet_region_piece){.offset = map->offset + (uint64_t)first * MAP_PAGE, .bytes = from, .size = job->size};
    job->pieces = &job->one;
}

/** From `page` on: how many pages are as dirty as it is. */
static uint32_t alike(const struct sublet_mapping *map, uint32_t page, uint32_t end)
{
    uint32_t at = page + 1;
    while (at < end && map->state[at] == map->state[page])
        at++;
    return at - page;
}

/** Some runs on their way out: what of them is saved, in the order of its slots. */
struct leaving {
    struct map_run runs[MAP_BATCH_PAGES];
    uint32_t run_count;
    uint32_t pages[MAP_BATCH_PAGES];
    uint32_t page_count;
    bool dirty;
};

/** Dirty pages; and clean ones of single-page runs: those of a stream are not asked for again soon. */
static sublet_status choose(struct sublet_mapping *map, uint32_t wanted, struct leaving *leaving)
{
    struct map_cache *cache = &map->cache;
    uint32_t total = 0;
    while (leaving->run_count < cache->run_count && (leaving->run_count == 0 || total < wanted)) {
        struct map_run run = cache->runs[(cache->oldest_run + leaving->run_count) % cache->run_capacity];
        bool dirty = false;
        if (total + run.count > MAP_BATCH_PAGES)
            break;
        for (uint32_t page = run.first; page < run.first + run.count; page++) {
            bool written = (map->state[page] & PAGE_DIRTY) != 0;
            dirty = dirty || written;
            if (written || run.count == 1)
                leaving->pages[leaving->page_count++] = page;
        }
        if (dirty && uffd_protect(map->uffd, page_at(map, run.first), (size_t)run.count * MAP_PAGE, true) != 0)
            return SUBLET_ERR_SYSTEM;
        leaving->dirty = leaving->dirty || dirty;
        if (dirty && wanted < ROOM_PAGES)
            wanted = ROOM_PAGES; /* what they have to say fits one request */
        leaving->runs[leaving->run_count++] = run;
        total += run.count;
        if (dirty && !map->link->region->features_access)
            break; /* an older executor takes no lists: one run, one put each */
    }
    return SUBLET_OK;
}

/** One put of all dirty pages among those that leave; their copies lie from `slot` on. */
static sublet_status send_dirty(struct sublet_mapping *map, const struct leaving *leaving, uint32_t slot)
{
    struct map_cache *cache = &map->cache;
    struct map_write *write = &cache->writes[(cache->oldest_write + cache->write_count) % MAP_WRITES];
    uint32_t last = MAP_NO_PAGE;
    write->job = (struct region_job){.operation = STREAM_PUT_LIST, .waited_for = true, .pieces = write->pieces};
    write->slot = slot;
    write->count = leaving->page_count;
    for (uint32_t i = 0; i < leaving->page_count; i++) {
        uint32_t page = leaving->pages[i];
        size_t bytes = map_bytes_of(map, page, 1);
        if ((map->state[page] & PAGE_DIRTY) == 0)
            continue;
        if (last != MAP_NO_PAGE && page == last + 1 && i > 0 && leaving->pages[i - 1] == last)
            write->pieces[write->job.piece_count - 1].size += bytes;
        else
            write->pieces[write->job.piece_count++] = (sublet_region_piece){
                .offset = map->offset + (uint64_t)page * MAP_PAGE, .bytes = victim_at(cache, slot + i), .size = bytes};
        write->job.size += bytes;
        last = page;
    }
    if (write->job.piece_count == 1) {
        write->job.operation = STREAM_PUT;
        write->job.one = write->pieces[0];
    }
    cache->write_count++;
    return map->link->region->transport->begin(map->link, &write->job);
}

static sublet_status save(struct sublet_mapping *map, const struct leaving *leaving)
{
    struct map_cache *cache = &map->cache;
    uint32_t slot;
    sublet_status status = take_slots(map, leaving->page_count, &slot);
    while (status == SUBLET_OK && leaving->dirty && cache->write_count == MAP_WRITES)
        status = finish_write(map);
    if (status != SUBLET_OK)
        return status;
    for (uint32_t i = 0; i < leaving->page_count; i++)
        memcpy(victim_at(cache, slot + i), page_at(map, leaving->pages[i]), MAP_PAGE);
    if (leaving->dirty)
        status = send_dirty(map, leaving, slot);
    if (status != SUBLET_OK)
        return status;
    for (uint32_t i = 0; i < leaving->page_count; i++) {
        uint32_t page = leaving->pages[i];
        if ((map->state[page] & PAGE_DIRTY) != 0)
            cache_clean(map, page);
        map->state[page] = PAGE_VICTIM;
        map->slot[page] = slot + i;
        cache->victim_page[slot + i] = page;
    }
    return SUBLET_OK;
}

static bool drop(struct sublet_mapping *map, const struct leaving *leaving)
{
    uint32_t gone = 0;
    for (uint32_t i = 0; i < leaving->run_count; i++) {
        struct map_run run = leaving->runs[i];
        if (madvise(page_at(map, run.first), (size_t)run.count * MAP_PAGE, MADV_DONTNEED) != 0)
            return false;
        for (uint32_t page = run.first; page < run.first + run.count; page++)
            if (map->state[page] == PAGE_RESIDENT)
                map->state[page] = PAGE_ABSENT;
        gone += run.count;
    }
    map->cache.oldest_run = (map->cache.oldest_run + leaving->run_count) % map->cache.run_capacity;
    map->cache.run_count -= leaving->run_count;
    map->cache.resident -= gone;
    count(&map->counters.resident_pages, (uint64_t)0 - gone);
    return true;
}

/** At least one run goes, of `wanted` pages as many as go at once. */
static sublet_status evict(struct sublet_mapping *map, uint32_t wanted)
{
    struct leaving leaving;
    leaving.run_count = leaving.page_count = 0;
    leaving.dirty = false;
    sublet_status status = choose(map, wanted, &leaving);
    if (status == SUBLET_OK && leaving.page_count > 0)
        status = save(map, &leaving);
    if (status == SUBLET_OK && !drop(map, &leaving))
        status = SUBLET_ERR_SYSTEM;
    return status;
}

/**
 * No more than needed leave at once, unless they are dirty: room is made while a page is under way, and one page's
 * worth of it takes less time than that.
 */
sublet_status cache_room(struct sublet_mapping *map, uint32_t pages)
{
    struct map_cache *cache = &map->cache;
    sublet_status status = SUBLET_OK;
    while (status == SUBLET_OK && cache->run_count > 0 && cache->resident + pages > cache->limit) {
        status = evict(map, cache->resident + pages - cache->limit);
    }
    return status;
}

/** Sends some runs of dirty pages from where they are; they are write-protected, so they stay as they are. */
static sublet_status flush_some(struct sublet_mapping *map, uint32_t *page, struct region_job *jobs, uint32_t capacity)
{
    const struct region_transport *transport = map->link->region->transport;
    sublet_status status = SUBLET_OK;
    uint32_t used = 0;
    for (; *page < map->pages && used < capacity && status == SUBLET_OK; ++*page) {
        if ((map->state[*page] & PAGE_DIRTY) == 0)
            continue;
        uint32_t pages = alike(map, *page, map->pages);
        if (uffd_protect(map->uffd, page_at(map, *page), (size_t)pages * MAP_PAGE, true) != 0)
            return SUBLET_ERR_SYSTEM;
        put_job(map, &jobs[used], *page, pages, page_at(map, *page));
        status = transport->begin(map->link, &jobs[used]);
        used += status == SUBLET_OK;
        *page += pages - 1;
    }
    for (uint32_t i = 0; i < used; i++) { /* all, even after an error: they lie in the caller's frame */
        sublet_status ended = transport->test(map->link, &jobs[i]) ? SUBLET_OK : transport->wait(map->link, &jobs[i]);
        if (ended == SUBLET_OK)
            ended = jobs[i].status;
        if (status == SUBLET_OK)
            status = ended;
        uint32_t first = (uint32_t)((jobs[i].one.offset - map->offset) / MAP_PAGE);
        for (uint32_t at = 0; ended == SUBLET_OK && at * (uint64_t)MAP_PAGE < jobs[i].size; at++)
            cache_clean(map, first + at);
        count(&map->counters.written_bytes, ended == SUBLET_OK ? jobs[i].size : 0);
    }
    return status;
}

sublet_status cache_flush(struct sublet_mapping *map)
{
    struct region_job jobs[32];
    sublet_status status = SUBLET_OK;
    for (uint32_t page = 0; page < map->pages && status == SUBLET_OK;)
        status = flush_some(map, &page, jobs, sizeof(jobs) / sizeof(jobs[0]));
    while (status == SUBLET_OK && map->cache.write_count > 0)
        status = finish_write(map);
    return status;
}

uint64_t cache_unsaved(const struct sublet_mapping *map)
{
    uint64_t bytes = 0;
    for (uint32_t page = 0; page < map->pages; page++)
        bytes += (map->state[page] & PAGE_DIRTY) != 0 ? map_bytes_of(map, page, 1) : 0;
    for (uint32_t i = 0; i < map->cache.write_count; i++)
        bytes += map->cache.writes[(map->cache.oldest_write + i) % MAP_WRITES].job.size;
    return bytes;
}
