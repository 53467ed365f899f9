/** The parts of spank_sublet.so. Each context of Slurm has its own process: what one stores, no other sees. */
#ifndef SUBLET_SPANK_H
#define SUBLET_SPANK_H

#include "../hook/hook.h"

#include <slurm/spank.h>
#include <slurm/slurm_errno.h>

#define SETTING_BYTES 256
#define LIST_BYTES    16384

struct settings {
    char socket_path[SETTING_BYTES], roots_path[SETTING_BYTES];
    uint32_t timeout_ms;
};

/**
 * Reads the arguments of plugstack.conf (KEY=VALUE) into *settings, which has its defaults where they say nothing.
 * False, with a line in `why`, at the first that is not understood; those before and after it count all the same.
 */
bool settings_read(struct settings *settings, int count, char **arguments, char *why, size_t size);

/** srun, sbatch, salloc: the option --sublet, and what of it goes with the job. */
int consent_register(spank_t spank);
int consent_submit(spank_t spank);
/** What was said, in this process. */
enum hook_consent consent_said(void);

/** slurmstepd, as root, before the job's cgroup exists: tells the agent and waits. Never fails. */
void step_begins(spank_t spank, const struct settings *settings);
/** A task, as root, before exec: if the job's cpuset is not what the agent was told, tells it again. Never fails. */
void step_task(const struct settings *settings);

/** tell_agent in a thread of its own, left behind when it takes longer than it may. */
void tell_bounded(const struct settings *settings, const struct hook_notice *notice);

/** Numbers of a list such as "0-3,8"; at most `most`, beyond which it is cut. 0: empty or no list. */
size_t list_numbers(const char *text, uint32_t *out, size_t most);

/**
 * The Linux numbers, ascending, of cores that Slurm numbers abstractly (by socket, then core, as hwloc sees them), with
 * all their threads. `cpus_folder` is /sys/devices/system/cpu. 0: not known.
 */
size_t cores_of_abstract(const char *abstract, const char *cpus_folder, uint32_t *out, size_t most);

/**
 * The cores in the cpuset of this process's job. 0: it has none of its own. The arguments are /proc/self/cgroup and
 * /proc/self/mounts.
 */
size_t cores_of_job(const char *cgroup_file, const char *mounts_file, uint32_t *out, size_t most);

#endif
