/** The child between fork and exec: everything that makes a process a guest. */
#ifndef SUBLET_LAUNCH_CHILD_H
#define SUBLET_LAUNCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/filter.h"
#include "launch/request.h"

enum { READ_ONLY_MAX = 16 };

struct child_plan {
    const struct start_request *request;
    const struct filter *filter;
    /** An existing directory to mount the guest's root over (seen by the guest's mount namespace only). */
    const char *mount_point;
    const char *const *read_only;
    size_t read_only_count;
    int unix_fd, tcp_fd, config_fd, ready_fd, stats_fd;
    /** See code.h; -1, both: the guest has no such channel. */
    int code_ask_fd, code_answer_fd;
    /** It gets its configuration later, and says when it waits for it. */
    bool prepared;
    /** As the starter's own user: pilot.h in place of cgroups, namespaces and uid. */
    bool pilot;
};

/**
 * Starts the child. It reports on ready_fd: 'E' and a text when it failed, 'R' (written by the executor) when it is
 * ready ('W' before, when it waits for its configuration); the end of the pipe without either means that the executor
 * ended. -1 with `why` when there is no child.
 */
pid_t child_start(const struct child_plan *plan, char why[ERROR_BYTES]);
/** For good: all capabilities, other groups, the uid, what exec might give; files are had as user `files`. NULL, or
 * what failed with errno. */
const char *child_drop_privileges(uid_t uid, gid_t gid, uid_t files);

#endif
