/**
 * What a worker does while no call comes: it polls for a time, then it sleeps. Polling pays while calls come closer
 * together than a sleep may cost, so the time between calls is followed: once it is above `most_ns` on average, the
 * worker sleeps at once; calls that come quickly again bring the polling back. One long pause changes nothing.
 *
 * The clock is read with every IDLE_STEPS-th step only; what lies between is known from the price of a step. A call
 * that comes within the first steps costs no look at the clock at all.
 */
#ifndef SUBLET_EXECUTOR_IDLE_H
#define SUBLET_EXECUTOR_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#define IDLE_STEPS 64u

struct idle {
    uint64_t most_ns;   /* longest time to poll */
    uint64_t gap_ns;    /* average time between calls, each counted up to twice most_ns */
    uint64_t since_ns;  /* when this one began; 0 = not known yet */
    uint64_t last_ns;   /* last look at the clock; 0 = none in this one */
    uint64_t block_ns;  /* price of IDLE_STEPS steps */
    uint64_t polled_ns; /* all in all */
    uint32_t steps;     /* of this one */
};

static inline void idle_start(struct idle *idle, uint64_t most_ns)
{
    *idle = (struct idle){.most_ns = most_ns, .block_ns = 1000};
}

static inline void idle_learn(struct idle *idle, uint64_t gap_ns)
{
    uint64_t most = 2 * idle->most_ns;
    idle->gap_ns = (3 * idle->gap_ns + (gap_ns < most ? gap_ns : most)) / 4;
}

/** A step in vain; true with every IDLE_STEPS-th: then idle_look. */
static inline bool idle_step(struct idle *idle)
{
    return ++idle->steps % IDLE_STEPS == 0;
}

/** Looks at the clock; true when it is time to sleep. */
static inline bool idle_look(struct idle *idle, uint64_t now_ns)
{
    if (idle->last_ns == 0) {
        idle->since_ns = now_ns - idle->block_ns;
        idle->polled_ns += idle->block_ns;
    } else {
        uint64_t took_ns = now_ns - idle->last_ns;
        idle->polled_ns += took_ns;
        if (took_ns < 2 * idle->block_ns || took_ns < 10000) /* else this core did something else */
            idle->block_ns = (7 * idle->block_ns + took_ns) / 8;
    }
    idle->last_ns = now_ns;
    return idle->gap_ns >= idle->most_ns || now_ns - idle->since_ns >= idle->most_ns;
}

/** A call came while polling. */
static inline void idle_end(struct idle *idle)
{
    uint64_t rest_ns = idle->steps % IDLE_STEPS * idle->block_ns / IDLE_STEPS;
    idle->polled_ns += rest_ns;
    idle_learn(idle, idle->last_ns == 0 ? rest_ns : idle->last_ns - idle->since_ns + rest_ns);
    idle->steps = 0;
    idle->since_ns = idle->last_ns = 0;
}

/** It slept, and was woken for a call at `woken_ns` (0 = for something else). */
static inline void idle_end_asleep(struct idle *idle, uint64_t woken_ns)
{
    if (woken_ns != 0)
        idle_learn(idle, woken_ns - idle->since_ns);
    idle->steps = 0;
    idle->since_ns = idle->last_ns = 0;
}

#endif
