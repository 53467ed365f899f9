/** What `sum_both` of sum.c is called with: an exported lease with the function `sum`, then numbers. */
#ifndef SUBLET_EXAMPLES_SUM_H
#define SUBLET_EXAMPLES_SUM_H

#include "sublet/sublet.h"

struct sum_both_arguments {
    unsigned char other[SUBLET_EXPORT_BYTES];
    uint64_t numbers[];
};

/** What it has added up where; `status` is that of the call to the other lease (sublet/status.h). */
struct sum_both_result {
    uint64_t sum;
    uint64_t there;
    uint32_t status;
    uint32_t reserved;
};

#endif
