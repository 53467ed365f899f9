/** The parts of sublet-hook. */
#ifndef SUBLET_HOOK_H
#define SUBLET_HOOK_H

#include <stdbool.h>
#include <stdint.h>

enum hook_event { HOOK_PROLOG = 1, HOOK_EPILOG = 2 };

/** Milliseconds of a monotonic clock. */
int64_t now_ms(void);

/**
 * Tells the agent and waits for its word that the guests in the way are gone. NULL, or why there is no such word.
 * *there says whether anything listens at all.
 */
const char *ask_agent(const char *socket_path, enum hook_event event, uint32_t job_id, uint32_t uid, int64_t end_ms,
                      bool *there);

/** Kills what is in the guest cgroups listed in the file until they are empty or the time is over. Number left. */
int empty_guests(const char *roots_path, int64_t end_ms, bool *found);

#endif
