/**
 * A hot call from a buffer makes no system call, takes no lock and allocates nothing, on either side: counted.
 *
 * The program runs itself under ptrace, with all that it starts, and with counting.so preloaded. When the worker loses
 * its core, the client yields and at last sleeps, which takes locks and system calls; and each of them is a disturbance
 * again, since the tracer needs a core, too. So calls are counted by the thousand: a thousand calls without anything
 * shows that no call makes any, and 10^5 such calls are looked for. Beside other work it takes as many thousands as it
 * takes, before other work's turn where that is allowed; after half a minute one thousand that were left alone suffice.
 * (Not SCHED_FIFO: client and worker that poll on both cores are held back by the kernel for 50 ms of each second, and
 * whatever else the kernel has to do waits for them.)
 */
#include "fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_CALLS 1000
#define QUIET_MAX   100
#define TRY_NS      (30 * 1000 * 1000 * 1000ULL)

struct shared {
    _Atomic int client;
    _Atomic int worker;
    _Atomic uint64_t calls; /* system calls of the two; each is noted before it is made */
};

static struct shared *shared;

static uint64_t counted_here(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "counting_total");
    uint64_t (*counting)(void);
    memcpy(&counting, &symbol, sizeof(symbol));
    assert_non_null(symbol);
    return counting();
}

static sublet_buffer *buffer_of(struct fixture *fixture, const char *name)
{
    sublet_buffer *buffer = NULL;
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.in_bytes = options.out_bytes = 4096;
    options.flags = SUBLET_CALL_NO_LOCAL;
    assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, name), &options, &buffer), SUBLET_OK);
    assert_int_equal(buffer->in_place, 1);
    return buffer;
}

static uint64_t counted_there(sublet_buffer *counted)
{
    uint64_t total;
    assert_int_equal(sublet_buffer_invoke(counted, 0, NULL), SUBLET_OK);
    memcpy(&total, counted->out, sizeof(total));
    return total;
}

static void hot_calls_touch_nothing_but_the_ring(void **state)
{
    struct fixture *fixture = *state;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof(set), &set);
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 8);
    sublet_buffer *empty = buffer_of(fixture, "empty"), *where = buffer_of(fixture, "where"),
                  *counted = buffer_of(fixture, "counted");
    int worker;
    assert_int_equal(sublet_buffer_invoke(where, 0, NULL), SUBLET_OK);
    memcpy(&worker, where->out, sizeof(worker));
    atomic_store(&shared->worker, worker);
    atomic_store(&shared->client, getpid());
    uint32_t quiet = 0, failed = 0, batch = 0;
    for (uint64_t end = time_ns() + TRY_NS; quiet < QUIET_MAX && time_ns() < end; batch++) {
        uint64_t there = counted_there(counted), here = counted_here(), calls = atomic_load(&shared->calls);
        for (uint32_t i = 0; i < BATCH_CALLS; i++)
            failed += sublet_buffer_invoke(empty, i * 4, NULL) != SUBLET_OK;
        calls = atomic_load(&shared->calls) - calls;
        here = counted_here() - here;
        there = counted_there(counted) - there;
        quiet += here == 0 && there == 0 && calls == 0;
    }
    printf("%u of %u times %d calls: no system call, no lock, no allocation in client and worker\n", quiet, batch,
           BATCH_CALLS);
    assert_int_equal(failed, 0);
    assert_true(quiet > 0);
}

static void note_call(pid_t pid)
{
    if (pid == atomic_load(&shared->client) || pid == atomic_load(&shared->worker))
        atomic_fetch_add(&shared->calls, 1);
}

/** Lets everything below `child` run until it ends; returns how. */
static int trace(pid_t child)
{
    int status;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return errno == EINTR ? trace(child) : -1;
        if (pid == child && (WIFEXITED(status) || WIFSIGNALED(status)))
            return status;
        if (!WIFSTOPPED(status))
            continue;
        int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80))
            note_call(pid);
        if (signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP)
            signal = 0;
        ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal);
    }
}

static int traced_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hot_calls_touch_nothing_but_the_ring, fixture_start, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int count, char **arguments)
{
    int status;
    if (count < 2) {
        printf("skipped: sanitizers bring allocations of their own\n");
        return 0;
    }
    if (getenv("LD_PRELOAD") == NULL) {
        setenv("LD_PRELOAD", arguments[1], 1);
        execv("/proc/self/exe", arguments);
        return 1;
    }
    if (setpriority(PRIO_PROCESS, 0, -20) != 0) /* for all that are started from here, too */
        printf("beside other work this may take long: no right to a priority\n");
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        _exit(traced_tests());
    }
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
        printf("skipped: this system does not let a process be traced\n");
        return 0;
    }
    ptrace(PTRACE_SETOPTIONS, child, NULL,
           (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                    PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    status = trace(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
