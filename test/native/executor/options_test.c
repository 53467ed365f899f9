/** The executor's configuration: what is taken, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "executor/options.h"

#define TOKEN "token=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n"

static sublet_status parse(const char *text, struct executor_options *options)
{
    const char *why = NULL;
    sublet_status status = options_parse(text, strlen(text), options, &why);
    if (status != SUBLET_OK)
        assert_non_null(why);
    return status;
}

static void takes_what_the_starter_writes(void **state)
{
    (void)state;
    struct executor_options options;
    assert_int_equal(parse("kind=function\nlease=l-1\ncores=1,3,5-7\nowner=1000\nmemory=1048576\n" TOKEN
                           "spin_us=20\nslots_max=8\nfabric=verbs;ofi_rxm\nsays_client=1\n",
                           &options),
                     SUBLET_OK);
    assert_true(options.says_client);
    assert_false(options.region);
    assert_int_equal(options.workers, 5);
    assert_int_equal(options.cores[1], 3);
    assert_int_equal(options.cores[4], 7);
    assert_int_equal(options.owner, 1000);
    assert_int_equal(options.spin_ns, 20000);
    assert_int_equal(options.slots_max, 8);
    assert_int_equal(options.token[0], 0);
    assert_int_equal(options.token[31], 255);
    assert_string_equal(options.lease, "l-1");
    assert_string_equal(options.fabric, "verbs;ofi_rxm");
    assert_int_equal(parse("kind=region\nlease=l\ncores=\nowner=0\nmemory=4096\n" TOKEN "spin_us=0\n", &options),
                     SUBLET_OK);
    assert_true(options.region);
    assert_false(options.says_client);
    assert_string_equal(options.fabric, "");
    assert_int_equal(options.workers, 0);
}

static void refuses_the_rest(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "kind=function\ncores=1\nowner=0\nfabric=\n" TOKEN,
        "kind=function\ncores=1\nowner=0\nsays_client=2\n" TOKEN,
        "kind=function\ncores=1\nowner=0\nfabric=a-name-that-is-longer-than-31-bytes\n" TOKEN,
        "kind=function\ncores=1\nowner=0\n",
        "kind=functions\ncores=1\nowner=0\n" TOKEN,
        "kind=function\nowner=0\n" TOKEN,
        "kind=region\nowner=0\n" TOKEN,
        "kind=function\ncores=1\nowner=0\ncolour=blue\n" TOKEN,
        "kind=function\ncores=1\ncores=2\nowner=0\n" TOKEN,
        "kind=function\ncores=3-1\nowner=0\n" TOKEN,
        "kind=function\ncores=0-64\nowner=0\n" TOKEN,
        "kind=function\ncores=1,\nowner=0\n" TOKEN,
        "kind=function\ncores=1 2\nowner=0\n" TOKEN,
        "kind=function\ncores=1\nowner=-1\n" TOKEN,
        "kind=function\ncores=1\nowner=4294967295\n" TOKEN,
        "kind=function\ncores=1\nowner=99999999999999999999999\n" TOKEN,
        "kind=function\ncores=1\nowner=0\ntoken=00\n",
        "kind=function\ncores=1\nowner=0\nnothing\n" TOKEN,
        "kind=function\ncores=1\nowner=0\nslots_max=0\n" TOKEN,
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct executor_options options;
        assert_int_equal(parse(wrong[i], &options), SUBLET_ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_starter_writes),
        cmocka_unit_test(refuses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
