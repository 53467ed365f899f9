/**
 * What a guest needs to see of a fabric's adapters: their device files and what /sys says about them, read-only and at
 * the same places. Which these are is a table here: the agent names a provider, never a path.
 */
#ifndef SUBLET_LAUNCH_FABRIC_H
#define SUBLET_LAUNCH_FABRIC_H

#include <stdbool.h>

/** Is it a provider's name that the table has? NULL and "none" are not: such guests see nothing. */
bool fabric_is_known(const char *provider);
/** Shows the provider's devices below the current directory, the guest's root to be. NULL, or what failed (errno). */
const char *fabric_show(const char *provider, const char *host_name);

#endif
