/** What sublet-hook and the SPANK plugin share: the notice to the agent, and what they do without its answer. */
#ifndef SUBLET_HOOK_H
#define SUBLET_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOOK_SOCKET_PATH      "/run/sublet/agent.sock"
#define HOOK_ROOTS_PATH       "/run/sublet/cgroups"
#define HOOK_TIMEOUT_MS       2000
#define HOOK_TIMEOUT_MAX_MS   60000
#define HOOK_EMPTY_TIMEOUT_MS 1000
#define HOOK_SLACK_MS         300
/** Cores and bytes of a name that are sent; what is beyond is left out. */
#define HOOK_CORES_MAX 8192
#define HOOK_NAME_MAX  255

/** As in proto/sublet/v1/local.proto and types.proto. */
enum hook_event { HOOK_PROLOG = 1, HOOK_EPILOG = 2, HOOK_STEP = 3 };
enum hook_consent { HOOK_SAID_NOTHING = 0, HOOK_SHARE = 1, HOOK_NO = 2 };

/** LocalHook. Everything is the caller's; names may be NULL (not known). */
struct hook_notice {
    enum hook_event event;
    uint32_t job_id, uid, step_id;
    enum hook_consent consent;
    const uint32_t *cores; /**< Linux numbers */
    size_t core_count;
    uint64_t memory_bytes; /**< 0: not known */
    const char *partition, *account, *qos;
};

/** Where the agent listens, which file lists the guest cgroups, and how long its answer is waited for. */
struct hook_site {
    const char *socket_path, *roots_path;
    uint32_t timeout_ms;
};

/** Milliseconds of a monotonic clock. */
int64_t now_ms(void);

/** The number in a text, or `otherwise` if it is none or beyond `most`. */
uint32_t hook_number(const char *text, uint32_t most, uint32_t otherwise);

/** "share" and "no"; NULL and "" say nothing; anything else counts as a no. */
enum hook_consent hook_consent_of(const char *text);

/**
 * Tells the agent and waits for its word that the guests in the way are gone. NULL, or why there is no such word.
 * *there says whether anything listens at all.
 */
const char *ask_agent(const char *socket_path, const struct hook_notice *notice, int64_t end_ms, bool *there);

/** Kills what is in the guest cgroups listed in the file until they are empty or the time is over. Number left. */
int empty_guests(const char *roots_path, int64_t end_ms, bool *found);

/**
 * Asks the agent; without its word, empties the guests' cgroups (before a job only: after it, no guest is in anybody's
 * way). Takes timeout_ms + HOOK_EMPTY_TIMEOUT_MS unless the kernel blocks. True: `text` says what was done here.
 */
bool tell_agent(const struct hook_site *site, const struct hook_notice *notice, char *text, size_t size);

#endif
