/**
 * In slurmstepd. The job's cgroup is not there yet when the agent must be told, so the cores are those of the job's
 * allocation: Slurm's abstract numbers, turned into Linux's by this machine's topology. A site's configuration may
 * number otherwise (threads as cores, caches as sockets), so each task looks at the cpuset that the job got in the end,
 * and tells the agent again if it holds a core that was not named. Memory is the job's on this node.
 *
 * All cores of the job are named, not the step's alone: what it holds is its own.
 */
#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES (HOOK_NAME_MAX + 1)

static uint32_t told[HOOK_CORES_MAX];
static char partition[NAME_BYTES], account[NAME_BYTES], qos[NAME_BYTES];
static struct hook_notice notice = {.event = HOOK_STEP, .cores = told};

static const char *name_of(spank_t spank, const char *variable, char *into)
{
    if (spank_getenv(spank, variable, into, NAME_BYTES) != ESPANK_SUCCESS)
        into[0] = '\0';
    return into;
}

static void give_environment(spank_t spank, const struct settings *settings)
{
    (void)spank_setenv(spank, "SUBLET_AGENT_SOCKET", settings->socket_path, 0);
    if (notice.consent != HOOK_SAID_NOTHING)
        (void)spank_setenv(spank, "SUBLET_CONSENT", notice.consent == HOOK_SHARE ? "share" : "no", 1);
}

void step_begins(spank_t spank, const struct settings *settings)
{
    char *abstract = NULL;
    uid_t uid = 0;
    uint64_t mebibytes = 0;
    if (spank_get_item(spank, S_JOB_ID, &notice.job_id) != ESPANK_SUCCESS || notice.job_id == 0)
        return;
    if (spank_get_item(spank, S_JOB_UID, &uid) == ESPANK_SUCCESS)
        notice.uid = uid;
    (void)spank_get_item(spank, S_JOB_STEPID, &notice.step_id);
    if (spank_get_item(spank, S_JOB_ALLOC_CORES, &abstract) == ESPANK_SUCCESS && abstract != NULL)
        notice.core_count = cores_of_abstract(abstract, "/sys/devices/system/cpu", told, HOOK_CORES_MAX);
    if (spank_get_item(spank, S_JOB_ALLOC_MEM, &mebibytes) == ESPANK_SUCCESS && mebibytes < (uint64_t)1 << 40)
        notice.memory_bytes = mebibytes << 20;
    notice.consent = consent_said();
    notice.partition = name_of(spank, "SLURM_JOB_PARTITION", partition);
    notice.account = name_of(spank, "SLURM_JOB_ACCOUNT", account);
    notice.qos = name_of(spank, "SLURM_JOB_QOS", qos);
    give_environment(spank, settings);
    tell_bounded(settings, &notice);
}

static bool was_told(uint32_t core)
{
    for (size_t i = 0; i < notice.core_count; i++)
        if (told[i] == core)
            return true;
    return false;
}

void step_task(const struct settings *settings)
{
    static uint32_t held[HOOK_CORES_MAX];
    size_t count = cores_of_job("/proc/self/cgroup", "/proc/self/mounts", held, HOOK_CORES_MAX), news = 0;
    if (notice.job_id == 0 || notice.core_count == 0) /* without cores the agent took all back */
        return;
    for (size_t i = 0; i < count; i++)
        if (!was_told(held[i]))
            news++;
    if (news == 0)
        return;
    struct hook_notice again = notice;
    again.cores = held;
    again.core_count = count;
    tell_bounded(settings, &again);
}
