/** The life of a guest by the starter's protocol: started, listed, stopped; what becomes of it when somebody dies. */
#include "starter_case.h"

static void list_stop_and_exited(void **state)
{
    (void)state;
    char entry[256];
    pid_t one = driver_guest(&driver, "one");
    unsigned long start = strtoul(field("start"), NULL, 10), port = strtoul(field("port"), NULL, 10);
    pid_t two = driver_guest(&driver, "two");
    assert_true(one > 0 && two > 0 && start > 0);
    snprintf(entry, sizeof(entry), "executor=one %d %lu %lu\nmeta={\"lease\":\"one\"}\n", (int)one, start, port);

    /* Another agent, after the first one's connection is gone, finds both. */
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    assert_true(ask("verb=LIST\nid=3\n", 3));
    assert_non_null(strstr(driver.text, entry));
    assert_non_null(strstr(driver.text, "executor=two "));
    assert_string_equal(field("ok"), "1");

    int witness = driver_connect(&driver), agent = driver.socket;
    driver.socket = witness;
    assert_true(ask("verb=LIST\nid=1\n", 1)); /* it is accepted by now */
    driver.socket = agent;
    assert_true(ask("verb=STOP\nid=4\nlease=one\n", 4));
    assert_string_equal(field("ok"), "1");
    assert_true(driver_gone(&one));
    driver.socket = witness;
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "verb=EXITED\nlease=one\nstatus=9\n");
    close(witness);
    driver.socket = agent;

    assert_string_equal(tell("two", "exit 5"), "");
    assert_true(driver_receive(&driver, 5000)); /* one's notice */
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "verb=EXITED\nlease=two\nstatus=1280\n");
    assert_true(ask("verb=LIST\nid=5\n", 5));
    assert_string_equal(driver.text, "id=5\nok=1\n");
    assert_true(ask("verb=STOP\nid=6\nlease=one\n", 6));
    assert_string_equal(driver.text, "id=6\nok=1\n"); /* ended already is as good */
}

static void bad_requests_are_answered_with_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *error;
    } cases[] = {
        {"lease=x", "lease=../x", "START: lease must"},
        {"lease=x", "lease=", "START: lease must"},
        {"uid=217001", "uid=0", "START: uid must"},
        {"uid=217001", "uid=-1", "START: uid must"},
        {"gid=217001", "gid=4294967295", "START: gid must"},
        {"spin_us=50", "spin_us=50\nspin_us=50", "START: key spin_us stands there twice"},
        {"spin_us=50", "spin=50", "START: unknown key spin"},
        {"kind=function", "kind=thing", "START: kind must"},
        {"memory=67108864", "memory=99999999999999999999", "START: memory must"},
        {"token=0", "token=G", "START: token must"},
        {"tcp=127.0.0.1:0", "tcp=localhost:0", "START: tcp must"},
        {"tcp=127.0.0.1:0", "tcp=203.0.113.7:0", "listen on tcp 203.0.113.7"},
        {"unix=/", "unix=", "START: unix must"},
        {"cgroup=/sys", "cgroup=/sys/../sys", "START: cgroup must"},
        {"cgroup=/sys/fs/cgroup/", "cgroup=/sys/fs/cgroup/none_", "/sys/fs/cgroup/none_"},
        {"executor=", "executor=/none", "executor /none"},
    };
    static char text[TEXT_BYTES];
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *good = driver_start_text(&driver, "x", i, ""), *at = strstr(good, cases[i].from);
        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, cases[i].to, at + strlen(cases[i].from));
        assert_true(ask(text, i));
        if (strncmp(field("error"), cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s: %s", cases[i].to, driver.text);
    }
    assert_true(ask("verb=DANCE\nid=50\n", 50));
    assert_true(strlen(field("error")) > 0);
    assert_true(ask("verb=LIST\nid=51\n", 51));
    assert_string_equal(driver.text, "id=51\nok=1\n");
    assert_int_equal(driver_processes(&driver), 0);
}

static void a_lease_lives_once(void **state)
{
    (void)state;
    pid_t first = driver_guest(&driver, "a");
    assert_true(ask(driver_start_text(&driver, "a", 9, ""), 9));
    assert_string_equal(field("error"), "lease a is live");
    assert_false(driver_gone(&first));
    assert_string_equal(tell("a", "hostname"), "a");
}

static void who_ends_before_ready_is_an_error(void **state)
{
    (void)state;
    assert_true(ask(driver_start_text(&driver, "quit", 2, ""), 2));
    assert_string_equal(field("error"), "executor ended before it was ready");
    assert_int_equal(driver_processes(&driver), 0);
}

static void who_is_never_ready_is_ended(void **state)
{
    (void)state;
    uint64_t begin_us = driver_now_us();
    assert_true(ask(driver_start_text(&driver, "mute", 2, ""), 2));
    assert_string_equal(field("error"), "executor was not ready in time");
    assert_in_range(driver_now_us() - begin_us, 200000, 1500000);
    assert_int_equal(driver_processes(&driver), 0);
    assert_true(driver_guest(&driver, "mute2") < 0);
}

static void a_start_whose_asker_is_gone_is_undone(void **state)
{
    (void)state;
    assert_true(driver_send(driver.socket, driver_start_text(&driver, "mute", 2, "")));
    uint64_t end_us = driver_now_us() + 5000000;
    while (driver_processes(&driver) != 1 && driver_now_us() < end_us)
        poll(NULL, 0, 1);
    assert_int_equal(driver_processes(&driver), 1);
    close(driver.socket);
    uint64_t begin_us = driver_now_us();
    assert_true(driver_until(driver_empty, &driver));
    assert_in_range(driver_now_us() - begin_us, 0, 2000000); /* well before the 5 s that it may take to be ready */
    driver.socket = driver_connect(&driver);
    assert_true(ask("verb=LIST\nid=2\n", 2));
    assert_string_equal(driver.text, "id=2\nok=1\n");
}

static void guests_die_with_the_starter(void **state)
{
    (void)state;
    pid_t one = driver_guest(&driver, "one"), two = driver_guest(&driver, "two");
    assert_true(one > 0 && two > 0);
    assert_string_equal(tell("two", "daemons 3"), "ok");
    kill(driver.starter, SIGKILL);
    assert_int_equal(waitpid(driver.starter, NULL, 0), driver.starter);
    close(driver.socket);
    assert_true(driver_until(driver_empty, &driver));
    /* The next one starts in the same place, over the sockets that the dead one left. */
    driver_start_starter(&driver, NULL);
    assert_true(driver_guest(&driver, "one") > 0);
    assert_true(ask(driver_start_text(&driver, "two", 2, ""), 2));
    assert_string_equal(field("ok"), "1");
}

static void there_is_one_starter(void **state)
{
    (void)state;
    pid_t first = driver.starter;
    int socket_fd = driver.socket, status = 0;
    assert_true(driver_guest(&driver, "a") > 0);
    driver_start_starter(&driver, NULL); /* connects to the first */
    close(driver.socket);
    assert_int_equal(waitpid(driver.starter, &status, 0), driver.starter);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    driver.starter = first;
    driver.socket = socket_fd;
    assert_true(ask("verb=LIST\nid=2\n", 2));
    assert_non_null(strstr(driver.text, "executor=a "));
}

static void a_frozen_guest_does_not_hold_up_stop(void **state)
{
    (void)state;
    char path[2 * NAME_BYTES];
    if (driver.unified) {
        print_message("skipped: cgroup v2 kills what is frozen\n");
        skip();
    }
    pid_t pid = driver_guest(&driver, "ice");
    assert_true(pid > 0);
    snprintf(path, sizeof(path), "%s/freezer.state", driver.groups[2]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "FROZEN", 6), 6);
    uint64_t begin_us = driver_now_us();
    assert_true(ask("verb=STOP\nid=2\nlease=ice\n", 2));
    bool told = strncmp(field("error"), "killed, but not gone yet", 24) == 0;
    uint64_t took_us = driver_now_us() - begin_us;
    assert_int_equal(write(fd, "THAWED", 6), 6);
    close(fd);
    assert_true(told);
    assert_in_range(took_us, 200000, 1500000);
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "verb=EXITED\nlease=ice\nstatus=9\n");
}

/** cgroup v2, where the kernel has it mounted: born into the group, no controllers needed. */
static void a_guest_is_born_into_a_v2_group(void **state)
{
    (void)state;
    static char text[TEXT_BYTES];
    char group[NAME_BYTES], expected[NAME_BYTES];
    const char *mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    bool made = false;
    if (driver.unified) {
        print_message("skipped: every guest here is born into a v2 group\n");
        skip();
    }
    for (size_t i = 0; !made && i < 2; i++) {
        snprintf(group, sizeof(group), "%s/cgroup.controllers", mounts[i]);
        if (access(group, F_OK) != 0)
            continue;
        snprintf(group, sizeof(group), "%s/sublet_launch_test_%d", mounts[i], (int)getpid());
        made = mkdir(group, 0755) == 0;
    }
    if (!made) {
        print_message("skipped: no cgroup v2 mounted here\n");
        skip();
    }
    const char *good = driver_start_text(&driver, "v2", 5, ""), *at = strstr(good, "cgroup=");
    snprintf(text, sizeof(text), "%.*scgroup=%s\n%s", (int)(at - good), good, group, at);
    bool started = ask(text, 5) && strcmp(field("ok"), "1") == 0;
    snprintf(expected, sizeof(expected), "0::/sublet_launch_test_%d\n", (int)getpid());
    bool inside = strstr(tell("v2", "cgroup"), expected) != NULL;
    bool stopped = ask("verb=STOP\nid=6\nlease=v2\n", 6);
    assert_int_equal(rmdir(group), 0);
    assert_true(started && inside && stopped);
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        STARTER_TEST(list_stop_and_exited),
        STARTER_TEST(bad_requests_are_answered_with_what_is_wrong),
        STARTER_TEST(a_lease_lives_once),
        STARTER_TEST(who_ends_before_ready_is_an_error),
        cmocka_unit_test_setup_teardown(who_is_never_ready_is_ended, begin_impatient, end),
        STARTER_TEST(a_start_whose_asker_is_gone_is_undone),
        STARTER_TEST(guests_die_with_the_starter),
        STARTER_TEST(there_is_one_starter),
        cmocka_unit_test_setup_teardown(a_frozen_guest_does_not_hold_up_stop, begin_short_stop, end),
        STARTER_TEST(a_guest_is_born_into_a_v2_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
