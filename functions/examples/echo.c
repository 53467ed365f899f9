/** libecho.so: the two functions that measure and test the way of a call rather than its work. */
#include <string.h>

#include "sublet/function.h"

/** Copies its arguments. */
SUBLET_FUNCTION(echo)
{
    uint32_t bytes = context->in_bytes < context->out_bytes ? context->in_bytes : context->out_bytes;
    if (bytes > 0)
        memcpy(out, in, bytes);
    context->result_bytes = context->in_bytes; /* more than fits: TOO_LARGE */
    return 0;
}

/** Does nothing, returns nothing. */
SUBLET_FUNCTION(empty)
{
    (void)context;
    (void)in;
    (void)out;
    return 0;
}
