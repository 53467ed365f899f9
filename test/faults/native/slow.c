/** libslow.so: one function that works for as long as its argument says, with a result that depends on all of the work.
 */
#include <string.h>

#include "sublet/function.h"

/** Argument: u64 turns, about 1 ns each. Result: u64. */
SUBLET_FUNCTION(slow)
{
    uint64_t turns = 0, value = UINT64_C(0x9e3779b97f4a7c15);
    if (context->in_bytes != sizeof(turns) || context->out_bytes < sizeof(value))
        return 1;
    memcpy(&turns, in, sizeof(turns));
    for (uint64_t i = 0; i < turns; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    memcpy(out, &value, sizeof(value));
    context->result_bytes = sizeof(value);
    return 0;
}
