/** What the starter tells an executor: descriptors by number, the rest as lines `key=value` on a pipe. */
#ifndef SUBLET_EXECUTOR_OPTIONS_H
#define SUBLET_EXECUTOR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "executor/stats.h"
#include "sublet/status.h"
#include "wire/control.h"

#define OPTIONS_UNIX_FD    3
#define OPTIONS_TCP_FD     4
#define OPTIONS_CONFIG_FD  5
#define OPTIONS_READY_FD   6
#define OPTIONS_STATS_FD   7
#define OPTIONS_CONFIG_MAX 65536u
#define OPTIONS_PREPARED   "SUBLET_PREPARED"

struct executor_options {
    int unix_fd;  /* listening */
    int tcp_fd;   /* listening; -1 = none */
    int stats_fd; /* page of statistics, if it is one (executor/stats.h) */
    struct stats_clock clock;
    bool region; /* serves memory, not functions */
    uid_t owner; /* only this user's processes and root's may connect to unix_fd */
    char lease[64];
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t workers;
    int cores[CONTROL_WORKERS_MAX];
    uint32_t slots_max; /* of a client, per worker */
    bool says_client;   /* on OPTIONS_READY_FD, when the first client has shown the token */
    char fabric[32];    /* the one provider that may be used, or "none"; "" = what clients offer */
    uint64_t memory_bytes;
    uint64_t spin_ns; /* how long an idle worker polls before it sleeps */
};

/**
 * Reads `kind=`, `lease=`, `cores=`, `owner=`, `memory=`, `token=`, `spin_us=`, `slots_max=`, `fabric=`, `says_client=`
 * (the last four may be missing). Unknown, repeated and malformed keys are refused; *why_out then says which, in words.
 */
sublet_status options_parse(const char *text, size_t size, struct executor_options *out, const char **why_out);

#endif
