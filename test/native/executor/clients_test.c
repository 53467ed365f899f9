/** Who may connect, what several clients do to each other, and what an executor costs while nobody calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fixture.h"

static int two_workers(void **state)
{
    return fixture_start((struct fixture **)state, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? "0,1" : "0,0", 0);
}

static void a_wrong_token_is_refused(void **state)
{
    struct fixture *f = *state;
    struct executor stranger = f->executor;
    struct peer peer;
    sublet_status status;
    for (int byte = 0; byte < (int)CONTROL_TOKEN_BYTES; byte += 31) {
        stranger.token[byte] ^= 1;
        assert_int_equal(peer_open(&stranger, 1, 64, 64, &peer), SUBLET_ERR_DENIED);
        assert_int_equal(peer_stream(&stranger, STREAM_CALLS, 0, 1, 64, 64, &status), -1);
        assert_int_equal(status, SUBLET_ERR_DENIED);
        stranger.token[byte] ^= 1;
    }
    assert_int_equal(peer_open(&stranger, 1, 64, 64, &peer), SUBLET_OK);
    peer_close(&peer);
}

/** C, within some milliseconds. */
static bool said(int fd, int timeout_ms)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    char word = 0;
    return poll(&entry, 1, timeout_ms) == 1 && read(fd, &word, 1) == 1 && word == 'C';
}

static void says_when_the_first_has_shown_the_token(void **state)
{
    (void)state;
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        struct executor executor, stranger;
        struct peer peer;
        sublet_status status;
        int fd = -1, stream = -1;
        struct executor_settings settings = {.program = EXECUTOR, .cores = "0", .owner = getuid(), .said_fd = &fd};
        assert_int_equal(executor_start(&settings, &executor), SUBLET_OK);
        stranger = executor;
        stranger.token[0] ^= 1;
        close(peer_connect_tcp(&executor));
        assert_int_equal(peer_stream(&stranger, STREAM_CONTROL, 0, 1, 64, 64, &status), -1);
        assert_int_equal(peer_open(&stranger, 1, 64, 64, &peer), SUBLET_ERR_DENIED);
        assert_false(said(fd, 50));
        if (over_tcp)
            assert_true((stream = peer_stream(&executor, STREAM_CONTROL, 0, 1, 64, 64, &status)) >= 0);
        else
            assert_int_equal(peer_open(&executor, 1, 64, 64, &peer), SUBLET_OK);
        assert_true(said(fd, 10000));
        char more;
        assert_int_equal(read(fd, &more, 1), 0); /* no process of it holds the pipe any more */
        close(fd);
        if (over_tcp)
            close(stream);
        else
            peer_close(&peer);
        executor_stop(&executor);
    }
}

static sublet_status open_as(const struct executor *executor, uid_t uid)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct peer peer;
        if (setuid(uid) != 0)
            _exit(100);
        _exit((int)peer_open(executor, 1, 64, 64, &peer));
    }
    int state = 0;
    waitpid(pid, &state, 0);
    return (sublet_status)WEXITSTATUS(state);
}

static void another_user_is_refused(void **state)
{
    (void)state;
    if (getuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    struct executor executor;
    struct executor_settings settings = {.program = EXECUTOR, .cores = "0", .owner = 12345};
    assert_int_equal(executor_start(&settings, &executor), SUBLET_OK);
    assert_int_equal(open_as(&executor, 12346), SUBLET_ERR_DENIED);
    assert_int_equal(open_as(&executor, 12345), SUBLET_OK);
    assert_int_equal(open_as(&executor, 0), SUBLET_OK);
    executor_stop(&executor);
}

static void assert_closed(int fd)
{
    char bytes[256];
    size_t none = 0;
    sublet_status status;
    do
        status = fds_receive(fd, bytes, 1, NULL, 0, &none, now_ns() + PEER_TIMEOUT_NS);
    while (status == SUBLET_OK);
    assert_int_equal(status, SUBLET_ERR_LOST);
    close(fd);
}

static void garbage_closes_its_connection_only(void **state)
{
    struct fixture *f = *state;
    unsigned char garbage[512];
    uint32_t seed = 7;
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof(garbage); i++)
            garbage[i] = (unsigned char)((seed = seed * 1664525 + 1013904223) >> 24);
        for (int tcp = 0; tcp < 2; tcp++) {
            int fd = tcp != 0 ? peer_connect_tcp(&f->executor) : peer_connect_unix(&f->executor);
            assert_true(fd >= 0);
            assert_true(send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL) > 0);
            assert_closed(fd);
        }
    }
    /* A frame that is wrong behind a right HELLO. */
    struct peer peer;
    uint32_t size = 0;
    assert_int_equal(peer_open(&f->executor, 1, 64, 64, &peer), SUBLET_OK);
    struct control_hello again = {.slots = 1};
    assert_int_equal(peer_request(peer.fd, CONTROL_HELLO, &again, sizeof(again), NULL, &size), SUBLET_ERR_LOST);
    peer_close(&peer);
    struct control_header huge = {
        .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = CONTROL_LOAD, .size = UINT32_MAX};
    assert_int_equal(peer_open(&f->executor, 1, 64, 64, &peer), SUBLET_OK);
    assert_true(send(peer.fd, &huge, sizeof(huge), MSG_NOSIGNAL) > 0);
    int copy = dup(peer.fd);
    assert_closed(copy);
    peer_close(&peer);
    assert_int_equal(peer_open(&f->executor, 0, 64, 64, &peer), SUBLET_ERR_INVALID);
    assert_int_equal(peer_open(&f->executor, 65, 64, 64, &peer), SUBLET_ERR_TOO_LARGE);
    assert_int_equal(peer_open(&f->executor, 1, UINT32_MAX, 64, &peer), SUBLET_ERR_TOO_LARGE);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

static void silent_strangers_are_closed_and_keep_nobody_out(void **state)
{
    struct fixture *f = *state;
    int fds[200];
    uint64_t started = now_ns();
    for (int i = 0; i < 200; i++) {
        fds[i] = i % 2 != 0 ? peer_connect_tcp(&f->executor) : peer_connect_unix(&f->executor);
        assert_true(fds[i] >= 0);
    }
    struct peer peer;
    assert_int_equal(peer_open(&f->executor, 1, 64, 64, &peer), SUBLET_OK);
    peer_close(&peer);
    for (int i = 0; i < 200; i++)
        assert_closed(fds[i]);
    uint64_t took = now_ns() - started;
    assert_in_range(took / 1000000, 4900, 8000);
}

static void two_clients_are_served_at_once(void **state)
{
    struct fixture *f = *state;
    struct peer other;
    assert_int_equal(peer_open(&f->executor, 4, 4096, 4096, &other), SUBLET_OK);
    for (uint32_t round = 0; round < 500; round++) {
        uint32_t slots[4];
        struct ring *rings[4] = {&f->peer.rings[0], &other.rings[0], &f->peer.rings[1], &other.rings[1]};
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t value = round * 4 + i;
            assert_int_equal(ring_acquire(rings[i], &slots[i]), SUBLET_OK);
            memcpy(ring_in(rings[i], slots[i]), &value, sizeof(value));
            assert_int_equal(ring_submit(rings[i], slots[i], f->echo, 4, 4, 0), SUBLET_OK);
        }
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t size = 0, value = round * 4 + i;
            assert_int_equal(peer_wait(rings[i], slots[i], PEER_TIMEOUT_NS, &size), SUBLET_OK);
            assert_memory_equal(ring_out(rings[i], slots[i]), &value, sizeof(value));
            ring_release(rings[i], slots[i]);
        }
    }
    /* A crash of one's call is no business of the other's. */
    uint32_t size, slot, behind;
    assert_int_equal(ring_acquire(&other.rings[0], &slot), SUBLET_OK);
    assert_int_equal(ring_submit(&other.rings[0], slot, f->crash, 0, 0, 0), SUBLET_OK);
    assert_int_equal(ring_acquire(&f->peer.rings[0], &behind), SUBLET_OK);
    assert_int_equal(ring_submit(&f->peer.rings[0], behind, f->echo, 0, 0, 0), SUBLET_OK);
    assert_int_equal(peer_wait(&f->peer.rings[0], behind, PEER_TIMEOUT_NS, &size), SUBLET_OK);
    assert_int_equal(peer_wait(&other.rings[0], slot, PEER_TIMEOUT_NS, &size), SUBLET_ERR_CRASHED);
    ring_release(&f->peer.rings[0], behind);
    peer_close(&other);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
}

static void a_client_killed_in_a_call_frees_the_worker(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 5; round++) {
        int said[2];
        char byte;
        assert_int_equal(pipe(said), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct peer peer;
            uint32_t slot;
            if (peer_open(&f->executor, 1, 64, 64, &peer) != SUBLET_OK ||
                ring_acquire(&peer.rings[0], &slot) != SUBLET_OK ||
                ring_submit(&peer.rings[0], slot, f->hang, 0, 0, 0) != SUBLET_OK)
                _exit(1);
            uint32_t size;
            (void)peer_wait(&peer.rings[0], slot, 20000000, &size); /* long enough to have begun */
            (void)!write(said[1], "x", 1);
            pause();
        }
        close(said[1]);
        assert_int_equal(read(said[0], &byte, 1), 1);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(said[0]);
        assert_ring_echoes(&f->peer.rings[0], f->echo);
        assert_ring_echoes(&f->peer.rings[1], f->echo);
    }
}

static void clients_come_and_go(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 300; round++) {
        struct peer peer;
        assert_int_equal(peer_open(&f->executor, 2, 4096, 4096, &peer), SUBLET_OK);
        assert_ring_echoes(&peer.rings[round % 2], f->echo);
        peer_close(&peer);
    }
    struct peer peers[64];
    uint32_t opened = 0;
    while (opened < 64 && peer_open(&f->executor, 1, 64, 64, &peers[opened]) == SUBLET_OK)
        opened++;
    assert_int_equal(opened, 63); /* with the fixture's: CLIENTS_MAX */
    assert_int_equal(peer_open(&f->executor, 1, 64, 64, &peers[63]), SUBLET_ERR_BUSY);
    for (uint32_t i = 0; i < opened; i++)
        assert_ring_echoes(&peers[i].rings[1], f->echo);
    for (uint32_t i = 0; i < opened; i++)
        peer_close(&peers[i]);
    assert_ring_echoes(&f->peer.rings[1], f->echo);
}

/** CPU time of a process in clock ticks. */
static uint64_t cpu_ticks(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    const char *after = strrchr(text, ')');
    assert_non_null(after);
    assert_int_equal(sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel), 2);
    return user + kernel;
}

static uint64_t cpu_ticks_of_all(pid_t executor)
{
    char path[64];
    uint64_t sum = cpu_ticks(executor);
    int pid;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", executor, executor);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    uint32_t children = 0;
    for (; fscanf(file, "%d", &pid) == 1; children++)
        sum += cpu_ticks(pid);
    fclose(file);
    assert_int_equal(children, 2);
    return sum;
}

static void an_idle_executor_costs_nothing(void **state)
{
    struct fixture *f = *state;
    sublet_status status;
    int fd = peer_stream(&f->executor, STREAM_CALLS, 0, 1, 64, 64, &status);
    assert_int_equal(status, SUBLET_OK);
    assert_ring_echoes(&f->peer.rings[0], f->echo);
    assert_ring_echoes(&f->peer.rings[1], f->echo);
    usleep(100000); /* past spin_us */
    uint64_t before = cpu_ticks_of_all(f->executor.pid);
    usleep(1000000);
    assert_in_range(cpu_ticks_of_all(f->executor.pid) - before, 0, 1);
    for (int i = 0; i < 20; i++) { /* and it wakes up, by both ways */
        struct stream_response response;
        usleep(2000);
        assert_ring_echoes(&f->peer.rings[0], f->echo);
        usleep(2000);
        assert_int_equal(peer_stream_send(fd, (uint32_t)i + 1, f->empty, NULL, 0, 0), SUBLET_OK);
        assert_int_equal(peer_stream_receive(fd, &response, NULL, 0), SUBLET_OK);
    }
    close(fd);
}

static void serves_as_process_1_without_proc(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct executor_settings settings = {.program = EXECUTOR, .cores = "0", .owner = getuid(), .bare = true};
    if (getuid() != 0) {
        print_message("skipped: only root can make a pid namespace\n");
        skip();
    }
    assert_int_equal(executor_start(&settings, &f.executor), SUBLET_OK);
    assert_int_equal(peer_open(&f.executor, 8, 4096, 4096, &f.peer), SUBLET_OK);
    fixture_functions(f.peer.fd, &f);
    for (int round = 0; round < 3; round++) {
        uint32_t most = 5, made = 0, size;
        assert_int_equal(peer_call(&f.peer.rings[0], f.fork_bomb, &most, 4, &made, 4, &size), SUBLET_OK);
        assert_int_equal(made, most);
        assert_int_equal(peer_call(&f.peer.rings[0], f.crash, NULL, 0, NULL, 0, &size), SUBLET_ERR_CRASHED);
        assert_ring_echoes(&f.peer.rings[0], f.echo);
    }
    peer_close(&f.peer);
    executor_stop(&f.executor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_token_is_refused, two_workers, fixture_stop),
        cmocka_unit_test(says_when_the_first_has_shown_the_token),
        cmocka_unit_test(another_user_is_refused),
        cmocka_unit_test_setup_teardown(garbage_closes_its_connection_only, two_workers, fixture_stop),
        cmocka_unit_test_setup_teardown(silent_strangers_are_closed_and_keep_nobody_out, two_workers, fixture_stop),
        cmocka_unit_test_setup_teardown(two_clients_are_served_at_once, two_workers, fixture_stop),
        cmocka_unit_test_setup_teardown(a_client_killed_in_a_call_frees_the_worker, two_workers, fixture_stop),
        cmocka_unit_test_setup_teardown(clients_come_and_go, two_workers, fixture_stop),
        cmocka_unit_test(serves_as_process_1_without_proc),
        cmocka_unit_test_setup_teardown(an_idle_executor_costs_nothing, two_workers, fixture_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
