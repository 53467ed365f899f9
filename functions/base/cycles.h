/** A clock that costs a few nanoseconds: some 2 to 4 ticks each. For short times only. */
#ifndef SUBLET_BASE_CYCLES_H
#define SUBLET_BASE_CYCLES_H

#include <stdint.h>

#include "base/fds.h"

static inline uint64_t cycles(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return now_ns() * 2;
#endif
}

#endif
