/** What the supervisor hands its workers by message: rings, streams, libraries; and the names of functions. */
#ifndef SUBLET_EXECUTOR_LINKS_H
#define SUBLET_EXECUTOR_LINKS_H

#include "executor/workers.h"

/** Tells a worker what came and was closed while its queue was full; false when it still is. */
bool links_tell_news(struct worker_slot *slot);
/** A new worker begins with all that the slot holds: nothing of it is news. */
void links_told_all(struct worker_slot *slot);

#endif
