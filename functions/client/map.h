/**
 * A region as ordinary pointers. On this node the region's memory itself; else memory of this process that one thread
 * of ours fills by userfaultfd (the pager), within a cache of stated size.
 *
 * All pager state belongs to that thread. Others leave a request (`wanted`, under `lock`) and wake it. It never touches
 * a page of the mapping that is not resident, since nobody else would answer that fault.
 *
 *   map.c         the public functions, loss, the way on this node
 *   map_uffd.c    what the kernel offers, and its calls
 *   map_pager.c   the thread: faults, read-ahead
 *   map_cache.c   what is resident: room, eviction, write-back
 *
 * Life of a page: ABSENT -> FETCHING -> RESIDENT (write-protected, so the first write to it is seen; then DIRTY) ->
 * VICTIM (its copy waits in a ring: for its write-back to end, and for a second chance) -> ABSENT. Of pages that were
 * read ahead the first stays HELD outside of the mapping: its fault tells how far the reader has come.
 *
 * Loss: the whole range becomes a mapping of an empty file (SIGBUS, on every kernel), then all sleepers are woken.
 */
#ifndef SUBLET_CLIENT_MAP_H
#define SUBLET_CLIENT_MAP_H

#include "client/region.h"

#define MAP_PAGE         4096u
#define MAP_FETCH_PAGES  64u /* of one request */
#define MAP_FETCHES      16u
#define MAP_STREAMS      8u
#define MAP_BATCH_PAGES  64u /* that leave at once */
#define MAP_WRITES       64u /* write-backs under way */
#define MAP_CACHE_MIN    (UINT64_C(2) << 20)
#define MAP_NO_PAGE      UINT32_MAX
#define MAP_RESIDENT_MIN (2 * MAP_FETCH_PAGES)

enum page_state {
    PAGE_ABSENT = 0,
    PAGE_FETCHING,
    PAGE_HELD,
    PAGE_RESIDENT,
    PAGE_VICTIM,
    PAGE_STATES = 7,
    PAGE_DIRTY = 8
};

struct map_fetch {
    struct region_job job;
    uint32_t first, count;
    bool used;
    bool arrived; /* only its first page is still of interest */
    bool ahead;   /* nobody has asked for it yet */
    bool writes;  /* one page, for a write */
    uint64_t stamp;
    unsigned char *buffer;
};

/** A reader that goes forward. */
struct map_stream {
    uint32_t last;   /* page of its last fault */
    uint32_t next;   /* first page not asked for yet */
    uint32_t window; /* pages */
    uint64_t stamp;
};

struct map_run {
    uint32_t first, count;
};

struct map_write {
    struct region_job job;
    sublet_region_piece pieces[MAP_BATCH_PAGES];
    uint32_t slot, count;
};

struct map_cache {
    uint32_t limit; /* pages resident at most */
    uint32_t resident;
    struct map_run *runs; /* a ring, oldest first */
    uint32_t run_capacity, oldest_run, run_count;
    unsigned char *victims; /* a ring of pages */
    uint32_t *victim_page;
    uint32_t victim_count, next_victim;
    struct map_write writes[MAP_WRITES];
    uint32_t oldest_write, write_count;
};

enum map_request { MAP_NOTHING = 0, MAP_FLUSH, MAP_STOP };

struct map_counters {
    _Atomic uint64_t faults, fetched_bytes, written_bytes, second_chances, dirty_pages, resident_pages, lost_bytes;
};

struct sublet_mapping {
    struct sublet_mapping *next;  /* of the region; session's lock */
    struct sublet_region *region; /* NULL once it was freed */
    struct link *link;
    uint64_t offset;
    uint64_t bytes;
    unsigned char *base;
    size_t length; /* whole pages */
    bool direct;
    bool read_only;
    bool kernel_faults; /* system calls may touch pages that are not resident */
    _Atomic int lost;   /* 0, or a status */

    int uffd;
    int wake_fd;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum map_request wanted;
    sublet_status answer;
    bool answered;

    uint32_t pages;
    uint8_t *state;       /* enum page_state, PAGE_DIRTY */
    uint32_t *slot;       /* of a VICTIM */
    uint32_t read_ahead;  /* pages */
    uint32_t write_ahead; /* pages that are made writable at once when writes go forward */
    uint32_t next_write;
    uint64_t clock;
    struct map_fetch fetches[MAP_FETCHES];
    uint32_t flying; /* fetches under way */
    struct map_stream streams[MAP_STREAMS];
    struct map_cache cache;
    sublet_status write_error;
    struct map_counters counters;
};

/** map_uffd.c. 0, or -1 with errno. */
int uffd_open(bool *write_protect_out, bool *kernel_faults_out);
int uffd_register(int uffd, void *base, size_t length, bool write_protect);
/** Puts pages in place and wakes who waits for them. */
int uffd_copy(int uffd, void *to, const void *from, size_t length, bool protect);
int uffd_protect(int uffd, void *base, size_t length, bool protect);
void uffd_wake(int uffd, void *base, size_t length);
/** Takes a fault: 1, or 0 when there is none, or -1. */
int uffd_fault(int uffd, void **address_out, bool *writes_out, bool *protected_out);

/** map_cache.c */
sublet_status cache_init(struct map_cache *cache, uint64_t bytes, uint32_t pages);
void cache_free(struct map_cache *cache);
/** Makes room for pages that are about to become resident. */
sublet_status cache_room(struct sublet_mapping *map, uint32_t pages);
/** These became resident. */
void cache_add(struct sublet_mapping *map, uint32_t first, uint32_t count, bool dirty);
void cache_dirty(struct sublet_mapping *map, uint32_t page);
/** Writes all dirty pages and waits for it. */
sublet_status cache_flush(struct sublet_mapping *map);
/** Bytes that were written here and did not reach the region. */
uint64_t cache_unsaved(const struct sublet_mapping *map);
/** Bytes of pages that are inside of the mapping: the last one may be cut. */
size_t map_bytes_of(const struct sublet_mapping *map, uint32_t first, uint32_t count);

/** map_pager.c */
void *pager_run(void *mapping);
/** map.c: the range becomes SIGBUS for everyone; sleepers wake. */
void map_poison(struct sublet_mapping *map);

#endif
