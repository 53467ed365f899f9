/** Which CPUs a job has, from made-up machines and cgroups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../../scheduler-plugin/spank/plugin.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sublet_cores_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command); /* NOLINT: a folder that this test made */
}

static void put_cpu(unsigned cpu, const char *threads, const char *package)
{
    char name[128];
    snprintf(name, sizeof(name), "cpu%u/topology/core_cpus_list", cpu);
    put(name, threads);
    snprintf(name, sizeof(name), "cpu%u/topology/package_cpus_list", cpu);
    put(name, package);
}

static void expect(const char *abstract, const char *expected)
{
    uint32_t cores[64];
    char text[256] = "";
    size_t count = cores_of_abstract(abstract, folder, cores, 64);
    for (size_t i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s%u", i == 0 ? "" : ",", cores[i]);
    assert_string_equal(text, expected);
}

/** Two sockets of two cores of two threads, the sockets interleaved and the second threads at the end: as many BIOSes
 * do. */
static void abstract_numbers_go_by_socket_then_core(void **state)
{
    (void)state;
    put("online", "0-7\n");
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        char threads[16];
        snprintf(threads, sizeof(threads), "%u,%u\n", cpu % 4, cpu % 4 + 4);
        put_cpu(cpu, threads, cpu % 2 == 0 ? "0,2,4,6\n" : "1,3,5,7\n");
    }
    expect("0", "0,4");
    expect("1", "2,6");
    expect("2", "1,5");
    expect("1-2", "1,2,5,6");
    expect("0-3", "0,1,2,3,4,5,6,7");
    expect("", "");
    expect("nonsense", "");
    expect("4", ""); /* more cores than there are: numbered in another way */
    expect("0-4294967295", "");
    expect("3-1", "");
}

static void cores_that_are_off_are_not_counted(void **state)
{
    (void)state;
    put("online", "0,2-3\n");
    put_cpu(0, "0\n", "0-3\n");
    put_cpu(2, "2\n", "0-3\n");
    put_cpu(3, "3\n", "0-3\n");
    expect("1", "2");
    expect("0,2", "0,3");
}

static void older_kernels_name_their_files_otherwise(void **state)
{
    (void)state;
    put("online", "0-1\n");
    put("cpu0/topology/thread_siblings_list", "0-1\n");
    put("cpu0/topology/core_siblings_list", "0-1\n");
    put("cpu1/topology/thread_siblings_list", "0-1\n");
    put("cpu1/topology/core_siblings_list", "0-1\n");
    expect("0", "0,1");
}

static void expect_job(const char *cgroup, const char *expected)
{
    uint32_t cores[64];
    char text[256] = "", files[2][128];
    put("cgroup", cgroup);
    snprintf(files[0], sizeof(files[0]), "%s/cgroup", folder);
    snprintf(files[1], sizeof(files[1]), "%s/mounts", folder);
    size_t count = cores_of_job(files[0], files[1], cores, 64);
    for (size_t i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s%u", i == 0 ? "" : ",", cores[i]);
    assert_string_equal(text, expected);
}

static void a_jobs_cpuset_is_above_its_step(void **state)
{
    (void)state;
    char mounts[512];
    snprintf(mounts, sizeof(mounts),
             "cgroup2 %s/unified cgroup2 rw 0 0\ncgroup %s/cpuset cgroup rw,nosuid,cpuset 0 0\n"
             "cgroup %s/cpu cgroup rw,cpu,cpuacct 0 0\n",
             folder, folder, folder);
    put("mounts", mounts);
    put("cpuset/slurm_n1/uid_7/job_3/cpuset.cpus", "1,4-5\n");
    put("cpuset/slurm_n1/uid_7/job_3/step_0/cpuset.cpus", "1\n");
    expect_job("4:memory:/slurm_n1/uid_7/job_3/step_0\n3:cpuset:/slurm_n1/uid_7/job_3/step_0\n0::/x\n", "1,4,5");
    expect_job("3:cpuset:/slurm_n1/uid_7/job_3/step_0/task_0\n", "1,4,5");
    expect_job("3:cpuset:/slurm_n1/system\n", "");
    expect_job("3:cpuset:/slurm_n1/uid_7/job_9/step_0\n", "");
    expect_job("3:cpuset:/\n0::/user.slice\n", ""); /* no cores are constrained here */
    snprintf(mounts, sizeof(mounts), "cgroup2 %s/v2 cgroup2 rw 0 0\n", folder);
    put("mounts", mounts);
    put("v2/system.slice/slurmstepd.scope/job_3/cpuset.cpus", "2-3\n");
    put("v2/slurm.slice/sABC/cpuset.cpus", "6\n");
    expect_job("0::/system.slice/slurmstepd.scope/job_3/step_0/user/task_0\n", "2,3");
    expect_job("0::/slurm.slice/sABC/step_batch/user/task_0\n", "6");
}

/** Where the layouts of test/unit/agent/slurm-layouts.ts put a step's task. */
static const struct {
    const char *job, *below;
} places[] = {
    {"/system.slice/slurmstepd.scope/job_42", "/step_batch/user/task_0"},           /* v2 to 25.11 */
    {"/system.slice/n7_slurmstepd.scope/job_42", "/step_extern/user/task_special"}, /* several slurmds */
    {"/hpc.slice/slurmstepd.scope/job_42", "/step_interactive/user/task_0"},        /* CgroupSlice=, 25.11 */
    {"/system.slice/slurmstepd.scope/sEKNKTV3WPV500", "/step_0/user/task_0"},       /* 26.05 */
    {"/hpc.slice/n7_slurmstepd.scope/sEKNKTV3WPV500", "/step_0/slurm"},             /* its slurmstepd */
    {"/system.slice/slurmstepd.scope/job_43", "/step_0+1/user/task_0"},             /* heterogeneous */
    {"/a.slice/slurmstepd.scope/job_1/step_0/user/task_0/system.slice/slurmstepd.scope/job_42", "/step_0/user/task_0"},
};

static void every_layout_of_v2_has_the_jobs_cpuset_above_the_step(void **state)
{
    (void)state;
    char text[512], name[512];
    snprintf(text, sizeof(text), "cgroup2 %s/v2 cgroup2 rw,nosuid 0 0\n", folder);
    put("mounts", text);
    put("v2/a.slice/slurmstepd.scope/job_1/cpuset.cpus", "7\n"); /* not the inner one's */
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(text, sizeof(text), "0::%s%s\n", places[i].job, places[i].below);
        expect_job(text, ""); /* no cpuset there */
        snprintf(name, sizeof(name), "v2%s/cpuset.cpus", places[i].job);
        put(name, "\n");
        expect_job(text, ""); /* cores are not constrained */
        put(name, "2-3\n");
        expect_job(text, "2,3");
    }
    expect_job("0::/system.slice/slurmstepd.scope/system\n", "");
    expect_job("0::/user.slice/my_step_/x\n", "");
    expect_job("0::/step_0\n", "");
    expect_job("0:\n", "");
}

int main(void)
{
#define CORES_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CORES_TEST(abstract_numbers_go_by_socket_then_core),
        CORES_TEST(cores_that_are_off_are_not_counted),
        CORES_TEST(older_kernels_name_their_files_otherwise),
        CORES_TEST(a_jobs_cpuset_is_above_its_step),
        CORES_TEST(every_layout_of_v2_has_the_jobs_cpuset_above_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
