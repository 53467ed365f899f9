/** The executor of one lease: accepts its clients, keeps its workers alive, answers for those that died. */
#ifndef SUBLET_EXECUTOR_SUPERVISOR_H
#define SUBLET_EXECUTOR_SUPERVISOR_H

#include <stdint.h>
#include <sys/types.h>

#include "sublet/status.h"
#include "wire/control.h"

struct executor_options {
    int listen_fd; /* unix stream socket, listening */
    uid_t owner;   /* only this user's processes may connect */
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t workers;
    int cores[CONTROL_WORKERS_MAX]; /* -1 = not pinned */
    uint64_t spin_ns;
};

/** Runs until the process is killed; returns only on an error that leaves nothing to do. */
sublet_status executor_run(const struct executor_options *options);

#endif
