/**
 * libblackscholes.so: `price` turns an array of bs_option into an array of bs_price.
 *
 * The same bits everywhere: only +, -, *, / and sqrt, which IEEE 754 defines to the last bit, in a fixed order, without
 * contraction. The C library's exp and log differ between processors (it picks a variant at start), so they are not
 * used. Errors stay below 1e-13 of the price of the underlying.
 */
#include "examples/blackscholes.h"

#include <math.h>
#include <string.h>

#include "sublet/function.h"

#define LN2_HIGH 6.93147180369123816490e-01 /* its low 32 bits are zero: k * LN2_HIGH is exact */
#define LN2_LOW  1.90821492927058770002e-10

static double power_of_two(int64_t exponent)
{
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/** e^x for x in -700 to 700. */
static double exponential(double x)
{
    double turns = x * 1.44269504088896338700;
    int64_t k = (int64_t)(turns + (turns >= 0 ? 0.5 : -0.5));
    double r = (x - (double)k * LN2_HIGH) - (double)k * LN2_LOW;
    double sum = 1.0;
    for (int n = 14; n >= 1; n--)
        sum = 1.0 + sum * r / (double)n;
    return sum * power_of_two(k);
}

/** ln x for normal x > 0. */
static double logarithm(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int64_t k = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof(m));
    if (m > 1.41421356237309514547) {
        m *= 0.5;
        k++;
    }
    double s = (m - 1.0) / (m + 1.0), square = s * s, sum = 0.0;
    for (int n = 23; n >= 1; n -= 2)
        sum = 1.0 / (double)n + sum * square;
    return 2.0 * s * sum + (double)k * LN2_LOW + (double)k * LN2_HIGH;
}

/** The normal distribution by Hart's rational approximation and, far out, a continued fraction. */
static double normal(double x)
{
    double away = x < 0 ? -x : x, tail = 0.0;
    if (away <= 37.0) {
        double bell = exponential(-away * away / 2.0);
        if (away < 7.07106781186547) {
            double top = 3.52624965998911e-02 * away + 0.700383064443688;
            top = top * away + 6.37396220353165;
            top = top * away + 33.912866078383;
            top = top * away + 112.079291497871;
            top = top * away + 221.213596169931;
            top = top * away + 220.206867912376;
            double bottom = 8.83883476483184e-02 * away + 1.75566716318264;
            bottom = bottom * away + 16.064177579207;
            bottom = bottom * away + 86.7807322029461;
            bottom = bottom * away + 296.564248779674;
            bottom = bottom * away + 637.333633378831;
            bottom = bottom * away + 793.826512519948;
            bottom = bottom * away + 440.413735824752;
            tail = bell * top / bottom;
        } else {
            double fraction = away + 0.65;
            for (int n = 4; n >= 1; n--)
                fraction = away + (double)n / fraction;
            tail = bell / fraction / 2.506628274631;
        }
    }
    return x > 0 ? 1.0 - tail : tail;
}

static struct bs_price price_one(const struct bs_option *option)
{
    double deviation = option->volatility * sqrt(option->years);
    double drift = (option->rate + 0.5 * option->volatility * option->volatility) * option->years;
    double d1 = (logarithm(option->spot / option->strike) + drift) / deviation;
    double d2 = d1 - deviation;
    double discounted = option->strike * exponential(-option->rate * option->years);
    struct bs_price price = {
        .call = option->spot * normal(d1) - discounted * normal(d2),
        .put = discounted * normal(-d2) - option->spot * normal(-d1),
    };
    return price;
}

static int priceable(const struct bs_option *option)
{
    double growth = option->rate * option->years;
    return option->spot > 1e-300 && option->strike > 1e-300 && option->spot < 1e300 && option->strike < 1e300 &&
           option->spot / option->strike > 1e-300 && option->spot / option->strike < 1e300 && option->volatility > 0 &&
           option->volatility < 1e6 && option->years > 0 && option->years < 1e6 && growth > -600 && growth < 600;
}

/** Error 1: the arguments are not a whole number of options, or the result has no room. 2: no price exists for one. */
SUBLET_FUNCTION(price)
{
    const struct bs_option *options = in;
    struct bs_price *prices = out;
    uint32_t count = context->in_bytes / (uint32_t)sizeof(*options);
    if (context->in_bytes % sizeof(*options) != 0 || context->out_bytes / sizeof(*prices) < count)
        return 1;
    for (uint32_t i = 0; i < count; i++) {
        if (!priceable(&options[i]))
            return 2;
        prices[i] = price_one(&options[i]);
    }
    context->result_bytes = count * (uint32_t)sizeof(*prices);
    return 0;
}
