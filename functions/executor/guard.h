/**
 * What tells one fault of a function from another. A worker that cannot go on leaves the reason in its page and ends;
 * the supervisor answers for it. User code can write there, too: the reason is a hint, bounded to those known here.
 *
 *   STACK_OVERFLOW  a fault below the stack, which has STACK_BYTES
 *   OVERRUN         the bytes right behind the room for the result have changed, or a fault in the page behind it
 *   LEFT_THREADS    a thread that the function started still runs when it returns (executor/threads.h)
 *   FUNCTION        a C++ exception left the function; it cannot be caught here, so std::terminate is where it ends
 *
 * In the path of a call: a few loads and stores. What is not seen: a write that skips the guarded bytes, a stack
 * overflow in a thread that the function made (CRASHED), an exception of a library with a std::terminate handler of its
 * own.
 */
#ifndef SUBLET_EXECUTOR_GUARD_H
#define SUBLET_EXECUTOR_GUARD_H

#include <stdint.h>
#include <string.h>

#include "executor/worker.h"

#define GUARD_STACK_BYTES (8u << 20)
#define GUARD_CANARY      UINT64_C(0x9e6c63d0676a9a99)

/** The inaccessible page behind the room for the current call's result; NULL = none. */
extern const void *volatile guard_page;

/** Once, in a worker: limits its stack, watches for faults. */
void guard_start(struct worker_page *page);
/** After a library was loaded: exceptions that leave its functions come here. */
void guard_library(void *library);
/** Ends the worker in the middle of its call, which is answered with `reason`. */
_Noreturn void guard_end(sublet_status reason);
/** What a dead worker's call is answered with, if it has left a reason; else `otherwise`. Forgets the reason. */
sublet_status guard_reason(struct worker_page *page, sublet_status otherwise);

/** Guards the bytes behind a result, of which there are GUARD_BYTES; returns what was there. */
static inline uint64_t guard_lay(unsigned char *end)
{
    uint64_t before, canary = GUARD_CANARY;
    memcpy(&before, end, sizeof(before));
    memcpy(end, &canary, sizeof(canary));
    return before;
}

/** Puts back what was there; false when the function has written there. */
static inline bool guard_lift(unsigned char *end, uint64_t before)
{
    uint64_t found;
    memcpy(&found, end, sizeof(found));
    memcpy(end, &before, sizeof(before));
    return found == GUARD_CANARY;
}

#endif
