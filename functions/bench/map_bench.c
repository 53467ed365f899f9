/**
 * sublet-map-bench local MIB | map MIB CACHE_MIB | file MIB PATH: the same two workloads on ordinary memory, on
 * sublet_map and on a mapped file, told what to measure as measure.h says. The workload does not know which it is.
 *
 *   random   one step = 64 reads of 8 bytes at random places; with DEPTH 2 each is written back, too
 *   stream   one step = the next BYTES from front to back, summed; with DEPTH 2 each is written back, too
 *
 * `local` under a memory limit with swap space is swapping. The memory is filled once before; a step that finds wrong
 * bytes fails.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/measure.h"
#include "sublet/sublet.h"

#define ACCESSES 64

struct memory {
    uint64_t *words;
    size_t count;
    size_t next;
    uint64_t random;
    sublet_session *session;
    sublet_region *region;
    sublet_mapping *mapping;
};

/** Of every word the lower half never changes. */
static uint32_t fixed_half(size_t i)
{
    return (uint32_t)(i * 2654435761u);
}

static const char *random_step(void *context, const struct measure *measure, uint32_t index)
{
    struct memory *memory = context;
    (void)index;
    for (int i = 0; i < ACCESSES; i++) {
        memory->random ^= memory->random << 13;
        memory->random ^= memory->random >> 7;
        memory->random ^= memory->random << 17;
        size_t at = (size_t)(memory->random % memory->count);
        uint64_t word = memory->words[at];
        if ((uint32_t)word != fixed_half(at))
            return "wrong bytes";
        if (measure->depth == 2)
            memory->words[at] = word + (UINT64_C(1) << 32);
    }
    return NULL;
}

static const char *stream_step(void *context, const struct measure *measure, uint32_t index)
{
    struct memory *memory = context;
    size_t words = (size_t)(measure->bytes / sizeof(uint64_t)), wrong = 0;
    (void)index;
    if (words == 0 || words > memory->count)
        return "BYTES out of range";
    if (memory->next + words > memory->count)
        memory->next = 0;
    uint64_t *at = memory->words + memory->next;
    for (size_t i = 0; i < words; i++)
        wrong += (uint32_t)at[i] != fixed_half(memory->next + i);
    for (size_t i = 0; i < words && measure->depth == 2; i++)
        at[i] += UINT64_C(1) << 32;
    memory->next += words;
    return wrong == 0 ? NULL : "wrong bytes";
}

static const char *own(struct memory *memory, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory->words = base;
    return base == MAP_FAILED ? "no memory" : NULL;
}

static const char *file(struct memory *memory, size_t bytes, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        return "cannot make the file";
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    memory->words = base;
    return base == MAP_FAILED ? "cannot map the file" : NULL;
}

static const char *mapped(struct memory *memory, size_t bytes, uint64_t cache_bytes)
{
    void *base;
    sublet_map_options options = SUBLET_MAP_OPTIONS_INIT;
    options.cache_bytes = cache_bytes;
    if (sublet_open(NULL, &memory->session) != SUBLET_OK ||
        sublet_region_alloc(memory->session, bytes, NULL, &memory->region) != SUBLET_OK ||
        sublet_map(memory->region, 0, bytes, &options, &base, &memory->mapping) != SUBLET_OK)
        return sublet_last_error();
    memory->words = base;
    return NULL;
}

static void report(const struct memory *memory)
{
    sublet_map_info info = {.struct_bytes = sizeof(info)};
    if (memory->mapping == NULL || sublet_map_info_get(memory->mapping, &info) != SUBLET_OK)
        return;
    fprintf(stderr, "faults %llu, of them second chances %llu; fetched %llu MiB, written %llu MiB\n",
            (unsigned long long)info.faults, (unsigned long long)info.second_chances,
            (unsigned long long)info.fetched_bytes >> 20, (unsigned long long)info.written_bytes >> 20);
}

int main(int argc, char **argv)
{
    static const struct measure_kind kinds[] = {
        {"random", NULL, random_step, 0}, {"stream", NULL, stream_step, 0}, {NULL, NULL, NULL, 0}};
    struct memory memory = {.random = 88172645463325252u};
    measure_pin(0); /* whoever helps it shares that core; the other node has the other one */
    const char *kind = argc == 3 || argc == 4 ? argv[1] : "";
    const char *wrong = NULL;
    bool map = argc == 4 && strcmp(kind, "map") == 0;
    size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) << 20 : 0;
    memory.count = bytes / sizeof(uint64_t);
    if (map)
        wrong = mapped(&memory, bytes, strtoull(argv[3], NULL, 10) << 20);
    else if (argc == 4 && strcmp(kind, "file") == 0)
        wrong = file(&memory, bytes, argv[3]);
    else if (argc == 3 && strcmp(kind, "local") == 0)
        wrong = own(&memory, bytes);
    else {
        fprintf(stderr, "usage: %s local MIB | map MIB CACHE_MIB | file MIB PATH\n", argv[0]);
        return 2;
    }
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", argv[0], wrong);
        return 1;
    }
    for (size_t i = 0; i < memory.count; i++)
        memory.words[i] = fixed_half(i);
    int failed = measure_serve(kinds, &memory);
    report(&memory);
    if (map && sublet_unmap(memory.mapping) != SUBLET_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], sublet_last_error());
        failed = 1;
    }
    sublet_region_free(memory.region);
    sublet_close(memory.session);
    return failed;
}
