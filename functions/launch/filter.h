/** The system call filter of guests, compiled once. */
#ifndef SUBLET_LAUNCH_FILTER_H
#define SUBLET_LAUNCH_FILTER_H

#include <stdbool.h>
#include <linux/filter.h>

struct filter {
    struct sock_fprog program;
};

/** Compiles the filter; false with errno. It lives as long as the process. `fabric`: for guests with adapters. */
bool filter_build(struct filter *filter, bool fabric);
/** Puts it on the caller, for good. Needs no_new_privs. 0 or -1 with errno. */
int filter_apply(const struct filter *filter);

#endif
