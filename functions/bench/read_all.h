/** Reading memory, the same way by a function of libbench.so and by the baseline. */
#ifndef SUBLET_BENCH_READ_ALL_H
#define SUBLET_BENCH_READ_ALL_H

#include <stdint.h>
#include <string.h>

/** Sum of all whole words. */
static inline uint64_t read_all(const void *bytes, uint64_t size)
{
    uint64_t sum = 0, word;
    for (uint64_t at = 0; at + sizeof(word) <= size; at += sizeof(word)) {
        memcpy(&word, (const char *)bytes + at, sizeof(word));
        sum += word;
    }
    return sum;
}

#endif
