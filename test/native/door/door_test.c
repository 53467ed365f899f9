/**
 * sublet-door between users and an echo: bytes and credentials arrive, descriptors that are passed along do not, and
 * whoever passes some makes nobody wait. The echo sends back whom the door announced, then what it reads.
 */
#include "door_case.h"
#include "lingering.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { WHO_BYTES = 12 };

struct scene {
    char folder[PATH_BYTES], path[PATH_BYTES + 8], inner[PATH_BYTES + 8];
    pid_t door, echo;
    int alive; /* the door's standard input */
    int says;  /* its standard output */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** One process per connection: echoes until its end. */
static void echo(int listener)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 || fork() != 0) {
            close(fd);
            continue;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char bytes[8192];
        ssize_t got;
        while ((got = read(fd, bytes, sizeof(bytes))) > 0)
            for (ssize_t sent = 0, part; sent < got; sent += part)
                if ((part = send(fd, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL)) <= 0)
                    _exit(0);
        _exit(0);
    }
}

static void open_door(struct scene *scene)
{
    int in[2], out[2];
    char line[32] = "";
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    scene->door = fork();
    if (scene->door == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(DOOR_PATH, "sublet-door", scene->path, scene->inner, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    scene->alive = in[1];
    scene->says = out[0];
    assert_true(read(scene->says, line, sizeof(line) - 1) > 0);
    assert_memory_equal(line, "ready", 5);
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    snprintf(scene->folder, sizeof(scene->folder), "/tmp/sublet_door_XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    assert_int_equal(chmod(scene->folder, 0755), 0);
    snprintf(scene->path, sizeof(scene->path), "%s/a.sock", scene->folder);
    snprintf(scene->inner, sizeof(scene->inner), "%s/d.sock", scene->folder);
    int listener = unix_socket(scene->inner, true);
    scene->echo = fork();
    if (scene->echo == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        echo(listener);
    }
    close(listener);
    open_door(scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    close(scene->alive);
    assert_int_equal(waitpid(scene->door, NULL, 0), scene->door);
    close(scene->says);
    kill(scene->echo, SIGKILL);
    waitpid(scene->echo, NULL, 0);
    unlink(scene->path);
    unlink(scene->inner);
    assert_int_equal(rmdir(scene->folder), 0);
    free(scene);
    return 0;
}

static int visit(const struct scene *scene, uint32_t uid)
{
    uint32_t who[3];
    int fd = unix_socket(scene->path, false);
    read_all(fd, who, sizeof(who));
    assert_int_equal(who[0], getpid());
    assert_int_equal(who[1], uid);
    return fd;
}

static void say_and_hear(int fd, const char *text)
{
    char bytes[64];
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    read_all(fd, bytes, strlen(text));
    assert_memory_equal(bytes, text, strlen(text));
}

/** Passes the last copy there is: the door stands still meanwhile. */
static void pass_the_last(const struct scene *scene, int fd, int flags, int *peer_out)
{
    int passed = lingering(peer_out);
    assert_true(passed >= 0);
    assert_int_equal(kill(scene->door, SIGSTOP), 0);
    (void)pass(fd, "x", 1, passed, flags);
    close(passed);
}

static void assert_sent_away(int fd)
{
    char bytes[64];
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    ssize_t got;
    do {
        assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
        got = read(fd, bytes, sizeof(bytes));
    } while (got > 0);
    assert_true(got == 0 || errno == ECONNRESET);
}

static void bytes_go_both_ways(void **state)
{
    enum { BYTES = 3 << 20 };
    int fd = visit(*state, getuid());
    unsigned char *sent = malloc(BYTES), *heard = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        sent[i] = (unsigned char)(i * 31 >> 3);
    pid_t writer = fork();
    if (writer == 0) {
        for (size_t at = 0; at < BYTES;) {
            ssize_t part = send(fd, sent + at, 1 + (at * 7) % 9000 < BYTES - at ? 1 + (at * 7) % 9000 : BYTES - at, 0);
            if (part <= 0)
                _exit(1);
            at += (size_t)part;
        }
        _exit(0);
    }
    read_all(fd, heard, BYTES);
    assert_memory_equal(sent, heard, BYTES);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    close(fd);
    free(sent);
    free(heard);
}

static void what_was_said_before_a_close_arrives(void **state)
{
    int fd = visit(*state, getuid());
    char bytes[4];
    assert_int_equal(send(fd, "last", 4, 0), 4);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    read_all(fd, bytes, 4);
    assert_memory_equal(bytes, "last", 4);
    assert_sent_away(fd);
    close(fd);
}

/** 20 of them, one after another: none makes the next wait, nor who did nothing. */
static void who_passes_descriptors_makes_nobody_wait(void **state)
{
    const struct scene *scene = *state;
    int innocent = visit(scene, getuid()), peers[20];
    char said[64] = "";
    int64_t begin_ms = now_ms();
    for (size_t i = 0; i < 20; i++) {
        int fd = visit(scene, getuid());
        pass_the_last(scene, fd, 0, &peers[i]);
        assert_int_equal(kill(scene->door, SIGCONT), 0);
        assert_sent_away(fd);
        close(fd);
        say_and_hear(innocent, "still here");
    }
    assert_in_range(now_ms() - begin_ms, 0, LINGER_S * 1000 / 2); /* else 20 times LINGER_S */
    assert_true(read(scene->says, said, sizeof(said) - 1) > 0);
    assert_memory_equal(said, "passed ", 7);
    for (size_t i = 0; i < 20; i++)
        close(peers[i]);
    close(innocent);
}

/** Behind bytes that are read at once, out of band, and in a socket that is closed before it is read. */
static void however_they_are_passed(void **state)
{
    const struct scene *scene = *state;
    int innocent = visit(scene, getuid()), peers[3];
    static char plenty[40000];
    int64_t begin_ms = now_ms();
    for (int way = 0; way < 3; way++) {
        int fd = visit(scene, getuid());
        if (way == 2) {
            assert_int_equal(kill(scene->door, SIGSTOP), 0);
            close(fd);
            fd = unix_socket(scene->path, false);
        }
        if (way == 0)
            (void)send(fd, plenty, sizeof(plenty), MSG_NOSIGNAL);
        pass_the_last(scene, fd, way == 1 ? MSG_OOB : 0, &peers[way]);
        if (way == 1)
            (void)send(fd, "y", 1, MSG_NOSIGNAL);
        if (way == 2)
            close(fd);
        assert_int_equal(kill(scene->door, SIGCONT), 0);
        if (way == 0)
            assert_sent_away(fd);
        if (way < 2)
            close(fd);
        say_and_hear(innocent, "still here");
    }
    assert_in_range(now_ms() - begin_ms, 0, LINGER_S * 1000 / 2);
    for (int way = 0; way < 3; way++)
        close(peers[way]);
    close(innocent);
}

static size_t descriptors_of(pid_t pid)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void nothing_stays_of_visitors(void **state)
{
    const struct scene *scene = *state;
    close(visit(scene, getuid()));
    size_t before = descriptors_of(scene->door);
    for (int i = 0; i < 200; i++) {
        int fd = visit(scene, getuid());
        say_and_hear(fd, "short");
        close(fd);
    }
    for (int64_t end_ms = now_ms() + PATIENCE_MS; descriptors_of(scene->door) > before && now_ms() < end_ms;)
        usleep(10000);
    assert_in_range(descriptors_of(scene->door), 0, before);
}

/** A visitor that has hung up, and one that does not read, cost no time while the agent says nothing. */
static void it_sleeps_while_the_agent_stands_still(void **state)
{
    const struct scene *scene = *state;
    struct timespec before, after;
    clockid_t clock;
    static char plenty[1 << 20];
    int gone = visit(scene, getuid()), full = visit(scene, getuid());
    assert_int_equal(clock_getcpuclockid(scene->door, &clock), 0);
    char command[64];
    snprintf(command, sizeof(command), "pkill -STOP -P %d", (int)scene->echo);
    assert_int_equal(system(command), 0);
    close(gone);
    fcntl(full, F_SETFL, O_NONBLOCK);
    while (send(full, plenty, sizeof(plenty), MSG_NOSIGNAL) > 0)
        usleep(20000);
    close(full);
    usleep(300000);
    clock_gettime(clock, &before);
    usleep(1000000);
    clock_gettime(clock, &after);
    int64_t used_us = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
    snprintf(command, sizeof(command), "pkill -CONT -P %d", (int)scene->echo);
    assert_int_equal(system(command), 0);
    assert_in_range(used_us, 0, 100000);
}

static void one_user_has_a_limit_and_root_is_served_beyond_it(void **state)
{
    enum { PER_USER = 1024, MORE = 40 };
    const struct scene *scene = *state;
    if (getuid() != 0) {
        print_message("skipped: wants root, to be another user\n");
        skip();
    }
    int ready[2];
    uint32_t served = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t user = fork();
    if (user == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", scene->path);
        int fds[PER_USER + MORE];
        if (setgid(20001) != 0 || setuid(20001) != 0)
            _exit(1);
        for (int i = 0; i < PER_USER + MORE; i++) {
            fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
            if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&address, sizeof(address)) != 0)
                _exit(2);
            struct pollfd entry = {.fd = fds[i], .events = POLLIN};
            uint32_t who[3];
            served += poll(&entry, 1, PATIENCE_MS) == 1 && read(fds[i], who, sizeof(who)) > 0;
        }
        if (write(ready[1], &served, sizeof(served)) != sizeof(served))
            _exit(3);
        pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &served, sizeof(served)), sizeof(served));
    assert_int_equal(served, PER_USER);
    int fd = visit(scene, 0);
    say_and_hear(fd, "the hook");
    close(fd);
    kill(user, SIGKILL);
    waitpid(user, NULL, 0);
    close(ready[0]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_said_before_a_close_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_passes_descriptors_makes_nobody_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(however_they_are_passed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_stays_of_visitors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_sleeps_while_the_agent_stands_still, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_user_has_a_limit_and_root_is_served_beyond_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
