/**
 * spank_sublet.so: gives job owners their say (--sublet=share|no) and tells the agent, from slurmstepd, which cores a
 * step is about to run on. Dispatches by context; anywhere but in srun, sbatch and salloc it returns success whatever
 * happens, since a fault of ours may not cost a job.
 *
 * In plugstack.conf:  optional /usr/lib/sublet/spank_sublet.so [socket=PATH] [roots=PATH] [timeout_ms=N]
 */
#include "plugin.h"

#pragma GCC visibility push(default)
SPANK_PLUGIN(sublet, 1)
#pragma GCC visibility pop

#define EXPORT __attribute__((visibility("default")))

static struct settings settings;
static bool refused;

static bool submits(void)
{
    return spank_context() == S_CTX_LOCAL || spank_context() == S_CTX_ALLOCATOR;
}

/**
 * Arguments that are not understood: who submits hears of them, and the plugin takes no part (an `optional` one costs
 * no job). In slurmstepd the cores are taken back all the same.
 */
EXPORT int slurm_spank_init(spank_t spank, int count, char **arguments)
{
    char why[2 * SETTING_BYTES];
    refused = !settings_read(&settings, count, arguments, why, sizeof(why));
    if (refused)
        slurm_error("sublet: plugstack.conf: %s", why);
    if (submits())
        return refused ? ESPANK_BAD_ARG : consent_register(spank);
    if (spank_context() == S_CTX_REMOTE)
        (void)consent_register(spank);
    return ESPANK_SUCCESS;
}

EXPORT int slurm_spank_init_post_opt(spank_t spank, int count, char **arguments)
{
    (void)count, (void)arguments;
    if (submits())
        return refused ? ESPANK_SUCCESS : consent_submit(spank);
    if (spank_context() == S_CTX_REMOTE)
        step_begins(spank, &settings);
    return ESPANK_SUCCESS;
}

EXPORT int slurm_spank_task_init_privileged(spank_t spank, int count, char **arguments)
{
    (void)spank, (void)count, (void)arguments;
    if (spank_context() == S_CTX_REMOTE)
        step_task(&settings);
    return ESPANK_SUCCESS;
}
