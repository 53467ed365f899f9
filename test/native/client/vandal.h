/** Writes random words over every ring that this process has mapped: what a hostile or broken peer may do. */
#ifndef SUBLET_TEST_CLIENT_VANDAL_H
#define SUBLET_TEST_CLIENT_VANDAL_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define VANDAL_RINGS_MAX 128

struct vandal_ring {
    volatile uint32_t *words;
    size_t count;
};

static inline size_t vandal_find(struct vandal_ring *rings)
{
    char line[512];
    size_t found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL && found < VANDAL_RINGS_MAX) {
        unsigned long first, end;
        char may[5];
        if (strstr(line, "memfd:sublet-ring") == NULL || sscanf(line, "%lx-%lx %4s", &first, &end, may) != 3 ||
            may[1] != 'w') /* a guard page */
            continue;
        rings[found].words = (volatile uint32_t *)(uintptr_t)first; /* NOLINT: an address from the kernel */
        rings[found++].count = (end - first) / sizeof(uint32_t);
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

/** Does not return. Half of what it writes are small numbers: those of functions, states and sizes. */
static inline void *vandal_run(void *ignored)
{
    struct vandal_ring rings[VANDAL_RINGS_MAX];
    size_t count = vandal_find(rings);
    uint64_t x = 88172645463325252u;
    while (count > 0) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        struct vandal_ring *ring = &rings[(x >> 8) % count];
        /* Mostly where the protocol is: the first page, and the first lines of each later one. */
        size_t word = (x >> 16) % ring->count;
        if ((x & 3) != 0)
            word = word / 1024 * 1024 + (word < 1024 ? word % 48 : word % 32);
        ring->words[word] = (x & 4) != 0 ? (uint32_t)(x >> 32) : (uint32_t)(x >> 32) % 4;
    }
    return ignored;
}

#endif
