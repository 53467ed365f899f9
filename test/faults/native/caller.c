/**
 * A client that does what its arguments say, step by step, and prints a line of JSON for each:
 *
 *   caller FOLDER STEP...
 *     lease:NODE:CORES:MIB:MS        takes a lease; NODE may be empty; asks again for MS while nothing is spare
 *     call:LIBRARY:FUNCTION:U64:MS   calls on any lease, else here; argument U64, deadline MS (0: none)
 *     pin:LIBRARY:FUNCTION:U64:MS    calls on the lease only, and once only
 *     info                           what has become of the lease
 *     wait:FILE                      until there is such a file
 *     release
 *
 * A step that fails is a result like any other: the caller goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sublet/sublet.h"

/** Whatever a function does that runs here by mistake, it does not fork without end. */
#define PROCESSES_MAX 200
#define WAIT_MAX_MS   300e3

static sublet_session *session;
static sublet_lease *lease;
static const char *folder;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void say(const char *step, sublet_status status, double started_ms, const char *more)
{
    char text[512];
    snprintf(text, sizeof(text), "%s", status == SUBLET_OK ? "" : sublet_last_error());
    for (char *c = text; *c != 0; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '\'';
    printf("{\"step\":\"%s\",\"code\":%d,\"ms\":%.3f,\"text\":\"%s\"%s}\n", step, (int)status, now_ms() - started_ms,
           text, more);
    fflush(stdout);
}

static void take(char **words)
{
    double started_ms = now_ms();
    char more[256] = "";
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    options.node = words[1][0] == 0 ? NULL : words[1];
    options.cores = (uint32_t)atoi(words[2]);
    options.memory_bytes = strtoull(words[3], NULL, 10) << 20;
    sublet_status status = sublet_lease_acquire(session, &options, &lease);
    while (status == SUBLET_ERR_BUSY && now_ms() - started_ms < atof(words[4])) {
        usleep(100000);
        status = sublet_lease_acquire(session, &options, &lease);
    }
    if (status == SUBLET_OK) {
        sublet_lease_info info = {.struct_bytes = sizeof(info)};
        sublet_lease_info_get(lease, &info);
        snprintf(more, sizeof(more), ",\"node\":\"%s\",\"id\":\"%s\"", info.node, info.id);
    }
    say("lease", status, started_ms, more);
}

static sublet_status run(char **words, bool pinned, char *more, size_t capacity)
{
    char path[4096];
    uint64_t in = strtoull(words[3], NULL, 10), out = 0;
    size_t bytes = 0;
    const char *node = "";
    sublet_library *library;
    sublet_function_ref *function;
    sublet_call *call;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    options.timeout_ms = strtoull(words[4], NULL, 10);
    options.lease = pinned ? lease : NULL;
    options.flags = pinned ? SUBLET_CALL_ONCE : 0;
    snprintf(path, sizeof(path), "%s/%s", folder, words[1]);
    if (pinned && lease == NULL)
        return SUBLET_ERR_NOT_FOUND; /* never here: the functions of libfaults.so would harm this machine */
    sublet_status status = sublet_library_open(session, path, &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, words[2], &function);
    if (status == SUBLET_OK)
        status = sublet_submit(session, function, &in, sizeof(in), &out, sizeof(out), &options, &call);
    if (status != SUBLET_OK)
        return status;
    status = sublet_wait(call, 60000);
    if (status == SUBLET_OK)
        status = sublet_call_result(call, &bytes, &node);
    snprintf(more, capacity, ",\"node\":\"%s\",\"bytes\":%zu,\"result\":\"%016llx\"", node != NULL ? node : "", bytes,
             (unsigned long long)out);
    sublet_call_free(call);
    return status;
}

static void info(void)
{
    sublet_lease_info now = {.struct_bytes = sizeof(now)};
    char more[256] = "";
    double started_ms = now_ms();
    sublet_status status = lease == NULL ? SUBLET_ERR_NOT_FOUND : sublet_lease_info_get(lease, &now);
    if (status == SUBLET_OK)
        snprintf(more, sizeof(more), ",\"node\":\"%s\",\"state\":%d,\"reason\":\"%s\",\"calls\":%llu", now.node,
                 (int)now.state, now.reason, (unsigned long long)now.calls);
    say("info", status, started_ms, more);
}

static void await_file(const char *path)
{
    double started_ms = now_ms();
    while (access(path, F_OK) != 0 && now_ms() - started_ms < WAIT_MAX_MS)
        usleep(20000);
}

static void step(char *text)
{
    char *words[8] = {"", "", "", "0", "0", "0", "0", "0"};
    for (size_t i = 0; i < 8 && text != NULL; i++)
        words[i] = strsep(&text, ":");
    double started_ms = now_ms();
    char more[512] = "";
    if (strcmp(words[0], "lease") == 0)
        take(words);
    else if (strcmp(words[0], "call") == 0 || strcmp(words[0], "pin") == 0) {
        sublet_status status = run(words, words[0][0] == 'p', more, sizeof(more));
        say(words[0], status, started_ms, more);
    } else if (strcmp(words[0], "info") == 0)
        info();
    else if (strcmp(words[0], "wait") == 0)
        await_file(words[1]);
    else if (strcmp(words[0], "release") == 0) {
        sublet_lease_release(lease);
        lease = NULL;
        say("release", SUBLET_OK, started_ms, "");
    } else
        say("unknown", SUBLET_ERR_INVALID, started_ms, "");
}

int main(int argc, char **argv)
{
    struct rlimit processes = {PROCESSES_MAX, PROCESSES_MAX};
    if (setrlimit(RLIMIT_NPROC, &processes) != 0)
        return 1;
    folder = argc > 1 ? argv[1] : ".";
    sublet_status status = sublet_open(NULL, &session);
    if (status != SUBLET_OK) {
        say("open", status, now_ms(), "");
        return 1;
    }
    for (int i = 2; i < argc; i++)
        step(argv[i]);
    if (lease != NULL)
        sublet_lease_release(lease);
    sublet_close(session);
    return 0;
}
