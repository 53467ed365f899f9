/** Guests that are prepared before their lease is known. */
#include "starter_case.h"

/** PREPARE of a guest by this name, as a START of it would be. */
static const char *prepare_text(const char *name, unsigned id)
{
    static char text[TEXT_BYTES];
    const char *start = driver_start_text(&driver, name, id, "");
    snprintf(text, sizeof(text), "verb=PREPARE%s", start + strlen("verb=START"));
    return text;
}

static void a_prepared_guest_is_handed_out(void **state)
{
    (void)state;
    assert_true(ask(prepare_text("pool-1", 2), 2));
    assert_string_equal(field("ok"), "1");
    pid_t pid = (pid_t)atoi(field("pid"));
    uint16_t port = (uint16_t)atoi(field("port"));
    assert_int_equal(driver_processes(&driver), 1);
    assert_true(ask("verb=LIST\nid=3\n", 3)); /* it is nobody's lease yet */
    assert_string_equal(driver.text, "id=3\nok=1\n");
    assert_true(ask(driver_start_text(&driver, "a", 4, "pool=pool-1\n"), 4));
    assert_string_equal(field("ok"), "1");
    assert_int_equal(atoi(field("pid")), pid);
    assert_int_equal(atoi(field("port")), port);
    const char *config = tell("a", "config");
    assert_non_null(strstr(config, "\nlease=a\n"));
    assert_non_null(strstr(config, "\ntoken=0011"));
    assert_string_equal(tell("pool-1", "pid"), "");
    assert_true(ask("verb=LIST\nid=5\n", 5));
    assert_non_null(strstr(driver.text, "executor=a "));
    assert_non_null(strstr(driver.text, "meta={\"lease\":\"a\"}"));
    /* Only once, and it survives the connection that had it prepared, as every lease does. */
    assert_true(ask(driver_start_text(&driver, "b", 6, "pool=pool-1\n"), 6));
    assert_non_null(strstr(field("error"), "no guest pool-1 is prepared"));
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    assert_true(ask("verb=LIST\nid=7\n", 7));
    assert_non_null(strstr(driver.text, "executor=a "));
    assert_true(ask("verb=STOP\nid=8\nlease=a\n", 8));
    assert_int_equal(driver_processes(&driver), 0);
}

/** Another user who could connect could make the supervisor wait by what he sends along. */
static void only_the_owner_may_connect(void **state)
{
    (void)state;
    char text[TEXT_BYTES], path[160];
    struct stat info;
    assert_true(ask(prepare_text("pool-1", 2), 2));
    assert_string_equal(field("ok"), "1");
    for (unsigned i = 0; i < 2; i++) {
        const char *more = i == 0 ? "pool=pool-1\n" : "";
        const char *all = driver_start_text(&driver, i == 0 ? "a" : "b", 4 + i, more), *at = strstr(all, "\nowner=0\n");
        snprintf(text, sizeof(text), "%.*s\nowner=4001%s", (int)(at - all), all, at + 8);
        assert_true(ask(text, 4 + i));
        assert_string_equal(field("ok"), "1");
        snprintf(path, sizeof(path), "%s/%c.sock", driver.run_dir, i == 0 ? 'a' : 'b');
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_uid, 4001);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
}

static void a_prepared_guest_gets_the_tmp_of_its_lease(void **state)
{
    char text[TEXT_BYTES], *memory;
    (void)state;
    snprintf(text, sizeof(text), "%s", prepare_text("pool-1", 2));
    memory = strstr(text, "memory=67108864");
    assert_non_null(memory);
    memcpy(memory, "memory=97108864", strlen("memory=97108864"));
    assert_true(ask(text, 2));
    assert_true(ask(driver_start_text(&driver, "a", 3, "pool=pool-1\n"), 3));
    assert_string_equal(field("ok"), "1");
    assert_in_range(atoi(tell("a", "fill /tmp/large")), 1024, MEMORY_LIMIT / 4 / 1024);
}

static void a_prepared_guest_is_its_keepers(void **state)
{
    (void)state;
    assert_true(ask(prepare_text("pool-1", 2), 2));
    assert_true(ask(prepare_text("pool-1", 3), 3));
    assert_non_null(strstr(field("error"), "live"));
    /* With another uid it is not the guest that was meant. */
    char text[TEXT_BYTES];
    snprintf(text, sizeof(text), "%s", driver_start_text(&driver, "a", 4, "pool=pool-1\n"));
    memcpy(strstr(text, "uid=217001"), "uid=217002", strlen("uid=217002"));
    assert_true(ask(text, 4));
    assert_non_null(strstr(field("error"), "no guest pool-1 is prepared"));
    assert_true(ask(prepare_text("pool-2", 5), 5));
    assert_true(ask("verb=STOP\nid=6\nlease=pool-2\n", 6));
    assert_string_equal(field("ok"), "1");
    assert_int_equal(driver_processes(&driver), 1);
    close(driver.socket);
    assert_true(driver_until(driver_empty, &driver));
    driver.socket = driver_connect(&driver);
    assert_true(driver_guest(&driver, "a") > 0);
}

static int begin_hasty(void **state)
{
    *state = &driver;
    driver_begin(&driver, "--ready-timeout-ms=500");
    return 0;
}

/** Its order is written, so the lease is answered; what it lacks to be ready shows as the end of a lease. */
static void one_that_is_never_ready_ends_as_a_lease(void **state)
{
    (void)state;
    assert_true(ask(prepare_text("pool-1", 2), 2));
    assert_true(ask(driver_start_text(&driver, "mute", 3, "pool=pool-1\n"), 3));
    assert_string_equal(field("ok"), "1");
    assert_true(ask("verb=LIST\nid=4\n", 4)); /* an agent that comes now must find it */
    assert_non_null(strstr(driver.text, "executor=mute "));
    assert_true(driver_receive(&driver, 10000));
    assert_string_equal(field("verb"), "EXITED");
    assert_string_equal(field("lease"), "mute");
    assert_int_equal(driver_processes(&driver), 0);
}

static void one_that_ends_instead_of_coming_up_is_told_of(void **state)
{
    (void)state;
    assert_true(ask(prepare_text("pool-1", 2), 2));
    assert_true(ask(driver_start_text(&driver, "quit", 3, "pool=pool-1\n"), 3));
    assert_string_equal(field("ok"), "1");
    assert_true(driver_receive(&driver, 10000));
    assert_string_equal(field("verb"), "EXITED");
    assert_string_equal(field("lease"), "quit");
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        STARTER_TEST(a_prepared_guest_is_handed_out),
        STARTER_TEST(only_the_owner_may_connect),
        STARTER_TEST(a_prepared_guest_gets_the_tmp_of_its_lease),
        STARTER_TEST(a_prepared_guest_is_its_keepers),
        cmocka_unit_test_setup_teardown(one_that_is_never_ready_ends_as_a_lease, begin_hasty, end),
        STARTER_TEST(one_that_ends_instead_of_coming_up_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
