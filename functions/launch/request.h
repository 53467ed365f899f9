/** What a START asks for, checked: nothing in it is trusted to be sane before request_start() said so. */
#ifndef SUBLET_LAUNCH_REQUEST_H
#define SUBLET_LAUNCH_REQUEST_H

#include <netinet/in.h>
#include <sys/types.h>

#include "launch/message.h"

enum {
    LEASE_MAX = 63,
    CGROUPS_MAX = 16,
    META_MAX = 4096,
    PATH_BYTES = 1024,
    SOCKET_PATH_BYTES = 108,
    ERROR_BYTES = 256,
};

struct start_request {
    char lease[LEASE_MAX + 1];
    uid_t uid;
    gid_t gid;
    const char *cgroups[CGROUPS_MAX];
    size_t cgroup_count;
    char unix_path[SOCKET_PATH_BYTES];
    struct sockaddr_in tcp;
    uint64_t memory_bytes;
    bool is_region;
    const char *executor;
    const char *meta;
    /** A listening socket that is there already, which the guest gets, too; -1: make one. */
    int tcp_fd;
    /** The executor says when the first client has shown the token. */
    bool awaited;
    /** The prepared guest to hand out; NULL: start a new one. */
    const char *pool;
    /** Passed on to the executor as they are; slots_max may be NULL. */
    uid_t owner_uid;
    const char *kind, *cores, *owner, *token, *spin_us, *slots_max;
    /** Provider of libfabric whose devices the guest may use; NULL or "none": no fabric. Passed on, too. */
    const char *fabric;
};

/**
 * Checks a START. Pointers go into the message. On false, `why` says what is wrong.
 * `pilot`: no cgroups, and uid, gid and owner are those of this process (see pilot.h).
 */
bool request_start(const struct message *message, struct start_request *request, bool pilot, char why[ERROR_BYTES]);
/** A lease id: [A-Za-z0-9_-]{1,63}. */
bool lease_is_valid(const char *lease);

#endif
