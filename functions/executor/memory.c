#include "executor/memory.h"

#include <sys/mman.h>

#include "base/fds.h"

#define PAGE 4096u
/* A worker that has not looked for so long does something else: nobody holds back for it. */
#define FRESH_NS UINT64_C(20000000)
/* All hold back for one that waits for less than this. Later only who could make it go on alone, so that a long call
 * with much memory, or one that waits for a call of the same lease itself, does not stop all others for ever. */
#define STRICT_NS UINT64_C(1000000000)

static uint64_t taken(const struct memory *memory, enum memory_kind kind)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < memory->workers; i++)
        sum += atomic_load(&memory->pages[i]->large[kind]);
    return sum;
}

bool memory_possible(const struct memory *memory, uint64_t bytes)
{
    return memory->page == NULL || bytes <= memory->limit;
}

bool memory_take(struct memory *memory, enum memory_kind kind, uint64_t bytes)
{
    if (!memory_possible(memory, bytes))
        return false;
    if (memory->page == NULL)
        return true;
    /* First taken, then looked at: of two workers that meet here both may step back, but never both stay. */
    atomic_fetch_add(&memory->page->large[kind], bytes);
    if (taken(memory, kind) <= memory->limit)
        return true;
    atomic_fetch_sub(&memory->page->large[kind], bytes);
    return false;
}

void memory_give(struct memory *memory, enum memory_kind kind, uint64_t bytes)
{
    if (memory->page != NULL)
        atomic_fetch_sub(&memory->page->large[kind], bytes);
}

bool memory_ours_suffices(const struct memory *memory, enum memory_kind kind, uint64_t bytes)
{
    if (memory->page == NULL)
        return true;
    uint64_t others = taken(memory, kind) - atomic_load(&memory->page->large[kind]);
    return others <= memory->limit && bytes <= memory->limit - others;
}

void memory_want(struct memory *memory, enum memory_kind kind, uint64_t bytes, uint64_t since_ns)
{
    if (memory->page == NULL)
        return;
    if (bytes != 0) {
        atomic_store(&memory->page->wants[kind].seen_ns, now_ns());
        atomic_store(&memory->page->wants[kind].since_ns, since_ns);
    }
    atomic_store(&memory->page->wants[kind].bytes, bytes);
}

bool memory_wanted(const struct memory *memory, enum memory_kind kind)
{
    bool wanted = false;
    for (uint32_t i = 0; memory->page != NULL && i < memory->workers; i++)
        wanted |= memory->pages[i] != memory->page &&
                  atomic_load_explicit(&memory->pages[i]->wants[kind].bytes, memory_order_relaxed) != 0;
    return wanted;
}

bool memory_owed(const struct memory *memory, enum memory_kind kind, uint64_t since_ns)
{
    if (!memory_wanted(memory, kind))
        return false;
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < memory->workers; i++) {
        struct worker_page *page = memory->pages[i];
        uint64_t bytes = atomic_load(&page->wants[kind].bytes), since = atomic_load(&page->wants[kind].since_ns);
        if (page == memory->page || bytes == 0 || since >= since_ns ||
            now - atomic_load(&page->wants[kind].seen_ns) > FRESH_NS)
            continue;
        if (now - since < STRICT_NS || memory_ours_suffices(memory, kind, bytes))
            return true;
    }
    return false;
}

uint64_t memory_left(const struct memory *memory, enum memory_kind kind)
{
    if (memory->page == NULL)
        return UINT64_MAX;
    uint64_t sum = taken(memory, kind);
    return sum < memory->limit ? memory->limit - sum : 0;
}

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

uint64_t space_takes(uint64_t size)
{
    return whole_pages(size + SPACE_GUARD);
}

sublet_status space_make(struct memory *memory, enum memory_kind kind, uint64_t size, struct space *out)
{
    uint64_t pages = space_takes(size);
    if (!memory_take(memory, kind, pages))
        return memory_possible(memory, pages) ? SUBLET_ERR_NO_MEMORY : SUBLET_ERR_TOO_LARGE;
    unsigned char *base =
        mmap(NULL, pages + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        memory_give(memory, kind, pages);
        return SUBLET_ERR_NO_MEMORY;
    }
    mprotect(base + PAGE + pages, PAGE, PROT_NONE);
    *out = (struct space){.bytes = base + PAGE, .size = pages, .kind = kind};
    return SUBLET_OK;
}

void space_free(struct memory *memory, struct space *space)
{
    if (space->bytes == NULL)
        return;
    munmap(space->bytes - PAGE, space->size + 2 * PAGE);
    memory_give(memory, space->kind, space->size);
    *space = (struct space){0};
}
