/**
 * What a worker tells of a call whose request asked for it. Little endian.
 *
 * On the same node (ring, flag RING_TRACE): the last 48 bytes of the page before a slot's guard page, written before
 * the answer. Both sides share the counter of base/cycles.h, so these are its values:
 *
 *   0  u64 woke     the worker's last wake-up from a sleep; 0 = it has not slept
 *   8  u64 found    it took the call    16  u64 start  the function begins    24  u64 end  it has returned
 *   32 u64 answer   the answer is about to be given    40  u32 flags    44  u32 reserved
 *
 * Over a connection (STREAM_ROOM_TRACE in the request, STREAM_FLAG_TRACED in the response) the same as 40 bytes between
 * response and result. Clocks are not shared, so these are nanoseconds:
 *
 *   0  u64 queue_ns   behind other calls of its turn    8  u64 prepare_ns  from its turn to the function
 *   16 u64 run_ns     24  u64 answer_ns   from the function's return to the sending    32  u32 flags    36  u32
 * reserved
 *
 * Only asked for where the executor said that it knows: CONTROL_FEATURE_TRACE, STREAM_FEATURE_TRACE. All of it is the
 * guest's word, good for being shown and nothing else.
 */
#ifndef SUBLET_WIRE_TRACE_H
#define SUBLET_WIRE_TRACE_H

#include <stdint.h>

#define TRACE_SLEPT 1u /* the worker slept before this call */
#define TRACE_BUSY  2u /* it came from another call, without a look in vain between the two */

struct ring_trace {
    uint64_t woke;
    uint64_t found;
    uint64_t start;
    uint64_t end;
    uint64_t answer;
    uint32_t flags;
    uint32_t reserved;
};

struct stream_trace {
    uint64_t queue_ns;
    uint64_t prepare_ns;
    uint64_t run_ns;
    uint64_t answer_ns;
    uint32_t flags;
    uint32_t reserved;
};

_Static_assert(sizeof(struct ring_trace) == 48, "wire layout");
_Static_assert(sizeof(struct stream_trace) == 40, "wire layout");

#endif
