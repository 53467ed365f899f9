#include "launch/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/** Copies what JSON allows between quotes. */
static void clean(const char *from, char *to, size_t size)
{
    size_t used = 0;
    for (; *from != '\0' && used + 1 < size; from++)
        to[used++] = ((unsigned char)*from < 0x20 || *from == '"' || *from == '\\') ? '\'' : *from;
    to[used] = '\0';
}

void log_event(enum log_level level, const char *format, ...)
{
    char text[768], safe[768], line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    clean(text, safe, sizeof(safe));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(line, sizeof(line),
                        "{\"level\":%d,\"time\":%lld,\"pid\":%d,\"name\":\"sublet-starter\",\"msg\":\"%s\"}\n",
                        (int)level, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, (int)getpid(), safe);
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (size > 0 && poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0)
        (void)!write(STDERR_FILENO, line, (size_t)size);
}
