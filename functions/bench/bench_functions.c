/** libbench.so: what the benchmark of the data path calls. */
#include <string.h>

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
