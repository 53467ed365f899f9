#include "executor/stats.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fds.h"

#define LOOK_NS UINT64_C(100000) /* between the two looks: a look is wrong by some 50 ns */
#define SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

void stats_clock_begin(struct stats_clock *clock)
{
    clock->first_ns = now_ns();
    clock->first_ticks = cycles();
}

void stats_clock_learn(struct stats_clock *clock)
{
    uint64_t took_ns;
    do
        took_ns = now_ns() - clock->first_ns;
    while (took_ns < LOOK_NS);
    uint64_t ticks = cycles() - clock->first_ticks;
    clock->ns_per_tick = ticks == 0 ? 0 : (uint64_t)(((unsigned __int128)took_ns << 24) / ticks);
}

/** Made by a starter, for this? Otherwise the number may be any descriptor of whoever started us. */
static bool is_page(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_size == STATS_TOTAL_BYTES && (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS;
}

struct stats_worker *stats_open(int fd, uint32_t workers)
{
    bool given = is_page(fd);
    int flags = given ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
    unsigned char *page = mmap(NULL, STATS_TOTAL_BYTES, PROT_READ | PROT_WRITE, flags, given ? fd : -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    struct stats_header *header = (struct stats_header *)(void *)page;
    header->workers = (uint16_t)workers;
    header->worker_bytes = STATS_WORKER_BYTES;
    header->version = STATS_VERSION;
    atomic_thread_fence(memory_order_release);
    header->magic = STATS_MAGIC;
    return (struct stats_worker *)(void *)(page + STATS_HEADER_BYTES);
}

void stats_sampler_start(struct stats_sampler *sampler, struct stats_worker *stats, const struct stats_clock *clock)
{
    *sampler = (struct stats_sampler){.stats = stats, .clock = clock, .function = UINT32_MAX};
    sampler->countdown = sampler->window = 1;
}

static uint32_t bucket(uint64_t ns)
{
    uint32_t number = ns == 0 ? 0 : 63 - (uint32_t)__builtin_clzll(ns);
    return number < STATS_BUCKETS ? number : STATS_BUCKETS - 1;
}

/** Enters `weight` calls like the last that was timed. */
static void enter(const struct stats_sampler *sampler, uint32_t weight)
{
    struct stats_worker *stats = sampler->stats;
    stats_add(&stats->run_ns, sampler->run_ns * weight);
    stats_add(&stats->answer_ns, sampler->answer_ns * weight);
    stats_add(&stats->run[bucket(sampler->run_ns)], weight);
    stats_add(&stats->answer[bucket(sampler->answer_ns)], weight);
}

void stats_break(struct stats_sampler *sampler)
{
    if (sampler->window > sampler->countdown)
        enter(sampler, sampler->window - sampler->countdown);
    sampler->countdown = sampler->window = 1;
}

void stats_time(struct stats_sampler *sampler, uint64_t start, uint64_t end)
{
    sampler->run_ns = sampler->answer_ns = stats_clock_ns(sampler->clock, end - start);
    if (sampler->turn != 0 && sampler->turn <= start)
        sampler->answer_ns = stats_clock_ns(sampler->clock, end - sampler->turn);
    enter(sampler, sampler->window);
    sampler->window = sampler->countdown = sampler->run_ns >= STATS_LONG_NS ? 1 : STATS_SAMPLE;
}
