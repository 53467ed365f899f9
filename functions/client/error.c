#include "client/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "sublet/sublet.h"

static _Thread_local char last_error[512] = "no error";

sublet_status error_set(sublet_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof(last_error), format, arguments);
    va_end(arguments);
    return status;
}

const char *sublet_last_error(void)
{
    return last_error;
}
