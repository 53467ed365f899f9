/** Regions as ordinary pointers: the public functions, and what happens when the region goes (map.h). */
#include "client/map.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fds.h"
#include "client/error.h"
#include "client/lease.h"

#define CACHE_BYTES_DEFAULT (UINT64_C(64) << 20)
#define READ_AHEAD_DEFAULT  (UINT64_C(1) << 20)
#define READ_AHEAD_MAX      (UINT64_C(1) << 20) /* two of them fill half of the fetch buffers */

/** An access to a mapping of a file behind its end is SIGBUS. */
void map_poison(struct sublet_mapping *map)
{
    int fd = memfd_create("sublet-gone", MFD_CLOEXEC);
    void *there = MAP_FAILED;
    if (fd >= 0)
        there = mmap(map->base, map->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (there == MAP_FAILED) /* no descriptor left: SIGSEGV then, and the memory is not kept either */
        (void)mmap(map->base, map->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (fd >= 0)
        close(fd);
    if (map->uffd >= 0)
        uffd_wake(map->uffd, map->base, map->length);
}

static void wake(struct sublet_mapping *map)
{
    uint64_t one = 1;
    (void)!write(map->wake_fd, &one, sizeof(one)); /* full: it is about to wake anyway */
}

static void lose(struct sublet_mapping *map, int status)
{
    int alive = 0;
    if (!atomic_compare_exchange_strong(&map->lost, &alive, status))
        return;
    if (map->direct)
        map_poison(map);
    else
        wake(map);
}

void mappings_lost(struct region_access *access)
{
    for (struct sublet_mapping *map = access->mappings; map != NULL; map = map->next) {
        int lost = atomic_load(&map->link->lost);
        lose(map, lost != 0 ? lost : SUBLET_ERR_LOST);
    }
}

/** Asks the pager and waits for its answer; it has the deadlines. */
static sublet_status ask(struct sublet_mapping *map, enum map_request wanted)
{
    pthread_mutex_lock(&map->lock);
    while (map->wanted != MAP_NOTHING) /* another thread's turn */
        pthread_cond_wait(&map->changed, &map->lock);
    map->wanted = wanted;
    map->answered = false;
    wake(map);
    while (wanted == MAP_FLUSH && !map->answered)
        pthread_cond_wait(&map->changed, &map->lock);
    sublet_status status = map->answer;
    pthread_mutex_unlock(&map->lock);
    return wanted == MAP_FLUSH ? status : SUBLET_OK;
}

static void pager_stop(struct sublet_mapping *map)
{
    if (!map->running)
        return;
    (void)ask(map, MAP_STOP);
    pthread_join(map->thread, NULL);
    map->running = false;
}

/** Lock of the session held. */
static void unlink_mapping(struct sublet_mapping *map)
{
    struct sublet_mapping **at = &map->link->region->mappings;
    while (*at != NULL && *at != map)
        at = &(*at)->next;
    if (*at != NULL)
        *at = map->next;
    map->region = NULL;
}

void mappings_detach(struct sublet_region *region)
{
    struct link *link = region->lease->link;
    struct sublet_session *session = region->lease->session;
    for (;;) {
        pthread_mutex_lock(&session->lock);
        struct sublet_mapping *map = link->region->mappings;
        if (map != NULL)
            unlink_mapping(map);
        pthread_mutex_unlock(&session->lock);
        if (map == NULL)
            return;
        bool alive = atomic_load(&map->lost) == 0;
        lose(map, SUBLET_ERR_REVOKED);
        pager_stop(map);
        if (alive && !map->direct)
            map_poison(map);
    }
}

static void destroy(struct sublet_mapping *map)
{
    if (map->base != NULL)
        munmap(map->base, map->length);
    if (map->uffd >= 0)
        close(map->uffd);
    if (map->wake_fd >= 0)
        close(map->wake_fd);
    for (uint32_t i = 0; i < MAP_FETCHES; i++)
        free(map->fetches[i].buffer);
    cache_free(&map->cache);
    free(map->state);
    free(map->slot);
    pthread_cond_destroy(&map->changed);
    pthread_mutex_destroy(&map->lock);
    free(map);
}

static sublet_status map_here(struct sublet_mapping *map)
{
    int protection = PROT_READ | (map->read_only ? 0 : PROT_WRITE);
    void *base = mmap(NULL, map->length, protection, MAP_SHARED, map->link->region->memory_fd, (off_t)map->offset);
    if (base == MAP_FAILED)
        return error_set(SUBLET_ERR_SYSTEM, "cannot map the region: %m");
    madvise(base, map->length, MADV_HUGEPAGE); /* where the kernel offers it for shared memory */
    map->base = base;
    map->direct = true;
    return SUBLET_OK;
}

static sublet_status pager_memory(struct sublet_mapping *map, const sublet_map_options *options)
{
    uint64_t cache = options->cache_bytes == 0 ? CACHE_BYTES_DEFAULT : options->cache_bytes;
    uint64_t ahead = options->read_ahead_bytes == 0 ? READ_AHEAD_DEFAULT : options->read_ahead_bytes;
    if (cache < MAP_CACHE_MIN)
        return error_set(SUBLET_ERR_INVALID, "cache_bytes must be at least %llu", (unsigned long long)MAP_CACHE_MIN);
    if (ahead > READ_AHEAD_MAX)
        ahead = READ_AHEAD_MAX;
    if (ahead > cache / 8)
        ahead = cache / 8;
    map->read_ahead = ahead < MAP_PAGE ? 1 : (uint32_t)(ahead / MAP_PAGE);
    map->write_ahead = 1;
    map->state = calloc(map->pages, sizeof(*map->state));
    map->slot = calloc(map->pages, sizeof(*map->slot));
    sublet_status status = map->state == NULL || map->slot == NULL ? SUBLET_ERR_NO_MEMORY : SUBLET_OK;
    for (uint32_t i = 0; i < MAP_FETCHES && status == SUBLET_OK; i++) {
        map->fetches[i].buffer = aligned_alloc(MAP_PAGE, MAP_FETCH_PAGES * MAP_PAGE);
        status = map->fetches[i].buffer == NULL ? SUBLET_ERR_NO_MEMORY : SUBLET_OK;
    }
    uint64_t buffers = UINT64_C(4) * map->read_ahead * MAP_PAGE; /* what is used of them */
    if (status == SUBLET_OK)
        status = cache_init(&map->cache, cache - (buffers < cache / 2 ? buffers : cache / 2), map->pages);
    return status == SUBLET_OK ? status : error_set(status, "out of memory");
}

static sublet_status pager_open(struct sublet_mapping *map)
{
    bool protects;
    map->uffd = uffd_open(&protects, &map->kernel_faults);
    if (map->uffd < 0)
        return error_set(SUBLET_ERR_SYSTEM, "this kernel gives this user no userfaultfd: %m");
    if (!protects && !map->read_only)
        return error_set(SUBLET_ERR_SYSTEM,
                         "this kernel cannot say which pages were written (before Linux 5.7): map it read-only");
    int protection = PROT_READ | (map->read_only ? 0 : PROT_WRITE);
    void *base = mmap(NULL, map->length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_set(SUBLET_ERR_NO_MEMORY, "cannot reserve %zu bytes of addresses: %m", map->length);
    map->base = base;
    madvise(base, map->length, MADV_NOHUGEPAGE);
    madvise(base, map->length, MADV_DONTFORK); /* a child would read zeros where nothing is resident */
    if (uffd_register(map->uffd, base, map->length, !map->read_only) != 0)
        return error_set(SUBLET_ERR_SYSTEM, "cannot register memory with userfaultfd: %m");
    return SUBLET_OK;
}

static sublet_status pager_start(struct sublet_mapping *map)
{
    sigset_t all, before;
    map->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (map->wake_fd < 0)
        return error_set(SUBLET_ERR_SYSTEM, "cannot make an eventfd: %m");
    atomic_fetch_add(&map->link->region->users, 1); /* the thread's; it leaves at its end */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it: no handler of the program runs there */
    int failed = pthread_create(&map->thread, NULL, pager_run, map);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed != 0) {
        atomic_fetch_sub(&map->link->region->users, 1);
        return error_set(SUBLET_ERR_SYSTEM, "cannot start a thread: %m");
    }
    map->running = true;
    return SUBLET_OK;
}

static sublet_status check(const sublet_region *region, uint64_t offset, uint64_t bytes, sublet_map_options *options,
                           void **pointer_out, sublet_mapping **map_out)
{
    if (region == NULL || pointer_out == NULL || map_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "region, pointer_out and map_out must not be NULL");
    if (bytes == 0 || offset % MAP_PAGE != 0 || offset > region->bytes || bytes > region->bytes - offset)
        return error_set(SUBLET_ERR_INVALID, "a mapping begins at a multiple of %u and lies inside of the region",
                         MAP_PAGE);
    if ((options->flags & ~(SUBLET_MAP_READ_ONLY | SUBLET_MAP_PAGED)) != 0)
        return error_set(SUBLET_ERR_INVALID, "unknown flags 0x%x", options->flags);
    if (bytes > (uint64_t)MAP_PAGE * (UINT32_MAX / 4) || sysconf(_SC_PAGESIZE) != MAP_PAGE)
        return error_set(SUBLET_ERR_INVALID, "too large, or pages of another size than %u bytes", MAP_PAGE);
    return SUBLET_OK;
}

static sublet_status make(struct sublet_mapping *map, const sublet_map_options *options)
{
    bool paged = map->link->region->memory_fd < 0 || (options->flags & SUBLET_MAP_PAGED) != 0;
    if (!paged)
        return map_here(map);
    sublet_status status = pager_memory(map, options);
    if (status == SUBLET_OK)
        status = pager_open(map);
    return status == SUBLET_OK ? pager_start(map) : status;
}

static void enlist(struct sublet_mapping *map)
{
    struct sublet_session *session = map->link->session;
    pthread_mutex_lock(&session->lock);
    map->next = map->link->region->mappings;
    map->link->region->mappings = map;
    int lost = atomic_load(&map->link->lost);
    if (lost != 0)
        lose(map, lost);
    pthread_mutex_unlock(&session->lock);
}

sublet_status sublet_map(sublet_region *region, uint64_t offset, uint64_t bytes, const sublet_map_options *options,
                         void **pointer_out, sublet_mapping **map_out)
{
    sublet_map_options wanted = SUBLET_MAP_OPTIONS_INIT;
    struct link *link;
    if (options != NULL)
        memcpy(&wanted, options, options->struct_bytes < sizeof(wanted) ? options->struct_bytes : sizeof(wanted));
    sublet_status status = check(region, offset, bytes, &wanted, pointer_out, map_out);
    if (status != SUBLET_OK)
        return status;
    status = region_enter(region, &link);
    if (status != SUBLET_OK)
        return region_error(status, region);
    struct sublet_mapping *map = calloc(1, sizeof(*map));
    if (map == NULL) {
        region_leave(link);
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    }
    *map = (struct sublet_mapping){
        .region = region, .link = link, .offset = offset, .bytes = bytes, .uffd = -1, .wake_fd = -1};
    map->pages = (uint32_t)((bytes + MAP_PAGE - 1) / MAP_PAGE);
    map->length = (size_t)map->pages * MAP_PAGE;
    map->read_only = (wanted.flags & SUBLET_MAP_READ_ONLY) != 0;
    pthread_mutex_init(&map->lock, NULL);
    pthread_cond_init(&map->changed, NULL);
    status = make(map, &wanted);
    if (status == SUBLET_OK)
        enlist(map);
    else
        destroy(map);
    region_leave(link);
    if (status != SUBLET_OK)
        return status;
    *pointer_out = map->base;
    *map_out = map;
    return SUBLET_OK;
}

sublet_status sublet_map_status(const sublet_mapping *map)
{
    return map == NULL ? SUBLET_ERR_INVALID : (sublet_status)atomic_load(&map->lost);
}

static sublet_status lost_error(const struct sublet_mapping *map, sublet_status status)
{
    return error_set(status, "the mapped region is gone (%s); %llu bytes written here were not saved",
                     sublet_status_text(status), (unsigned long long)atomic_load(&map->counters.lost_bytes));
}

sublet_status sublet_map_flush(sublet_mapping *map)
{
    if (map == NULL)
        return error_set(SUBLET_ERR_INVALID, "map must not be NULL");
    sublet_status status = (sublet_status)atomic_load(&map->lost);
    if (status == SUBLET_OK && map->direct)
        atomic_thread_fence(memory_order_seq_cst);
    else if (status == SUBLET_OK && map->running)
        status = ask(map, MAP_FLUSH);
    return status == SUBLET_OK ? status : lost_error(map, status);
}

sublet_status sublet_map_info_get(const sublet_mapping *map, sublet_map_info *info)
{
    if (map == NULL || info == NULL || info->struct_bytes < sizeof(uint32_t) * 2)
        return error_set(SUBLET_ERR_INVALID, "set struct_bytes of the info to its size");
    const struct map_counters *counters = &map->counters;
    sublet_map_info all = {.struct_bytes = info->struct_bytes,
                           .direct = map->direct,
                           .kernel_faults = map->direct || map->kernel_faults,
                           .cache_bytes = (uint64_t)map->cache.limit * MAP_PAGE,
                           .resident_bytes = atomic_load(&counters->resident_pages) * MAP_PAGE,
                           .dirty_bytes = atomic_load(&counters->dirty_pages) * MAP_PAGE,
                           .faults = atomic_load(&counters->faults),
                           .second_chances = atomic_load(&counters->second_chances),
                           .fetched_bytes = atomic_load(&counters->fetched_bytes),
                           .written_bytes = atomic_load(&counters->written_bytes),
                           .lost_bytes = atomic_load(&counters->lost_bytes)};
    memcpy(info, &all, info->struct_bytes < sizeof(all) ? info->struct_bytes : sizeof(all));
    return SUBLET_OK;
}

sublet_status sublet_unmap(sublet_mapping *map)
{
    if (map == NULL)
        return SUBLET_OK;
    sublet_status status = sublet_map_flush(map);
    pager_stop(map);
    if (map->region != NULL) {
        struct sublet_session *session = map->link->session;
        pthread_mutex_lock(&session->lock);
        unlink_mapping(map);
        pthread_mutex_unlock(&session->lock);
    }
    destroy(map);
    return status;
}
