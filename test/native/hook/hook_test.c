/**
 * sublet-hook against a fake agent that answers, is silent, closes, talks nonsense or is not there; its guests are real
 * processes in real cgroups. Whatever happens: exit status 0, nothing on stdout, and a bounded time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "listener.h"

#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 160, TIMEOUT_MS = 500, GUESTS = 3, HIERARCHIES = 2 };

static const char *const controllers[HIERARCHIES] = {"pids", "freezer"};

struct scene {
    char folder[PATH_BYTES], socket[PATH_BYTES], roots[PATH_BYTES];
    char groups[HIERARCHIES][PATH_BYTES], leases[HIERARCHIES][PATH_BYTES + 8];
    pid_t guests[GUESTS], agent;
    char errors[4096]; /* what the hook wrote */
    char request[256];
    size_t request_size;
    int request_pipe;
    const char *more[4]; /* of the hook's environment */
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void put(const char *folder, const char *file, const char *text)
{
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static pid_t make_guest(const struct scene *scene)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (size_t i = 0; i < HIERARCHIES; i++)
        put(scene->leases[i], "cgroup.procs", "0");
    for (;;)
        pause();
}

static bool has_joined(const struct scene *scene)
{
    char path[2 * PATH_BYTES], line[32];
    snprintf(path, sizeof(path), "%s/cgroup.procs", scene->leases[HIERARCHIES - 1]);
    FILE *file = fopen(path, "re");
    int count = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        count++;
    if (file != NULL)
        fclose(file);
    return count == GUESTS;
}

static int begin(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    char text[4 * PATH_BYTES] = "";
    snprintf(scene->folder, PATH_BYTES, "/tmp/sublet_hook_XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->socket, PATH_BYTES, "%.100s/agent.sock", scene->folder);
    snprintf(scene->roots, PATH_BYTES, "%.100s/cgroups", scene->folder);
    for (size_t i = 0; i < HIERARCHIES; i++) {
        snprintf(scene->groups[i], PATH_BYTES, "/sys/fs/cgroup/%s/sublet_hook_test_%d", controllers[i], (int)getpid());
        snprintf(scene->leases[i], sizeof(scene->leases[i]), "%s/lease_1", scene->groups[i]);
        assert_int_equal(mkdir(scene->groups[i], 0755), 0);
        assert_int_equal(mkdir(scene->leases[i], 0755), 0);
        strcat(strcat(text, scene->groups[i]), "\n");
    }
    put(scene->folder, "cgroups", text);
    for (size_t i = 0; i < GUESTS; i++)
        scene->guests[i] = make_guest(scene);
    for (int64_t end = now_us() + 5000000; !has_joined(scene) && now_us() < end;)
        poll(NULL, 0, 1);
    assert_true(has_joined(scene));
    *state = scene;
    return 0;
}

static int end(void **state)
{
    struct scene *scene = *state;
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof(path), "%s", scene->leases[1]);
    put(path, "freezer.state", "THAWED");
    put(scene->groups[1], "freezer.state", "THAWED");
    for (size_t i = 0; i < GUESTS; i++) {
        if (scene->guests[i] <= 0)
            continue;
        kill(scene->guests[i], SIGKILL);
        waitpid(scene->guests[i], NULL, 0);
    }
    if (scene->agent > 0) {
        kill(scene->agent, SIGKILL);
        waitpid(scene->agent, NULL, 0);
        close(scene->request_pipe);
    }
    int left = 0;
    for (size_t i = 0; i < HIERARCHIES; i++)
        left += rmdir(scene->leases[i]) + rmdir(scene->groups[i]);
    unlink(scene->roots);
    unlink(scene->socket);
    left += rmdir(scene->folder);
    free(scene);
    return left == 0 ? 0 : -1;
}

static void start_fake_agent(struct scene *scene, const struct reply *reply)
{
    scene->agent = start_listener(scene->socket, reply, &scene->request_pipe);
    assert_true(scene->agent > 0);
}

/** Runs the hook as slurmd does; how long it took. Checks the exit status and that stdout stays empty. */
static int64_t run_hook(struct scene *scene, const char *event, const char *context)
{
    int out[2], errors[2], status = 0;
    char limit[16], byte;
    snprintf(limit, sizeof(limit), "%d", TIMEOUT_MS);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(errors), 0);
    int64_t begin_us = now_us();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(errors[1], 2);
        close_range(3, ~0U, 0);
        char job[] = "SLURM_JOB_ID=4711", uid[] = "SLURM_JOB_UID=20001", variable[64];
        snprintf(variable, sizeof(variable), "SLURM_SCRIPT_CONTEXT=%s", context);
        char *environment[] = {job,
                               uid,
                               variable,
                               (char *)scene->more[0],
                               (char *)scene->more[1],
                               (char *)scene->more[2],
                               (char *)scene->more[3],
                               NULL};
        char *arguments[] = {(char *)"sublet-hook",
                             (char *)"--socket",
                             scene->socket,
                             (char *)"--roots",
                             scene->roots,
                             (char *)"--timeout-ms",
                             limit,
                             (char *)event,
                             NULL};
        execve(HOOK_PATH, arguments, environment);
        _exit(127);
    }
    close(out[1]);
    close(errors[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    int64_t took_us = now_us() - begin_us;
    assert_int_equal(read(out[0], &byte, 1), 0);
    ssize_t size = read(errors[0], scene->errors, sizeof(scene->errors) - 1);
    scene->errors[size > 0 ? size : 0] = '\0';
    close(out[0]);
    close(errors[0]);
    assert_int_equal(status, 0);
    return took_us;
}

static int guests_alive(struct scene *scene)
{
    int alive = 0;
    for (size_t i = 0; i < GUESTS; i++)
        if (scene->guests[i] > 0 && waitpid(scene->guests[i], NULL, WNOHANG) == 0)
            alive++;
        else
            scene->guests[i] = 0;
    return alive;
}

/** It waited as long as it should, killed all guests within its second, and said so in one line. */
static void assert_helped_itself(struct scene *scene, int64_t took_us, int64_t least_ms, int64_t most_ms)
{
    assert_in_range(took_us / 1000, least_ms, most_ms);
    assert_int_equal(guests_alive(scene), 0);
    assert_non_null(strstr(scene->errors, "job 4711"));
    assert_non_null(strstr(scene->errors, "0 processes left"));
    assert_ptr_equal(strchr(scene->errors, '\n'), scene->errors + strlen(scene->errors) - 1);
}

static void an_answer_is_all_it_takes(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(NOTICE OTHER DONE);
    start_fake_agent(scene, &reply);
    int64_t took_us = run_hook(scene, "prolog", "");
    assert_in_range(took_us, 0, 1000000); /* half of what it would wait */
    assert_int_equal(guests_alive(scene), GUESTS);
    assert_string_equal(scene->errors, "");
    /* {id: 1, hook: {event: PROLOG, job_id: 4711, uid: 20001}} as protoc writes it. */
    static const char expected[] = "\x0d\0\0\0\x08\x01\x32\x09\x08\x01\x10\xe7\x24\x18\xa1\x9c\x01";
    char request[256];
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), sizeof(expected) - 1);
    assert_memory_equal(request, expected, sizeof(expected) - 1);
}

/** As in test/unit/wire/recorded-local.json. */
static void what_is_known_of_consent_goes_with_a_prolog(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(DONE);
    static const char expected[] = "\x24\0\0\0\x08\x01\x32\x20\x08\x01\x10\xe7\x24\x18\xa1\x9c\x01\x20\x01"
                                   "\x3a\x04main\x42\x07physics\x4a\x04long";
    char request[256];
    scene->more[0] = "SPANK_SUBLET_CONSENT=share";
    scene->more[1] = "SLURM_JOB_PARTITION=main";
    scene->more[2] = "SLURM_JOB_ACCOUNT=physics";
    scene->more[3] = "SLURM_JOB_QOS=long";
    start_fake_agent(scene, &reply);
    run_hook(scene, "prolog", "");
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), sizeof(expected) - 1);
    assert_memory_equal(request, expected, sizeof(expected) - 1);
    scene->more[0] = "SPANK_SUBLET_CONSENT=shar"; /* what is not understood is a no */
    run_hook(scene, "prolog", "");
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), sizeof(expected) - 1);
    assert_int_equal(request[18], 2);
}

static void the_context_tells_prolog_from_epilog(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(DONE);
    char request[256];
    start_fake_agent(scene, &reply);
    run_hook(scene, NULL, "epilog_slurmd");
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), 17);
    assert_int_equal(request[9], 2);
    run_hook(scene, NULL, "prolog_slurmd");
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), 17);
    assert_int_equal(request[9], 1);
}

static void an_agent_that_is_silent_is_waited_for(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = {.size = 0};
    start_fake_agent(scene, &reply);
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), TIMEOUT_MS, TIMEOUT_MS + 1500);
}

static void an_agent_that_hangs_before_accept_is_waited_for(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(DONE);
    start_fake_agent(scene, &reply);
    kill(scene->agent, SIGSTOP);
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), TIMEOUT_MS, TIMEOUT_MS + 1500);
}

static void an_agent_that_only_chatters_is_left_in_time(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = {.bytes = NOTICE, .size = sizeof(NOTICE) - 1, .endless = true};
    start_fake_agent(scene, &reply);
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), TIMEOUT_MS, TIMEOUT_MS + 1500);
}

static void other_answers_are_none(void **state)
{
    struct scene *scene = *state;
    static const struct reply replies[] = {
        {.closes = true},
        {.bytes = "\x02", .size = 1, .closes = true},
        REPLY("\0\0\0\0"),                   /* no length */
        REPLY("\xff\xff\xff\x7f"),           /* too long */
        REPLY("\x04\0\0\0\x08\x01\x10\x07"), /* PERMISSION_DENIED */
        REPLY("\x04\0\0\0\xff\xff\xff\xff"), /* a varint without end */
        REPLY("\x04\0\0\0\x08\x01\x1a\x7f"), /* a text beyond its frame */
        REPLY("\x03\0\0\0\x08\x01\x0b"),     /* no such wire type */
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        unlink(scene->socket);
        start_fake_agent(scene, &replies[i]);
        put(scene->leases[0], "pids.max", "max"); /* the hook's before */
        for (size_t g = 0; g < GUESTS; g++)
            if (scene->guests[g] == 0)
                scene->guests[g] = make_guest(scene);
        for (int64_t limit = now_us() + 5000000; !has_joined(scene) && now_us() < limit;)
            poll(NULL, 0, 1);
        int64_t took_us = run_hook(scene, "prolog", "");
        kill(scene->agent, SIGKILL);
        waitpid(scene->agent, NULL, 0);
        close(scene->request_pipe);
        scene->agent = 0;
        assert_helped_itself(scene, took_us, 0, TIMEOUT_MS - 20);
    }
}

static void without_agent_it_empties_at_once(void **state)
{
    struct scene *scene = *state;
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), 0, TIMEOUT_MS - 20);
}

static void frozen_guests_die_too(void **state)
{
    struct scene *scene = *state;
    put(scene->leases[1], "freezer.state", "FROZEN");
    put(scene->groups[1], "freezer.state", "FROZEN");
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), 0, TIMEOUT_MS - 20);
}

/** Each child forks its successor and ends; always some are alive, none for long. */
static void guests_that_fork_without_end_die_too(void **state)
{
    struct scene *scene = *state;
    pid_t first = fork();
    if (first == 0) {
        put(scene->leases[0], "cgroup.procs", "0");
        put(scene->leases[1], "cgroup.procs", "0");
        put(scene->leases[0], "pids.max", "50");
        for (;;)
            if (fork() > 0)
                _exit(0);
    }
    waitpid(first, NULL, 0);
    assert_helped_itself(scene, run_hook(scene, "prolog", ""), 0, 1500);
    char path[2 * PATH_BYTES], byte;
    snprintf(path, sizeof(path), "%s/cgroup.procs", scene->leases[1]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
}

static void after_a_job_nothing_is_in_the_way(void **state)
{
    struct scene *scene = *state;
    assert_in_range(run_hook(scene, "epilog", ""), 0, 1000000); /* half of what it would wait */
    assert_int_equal(guests_alive(scene), GUESTS);
}

static void without_agent_and_roots_there_is_nothing_to_do(void **state)
{
    struct scene *scene = *state;
    unlink(scene->roots);
    assert_in_range(run_hook(scene, "prolog", ""), 0, 1000000); /* half of what it would wait */
    assert_int_equal(guests_alive(scene), GUESTS);
    assert_string_equal(scene->errors, "");
}

static void roots_that_are_none_are_left_alone(void **state)
{
    struct scene *scene = *state;
    char text[4 * PATH_BYTES], slurm[PATH_BYTES], inside[2 * PATH_BYTES];
    /* A group of Slurm's with a process in it, the mount itself, a folder that is no cgroup, a way around. */
    snprintf(slurm, sizeof(slurm), "/sys/fs/cgroup/pids/slurm_hook_test_%d", (int)getpid());
    assert_int_equal(mkdir(slurm, 0755), 0);
    snprintf(inside, sizeof(inside), "%s/cgroup.procs", slurm);
    pid_t job = fork();
    if (job == 0) {
        put(slurm, "cgroup.procs", "0");
        for (;;)
            pause();
    }
    snprintf(text, sizeof(text), "%s\n/sys/fs/cgroup/pids\n/sys/fs/cgroup/pids/\n%s\n%s/../%s\nnonsense\n", slurm,
             scene->folder, scene->groups[0], strrchr(scene->groups[0], '/') + 1);
    put(scene->folder, "cgroups", text);
    run_hook(scene, "prolog", "");
    bool job_lives = waitpid(job, NULL, WNOHANG) == 0;
    int alive = guests_alive(scene);
    kill(job, SIGKILL);
    if (job_lives)
        waitpid(job, NULL, 0);
    for (int64_t limit = now_us() + 5000000; rmdir(slurm) != 0 && now_us() < limit;)
        poll(NULL, 0, 1);
    assert_int_not_equal(access(slurm, F_OK), 0);
    assert_true(job_lives);
    assert_int_equal(alive, GUESTS);
}

static void a_roots_file_that_others_may_write_is_not_read(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(chmod(scene->roots, 0666), 0);
    run_hook(scene, "prolog", "");
    assert_int_equal(guests_alive(scene), GUESTS);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void its_own_cost_is_small(void **state)
{
    enum { ROUNDS = 100 };
    struct scene *scene = *state;
    static const struct reply reply = REPLY(DONE);
    static int64_t took_us[ROUNDS];
    start_fake_agent(scene, &reply);
    for (int i = 0; i < ROUNDS; i++)
        took_us[i] = run_hook(scene, "prolog", "");
    qsort(took_us, ROUNDS, sizeof(took_us[0]), compare);
    print_message("{\"what\":\"sublet-hook, answered at once\",\"rounds\":%d,\"p50_us\":%lld,\"p99_us\":%lld}\n",
                  ROUNDS, (long long)took_us[ROUNDS / 2], (long long)took_us[ROUNDS * 99 / 100]);
    assert_in_range(took_us[ROUNDS / 2], 0, 200000); /* usually 2 ms: a tenth of what a prolog may wait for us */
}

int main(void)
{
    if (geteuid() != 0 || access("/sys/fs/cgroup/pids/cgroup.procs", W_OK) != 0 ||
        access("/sys/fs/cgroup/freezer/cgroup.procs", W_OK) != 0) {
        fprintf(stderr, "skipped: needs root and the cgroup v1 controllers pids and freezer\n");
        return 77; /* for CTest: skipped */
    }
#define HOOK_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        HOOK_TEST(an_answer_is_all_it_takes),
        HOOK_TEST(what_is_known_of_consent_goes_with_a_prolog),
        HOOK_TEST(the_context_tells_prolog_from_epilog),
        HOOK_TEST(an_agent_that_is_silent_is_waited_for),
        HOOK_TEST(an_agent_that_hangs_before_accept_is_waited_for),
        HOOK_TEST(an_agent_that_only_chatters_is_left_in_time),
        HOOK_TEST(other_answers_are_none),
        HOOK_TEST(without_agent_it_empties_at_once),
        HOOK_TEST(frozen_guests_die_too),
        HOOK_TEST(guests_that_fork_without_end_die_too),
        HOOK_TEST(after_a_job_nothing_is_in_the_way),
        HOOK_TEST(without_agent_and_roots_there_is_nothing_to_do),
        HOOK_TEST(roots_that_are_none_are_left_alone),
        HOOK_TEST(a_roots_file_that_others_may_write_is_not_read),
        HOOK_TEST(its_own_cost_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
