/**
 * spank_sublet.so as Slurm loads it, each time anew (its state is its process's), against a fake Slurm and a fake
 * agent. In slurmstepd it returns success whatever happens, in a bounded time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../hook/listener.h"
#include "fake_slurm.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

enum { PATH_BYTES = 160, TIMEOUT_MS = 200 };

typedef int entry_f(spank_t spank, int count, char **arguments);

struct scene {
    char folder[PATH_BYTES], socket[PATH_BYTES], roots[PATH_BYTES];
    char settings[3][2 * PATH_BYTES];
    pid_t agent;
    int request_pipe;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int begin(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    memset(&slurm, 0, sizeof(slurm));
    slurm.alloc_cores = "0";
    slurm.alloc_mem_mib = 512;
    slurm.partition = "main";
    snprintf(scene->folder, PATH_BYTES, "/tmp/sublet_spank_XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->socket, PATH_BYTES, "%.100s/agent.sock", scene->folder);
    snprintf(scene->roots, PATH_BYTES, "%.100s/cgroups", scene->folder);
    snprintf(scene->settings[0], sizeof(scene->settings[0]), "socket=%s", scene->socket);
    snprintf(scene->settings[1], sizeof(scene->settings[1]), "roots=%s", scene->roots);
    snprintf(scene->settings[2], sizeof(scene->settings[2]), "timeout_ms=%d", TIMEOUT_MS);
    *state = scene;
    return 0;
}

static int end(void **state)
{
    struct scene *scene = *state;
    if (scene->agent > 0) {
        kill(scene->agent, SIGKILL);
        waitpid(scene->agent, NULL, 0);
        close(scene->request_pipe);
    }
    unlink(scene->socket);
    unlink(scene->roots);
    int status = rmdir(scene->folder);
    free(scene);
    return status;
}

/** The plugin of a new process: a copy with a name of its own, as the loader gives the same library only once. */
static void *load(struct scene *scene, spank_context_t context)
{
    static char bytes[1 << 22];
    static unsigned copies;
    char copy[2 * PATH_BYTES];
    snprintf(copy, sizeof(copy), "%s/plugin%u.so", scene->folder, copies++);
    int from = open(PLUGIN_PATH, O_RDONLY | O_CLOEXEC), to = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    ssize_t size = read(from, bytes, sizeof(bytes));
    assert_true(size > 0 && write(to, bytes, (size_t)size) == size);
    close(from);
    close(to);
    void *plugin = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    unlink(copy);
    if (plugin == NULL)
        fail_msg("%s", dlerror());
    slurm.context = context;
    slurm.errors[0] = slurm.environment[0] = slurm.job_control[0] = '\0';
    return plugin;
}

static int enter(void *plugin, const char *name, int count, char **arguments)
{
    void *found = dlsym(plugin, name);
    entry_f *entry;
    assert_non_null(found);
    memcpy(&entry, &found, sizeof(entry));
    return entry(NULL, count, arguments);
}

/** init, the option if one is given, init_post_opt; the status of the last. */
static int run(struct scene *scene, spank_context_t context, const char *word)
{
    char *arguments[] = {scene->settings[0], scene->settings[1], scene->settings[2]};
    void *plugin = load(scene, context);
    assert_int_equal(enter(plugin, "slurm_spank_init", 3, arguments), ESPANK_SUCCESS);
    if (word != NULL)
        assert_int_equal(slurm.option->cb(slurm.option->val, word, context == S_CTX_REMOTE), ESPANK_SUCCESS);
    int status = enter(plugin, "slurm_spank_init_post_opt", 3, arguments);
    dlclose(plugin);
    return status;
}

static void start_agent(struct scene *scene, const struct reply *reply)
{
    scene->agent = start_listener(scene->socket, reply, &scene->request_pipe);
    assert_true(scene->agent > 0);
}

static void it_is_a_plugin_of_this_slurm(void **state)
{
    void *plugin = load(*state, S_CTX_SLURMD);
    assert_string_equal(dlsym(plugin, "plugin_name"), "sublet");
    assert_string_equal(dlsym(plugin, "plugin_type"), "spank");
    assert_int_equal(*(const unsigned *)dlsym(plugin, "plugin_version"), SLURM_VERSION_NUMBER);
    assert_null(dlsym(plugin, "ask_agent")); /* nothing else is to be seen */
    assert_int_equal(enter(plugin, "slurm_spank_init", 0, NULL), ESPANK_SUCCESS);
    assert_null(slurm.option);
    dlclose(plugin);
}

static void keys_that_are_not_known_are_refused(void **state)
{
    static const char *const bad[] = {"sokcet=/x", "timeout_ms=soon", "timeout_ms=0", "socket=relative", "socket"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *arguments[] = {(char *)"timeout_ms=100", (char *)bad[i]};
        void *plugin = load(*state, S_CTX_ALLOCATOR);
        slurm.option = NULL;
        assert_int_not_equal(enter(plugin, "slurm_spank_init", 2, arguments), ESPANK_SUCCESS);
        assert_non_null(strstr(slurm.errors, "plugstack.conf"));
        char *key = strdup(bad[i]);
        key[strcspn(key, "=")] = '\0';
        assert_non_null(strstr(slurm.errors, key));
        free(key);
        assert_null(slurm.option);
        dlclose(plugin);
        plugin = load(*state, S_CTX_REMOTE); /* no job fails of it */
        assert_int_equal(enter(plugin, "slurm_spank_init", 2, arguments), ESPANK_SUCCESS);
        assert_non_null(strstr(slurm.errors, "plugstack.conf"));
        dlclose(plugin);
    }
}

static void the_word_is_share_or_no(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(run(scene, S_CTX_LOCAL, "share"), ESPANK_SUCCESS);
    assert_string_equal(slurm.job_control, "SUBLET_CONSENT=share;");
    assert_int_equal(run(scene, S_CTX_ALLOCATOR, "no"), ESPANK_SUCCESS);
    assert_string_equal(slurm.job_control, "SUBLET_CONSENT=no;");
    assert_int_equal(run(scene, S_CTX_ALLOCATOR, NULL), ESPANK_SUCCESS);
    assert_string_equal(slurm.job_control, "");
    assert_string_equal(slurm.option->name, "sublet");
    assert_int_not_equal(slurm.option->cb(0, "maybe", 0), ESPANK_SUCCESS);
    assert_non_null(strstr(slurm.errors, "--sublet=maybe"));
    assert_int_equal(slurm.option->cb(0, "maybe", 1), ESPANK_SUCCESS);
}

static void a_step_tells_the_agent_and_waits(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(NOTICE OTHER DONE);
    unsigned char request[256];
    start_agent(scene, &reply);
    assert_int_equal(run(scene, S_CTX_REMOTE, "share"), ESPANK_SUCCESS);
    assert_string_equal(slurm.errors, "");
    char expected[PATH_BYTES * 2];
    snprintf(expected, sizeof(expected), "SUBLET_AGENT_SOCKET=%s;SUBLET_CONSENT=share;", scene->socket);
    assert_string_equal(slurm.environment, expected);
    ssize_t size = read(scene->request_pipe, request, sizeof(request));
    /* {id: 1, hook: {event: STEP, job_id: 4711, uid: 20001, consent: SHARE, cores: [0, ...its siblings]}} */
    static const unsigned char head[] = "\x08\x03\x10\xe7\x24\x18\xa1\x9c\x01\x20\x01\x2a";
    assert_memory_equal(request + 8, head, sizeof(head) - 1);
    size_t at = 8 + sizeof(head) - 1, cores = request[at];
    assert_int_equal(request[at + 1], 0);
    /* memory_bytes: 512 MiB, partition: "main", step_id: 3 */
    static const unsigned char tail[] = "\x30\x80\x80\x80\x80\x02\x3a\x04main\x50\x03";
    assert_int_equal(size, at + 1 + cores + sizeof(tail) - 1);
    assert_memory_equal(request + at + 1 + cores, tail, sizeof(tail) - 1);
}

static void what_slurm_does_not_say_is_left_out(void **state)
{
    struct scene *scene = *state;
    static const struct reply reply = REPLY(DONE);
    static const unsigned char expected[] = "\x0f\0\0\0\x08\x01\x32\x0b\x08\x03\x10\xe7\x24\x18\xa1\x9c\x01\x50\x03";
    unsigned char request[256];
    slurm.alloc_cores = slurm.partition = NULL;
    slurm.alloc_mem_mib = 0;
    start_agent(scene, &reply);
    assert_int_equal(run(scene, S_CTX_REMOTE, NULL), ESPANK_SUCCESS);
    assert_int_equal(read(scene->request_pipe, request, sizeof(request)), sizeof(expected) - 1);
    assert_memory_equal(request, expected, sizeof(expected) - 1);
}

static void no_fault_of_the_agent_costs_a_step_more_than_its_bound(void **state)
{
    struct scene *scene = *state;
    static const struct reply replies[] = {{.size = 0}, {.closes = true}, REPLY("\xff\xff\xff\x7f")};
    int64_t begin_ms = now_ms();
    assert_int_equal(run(scene, S_CTX_REMOTE, NULL), ESPANK_SUCCESS); /* nobody listens */
    assert_in_range(now_ms() - begin_ms, 0, TIMEOUT_MS - 1);
    assert_string_equal(slurm.errors, "");
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        unlink(scene->socket);
        start_agent(scene, &replies[i]);
        begin_ms = now_ms();
        assert_int_equal(run(scene, S_CTX_REMOTE, NULL), ESPANK_SUCCESS);
        assert_in_range(now_ms() - begin_ms, i == 0 ? TIMEOUT_MS : 0, TIMEOUT_MS + 2000);
        assert_non_null(strstr(slurm.errors, "job 4711"));
        assert_non_null(strstr(slurm.errors, "guests killed here"));
        kill(scene->agent, SIGKILL);
        waitpid(scene->agent, NULL, 0);
        close(scene->request_pipe);
        scene->agent = 0;
    }
}

int main(void)
{
#define SPANK_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        SPANK_TEST(it_is_a_plugin_of_this_slurm),
        SPANK_TEST(keys_that_are_not_known_are_refused),
        SPANK_TEST(the_word_is_share_or_no),
        SPANK_TEST(a_step_tells_the_agent_and_waits),
        SPANK_TEST(what_slurm_does_not_say_is_left_out),
        SPANK_TEST(no_fault_of_the_agent_costs_a_step_more_than_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
