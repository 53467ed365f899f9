/**
 * Counts the threads that functions start: pthread_create of this program stands before the C library's, also for the
 * libraries that are loaded. Pools of run-time libraries (OpenMP, BLAS, TBB) live on between calls by design and are
 * not counted; nor is what does not go by the name pthread_create. A library with a pool of its own says so:
 * SUBLET_KEEPS_THREADS.
 */
#ifndef SUBLET_EXECUTOR_THREADS_H
#define SUBLET_EXECUTOR_THREADS_H

#include <stdatomic.h>
#include <stdint.h>

/** Those that live now. */
extern _Atomic uint32_t threads_live;

#endif
