/** See fake_slurm.h. These are the symbols that a plugin finds in srun or slurmstepd. */
#include "fake_slurm.h"

#include <slurm/slurm_errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

struct fake_slurm slurm;

#pragma GCC visibility push(default)

spank_context_t spank_context(void)
{
    return slurm.context;
}

spank_err_t spank_option_register(spank_t spank, struct spank_option *option)
{
    (void)spank;
    slurm.option = option;
    return ESPANK_SUCCESS;
}

spank_err_t spank_get_item(spank_t spank, spank_item_t item, ...)
{
    va_list list;
    spank_err_t status = ESPANK_SUCCESS;
    (void)spank;
    va_start(list, item);
    if (item == S_JOB_ID)
        *va_arg(list, uint32_t *) = 4711;
    else if (item == S_JOB_UID)
        *va_arg(list, uid_t *) = 20001;
    else if (item == S_JOB_STEPID)
        *va_arg(list, uint32_t *) = 3;
    else if (item == S_JOB_ALLOC_MEM)
        *va_arg(list, uint64_t *) = slurm.alloc_mem_mib;
    else if (item == S_JOB_ALLOC_CORES && slurm.alloc_cores != NULL)
        *va_arg(list, char **) = (char *)slurm.alloc_cores;
    else
        status = ESPANK_NOT_AVAIL;
    va_end(list);
    return status;
}

spank_err_t spank_getenv(spank_t spank, const char *name, char *into, int size)
{
    (void)spank;
    if (strcmp(name, "SLURM_JOB_PARTITION") != 0 || slurm.partition == NULL)
        return ESPANK_ENV_NOEXIST;
    snprintf(into, (size_t)size, "%s", slurm.partition);
    return ESPANK_SUCCESS;
}

static void append(char *text, size_t size, const char *name, const char *value)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s=%s;", name, value);
}

spank_err_t spank_setenv(spank_t spank, const char *name, const char *value, int overwrite)
{
    (void)spank, (void)overwrite;
    append(slurm.environment, sizeof(slurm.environment), name, value);
    return ESPANK_SUCCESS;
}

spank_err_t spank_job_control_setenv(spank_t spank, const char *name, const char *value, int overwrite)
{
    (void)spank, (void)overwrite;
    append(slurm.job_control, sizeof(slurm.job_control), name, value);
    return ESPANK_SUCCESS;
}

void slurm_error(const char *format, ...)
{
    va_list list;
    size_t used = strlen(slurm.errors);
    va_start(list, format);
    vsnprintf(slurm.errors + used, sizeof(slurm.errors) - used, format, list);
    va_end(list);
}
