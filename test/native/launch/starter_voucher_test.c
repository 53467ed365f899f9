/** Leases that are granted ahead: who gets them, who hears of it in which order, and what ends them. */
#include "starter_case.h"

#include <time.h>

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

#define VOUCHER_TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_door, end_with_door)

static void prepare(const char *name, unsigned id)
{
    static char text[TEXT_BYTES];
    const char *start = driver_start_text(&driver, name, id, "");
    snprintf(text, sizeof(text), "verb=PREPARE%s", start + strlen("verb=START"));
    assert_true(ask(text, id));
    assert_string_equal(field("ok"), "1");
}

/** VOUCH of a lease, owned by uid 0, with what the voucher itself says. */
static const char *vouch_text(const char *lease, const char *pool, unsigned id, const char *own)
{
    static char text[TEXT_BYTES], more[1024];
    snprintf(more, sizeof(more), "%s%s%s%s", pool == NULL ? "" : "pool=", pool == NULL ? "" : pool,
             pool == NULL ? "" : "\n", own);
    const char *start = driver_start_text(&driver, lease, id, more), *meta = strstr(start, "meta={");
    snprintf(text, sizeof(text), "verb=VOUCH%.*smeta=[\"%s\",$JOB]%s", (int)(meta - start - 10), start + 10, lease,
             strchr(meta, '\n'));
    return text;
}

static const char own[] = "ask=0a0b\nowner_gid=70\njob=any\nanswer=2203\n";

static bool vouch(const char *lease, const char *pool, unsigned id, const char *said)
{
    assert_true(ask(vouch_text(lease, pool, id, said), id));
    return strcmp(field("ok"), "1") == 0;
}

/** As the door asks. What is in driver.text is its answer. */
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

static void who_asks_for_just_that_gets_it_and_the_keeper_hears_of_it(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    char port[16];
    snprintf(port, sizeof(port), "%s", field("port"));
    assert_true(vouch("a", "pool-1", 3, own));
    assert_true(ask("verb=LIST\nid=4\n", 4)); /* it is nobody's lease yet */
    assert_string_equal(driver.text, "id=4\nok=1\n");
    assert_false(redeem(1, 70, 5, "0a0b"));
    assert_string_equal(field("error"), "none");
    assert_false(redeem(0, 71, 5, "0a0b"));
    assert_false(redeem(0, 70, 5, "0a0c"));
    assert_false(redeem(0, 70, 5, "0a"));
    assert_true(redeem(0, 70, 5, "0a0b"));
    assert_string_equal(field("lease"), "a");
    assert_string_equal(field("answer"), "2203");
    assert_false(driver_receive(&driver, 0)); /* its work would keep the guest from its client */
    assert_true(driver_receive(&driver, 10000));
    assert_string_equal(field("verb"), "REDEEMED");
    assert_string_equal(field("lease"), "a");
    assert_string_equal(field("job"), "5");
    assert_string_equal(field("port"), port);
    assert_non_null(strstr(field("stats"), "/proc/"));
    const char *config = tell("a", "config");
    assert_non_null(strstr(config, "\nlease=a\n"));
    assert_true(
        ask("verb=LIST\nid=5\n", 5)); /* for an agent that comes later, with the job, and since when it is one */
    long long handed_ms = 0, now_ms = 1000LL * time(NULL);
    const char *line = strstr(driver.text, "executor=a ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "executor=a %*d %*u %*u %lld\n", &handed_ms), 1);
    assert_true(handed_ms > now_ms - 30000 && handed_ms < now_ms + 2000);
    assert_non_null(strstr(driver.text, "meta=[\"a\",5]\n"));
    assert_false(redeem(0, 70, 5, "0a0b")); /* once */
    assert_true(ask("verb=STOP\nid=8\nlease=a\n", 8));
    assert_int_equal(driver_processes(&driver), 0);
}

static void one_for_one_job_is_no_other_jobs(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    assert_true(vouch("a", "pool-1", 3, "ask=0a0b\nowner_gid=70\njob=9\nanswer=2203\n"));
    assert_false(redeem(0, 70, 8, "0a0b"));
    assert_true(redeem(0, 70, 9, "0a0b"));
}

static void after_unvouch_was_answered_none_is_redeemed(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    prepare("pool-2", 3);
    assert_true(vouch("a", "pool-1", 4, own));
    assert_true(vouch("b", "pool-2", 5, own));
    assert_true(redeem(0, 70, 5, "0a0b"));
    driver.text[0] = '\0';
    assert_true(driver_send(driver.socket, "verb=UNVOUCH\nid=6\n"));
    assert_true(driver_receive(&driver, 10000)); /* what was redeemed is told before the answer */
    assert_string_equal(field("verb"), "REDEEMED");
    assert_true(driver_receive(&driver, 10000));
    assert_string_equal(field("ok"), "1");
    assert_false(redeem(0, 70, 5, "0a0b"));
    /* The other one is prepared as it was before. */
    assert_true(ask(driver_start_text(&driver, "c", 7, "pool=pool-2\n"), 7));
    assert_string_equal(field("ok"), "1");
}

static void only_the_keeper_vouches_and_only_for_what_is_prepared(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "ask=0a0b\nowner_gid=70\njob=any\n",
        "ask=0a0\nowner_gid=70\njob=any\nanswer=22\n",
        "ask=0A0B\nowner_gid=70\njob=any\nanswer=22\n",
        "ask=\nowner_gid=70\njob=any\nanswer=22\n",
        "ask=0a0b\nowner_gid=70\njob=some\nanswer=22\n",
        "ask=0a0b\nowner_gid=-1\njob=1\nanswer=22\n",
        "ask=0a0b\nask=0a0b\nowner_gid=70\njob=any\nanswer=22\n",
        "ask=0a0b\nowner_gid=70\njob=any\nanswer=22\nmore=1\n",
    };
    prepare("pool-1", 2);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(vouch("a", "pool-1", 10 + i, bad[i]));
    assert_false(vouch("a", "pool-2", 20, own));
    int keeper = driver.socket;
    driver.socket = door;
    assert_false(vouch("a", "pool-1", 21, own));
    assert_true(ask("verb=UNVOUCH\nid=22\n", 22)); /* its own: none */
    driver.socket = keeper;
    assert_true(vouch("a", "pool-1", 23, own));
    assert_false(vouch("b", "pool-1", 24, own)); /* it is vouched for */
    assert_true(ask(driver_start_text(&driver, "c", 25, "pool=pool-1\n"), 25));
    assert_non_null(strstr(field("error"), "vouched for"));
    assert_false(redeem(0, 70, 5, "zz"));
    assert_true(redeem(0, 70, 5, "0a0b"));
}

static void it_goes_with_its_keeper_and_with_its_guest(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    prepare("pool-2", 3);
    assert_true(vouch("a", "pool-1", 4, own));
    assert_true(vouch("b", "pool-2", 5, own));
    assert_true(ask("verb=STOP\nid=6\nlease=pool-1\n", 6));
    assert_true(redeem(0, 70, 5, "0a0b"));
    assert_string_equal(field("lease"), "b");
    prepare("pool-3", 7);
    assert_true(vouch("c", "pool-3", 8, own));
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    for (int i = 0; i < 10000 && driver_processes(&driver) > 1; i++)
        usleep(1000);
    assert_false(redeem(0, 70, 5, "0a0b"));
    assert_int_equal(driver_processes(&driver), 1); /* what was redeemed before stays */
    assert_true(ask("verb=LIST\nid=9\n", 9));
    assert_non_null(strstr(driver.text, "executor=b "));
}

/** Five digits of a port in the answer, from its second byte on. */
static const char bare[] = "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\nport_at=1\n";

static void one_without_a_guest_is_started_when_it_is_redeemed(void **state)
{
    (void)state;
    char port[16], digits[32];
    assert_true(vouch("a", NULL, 2, bare));
    assert_int_equal(driver_processes(&driver), 0);
    assert_true(redeem(0, 70, 5, "0a0b"));
    assert_string_equal(field("lease"), "a");
    snprintf(digits, sizeof(digits), "%s", field("answer"));
    assert_true(driver_receive(&driver, 10000));
    assert_string_equal(field("verb"), "REDEEMED");
    snprintf(port, sizeof(port), "%05d", atoi(field("port")));
    assert_int_equal(strlen(digits), 14);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(digits[2 + 2 * i], '3');
        assert_int_equal(digits[3 + 2 * i], port[i]);
    }
    assert_non_null(strstr(tell("a", "config"), "\nlease=a\n"));
    assert_true(ask("verb=LIST\nid=5\n", 5));
    assert_non_null(strstr(driver.text, "meta=[\"a\",5]\n"));
    assert_false(redeem(0, 70, 5, "0a0b"));
    assert_true(ask("verb=STOP\nid=8\nlease=a\n", 8));
    assert_int_equal(driver_processes(&driver), 0);
}

static void one_with_a_guest_goes_before_one_without(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    assert_true(vouch("a", NULL, 3, bare));
    assert_true(vouch("b", "pool-1", 4, own));
    assert_true(redeem(0, 70, 5, "0a0b"));
    assert_string_equal(field("lease"), "b");
    assert_true(ask("verb=UNVOUCH\nid=6\n", 6));
    assert_false(redeem(0, 70, 5, "0a0b"));
}

static void one_without_a_guest_goes_with_its_keeper_and_has_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\n",
        "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\nport_at=3\n",
        "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\nport_at=99999999999999999999\n",
        "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\nport_at=-1\n",
    };
    char lease[8];
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(vouch("a", NULL, 2 + i, bad[i]));
    assert_true(vouch("a", NULL, 10, "ask=0a0b\nowner_gid=70\njob=any\nanswer=22303030303003\nport_at=2\n"));
    for (unsigned i = 1; i < 16; i++) {
        snprintf(lease, sizeof(lease), "a%u", i);
        assert_true(vouch(lease, NULL, 10 + i, bare));
    }
    assert_false(vouch("b", NULL, 40, bare));
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    assert_true(ask("verb=LIST\nid=9\n", 9)); /* the other close has been heard by then */
    assert_false(redeem(0, 70, 5, "0a0b"));
    assert_int_equal(driver_processes(&driver), 0);
}

static void one_that_cannot_be_started_has_ended(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    snprintf(text, sizeof(text), "%s", vouch_text("a", NULL, 2, bare));
    char *executor = strstr(text, "\nexecutor=");
    executor[strlen("\nexecutor=") + 1] = '~';
    assert_true(ask(text, 2));
    assert_string_equal(field("ok"), "1");
    assert_false(redeem(0, 70, 5, "0a0b"));
    assert_non_null(strstr(field("error"), "executor"));
    assert_true(driver_receive(&driver, 0));
    assert_string_equal(field("verb"), "EXITED");
    assert_string_equal(field("lease"), "a");
}

static void a_lease_that_lives_already_is_not_handed_out_again(void **state)
{
    (void)state;
    prepare("pool-1", 2);
    assert_true(vouch("a", "pool-1", 3, own));
    assert_true(driver_guest(&driver, "a") > 0);
    assert_false(redeem(0, 70, 5, "0a0b"));
    assert_non_null(strstr(field("error"), "live"));
    assert_true(ask(driver_start_text(&driver, "b", 4, "pool=pool-1\n"), 4)); /* its guest is as it was */
    assert_string_equal(field("ok"), "1");
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        VOUCHER_TEST(who_asks_for_just_that_gets_it_and_the_keeper_hears_of_it),
        VOUCHER_TEST(one_for_one_job_is_no_other_jobs),
        VOUCHER_TEST(after_unvouch_was_answered_none_is_redeemed),
        VOUCHER_TEST(only_the_keeper_vouches_and_only_for_what_is_prepared),
        VOUCHER_TEST(it_goes_with_its_keeper_and_with_its_guest),
        VOUCHER_TEST(one_without_a_guest_is_started_when_it_is_redeemed),
        VOUCHER_TEST(one_with_a_guest_goes_before_one_without),
        VOUCHER_TEST(one_without_a_guest_goes_with_its_keeper_and_has_bounds),
        VOUCHER_TEST(one_that_cannot_be_started_has_ended),
        VOUCHER_TEST(a_lease_that_lives_already_is_not_handed_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
