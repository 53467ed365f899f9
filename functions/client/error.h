/** The text behind sublet_last_error: one per thread, written where an error is first known. */
#ifndef SUBLET_CLIENT_ERROR_H
#define SUBLET_CLIENT_ERROR_H

#include "sublet/status.h"

/** Keeps the text for this thread and returns `status`, so that a caller can `return error_set(...)`. */
__attribute__((format(printf, 2, 3))) sublet_status error_set(sublet_status status, const char *format, ...);

#endif
