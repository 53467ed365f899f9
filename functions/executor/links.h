/** What the supervisor hands its workers by message: rings, streams, libraries; and the names of functions. */
#ifndef SUBLET_EXECUTOR_LINKS_H
#define SUBLET_EXECUTOR_LINKS_H

#include "executor/workers.h"

/** Tells a worker what was closed while its queue was full; false when it still is. */
bool links_tell_closed(struct worker_slot *slot);

#endif
