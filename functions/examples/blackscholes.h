/** Arguments and result of the function `price` of libblackscholes.so: an array of options, an array of prices. */
#ifndef SUBLET_EXAMPLES_BLACKSCHOLES_H
#define SUBLET_EXAMPLES_BLACKSCHOLES_H

/** A European option on a stock without dividends. */
struct bs_option {
    double spot;
    double strike;
    double rate;       /* per year, continuously compounded */
    double volatility; /* per square root of a year */
    double years;      /* to expiry, > 0 */
};

struct bs_price {
    double call;
    double put;
};

#endif
