/** A library that keeps a thread between calls and says so, and one function that uses OpenMP's pool. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "sublet/function.h"

SUBLET_KEEPS_THREADS

static void *wait_for_ever(void *nothing)
{
    while (pause() < 0) {
    }
    return nothing;
}

SUBLET_FUNCTION(pooled)
{
    static int started;
    pthread_t thread;
    (void)in;
    (void)out;
    context->result_bytes = 0;
    if (started++ > 0)
        return 0;
    return pthread_create(&thread, NULL, wait_for_ever, NULL);
}
