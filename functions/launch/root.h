/** The guest's file system: a small read-only tree with the system's programs and libraries, and a /tmp of its own. */
#ifndef SUBLET_LAUNCH_ROOT_H
#define SUBLET_LAUNCH_ROOT_H

#include "launch/child.h"

/** Size of a guest's /tmp, whose pages are memory of the guest's: a full /tmp is an error, not a death. */
uint64_t root_tmp_bytes(uint64_t memory_bytes);

/** In the child, in mount and pid namespaces of its own. Returns NULL, or what failed (see errno). */
const char *root_enter(const struct child_plan *plan);

/** Shows an absolute path of the host, read-only, at the same place below the current directory; as a device or not. */
int root_bind(const char *path, bool device);
/** A link at an absolute path of the guest. Both: 0, or -1 with errno. */
int root_symlink(const char *target, const char *path);

#endif
