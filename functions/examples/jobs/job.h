/** What the parts of options-job share: events on stdout, one line of JSON each, for whoever drives the job. */
#ifndef SUBLET_EXAMPLES_JOB_H
#define SUBLET_EXAMPLES_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "sublet/sublet.h"

/** Seconds of a monotonic clock. */
double seconds(void);
/** Prints {"event":NAME,...}; the format makes the rest, a comma first or empty. */
void event(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Prints an event and returns the status: `what` says what was tried. */
sublet_status failed(const char *what, sublet_status status);

/**
 * Keeps a table of `bytes` in a region, writes it, reads it back in random order in pieces, checks every byte.
 * BUSY when nobody lends that much. The region is freed.
 */
sublet_status table_check(sublet_session *session, uint64_t bytes, const char *exclude_nodes);

/** Measures lease, hot and warm round trips of an empty function on `node`; prints them as events. */
sublet_status probe_run(sublet_session *session, sublet_function_ref *empty, sublet_function_ref *echo,
                        const char *node, uint32_t cores);

#endif
