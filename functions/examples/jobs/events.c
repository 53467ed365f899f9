#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "examples/jobs/job.h"

double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void event(const char *name, const char *format, ...)
{
    struct timespec now;
    va_list values;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("{\"event\":\"%s\",\"unix_s\":%.6f", name, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("}\n");
    fflush(stdout);
}

sublet_status failed(const char *what, sublet_status status)
{
    event("failed", ",\"what\":\"%s\",\"status\":\"%s\",\"code\":%d", what, sublet_status_text(status), (int)status);
    fprintf(stderr, "%s: %s (%s)\n", what, sublet_status_text(status), sublet_last_error());
    return status;
}
