#include "executor/memory.h"

#include <sys/mman.h>

#define PAGE 4096u

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

sublet_status space_make(struct memory *memory, enum memory_kind kind, uint64_t size, struct space *out)
{
    uint64_t pages = whole_pages(size + SPACE_GUARD);
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
