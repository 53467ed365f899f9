/** A function that computes with OpenMP, whose threads stay for the next parallel region. */
#include <string.h>

#include "sublet/function.h"

SUBLET_FUNCTION(parallel)
{
    int threads = 0;
    (void)in;
    if (context->out_bytes < sizeof(threads))
        return 1;
#pragma omp parallel num_threads(3) reduction(+ : threads)
    threads += 1;
    memcpy(out, &threads, sizeof(threads));
    context->result_bytes = sizeof(threads);
    return 0;
}
