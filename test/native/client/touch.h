/** What touching a payload means, for the function that is measured and for the floor beside it. */
#ifndef SUBLET_TEST_CLIENT_TOUCH_H
#define SUBLET_TEST_CLIENT_TOUCH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t touch_read(const void *from, size_t bytes)
{
    const uint64_t *words = from;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        sum += words[i];
    return sum;
}

static inline void touch_write(void *to, size_t bytes, uint64_t value)
{
    uint64_t *words = to;
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        words[i] = value + i;
}

#endif
