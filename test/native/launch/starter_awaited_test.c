/** Leases granted ahead to clients on other nodes: the answers that are kept here, and the guests that wait there. */
#include "starter_case.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static int door; /* a second connection, as sublet-door has one */

static int begin_with_door(void **state)
{
    begin(state);
    door = driver_connect(&driver);
    return 0;
}

static int end_with_door(void **state)
{
    close(door);
    return end(state);
}

#define AWAITED_TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_door, end_with_door)

static void prepare(const char *name, unsigned id)
{
    static char text[TEXT_BYTES];
    const char *start = driver_start_text(&driver, name, id, "");
    snprintf(text, sizeof(text), "verb=PREPARE%s", start + strlen("verb=START"));
    assert_true(ask(text, id));
    assert_string_equal(field("ok"), "1");
}

/** Its port; 0: refused. */
static int await_client(const char *lease, unsigned id, const char *more)
{
    static char text[TEXT_BYTES];
    const char *start = driver_start_text(&driver, lease, id, more);
    snprintf(text, sizeof(text), "verb=AWAIT%s", start + strlen("verb=START"));
    assert_true(ask(text, id));
    return strcmp(field("ok"), "1") == 0 ? atoi(field("port")) : 0;
}

/** As a client of another node, or anybody. -1: nobody listens. */
static int come(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool refused(void *port)
{
    int fd = come(*(int *)port);
    close(fd);
    return fd < 0;
}

static bool up(void *lease)
{
    return tell(lease, "hostname")[0] != '\0';
}

static bool one_is_left(void *nothing)
{
    (void)nothing;
    return driver_processes(&driver) == 1;
}

static bool listed(const char *lease)
{
    char line[64];
    assert_true(ask("verb=LIST\nid=90\n", 90));
    snprintf(line, sizeof(line), "executor=%s ", lease);
    return strstr(driver.text, line) != NULL;
}

static bool notice(const char *verb, const char *lease)
{
    assert_true(driver_receive(&driver, 10000));
    return strcmp(field("verb"), verb) == 0 && strcmp(field("lease"), lease) == 0;
}

static void a_prepared_guest_is_the_leases_when_the_token_was_shown(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    int prepared = atoi(field("port")), port = await_client("a", 3, "job=7\npool=pool-1\n");
    assert_int_equal(port, prepared);
    assert_true(driver_until(up, (void *)(uintptr_t) "a"));
    assert_false(listed("a"));
    close(come(port)); /* a stranger makes no difference */
    assert_false(driver_receive(&driver, 50));
    assert_string_equal(tell("a", "greet"), "1");
    assert_true(notice("REDEEMED", "a"));
    assert_string_equal(field("job"), "7");
    assert_int_equal(atoi(field("port")), port);
    assert_non_null(strstr(field("stats"), "/proc/"));
    assert_true(listed("a"));
    assert_true(ask("verb=UNVOUCH\nid=4\n", 4)); /* it is no business of that any more */
    assert_true(listed("a"));
    assert_true(ask("verb=STOP\nid=8\nlease=a\n", 8));
    assert_int_equal(driver_processes(&driver), 0);
}

static void without_one_the_first_to_come_has_it_started(void **state)
{
    (void)state;
    int port = await_client("a", 3, "job=7\n");
    assert_true(port > 0);
    assert_int_equal(driver_processes(&driver), 0);
    int fd = come(port);
    assert_true(fd >= 0);
    assert_true(driver_until(up, (void *)(uintptr_t) "a"));
    assert_string_equal(tell("a", "tcp"), "1"); /* he is in its line */
    assert_non_null(strstr(tell("a", "config"), "\nsays_client=1\n"));
    assert_false(listed("a"));
    assert_string_equal(tell("a", "greet"), "1");
    assert_true(notice("REDEEMED", "a"));
    assert_int_equal(atoi(field("port")), port);
    assert_true(listed("a"));
    close(fd);
    assert_true(ask("verb=STOP\nid=8\nlease=a\n", 8));
    assert_true(driver_until(refused, &port));
}

static void who_comes_without_the_token_gets_nothing_for_long(void **state)
{
    (void)state;
    int port = await_client("a", 3, "job=7\n");
    int fd = come(port);
    assert_true(driver_until(up, (void *)(uintptr_t) "a"));
    assert_true(notice("EXITED", "a")); /* after five seconds */
    assert_int_equal(driver_processes(&driver), 0);
    assert_true(driver_until(refused, &port));
    close(fd);
}

static void after_unvouch_none_becomes_a_lease(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    prepare("pool-2", 3);
    assert_true(await_client("a", 4, "job=7\npool=pool-1\n") > 0);
    assert_true(await_client("b", 5, "job=7\npool=pool-2\n") > 0);
    int port = await_client("c", 6, "job=7\n"), other = await_client("d", 7, "job=7\n");
    assert_true(driver_until(up, (void *)(uintptr_t) "a"));
    assert_true(ask("verb=UNVOUCH\nid=8\nlease=b\n", 8));
    assert_true(ask("verb=UNVOUCH\nid=9\nlease=c\n", 9));
    assert_true(driver_until(refused, &port));
    assert_string_equal(tell("a", "greet"), "1");
    assert_true(driver_send(driver.socket, "verb=UNVOUCH\nid=10\n"));
    bool redeemed = false; /* what was redeemed is told before the answer */
    for (int i = 0; i < 4; i++) {
        assert_true(driver_receive(&driver, 10000));
        redeemed = redeemed || strcmp(field("verb"), "REDEEMED") == 0;
        if (strcmp(field("id"), "10") == 0)
            break;
    }
    assert_true(redeemed);
    assert_true(driver_until(refused, &other));
    assert_true(listed("a") && !listed("b"));
    assert_true(driver_until(one_is_left, NULL));
}

static void it_goes_with_its_keeper(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    int port = await_client("a", 3, "job=7\npool=pool-1\n"), other = await_client("b", 4, "job=7\n");
    assert_true(driver_until(up, (void *)(uintptr_t) "a"));
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    assert_true(driver_until(driver_empty, &driver));
    assert_true(driver_until(refused, &port) && driver_until(refused, &other));
}

static void only_the_keeper_and_only_functions_and_within_bounds(void **state)
{
    (void)state;
    char lease[8], port_text[TEXT_BYTES];
    prepare("pool-1", 2);
    assert_int_equal(await_client("a", 3, "pool=pool-1\n"), 0);
    assert_int_equal(await_client("a", 4, "job=any\npool=pool-1\n"), 0);
    assert_int_equal(await_client("a", 5, "job=1\npool=pool-2\n"), 0);
    assert_int_equal(await_client("a", 6, "job=1\nmore=1\n"), 0);
    snprintf(port_text, sizeof(port_text), "verb=AWAIT%s",
             driver_start_text(&driver, "a", 7, "job=1\n") + strlen("verb=START"));
    char *kind = strstr(port_text, "\nkind=function");
    memcpy(kind, "\nkind=region\n\n", strlen("\nkind=function\n"));
    memmove(kind + strlen("\nkind=region\n"), kind + strlen("\nkind=function\n"),
            strlen(kind + strlen("\nkind=function\n")) + 1);
    assert_true(ask(port_text, 7));
    assert_string_not_equal(field("error"), "");
    int keeper = driver.socket;
    driver.socket = door;
    assert_int_equal(await_client("a", 8, "job=1\npool=pool-1\n"), 0);
    driver.socket = keeper;
    for (unsigned i = 0; i < 16; i++) {
        snprintf(lease, sizeof(lease), "a%u", i);
        assert_true(await_client(lease, 10 + i, "job=1\n") > 0);
    }
    assert_int_equal(await_client("b", 30, "job=1\n"), 0);
    assert_true(await_client("b", 31, "job=1\npool=pool-1\n") > 0);
}

static void one_that_cannot_be_started_has_ended(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    int port = await_client("a", 3, "job=7\n");
    assert_true(driver_guest(&driver, "a") > 0); /* such a lease lives already */
    int fd = come(port);
    assert_true(notice("EXITED", "a"));
    close(fd);
    assert_true(driver_until(refused, &port));
    snprintf(text, sizeof(text), "verb=AWAIT%s", driver_start_text(&driver, "b", 4, "job=1\n") + strlen("verb=START"));
    strstr(text, "\nexecutor=")[strlen("\nexecutor=") + 1] = '~';
    assert_true(ask(text, 4));
    port = atoi(field("port"));
    fd = come(port);
    assert_true(notice("EXITED", "b"));
    close(fd);
    assert_true(driver_until(refused, &port));
}

static bool keep(const char *lease, unsigned id, const char *job)
{
    char text[512];
    snprintf(text, sizeof(text), "verb=KEEP\nid=%u\nlease=%s\nowner=1000\nowner_gid=70\n%sask=0a0b\nanswer=2203\n", id,
             lease, job);
    assert_true(ask(text, id));
    return strcmp(field("ok"), "1") == 0;
}

static bool redeem(unsigned uid, unsigned gid, unsigned job, const char *asked)
{
    static unsigned id = 100;
    char text[512];
    int keeper = driver.socket;
    driver.socket = door;
    snprintf(text, sizeof(text), "verb=REDEEM\nid=%u\nuid=%u\ngid=%u\njob=%u\nask=%s\n", ++id, uid, gid, job, asked);
    assert_true(ask(text, id));
    driver.socket = keeper;
    return strcmp(field("ok"), "1") == 0;
}

static void a_kept_answer_is_handed_out_once_to_whom_it_is_for(void **state)
{
    (void)state;
    assert_true(keep("a", 2, "job=5\n"));
    assert_false(keep("a", 3, "job=5\n"));
    assert_false(redeem(1000, 70, 6, "0a0b"));
    assert_false(redeem(1000, 71, 5, "0a0b"));
    assert_false(redeem(1001, 70, 5, "0a0b"));
    assert_false(redeem(1000, 70, 5, "0a0c"));
    assert_true(redeem(1000, 70, 5, "0a0b"));
    assert_string_equal(field("lease"), "a");
    assert_string_equal(field("answer"), "2203");
    assert_false(redeem(1000, 70, 5, "0a0b"));
    assert_false(driver_receive(&driver, 50)); /* the keeper hears of it in its client's stream */
    assert_true(ask("verb=FORGET\nid=4\nlease=a\n", 4));
    assert_string_equal(field("kept"), "0");
}

static void it_is_forgotten_by_its_keeper_and_with_it(void **state)
{
    (void)state;
    char lease[8];
    assert_true(keep("a", 2, "job=5\n"));
    assert_true(ask("verb=UNVOUCH\nid=3\n", 3)); /* that is about this node's own */
    assert_true(ask("verb=FORGET\nid=4\nlease=a\n", 4));
    assert_string_equal(field("kept"), "1");
    assert_false(redeem(1000, 70, 5, "0a0b"));
    for (unsigned i = 0; i < 16; i++) {
        snprintf(lease, sizeof(lease), "a%u", i);
        assert_true(keep(lease, 10 + i, "job=5\n"));
    }
    assert_false(keep("b", 30, "job=5\n"));
    assert_false(keep("c", 31, "job=any\n"));
    assert_false(keep("c", 32, ""));
    int keeper = driver.socket;
    driver.socket = door;
    assert_true(ask("verb=FORGET\nid=33\nlease=a1\n", 33));
    assert_string_equal(field("kept"), "0");
    driver.socket = keeper;
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    assert_true(ask("verb=LIST\nid=34\n", 34)); /* the other close has been heard by then */
    assert_false(redeem(1000, 70, 5, "0a0b"));
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        AWAITED_TEST(a_prepared_guest_is_the_leases_when_the_token_was_shown),
        AWAITED_TEST(without_one_the_first_to_come_has_it_started),
        AWAITED_TEST(who_comes_without_the_token_gets_nothing_for_long),
        AWAITED_TEST(after_unvouch_none_becomes_a_lease),
        AWAITED_TEST(it_goes_with_its_keeper),
        AWAITED_TEST(only_the_keeper_and_only_functions_and_within_bounds),
        AWAITED_TEST(one_that_cannot_be_started_has_ended),
        AWAITED_TEST(a_kept_answer_is_handed_out_once_to_whom_it_is_for),
        AWAITED_TEST(it_is_forgotten_by_its_keeper_and_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
