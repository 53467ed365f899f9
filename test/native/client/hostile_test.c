/**
 * Peers that write over the ring, and peers that die in it: the other side neither crashes nor hangs, and whoever has
 * a ring of its own notices nothing. The program is also the hostile client: hostile_test ROLE SOCKET.
 */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vandal.h"

/** Of a session of its own, in a process of its own. */
static int play(const char *role, const char *socket)
{
    sublet_session *session;
    sublet_library *library;
    sublet_function_ref *echo;
    sublet_lease *lease;
    sublet_buffer *buffer;
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_options wanted = SUBLET_LEASE_OPTIONS_INIT;
    options.agent_socket = socket;
    wanted.slots = 64;
    wanted.in_bytes = wanted.out_bytes = 4096;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sublet_open(&options, &session) != SUBLET_OK ||
        sublet_library_open(session, FUNCTIONS, &library) != SUBLET_OK ||
        sublet_function_find(library, "echo", &echo) != SUBLET_OK ||
        sublet_lease_acquire(session, &wanted, &lease) != SUBLET_OK ||
        sublet_buffer_acquire(session, echo, NULL, &buffer) != SUBLET_OK || buffer->in_place != 1)
        return 1;
    for (unsigned i = 0; i < 100; i++)
        if (sublet_buffer_invoke(buffer, 8, NULL) != SUBLET_OK)
            return 1;
    if (write(STDOUT_FILENO, "x", 1) != 1)
        return 1;
    if (strcmp(role, "scribble") == 0) {
        vandal_run(NULL);
        return 1; /* it found no ring */
    }
    for (;;)
        (void)sublet_buffer_invoke(buffer, 64, NULL);
}

/** Starts a hostile client of the fixture's first executor and waits until it has begun. */
static pid_t start_client(struct fixture *fixture, const char *role)
{
    static uint32_t number;
    char path[100], byte;
    int said[2];
    struct grant grant = fixture->executors[0].grant;
    snprintf(grant.id, sizeof(grant.id), "hostile-%u", number++);
    snprintf(path, sizeof(path), "%s/agent.sock", fixture->folder);
    fake_agent_offer(fixture->agent, &grant);
    assert_int_equal(pipe(said), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(said[1], STDOUT_FILENO);
        execl("/proc/self/exe", "hostile_test", role, path, (char *)NULL);
        _exit(127);
    }
    close(said[1]);
    struct pollfd entry = {.fd = said[0], .events = POLLIN};
    assert_int_equal(poll(&entry, 1, 20000), 1);
    assert_int_equal(read(said[0], &byte, 1), 1);
    close(said[0]);
    return pid;
}

static void kill_client(pid_t pid)
{
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it was at it until now */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static sublet_buffer *buffer_of(struct fixture *fixture, const char *name, uint64_t timeout_ms)
{
    sublet_buffer *buffer = NULL;
    sublet_buffer_options options = SUBLET_BUFFER_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    options.timeout_ms = timeout_ms;
    assert_int_equal(sublet_buffer_acquire(fixture->session, function_of(fixture, name), &options, &buffer), SUBLET_OK);
    assert_int_equal(buffer->in_place, 1);
    return buffer;
}

static void assert_calls_work(struct fixture *fixture, sublet_buffer *buffer, uint64_t value)
{
    size_t bytes = 0;
    uint64_t out = 0;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.flags = SUBLET_CALL_NO_LOCAL;
    memcpy(buffer->in, &value, sizeof(value));
    assert_int_equal(sublet_buffer_invoke(buffer, sizeof(value), &bytes), SUBLET_OK);
    assert_memory_equal(buffer->out, &value, sizeof(value));
    assert_int_equal(sublet_invoke(fixture->session, function_of(fixture, "echo"), &value, sizeof(value), &out,
                                   sizeof(out), &bytes, &options),
                     SUBLET_OK);
    assert_int_equal(out, value);
}

static void a_client_that_scribbles_harms_nobody_else(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    sublet_buffer *buffer = buffer_of(fixture, "echo", 0);
    assert_calls_work(fixture, buffer, 1);
    pid_t client = start_client(fixture, "scribble");
    uint64_t calls = 0;
    for (uint64_t end_ns = time_ns() + 2500000000u; time_ns() < end_ns; calls++)
        assert_calls_work(fixture, buffer, calls * 0x9e3779b97f4a7c15u);
    kill_client(client);
    assert_calls_work(fixture, buffer, 2);
    assert_true(calls > 100);
}

/** A call that has a deadline ends by it, whatever the worker writes; and the program lives. */
static void a_worker_that_scribbles_holds_nobody(void **state)
{
    struct fixture *fixture = *state;
    uint32_t harmed = 0;
    for (int round = 0; round < 3; round++) {
        fixture_function(fixture, "1", false);
        lease_of(fixture, 1, 16);
        sublet_buffer *vandal = buffer_of(fixture, "vandal", 0), *buffers[8];
        for (int i = 0; i < 8; i++)
            buffers[i] = buffer_of(fixture, "echo", 100);
        (void)sublet_buffer_invoke(vandal, 0, NULL); /* its own answer may be the first that it scribbles over */
        sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
        options.timeout_ms = 100;
        static unsigned char in[5000], out[5000];
        for (uint64_t end_ns = time_ns() + 1500000000u; time_ns() < end_ns;) {
            size_t bytes;
            for (int i = 0; i < 8; i++)
                assert_int_equal(sublet_buffer_submit(buffers[i], 4000), SUBLET_OK);
            (void)sublet_invoke(fixture->session, function_of(fixture, "echo"), in, sizeof(in), out, sizeof(out),
                                &bytes, &options);
            uint64_t since_ns = time_ns();
            for (int i = 0; i < 8; i++) { /* garbage, an error, or even the right answer */
                sublet_status status = sublet_buffer_wait(buffers[i], 20000, NULL);
                assert_int_not_equal(status, SUBLET_ERR_BUSY);
                harmed += status != SUBLET_OK;
            }
            assert_true(time_ns() - since_ns < 20000000000u);
        }
        for (int i = 0; i < 8; i++)
            sublet_buffer_release(buffers[i]);
        sublet_buffer_release(vandal);
        executor_kill(&fixture->executors[round]);
    }
    assert_true(harmed > 0);
}

struct killer {
    pthread_t thread;
    _Atomic int worker; /* 0 = none, -1 = the end */
};

static void *kill_workers(void *argument)
{
    struct killer *killer = argument;
    for (uint32_t x = 1; atomic_load(&killer->worker) >= 0; x = x * 1103515245 + 12345) {
        struct timespec nap = {.tv_nsec = (long)(x % 4000000)};
        nanosleep(&nap, NULL);
        int worker = atomic_exchange(&killer->worker, 0);
        if (worker > 0)
            kill(worker, SIGKILL);
        else if (worker < 0)
            atomic_store(&killer->worker, -1);
    }
    return NULL;
}

static void workers_killed_at_any_instant(void **state)
{
    struct fixture *fixture = *state;
    struct killer killer = {0};
    uint64_t crashed = 0, fine = 0;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    sublet_buffer *echo = buffer_of(fixture, "echo", 0), *where = buffer_of(fixture, "where", 0);
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_workers, &killer), 0);
    for (int kills = 0; kills < 100;) {
        int worker;
        if (atomic_load(&killer.worker) == 0 && sublet_buffer_invoke(where, 0, NULL) == SUBLET_OK) {
            memcpy(&worker, where->out, sizeof(worker));
            atomic_store(&killer.worker, worker);
            kills++;
        }
        for (uint64_t i = 0; i < 50; i++) {
            uint64_t value = fine + i;
            memcpy(echo->in, &value, sizeof(value));
            sublet_status status = sublet_buffer_invoke(echo, sizeof(value), NULL);
            assert_true(status == SUBLET_OK || status == SUBLET_ERR_CRASHED);
            if (status == SUBLET_OK)
                assert_memory_equal(echo->out, &value, sizeof(value));
            fine += status == SUBLET_OK;
            crashed += status != SUBLET_OK;
        }
    }
    atomic_store(&killer.worker, -1);
    pthread_join(killer.thread, NULL);
    assert_true(fine > crashed);
}

static void clients_killed_at_any_instant(void **state)
{
    struct fixture *fixture = *state;
    fixture_function(fixture, "1", false);
    lease_of(fixture, 1, 4);
    sublet_buffer *buffer = buffer_of(fixture, "echo", 0);
    uint32_t x = 7;
    for (uint64_t round = 0; round < 25; round++) {
        pid_t client = start_client(fixture, "call");
        x = x * 1103515245 + 12345;
        struct timespec nap = {.tv_nsec = (long)(x % 3000000)};
        nanosleep(&nap, NULL);
        kill_client(client);
        assert_calls_work(fixture, buffer, round);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(int count, char **arguments)
{
    if (count == 3)
        return play(arguments[1], arguments[2]);
    const struct CMUnitTest tests[] = {
        TEST(a_client_that_scribbles_harms_nobody_else),
        TEST(a_worker_that_scribbles_holds_nobody),
        TEST(workers_killed_at_any_instant),
        TEST(clients_killed_at_any_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
