/** The arguments of plugstack.conf. */
#include "plugin.h"

#include <stdio.h>
#include <string.h>

static bool take_path(char *into, const char *value)
{
    if (value[0] != '/' || strlen(value) >= SETTING_BYTES)
        return false;
    strcpy(into, value);
    return true;
}

static bool take(struct settings *settings, const char *argument, char *why, size_t size)
{
    const char *equals = strchr(argument, '=');
    int length = equals == NULL ? (int)strlen(argument) : (int)(equals - argument);
    const char *value = equals == NULL ? "" : equals + 1;
    if (strncmp(argument, "socket=", 7) == 0 && take_path(settings->socket_path, value))
        return true;
    if (strncmp(argument, "roots=", 6) == 0 && take_path(settings->roots_path, value))
        return true;
    if (strncmp(argument, "timeout_ms=", 11) == 0) {
        uint32_t timeout_ms = hook_number(value, HOOK_TIMEOUT_MAX_MS, 0);
        if (timeout_ms > 0) {
            settings->timeout_ms = timeout_ms;
            return true;
        }
        snprintf(why, size, "timeout_ms=%.100s: a number from 1 to %d is meant", value, HOOK_TIMEOUT_MAX_MS);
    } else if (strncmp(argument, "socket=", 7) == 0 || strncmp(argument, "roots=", 6) == 0)
        snprintf(why, size, "%.100s: an absolute path of less than %d bytes is meant", argument, SETTING_BYTES);
    else
        snprintf(why, size,
                 "%.*s is not known here: there are socket=, roots= and timeout_ms=", length < 100 ? length : 100,
                 argument);
    return false;
}

bool settings_read(struct settings *settings, int count, char **arguments, char *why, size_t size)
{
    char later[2 * SETTING_BYTES];
    bool good = true;
    *settings = (struct settings){HOOK_SOCKET_PATH, HOOK_ROOTS_PATH, HOOK_TIMEOUT_MS};
    for (int i = 0; i < count; i++)
        if (!take(settings, arguments[i], good ? why : later, good ? size : sizeof(later)))
            good = false;
    return good;
}
