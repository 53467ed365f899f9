/**
 * What the measuring programs share. Each runs for the whole benchmark and measures one thing whenever its standard
 * input says so, so that the things compared take turns within one run:
 *
 *   in:   NAME BYTES COUNT PAUSE_US DEPTH
 *   out:  {"count":1000,"p50":0.31,"p99":0.40,"p99_9":1.20,"per_s":3100000}    or    {"error":"what went wrong"}
 *
 * Times are round trips in microseconds. A tenth of COUNT goes before, unmeasured. PAUSE_US of spinning comes before
 * each one, so that the other side has gone to sleep. per_s is the rate of all of them together.
 */
#ifndef SUBLET_BENCH_MEASURE_H
#define SUBLET_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_COUNT_MAX 2000000u

struct measure {
    char name[32];
    uint64_t bytes;
    uint32_t count; /* 1 to MEASURE_COUNT_MAX */
    uint32_t pause_us;
    uint32_t depth;
};

/** One round trip; NULL when fine, else what went wrong. `context` is the program's own. */
typedef const char *(*measure_step)(void *context, const struct measure *measure, uint32_t index);

/** A thing that can be measured. `before` (may be NULL) runs once; it knows the number of steps to come. */
struct measure_kind {
    const char *name;
    const char *(*before)(void *context, const struct measure *measure, uint32_t steps);
    measure_step step;
    uint32_t calls_per_step; /* 0 = 1; else DEPTH calls are one step */
};

/** Serves standard input until it ends; 0, or 1 when a line cannot be understood. Kinds end with a NULL name. */
int measure_serve(const struct measure_kind *kinds, void *context);

/** Pins this thread; says so on stderr when it cannot. */
void measure_pin(int core);
uint64_t measure_now_ns(void);
void measure_spin_for(uint64_t ns);
static inline void measure_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

#endif
