/**
 * --sublet=share|no. Slurm carries the option to slurmstepd by itself, also from an sbatch to the sruns inside it. For
 * the prolog and for job_submit it goes into the job's record as SUBLET_CONSENT (SPANK_SUBLET_CONSENT in the prolog).
 */
#include "plugin.h"

#include <string.h>

static enum hook_consent said;

static int on_option(int value, const char *argument, int remote)
{
    (void)value;
    if (!remote && (argument == NULL || (strcmp(argument, "share") != 0 && strcmp(argument, "no") != 0))) {
        slurm_error(
            "sublet: --sublet=%s is not understood: say share (guests may use what the job leaves unused) or no",
            argument == NULL ? "" : argument);
        return ESPANK_BAD_ARG;
    }
    said = hook_consent_of(argument);
    return ESPANK_SUCCESS;
}

int consent_register(spank_t spank)
{
    static struct spank_option option = {
        .name = "sublet",
        .arginfo = "share|no",
        .usage = "whether guests may use what the job holds and leaves unused",
        .has_arg = 1,
        .cb = on_option,
    };
    return spank_option_register(spank, &option);
}

int consent_submit(spank_t spank)
{
    if (said == HOOK_SAID_NOTHING)
        return ESPANK_SUCCESS;
    /* Inside a job there is no record to write to; its own says already what it says. */
    (void)spank_job_control_setenv(spank, "SUBLET_CONSENT", said == HOOK_SHARE ? "share" : "no", 1);
    return ESPANK_SUCCESS;
}

enum hook_consent consent_said(void)
{
    return said;
}
