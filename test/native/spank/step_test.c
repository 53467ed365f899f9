/** What a task does when the cpuset that its job got is not what the agent was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../../scheduler-plugin/spank/plugin.h"
#include "fake_slurm.h"

static uint32_t cpuset[2];
static size_t cpuset_count, told_count;
static uint32_t told[2];
static int calls;

size_t cores_of_abstract(const char *abstract, const char *cpus_folder, uint32_t *out, size_t most)
{
    (void)abstract, (void)cpus_folder, (void)most;
    out[0] = 4;
    return 1;
}

size_t cores_of_job(const char *cgroup_file, const char *mounts_file, uint32_t *out, size_t most)
{
    (void)cgroup_file, (void)mounts_file, (void)most;
    memcpy(out, cpuset, sizeof(cpuset));
    return cpuset_count;
}

enum hook_consent consent_said(void)
{
    return HOOK_SAID_NOTHING;
}

void tell_bounded(const struct settings *settings, const struct hook_notice *notice)
{
    (void)settings;
    calls++;
    assert_int_equal(notice->job_id, 4711);
    told_count = notice->core_count;
    memcpy(told, notice->cores, told_count * sizeof(told[0]));
}

static void run_task(size_t count, uint32_t first, uint32_t second)
{
    struct settings settings = {HOOK_SOCKET_PATH, HOOK_ROOTS_PATH, 1};
    cpuset_count = count;
    cpuset[0] = first;
    cpuset[1] = second;
    calls = 0;
    step_task(&settings);
}

static void a_task_tells_again_what_was_not_foreseen(void **state)
{
    (void)state;
    struct settings settings = {HOOK_SOCKET_PATH, HOOK_ROOTS_PATH, 1};
    slurm = (struct fake_slurm){.context = S_CTX_REMOTE, .alloc_cores = "1"};
    run_task(1, 4, 0);
    assert_int_equal(calls, 0); /* of no step that is known */
    step_begins(NULL, &settings);
    assert_int_equal(told_count, 1);
    run_task(1, 4, 0);
    assert_int_equal(calls, 0);
    run_task(0, 0, 0); /* Slurm constrains no cores */
    assert_int_equal(calls, 0);
    run_task(2, 4, 6);
    assert_int_equal(calls, 1);
    assert_int_equal(told_count, 2);
    assert_int_equal(told[1], 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_task_tells_again_what_was_not_foreseen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
