/** What the starter bears from those who speak to it: garbage, pieces, silence, strangers, too much. */
#include "starter_case.h"

static void garbage_closes_the_connection_and_nothing_else(void **state)
{
    (void)state;
    static const char *const texts[] = {"hello\n",
                                        "verb=LIST\n",
                                        "id=1\nverb=LIST\n",
                                        "verb=LIST\nid=1",
                                        "\n",
                                        "verb=LIST\nid=-1\n",
                                        "verb=LIST\nid=1\nid=1\n",
                                        "VERB=LIST\nid=1\n",
                                        "verb=LI\x01ST\nid=1\n",
                                        "=\n"};
    pid_t guest = driver_guest(&driver, "a");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int fd = driver_connect(&driver);
        assert_true(driver_send(fd, texts[i]));
        if (!is_closed(fd, 5000))
            fail_msg("not closed after: %s", texts[i]);
        close(fd);
    }
    static const unsigned char lengths[][4] = {{0, 0, 0, 0}, {1, 0, 1, 0}, {255, 255, 255, 255}};
    for (size_t i = 0; i < 3; i++) {
        int fd = driver_connect(&driver);
        assert_int_equal(send(fd, lengths[i], 4, MSG_NOSIGNAL), 4);
        assert_true(is_closed(fd, 5000));
        close(fd);
    }
    srand(1);
    for (int round = 0; round < 200; round++) {
        unsigned char noise[512];
        int fd = driver_connect(&driver);
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (unsigned char)rand();
        noise[1] = round % 2 == 0 ? 0 : noise[1];
        noise[2] = noise[3] = 0;
        (void)!send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        close(fd);
    }
    assert_true(ask("verb=LIST\nid=2\n", 2));
    assert_non_null(strstr(driver.text, "executor=a "));
    assert_false(driver_gone(&guest));
}

static void frames_in_pieces_and_many_at_once(void **state)
{
    (void)state;
    static const char two[] = "\x0f\0\0\0verb=LIST\nid=1\n\x0f\0\0\0verb=LIST\nid=2\n";
    assert_int_equal(send(driver.socket, two, sizeof(two) - 1, MSG_NOSIGNAL), sizeof(two) - 1);
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "id=1\nok=1\n");
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "id=2\nok=1\n");
    for (size_t i = 0; i < sizeof(two) - 1; i++)
        assert_int_equal(send(driver.socket, two + i, 1, MSG_NOSIGNAL), 1);
    assert_true(driver_receive(&driver, 5000));
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver.text, "id=2\nok=1\n");
}

static void slow_clients_are_dropped(void **state)
{
    (void)state;
    pid_t guest = driver_guest(&driver, "a");
    int half = driver_connect(&driver), deaf = driver_connect(&driver), idle = driver_connect(&driver);
    assert_int_equal(send(half, "\x0f\0\0\0verb", 8, MSG_NOSIGNAL), 8);
    /* Asks and never reads: its socket fills, then the starter's patience ends. */
    uint64_t end_us = driver_now_us() + 10000000;
    ssize_t sent = 1;
    while (driver_now_us() < end_us && (sent > 0 || errno == EAGAIN)) {
        sent = send(deaf, "\x0f\0\0\0verb=LIST\nid=1\n", 19, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            poll(NULL, 0, 1);
    }
    assert_true(sent < 0);
    assert_true(is_closed(half, 5000));
    assert_false(is_closed(idle, 300));
    close(half);
    close(deaf);
    close(idle);
    assert_true(ask("verb=LIST\nid=2\n", 2));
    assert_false(driver_gone(&guest));
}

static void only_root_may_speak(void **state)
{
    (void)state;
    char path[2 * NAME_BYTES];
    struct stat info;
    snprintf(path, sizeof(path), "%s/starter.sock", driver.run_dir);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    /* Even if somebody opened the door. */
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(driver.run_dir, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setgid(GUEST_UID) != 0 || setuid(GUEST_UID) != 0)
            _exit(1);
        int fd = driver_connect(&driver);
        _exit(fd >= 0 && is_closed(fd, 5000) ? 0 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_long_list_comes_in_several_frames(void **state)
{
    (void)state;
    static char text[TEXT_BYTES], padding[4001];
    enum { GUESTS = 18 };
    memset(padding, 'm', sizeof(padding) - 1);
    for (unsigned i = 0; i < GUESTS; i++) {
        char lease[16];
        snprintf(lease, sizeof(lease), "g%u", i);
        const char *good = driver_start_text(&driver, lease, i, ""), *at = strstr(good, "meta=");
        snprintf(text, sizeof(text), "%.*smeta=%s\n%s", (int)(at - good), good, padding, strchr(at, '\n') + 1);
        assert_true(ask(text, i));
        assert_string_equal(field("ok"), "1");
    }
    int frames = 0, executors = 0;
    assert_true(ask("verb=LIST\nid=99\n", 99));
    for (;;) {
        frames++;
        for (const char *at = driver.text; (at = strstr(at, "executor=g")) != NULL; at++)
            executors++;
        if (strcmp(field("more"), "1") != 0)
            break;
        assert_true(driver_receive(&driver, 5000));
    }
    assert_int_equal(executors, GUESTS);
    assert_int_equal(frames, 2);
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        STARTER_TEST(garbage_closes_the_connection_and_nothing_else),
        STARTER_TEST(frames_in_pieces_and_many_at_once),
        cmocka_unit_test_setup_teardown(slow_clients_are_dropped, begin_strict, end),
        STARTER_TEST(only_root_may_speak),
        STARTER_TEST(a_long_list_comes_in_several_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
