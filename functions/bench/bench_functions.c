/** libbench.so: what the benchmark of the data path calls. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/read_all.h"
#include "sublet/function.h"

SUBLET_FUNCTION(empty)
{
    (void)context;
    (void)in;
    (void)out;
    return 0;
}

/** Copies its arguments. */
SUBLET_FUNCTION(echo)
{
    context->result_bytes = context->in_bytes;
    if (context->in_bytes > context->out_bytes)
        return 1;
    memcpy(out, in, context->in_bytes);
    return 0;
}

/** A result as large as the room for it; it writes none of it. */
SUBLET_FUNCTION(produce)
{
    (void)in;
    (void)out;
    context->result_bytes = context->out_bytes;
    return 0;
}

/** Reads every word of its arguments. */
SUBLET_FUNCTION(touch)
{
    (void)out;
    return read_all(in, context->in_bytes) == UINT64_MAX; /* never: but the compiler has to read */
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** When a call has to end whose argument is its length in ms (u32); 0: it has none. */
static uint64_t end_ns(const void *in, size_t in_bytes)
{
    uint32_t ms;
    if (in_bytes != sizeof(ms))
        return 0;
    memcpy(&ms, in, sizeof(ms));
    return now_ns() + ms * 1000000ull;
}

/** Computes in registers. Argument: milliseconds. */
SUBLET_FUNCTION(compute)
{
    (void)out;
    uint64_t end = end_ns(in, context->in_bytes);
    volatile double kept = 0;
    while (now_ns() < end) {
        double value = kept;
        for (int i = 0; i < 10000; i++)
            value = value * 0.999999 + 1e-6;
        kept = value;
    }
    return end == 0;
}

#define STREAM_DOUBLES (4u << 20)

/** Streams through 96 MiB of memory, as STREAM's triad does. Argument: milliseconds. */
SUBLET_FUNCTION(stream)
{
    static double *a, *b, *c;
    (void)out;
    uint64_t end = end_ns(in, context->in_bytes);
    if (a == NULL) {
        a = calloc(STREAM_DOUBLES, sizeof(double));
        b = calloc(STREAM_DOUBLES, sizeof(double));
        c = calloc(STREAM_DOUBLES, sizeof(double));
    }
    if (a == NULL || b == NULL || c == NULL)
        return 1;
    while (now_ns() < end)
        for (size_t i = 0; i < STREAM_DOUBLES; i++)
            a[i] = b[i] + 3.0 * c[i];
    return end == 0;
}
