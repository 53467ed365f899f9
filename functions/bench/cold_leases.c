/**
 * From the request for a lease to the first answer, ROUNDS times with a pause between, and in the same rounds what a
 * fork, an exec and a wait cost here. One line of JSON per round: microseconds of the lease, of the first call, of the
 * spawn.
 *
 *   sublet-cold-leases NODE ROUNDS PAUSE_MS LIBRARY
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "sublet/sublet.h"

#define TRIES_MAX 400

extern char **environ;

static double micros(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

static double spawn_us(void)
{
    char *arguments[] = {(char *)"true", NULL};
    double begin = micros();
    pid_t pid;
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) != 0)
        return -1;
    waitpid(pid, NULL, 0);
    return micros() - begin;
}

static sublet_status one_round(sublet_session *session, sublet_function_ref *function, const char *node)
{
    char in = 0, out[16];
    size_t size;
    sublet_lease *lease = NULL;
    sublet_lease_options wish = SUBLET_LEASE_OPTIONS_INIT;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    double begin = 0, leased = 0;
    sublet_status status = SUBLET_ERR_BUSY;
    wish.cores = 1;
    wish.node = node;
    wish.in_bytes = wish.out_bytes = 4096;
    /* What was given back a moment ago is offered again a little later: a refusal is no measurement. */
    for (int tries = 0; tries < TRIES_MAX && status == SUBLET_ERR_BUSY; tries++) {
        if (tries > 0)
            pause_ms(5);
        begin = micros();
        status = sublet_lease_acquire(session, &wish, &lease);
    }
    leased = micros();
    options.lease = lease;
    if (status == SUBLET_OK)
        status = sublet_invoke(session, function, &in, sizeof(in), out, sizeof(out), &size, &options);
    double answered = micros();
    sublet_lease_release(lease);
    if (status == SUBLET_OK)
        printf("{\"lease_us\":%.1f,\"call_us\":%.1f,\"spawn_us\":%.1f}\n", leased - begin, answered - leased,
               spawn_us());
    return status;
}

int main(int argc, char **argv)
{
    sublet_session *session;
    sublet_library *library;
    sublet_function_ref *function;
    if (argc != 5) {
        fprintf(stderr, "usage: %s NODE ROUNDS PAUSE_MS LIBRARY\n", argv[0]);
        return 2;
    }
    sublet_status status = sublet_open(NULL, &session);
    if (status == SUBLET_OK)
        status = sublet_library_open(session, argv[4], &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, "empty", &function);
    for (int i = 0; i < atoi(argv[2]) && status == SUBLET_OK; i++) {
        status = one_round(session, function, argv[1]);
        pause_ms(atoi(argv[3]));
    }
    if (status != SUBLET_OK) {
        fprintf(stderr, "%s (%s)\n", sublet_status_text(status), sublet_last_error());
        return 1;
    }
    sublet_close(session);
    return 0;
}
