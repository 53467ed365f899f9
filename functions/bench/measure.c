#include "measure.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLE_NS UINT64_C(3000000) /* who was measured before has gone to sleep */

uint64_t measure_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void measure_spin_for(uint64_t ns)
{
    for (uint64_t end_ns = measure_now_ns() + ns; measure_now_ns() < end_ns;)
        measure_relax();
}

void measure_pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fprintf(stderr, "cannot pin to core %d: %m\n", core);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double at(const float *sorted, uint32_t count, double part)
{
    return (double)sorted[(uint32_t)(part * (count - 1))];
}

static void print(float *us, uint32_t count, double per_s)
{
    qsort(us, count, sizeof(*us), ascending);
    printf("{\"count\":%u,\"p50\":%.4f,\"p99\":%.4f,\"p99_9\":%.4f,\"per_s\":%.1f}\n", count, at(us, count, 0.5),
           at(us, count, 0.99), at(us, count, 0.999), per_s);
}

static const char *run(const struct measure_kind *kind, void *context, const struct measure *measure)
{
    uint32_t warm_up = measure->count / 10 + 1, steps = warm_up + measure->count;
    uint32_t calls = kind->calls_per_step == 0 ? 1 : measure->depth;
    uint64_t began_ns = 0;
    float *us = calloc(measure->count, sizeof(*us));
    const char *wrong = us == NULL ? "out of memory" : NULL;
    if (wrong == NULL && kind->before != NULL)
        wrong = kind->before(context, measure, steps);
    measure_spin_for(SETTLE_NS);
    for (uint32_t i = 0; i < steps && wrong == NULL; i++) {
        if (measure->pause_us > 0)
            measure_spin_for((uint64_t)measure->pause_us * 1000);
        uint64_t start_ns = measure_now_ns();
        if (i == warm_up)
            began_ns = start_ns;
        wrong = kind->step(context, measure, i);
        if (i >= warm_up)
            us[i - warm_up] = (float)(measure_now_ns() - start_ns) / 1000.0f;
    }
    double seconds = (double)(measure_now_ns() - began_ns) * 1e-9;
    if (wrong == NULL)
        print(us, measure->count, (double)measure->count * calls / seconds);
    free(us);
    return wrong;
}

static const struct measure_kind *find(const struct measure_kind *kinds, const char *name)
{
    while (kinds->name != NULL && strcmp(kinds->name, name) != 0)
        kinds++;
    return kinds->name == NULL ? NULL : kinds;
}

int measure_serve(const struct measure_kind *kinds, void *context)
{
    char line[256];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct measure measure = {.count = 0};
        unsigned long long bytes;
        if (sscanf(line, "%31s %llu %u %u %u", measure.name, &bytes, &measure.count, &measure.pause_us,
                   &measure.depth) != 5 ||
            measure.count == 0 || measure.count > MEASURE_COUNT_MAX) {
            fprintf(stderr, "not understood: %s", line);
            return 1;
        }
        measure.bytes = bytes;
        const struct measure_kind *kind = find(kinds, measure.name);
        const char *wrong = kind == NULL ? "this program cannot measure that" : run(kind, context, &measure);
        if (wrong != NULL)
            printf("{\"error\":\"%s: %s\"}\n", measure.name, wrong);
        fflush(stdout);
    }
    return 0;
}
