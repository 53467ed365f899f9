/**
 * From the request for a lease to the first answer, ROUNDS times with a pause between, and in the same rounds what a
 * fork, an exec and a wait cost here, and a byte to a process that slept through the pause and back. One line of JSON
 * per round: microseconds of the lease, of the first call, of the spawn, of the byte.
 *
 *   sublet-cold-leases NODE ROUNDS PAUSE_MS LIBRARY [BYTES FOLDER...]
 *
 * With BYTES, each round makes a library of that size and of new content in each FOLDER, and calls it on two leases: on
 * the first no node has it, on the second this one may. A line for each lease, and it says which that was.
 */
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

/** A process that answers each byte; it ends with us. @return our end of its socket, -1: none. */
static int echo_start(void)
{
    int ends[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        while (read(ends[1], &byte, 1) == 1 && write(ends[1], &byte, 1) == 1) {
        }
        _exit(0);
    }
    close(ends[1]);
    return pid < 0 ? -1 : ends[0];
}

static double wake_us(int echo)
{
    char byte = 0;
    double begin = micros();
    if (write(echo, &byte, 1) != 1 || read(echo, &byte, 1) != 1)
        return -1;
    return micros() - begin;
}

/** wake: what a byte there and back took before; 0: it was not asked. */
static sublet_status one_round(sublet_session *session, sublet_function_ref *function, const char *node,
                               const char *which, double wake)
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
        printf("{\"lease_us\":%.1f,\"call_us\":%.1f,\"spawn_us\":%.1f,\"wake_us\":%.1f,\"which\":\"%s\"}\n",
               leased - begin, answered - leased, spawn_us(), wake, which);
    return status;
}

/** The function of a library, in a session of its own, which the caller closes also when this fails. */
static sublet_status open_empty(const char *path, sublet_session **session_out, sublet_function_ref **function_out)
{
    sublet_library *library;
    sublet_status status = sublet_open(NULL, session_out);
    if (status == SUBLET_OK)
        status = sublet_library_open(*session_out, path, &library);
    return status == SUBLET_OK ? sublet_function_find(library, "empty", function_out) : status;
}

/** One lease in a session of its own, so that each takes the same of its client. */
static sublet_status one_session(const char *node, const char *path, const char *which)
{
    sublet_session *session = NULL;
    sublet_function_ref *function;
    sublet_status status = open_empty(path, &session, &function);
    if (status == SUBLET_OK)
        status = one_round(session, function, node, which, 0);
    sublet_close(session);
    return status;
}

/** LIBRARY, and behind it as many bytes as make the size, with the time among them: nobody has seen that one. */
static sublet_status make_library(const char *library, long bytes, const char *path)
{
    double unique = micros();
    char *content = calloc(1, (size_t)bytes);
    FILE *from = fopen(library, "re"), *to = fopen(path, "we");
    bool ok = content != NULL && from != NULL && to != NULL &&
              fread(content, 1, (size_t)bytes, from) + sizeof(unique) <= (size_t)bytes;
    if (ok) {
        memcpy(content + bytes - sizeof(unique), &unique, sizeof(unique));
        ok = fwrite(content, 1, (size_t)bytes, to) == (size_t)bytes;
    }
    if (from != NULL)
        fclose(from);
    if (to != NULL)
        ok = fclose(to) == 0 && ok;
    free(content);
    return ok ? SUBLET_OK : SUBLET_ERR_SYSTEM;
}

static sublet_status loads(char **argv, int folders)
{
    sublet_status status = SUBLET_OK;
    char path[1024], which[32];
    for (int i = 0; i < atoi(argv[2]); i++)
        for (int folder = 0; folder < folders; folder++) {
            snprintf(path, sizeof(path), "%s/made-%d.so", argv[6 + folder], (int)getpid());
            status = make_library(argv[4], atol(argv[5]), path);
            for (int again = 0; again < 2 && status == SUBLET_OK; again++) {
                snprintf(which, sizeof(which), "%d %s", folder, again == 0 ? "first" : "again");
                status = one_session(argv[1], path, which);
                pause_ms(atoi(argv[3]));
            }
            unlink(path);
            if (status != SUBLET_OK)
                return status;
        }
    return status;
}

static sublet_status leases(char **argv)
{
    sublet_session *session = NULL;
    sublet_function_ref *function;
    int echo = echo_start(); /* before there are threads */
    sublet_status status = open_empty(argv[4], &session, &function);
    for (int i = 0; i < atoi(argv[2]) && status == SUBLET_OK; i++) {
        double wake = wake_us(echo);
        pause_ms(atoi(argv[3]));
        status = one_round(session, function, argv[1], "", wake);
        pause_ms(atoi(argv[3]));
    }
    sublet_close(session);
    if (echo >= 0)
        close(echo);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc == 6) {
        fprintf(stderr, "usage: %s NODE ROUNDS PAUSE_MS LIBRARY [BYTES FOLDER...]\n", argv[0]);
        return 2;
    }
    sublet_status status = argc == 5 ? leases(argv) : loads(argv, argc - 6);
    if (status == SUBLET_OK)
        return 0;
    fprintf(stderr, "%s (%s)\n", sublet_status_text(status), sublet_last_error());
    return 1;
}
