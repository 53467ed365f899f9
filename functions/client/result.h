/** Results of a size that nobody knows before: memory of the library's, which the caller frees with sublet_free. */
#ifndef SUBLET_CLIENT_RESULT_H
#define SUBLET_CLIENT_RESULT_H

#include <stdbool.h>

#include "client/calls.h"

/** Memory for a result of `bytes`; NULL when there is none. Touched as it is used. */
void *result_make(size_t bytes);
/** Gives back what a result does not need; the address may change. */
void *result_shrink(void *result, size_t bytes);
void result_free(void *result);
/** The result of a call is about to arrive: makes room if that is the library's to do. False: there is none. */
bool result_expect(struct sublet_call *call, size_t bytes);
/** The call begins (again). */
void result_forget(struct sublet_call *call);
/** Runs a call here, see function_run. No lock. */
sublet_status result_run_here(struct sublet_call *call, size_t *bytes_out);

#endif
