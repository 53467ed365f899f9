/** Measures 200 starts and stops of an executor that does nothing: from the request to the answer, in microseconds. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 200 };

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void report(const char *what, uint64_t *us)
{
    qsort(us, ROUNDS, sizeof(*us), compare);
    printf("{\"what\":\"%s\",\"rounds\":%d,\"p50_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu}\n", what, ROUNDS,
           (unsigned long long)us[ROUNDS / 2], (unsigned long long)us[ROUNDS * 99 / 100],
           (unsigned long long)us[ROUNDS - 1]);
}

int main(void)
{
    static struct driver driver;
    static uint64_t start_us[ROUNDS], stop_us[ROUNDS];
    bool ok = driver_can_run();
    if (!ok)
        return 77;
    driver_begin(&driver, NULL);
    for (int i = 0; ok && i < ROUNDS; i++) {
        uint64_t begin = driver_now_us();
        ok = driver_guest(&driver, "bench") > 0;
        start_us[i] = driver_now_us() - begin;
        begin = driver_now_us();
        ok = ok && driver_ask(&driver, "verb=STOP\nid=7\nlease=bench\n", 7) &&
             strcmp(driver_field(driver.text, "ok"), "1") == 0;
        stop_us[i] = driver_now_us() - begin;
    }
    if (ok) {
        report("START to READY", start_us);
        report("STOP to reaped", stop_us);
    }
    return driver_end(&driver) && ok ? 0 : 1;
}
