/** Code that the node keeps: what leases of one owner save, and what a hostile guest does not get. */
#include "code_case.h"

static void the_next_lease_of_an_owner_is_sent_nothing(void **state)
{
    (void)state;
    struct control_code name;
    struct peer a, b, c;
    uint32_t number = 9;
    unsigned char *bytes = library(4 * MIB + 100, 7, &name);
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    assert_int_equal(load_hash(&a, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&a, bytes, name.size, &number), SUBLET_OK);
    assert_echoes(&a, number);
    await_figure("kept", 1);
    assert_int_equal(figure("misses"), 1);
    assert_int_equal(figure("bytes"), 4 * MIB + 4096);
    assert_int_equal(load_hash(&a, &name, &number), SUBLET_OK); /* it knows its own */
    start("b", ALICE, &b);
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_OK);
    assert_int_equal(number, 0);
    assert_echoes(&b, number);
    assert_int_equal(load(&b, bytes, name.size, &number), SUBLET_OK); /* the same, however it comes */
    assert_int_equal(number, 0);
    await_figure("hits", 1);
    /* Who has another uid is told the same as of a library that was never there. */
    start("c", BOB, &c);
    assert_int_equal(load_hash(&c, &name, &number), SUBLET_ERR_HASH);
    code(64 * MIB, 16, "");
    assert_int_equal(figure("hits"), 1);
    assert_int_equal(figure("misses"), 2);
    free(bytes);
    peer_close(&a), peer_close(&b), peer_close(&c);
}

static void content_that_is_not_what_its_hash_says_is_not_kept(void **state)
{
    (void)state;
    struct control_code name, other;
    struct peer a, b;
    uint32_t number = 9;
    unsigned char *bytes = library(MIB, 7, &name), *wrong = library(MIB, 8, &other);
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    start("b", ALICE, &b);
    assert_int_equal(load_hash(&a, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&a, wrong, other.size, &number), SUBLET_OK); /* its own affair */
    await_figure("refused", 1);
    assert_int_equal(figure("kept"), 0);
    assert_int_equal(figure("bytes"), 0);
    assert_int_equal(load_hash(&a, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_ERR_HASH);
    /* What does not load is not offered. */
    memset(wrong, 0, 64);
    sha256(wrong, other.size, other.hash);
    assert_int_equal(load_hash(&b, &other, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&b, wrong, other.size, &number), SUBLET_ERR_INVALID);
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&b, bytes, name.size, &number), SUBLET_OK);
    await_figure("kept", 1);
    assert_int_equal(figure("refused"), 1);
    free(bytes), free(wrong);
    peer_close(&a), peer_close(&b);
}

static void what_was_not_used_for_longest_makes_room(void **state)
{
    (void)state;
    struct control_code names[3];
    struct peer a, b;
    uint32_t number;
    code(64 * MIB, 4, ""); /* two for each owner */
    start("a", ALICE, &a);
    for (int i = 0; i < 3; i++) {
        unsigned char *bytes = library(MIB, i, &names[i]);
        assert_int_equal(load_hash(&a, &names[i], &number), SUBLET_ERR_HASH);
        assert_int_equal(load(&a, bytes, names[i].size, &number), SUBLET_OK);
        free(bytes);
        do
            code(64 * MIB, 4, "");
        while (figure("kept") < (uint64_t)i + 1);
    }
    assert_int_equal(figure("evicted"), 1);
    assert_int_equal(figure("entries"), 2);
    start("b", ALICE, &b);
    assert_int_equal(load_hash(&b, &names[0], &number), SUBLET_ERR_HASH);
    assert_int_equal(load_hash(&b, &names[1], &number), SUBLET_OK);
    assert_int_equal(load_hash(&b, &names[2], &number), SUBLET_OK);
    /* Both are in use now: to throw them out would free nothing, so a third finds no room. */
    struct control_code more;
    unsigned char *bytes = library(MIB, 9, &more);
    assert_int_equal(load_hash(&a, &more, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&a, bytes, more.size, &number), SUBLET_OK);
    do
        code(64 * MIB, 4, "");
    while (figure("refused") < 1);
    assert_int_equal(figure("entries"), 2);
    /* Nor does what is larger than an owner's half: no room is even begun. */
    code(MIB, 4, "");
    stop("b");
    code(MIB, 4, "");
    assert_int_equal(figure("entries"), 1);
    free(bytes);
    peer_close(&a), peer_close(&b);
}

static void all_of_it_goes_when_it_is_told_to(void **state)
{
    (void)state;
    struct control_code name;
    struct peer a, b;
    uint32_t number;
    unsigned char *bytes = library(4 * MIB, 7, &name);
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    start("b", ALICE, &b);
    assert_int_equal(load_hash(&a, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&a, bytes, name.size, &number), SUBLET_OK);
    await_figure("kept", 1);
    code(0, 0, "drop=1\n");
    assert_int_equal(figure("entries"), 0);
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_ERR_HASH);
    code(64 * MIB, 16, "");
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_ERR_HASH);
    assert_int_equal(load(&b, bytes, name.size, &number), SUBLET_OK);
    await_figure("kept", 2);
    /* It belongs to who keeps it: gone with its connection. One in use counts until it is not. */
    struct peer c;
    start("c", ALICE, &c);
    assert_int_equal(load_hash(&c, &name, &number), SUBLET_OK);
    close(driver.socket);
    driver.socket = driver_connect(&driver);
    code(64 * MIB, 16, "");
    assert_int_equal(figure("entries"), 1);
    struct peer d;
    start("d", ALICE, &d);
    assert_int_equal(load_hash(&d, &name, &number), SUBLET_ERR_HASH);
    assert_echoes(&c, 0);
    stop("c");
    await_figure("entries", 0);
    free(bytes);
    peer_close(&a), peer_close(&b), peer_close(&c), peer_close(&d);
}

static void a_guest_cannot_have_kept_what_it_likes(void **state)
{
    (void)state;
    code(64 * MIB, 16, "");
    start_probe("a", ALICE);
    unsigned char ones[8192];
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    memset(ones, 1, sizeof(ones));
    sha256(ones, sizeof(ones), hash);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(tell("a", "code-ask 1 1 8192 %s", hex), "56 errno 0");
    assert_string_equal(tell("a", "code-take"), "1 of 1: 18 with room");
    /* It was not sealed: its content could change after it was looked at. */
    assert_string_equal(tell("a", "code-fill 1 0"), "filled");
    tell("a", "code-ask 2 1 8192 %s", hex);
    assert_string_equal(tell("a", "code-take"), "2 of 1: 1");
    /* It was sealed, and is something else. */
    tell("a", "code-ask 1 2 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "1 of 2: 18 with room");
    assert_string_equal(tell("a", "code-fill 1 1"), "filled");
    tell("a", "code-ask 2 2 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "2 of 2: 1");
    /* Offered under another name or size than it was asked for, or never asked for. */
    tell("a", "code-ask 1 3 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "1 of 3: 18 with room");
    tell("a", "code-ask 2 3 8192 1%s", ZEROS + 1);
    assert_string_equal(tell("a", "code-take"), "2 of 3: 1");
    tell("a", "code-ask 2 3 4096 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "2 of 3: 1");
    tell("a", "code-ask 2 77 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "2 of 77: 1");
    /* Taken back: then it is not there to be offered. */
    tell("a", "code-ask 3 3 8192 %s", ZEROS);
    tell("a", "code-ask 2 3 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "2 of 3: 1");
    code(64 * MIB, 16, "");
    assert_int_equal(figure("refused"), 2);
    assert_int_equal(figure("entries"), 0);
    /* The right one is kept. */
    tell("a", "code-ask 1 4 8192 %s", hex);
    assert_string_equal(tell("a", "code-take"), "1 of 4: 18 with room");
    assert_string_equal(tell("a", "code-fill 1 1"), "filled");
    tell("a", "code-ask 2 4 8192 %s", hex);
    assert_string_equal(tell("a", "code-take"), "2 of 4: 0");
    tell("a", "code-ask 1 5 8192 %s", hex);
    assert_string_equal(tell("a", "code-take"), "1 of 5: 0 with room");
    assert_string_equal(tell("a", "code-fill 2 0"), "errno 13"); /* for reading only */
    tell("a", "code-ask 1 6 8193 %s", hex);
    assert_string_equal(tell("a", "code-take"), "1 of 6: 18"); /* of another size: known to be none */
}

static void a_guest_does_not_disturb_the_starter(void **state)
{
    (void)state;
    static const char *const broken[] = {"code-ask 1 1 8192 %s 55", "code-ask 4 1 8192 %s", "code-ask 0 1 8192 %s",
                                         "code-ask 1 1 63 %s", "code-ask 1 1 67108865 %s"};
    code(64 * MIB, 16, "");
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        start_probe("a", ALICE);
        assert_string_equal(tell("a", "code-pass"), "peer is gone"); /* no descriptor goes that way */
        tell("a", broken[i], ZEROS);
        assert_string_equal(tell("a", "code-take"), "nothing: peer is gone"); /* it is not heard any more */
        assert_string_equal(tell("a", "code-ask 1 1 8192 %s", ZEROS), "-1 errno 32");
        assert_true(atoi(tell("a", "pid")) > 0);
        stop("a");
    }
    /* Who asks without end is heard now and then, and others meanwhile. */
    start_probe("a", ALICE);
    assert_in_range(atoi(tell("a", "code-flood 100000")), 1000, 99999);
    start_probe("b", ALICE);
    tell("b", "code-ask 1 1 8192 %s", ZEROS);
    assert_string_equal(tell("b", "code-take"), "1 of 1: 18 with room");
    code(64 * MIB, 16, "");
    assert_in_range(figure("misses"), 2, 1000);
    /* More rooms than it may have: the oldest is not one any more. */
    for (int i = 2; i < 8; i++) {
        tell("b", "code-ask 1 %d 8192 %s", i, ZEROS);
        tell("b", "code-take");
    }
    tell("b", "code-fill 0 1");
    tell("b", "code-ask 2 1 8192 %s", ZEROS);
    assert_string_equal(tell("b", "code-take"), "2 of 1: 1");
}

static void without_limits_nothing_is_kept(void **state)
{
    (void)state;
    char text[160];
    static const char *const wrong[] = {"",
                                        "max_bytes=1\n",
                                        "max_bytes=1\nmax_entries=257\n",
                                        "max_bytes=-1\nmax_entries=1\n",
                                        "max_bytes=1\nmax_entries=1\ndrop=2\n",
                                        "max_bytes=1\nmax_entries=1\nother=1\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "verb=CODE\nid=7\n%s", wrong[i]);
        assert_true(ask(text, 7));
        assert_non_null(strstr(field("error"), "CODE takes max_bytes="));
    }
    start_probe("a", ALICE);
    tell("a", "code-ask 1 1 8192 %s", ZEROS);
    assert_string_equal(tell("a", "code-take"), "1 of 1: 18");
    code(64 * MIB, 16, "");
    assert_int_equal(figure("misses"), 0);
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        STARTER_TEST(the_next_lease_of_an_owner_is_sent_nothing),
        STARTER_TEST(content_that_is_not_what_its_hash_says_is_not_kept),
        STARTER_TEST(what_was_not_used_for_longest_makes_room),
        STARTER_TEST(all_of_it_goes_when_it_is_told_to),
        STARTER_TEST(a_guest_cannot_have_kept_what_it_likes),
        STARTER_TEST(a_guest_does_not_disturb_the_starter),
        STARTER_TEST(without_limits_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
