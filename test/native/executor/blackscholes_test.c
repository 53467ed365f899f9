/** The example that prices options: right, the same bits each time, and no price for what has none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "examples/blackscholes.h"
#include "sublet/function.h"

int price(sublet_context *context, const void *in, void *out);

static double normal(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static void prices_agree_with_the_formula(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct bs_option o = {.spot = 10 + i % 97,
                              .strike = 5 + i % 131,
                              .rate = (i % 23) * 0.005 - 0.02,
                              .volatility = 0.05 + (i % 41) * 0.02,
                              .years = 0.01 + (i % 53) * 0.2};
        struct bs_price p, again;
        sublet_context context = {.in_bytes = sizeof(o), .out_bytes = sizeof(p)};
        assert_int_equal(price(&context, &o, &p), 0);
        assert_int_equal(context.result_bytes, sizeof(p));
        assert_int_equal(price(&context, &o, &again), 0);
        assert_memory_equal(&p, &again, sizeof(p));
        double deviation = o.volatility * sqrt(o.years);
        double d1 = (log(o.spot / o.strike) + (o.rate + o.volatility * o.volatility / 2) * o.years) / deviation;
        double discounted = o.strike * exp(-o.rate * o.years);
        double call = o.spot * normal(d1) - discounted * normal(d1 - deviation);
        assert_true(fabs(p.call - call) < 1e-12 * (o.spot + discounted));
        assert_true(fabs(p.call - p.put - (o.spot - discounted)) < 1e-12 * (o.spot + discounted));
    }
}

static void what_has_no_price_is_an_error(void **state)
{
    (void)state;
    const struct bs_option wrong[] = {{0, 1, 0, 1, 1}, {1, -1, 0, 1, 1},  {1, 1, 0, 0, 1},
                                      {1, 1, 0, 1, 0}, {NAN, 1, 0, 1, 1}, {1, 1, INFINITY, 1, 1}};
    struct bs_price p[2];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        sublet_context context = {.in_bytes = sizeof(wrong[i]), .out_bytes = sizeof(p)};
        assert_int_equal(price(&context, &wrong[i], p), 2);
    }
    sublet_context odd = {.in_bytes = sizeof(wrong[0]) - 1, .out_bytes = sizeof(p)};
    assert_int_equal(price(&odd, wrong, p), 1);
    sublet_context narrow = {.in_bytes = 3 * sizeof(wrong[0]), .out_bytes = sizeof(p)};
    assert_int_equal(price(&narrow, wrong, p), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prices_agree_with_the_formula),
        cmocka_unit_test(what_has_no_price_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
