/**
 * The starter of a pilot: an ordinary user inside a Slurm job of his own (agent/pilot/pilot.ts says what that is for).
 *
 * What he cannot do is left out, not imitated: no cgroups of his own, no namespaces, no other uid, no root of its own.
 * The job's cgroup is the limit of all guests together. What he can do is done: cores by affinity, private memory by
 * RLIMIT_DATA (per process), no_new_privs, the filter of system calls, death with the parent.
 *
 * Guests have the rights of the user, so they are his own: a START for any other owner is refused. SIGTERM, which Slurm
 * sends to every process of a step, is the agent's to obey; starter and guests ignore it, or nothing could be moved.
 * Without a pid namespace a guest may leave processes behind: they become the starter's children, and end with it.
 */
#ifndef SUBLET_LAUNCH_PILOT_H
#define SUBLET_LAUNCH_PILOT_H

#include <stdbool.h>

#include "launch/request.h"

struct starter;

/** Once, at the start. False with errno when orphans cannot be adopted. */
bool pilot_begin(void);
/** In the child, before its descriptors are in place. NULL, or what failed with errno. */
const char *pilot_confine(const struct start_request *request);
/** Kills and reaps all children that are no guests; waits a bounded time for them. */
void pilot_end_strays(const struct starter *starter);

#endif
