/**
 * Holds one lease and calls a function on it five times a second, for as long as the file PROGRESS.stop is not there.
 * PROGRESS is replaced after each call: id of the lease, calls answered. Ends with 1 at the first call that fails or
 * is not answered by the lease it began with. Built from what libsublet-dev installs.
 *
 *   hold LIBRARY PROGRESS
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sublet/sublet.h>

static int say(const char *path, const char *id, unsigned long calls)
{
    char fresh[512];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = fopen(fresh, "w");
    if (file == NULL)
        return -1;
    fprintf(file, "%s %lu\n", id, calls);
    return fclose(file) == 0 ? rename(fresh, path) : -1;
}

static int fail(sublet_session *session, const char *what)
{
    fprintf(stderr, "hold: %s: %s\n", what, sublet_last_error());
    sublet_close(session);
    return 1;
}

/** Tries for some minutes: on an emulated machine an executor may take longer than its agent waits. */
static sublet_status acquire(sublet_session *session, sublet_lease **lease)
{
    sublet_status status = SUBLET_ERR_BUSY;
    for (int tries = 0; tries < 20 && status != SUBLET_OK; tries++) {
        if (tries > 0)
            sleep(5);
        status = sublet_lease_acquire(session, NULL, lease);
    }
    return status;
}

int main(int count, char **arguments)
{
    static const char text[] = "still here";
    char answer[sizeof(text)], stop[512];
    size_t bytes;
    sublet_session *session = NULL;
    sublet_library *library;
    sublet_function_ref *echo;
    sublet_lease *lease;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    if (count != 3)
        return 2;
    snprintf(stop, sizeof(stop), "%s.stop", arguments[2]);
    if (sublet_open(NULL, &session) != SUBLET_OK || sublet_library_open(session, arguments[1], &library) != SUBLET_OK ||
        sublet_function_find(library, "echo", &echo) != SUBLET_OK)
        return fail(session, "session");
    if (acquire(session, &lease) != SUBLET_OK || sublet_lease_info_get(lease, &info) != SUBLET_OK)
        return fail(session, "lease");
    options.lease = lease; /* here only, never locally */
    options.timeout_ms = 20000;
    for (unsigned long calls = 1; access(stop, F_OK) != 0; calls++) {
        if (sublet_invoke(session, echo, text, sizeof(text), answer, sizeof(answer), &bytes, &options) != SUBLET_OK ||
            bytes != sizeof(text) || memcmp(text, answer, bytes) != 0)
            return fail(session, "call");
        if (say(arguments[2], info.id, calls) != 0)
            return fail(session, "progress");
        nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
    }
    sublet_close(session);
    return 0;
}
