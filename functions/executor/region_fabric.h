/**
 * A region over a fabric (wire/ofi.h): a process of its own registers the memory, so that the executor neither loads
 * libfabric nor forks with it, and sleeps. Where the adapter does the work nobody is woken by an access; where software
 * does (tcp), this process is, by the provider's descriptor.
 *
 * It is forked before the executor has threads, sleeps until the first client comes, and dies with the executor; the
 * keys die with it. When it dies alone, clients go on over their streams.
 */
#ifndef SUBLET_EXECUTOR_REGION_FABRIC_H
#define SUBLET_EXECUTOR_REGION_FABRIC_H

#include "executor/region.h"

#define REGION_FABRIC_GUESTS_MAX 64u

/**
 * Forks it. `only` names the provider that may be used, "" is any; where none is to be had it does nothing. Before
 * anything else has started a thread.
 */
sublet_status region_fabric_start(struct region *region, const char *only);
/** Hands over a connection of the role STREAM_REGION_FABRIC that was welcomed; the caller closes its own copy. */
sublet_status region_fabric_pass(const struct region *region, int fd);

/** The process itself. Serves until the other end of `socket` is closed. */
void region_fabric_serve(const struct region *region, const char *only, int socket);

#endif
