/**
 * Counts what workers do, in the page that the agent reads (wire/stats_layout.h). Per call three additions in the
 * worker's own lines; the clock is looked at only for some (stats_due).
 */
#ifndef SUBLET_EXECUTOR_STATS_H
#define SUBLET_EXECUTOR_STATS_H

#include <stdbool.h>

#include "base/cycles.h"
#include "sublet/status.h"
#include "wire/stats_layout.h"

/** The price of a tick, from two looks at both clocks. */
struct stats_clock {
    uint64_t first_ticks;
    uint64_t first_ns;
    uint64_t ns_per_tick; /* times 2^24 */
};

/** First look, at the start of the process. */
void stats_clock_begin(struct stats_clock *clock);
/** Second look: the longer after the first the better; waits until it is good enough, 0.1 ms at most. */
void stats_clock_learn(struct stats_clock *clock);

static inline uint64_t stats_clock_ns(const struct stats_clock *clock, uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * clock->ns_per_tick >> 24);
}

/** Which calls of a worker are timed. */
struct stats_sampler {
    struct stats_worker *stats;
    const struct stats_clock *clock;
    uint32_t countdown; /* calls until the next that is timed, that one included */
    uint32_t window;    /* what it began from: of these, window - countdown were not timed */
    uint64_t run_ns;    /* of the last that was timed */
    uint64_t answer_ns;
    uint32_t function;
    uint64_t turn; /* ticks at the look that found the calls of this turn; 0 = not known */
};

/** The page of this lease, or memory of our own where there is none; NULL when out of memory. */
struct stats_worker *stats_open(int fd, uint32_t workers);
void stats_sampler_start(struct stats_sampler *sampler, struct stats_worker *stats, const struct stats_clock *clock);
/** Enters the times of a call that was due. */
void stats_time(struct stats_sampler *sampler, uint64_t start, uint64_t end);

static inline void stats_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount, memory_order_relaxed);
}

/** Counts an answer. */
static inline void stats_count(struct stats_worker *stats, sublet_status status, uint64_t in_bytes, uint64_t out_bytes)
{
    stats_add(&stats->outcomes[(uint32_t)status % STATS_OUTCOMES], 1);
    stats_add(&stats->in_bytes, in_bytes);
    stats_add(&stats->out_bytes, out_bytes);
}

/** Calls were found, up to `most` of which are served now. */
static inline void stats_turn(struct stats_sampler *sampler, uint32_t most)
{
    sampler->turn = sampler->countdown <= most ? cycles() : 0;
}

/** Enters those that were not timed as like the last that was; the next one is timed. */
void stats_break(struct stats_sampler *sampler);

/** Nothing was found for a while: the next call is timed. */
static inline void stats_pause(struct stats_sampler *sampler)
{
    if (sampler->countdown != 1)
        stats_break(sampler);
}

/** Is this call to be timed? Asked once per call. */
static inline bool stats_due(struct stats_sampler *sampler, uint32_t function)
{
    if (function != sampler->function) {
        stats_break(sampler);
        sampler->function = function;
    }
    return --sampler->countdown == 0;
}

#endif
