/**
 * A guest on NODE of one kind, for as long as this process lives: what a batch job there may feel. Says "ready" when
 * the guest is at work.
 *
 *   sublet-harm-load NODE idle|cpu|hog|region|churn RATE LIBRARY
 *
 * idle: a lease and no call. cpu: calls that compute. hog: calls that stream through memory. region: gets and puts of
 * 1 MiB, RATE MB (10^6 bytes) a second in all. churn: RATE leases a second, each given back at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sublet/sublet.h"

#define PIECE        (1u << 20)
#define REGION_BYTES (256u << 20)
#define CALL_MS      20u

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** Sleeps until the moment; at once when it is over. */
static void sleep_until(uint64_t when_ns)
{
    struct timespec when = {.tv_sec = (time_t)(when_ns / 1000000000u), .tv_nsec = (long)(when_ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static void ready(void)
{
    printf("ready\n");
    fflush(stdout);
}

static sublet_status acquire(sublet_session *session, const char *node, sublet_lease **lease)
{
    sublet_lease_options wish = SUBLET_LEASE_OPTIONS_INIT;
    wish.cores = 1;
    wish.node = node;
    wish.memory_bytes = 256u << 20;
    sublet_status status = SUBLET_ERR_BUSY;
    for (int tries = 0; tries < 1000 && status == SUBLET_ERR_BUSY; tries++) {
        if (tries > 0)
            sleep_until(now_ns() + 10000000u);
        status = sublet_lease_acquire(session, &wish, lease);
    }
    return status;
}

/** Calls that follow one another; a call that the guard holds back ends with its deadline, and the next is tried. */
static sublet_status call_on(sublet_session *session, const char *node, sublet_function_ref *function)
{
    sublet_lease *lease;
    sublet_call_options options = SUBLET_CALL_OPTIONS_INIT;
    uint32_t ms = CALL_MS;
    char out[16];
    size_t size;
    sublet_status status = acquire(session, node, &lease);
    options.lease = lease;
    options.timeout_ms = 60000;
    for (int i = 0; status == SUBLET_OK; i++) {
        status = sublet_invoke(session, function, &ms, sizeof(ms), out, sizeof(out), &size, &options);
        if (i == 0 && status == SUBLET_OK)
            ready();
        if (i > 0 && (status == SUBLET_ERR_REVOKED || status == SUBLET_ERR_TIMEOUT)) {
            sublet_lease_release(lease); /* the guard ended or held it: what a client does then */
            status = acquire(session, node, &lease);
            options.lease = lease;
        }
    }
    return status;
}

static sublet_status use_region(sublet_session *session, const char *node, double bytes_per_second)
{
    sublet_region *region;
    sublet_region_options wish = SUBLET_REGION_OPTIONS_INIT;
    char *piece = malloc(PIECE);
    wish.node = node;
    sublet_status status =
        piece == NULL ? SUBLET_ERR_NO_MEMORY : sublet_region_alloc(session, REGION_BYTES, &wish, &region);
    if (status == SUBLET_OK)
        memset(piece, 1, PIECE);
    uint64_t begin = now_ns();
    for (uint64_t i = 0; status == SUBLET_OK; i++) {
        uint64_t offset = (i * PIECE) % REGION_BYTES;
        status = i % 2 == 0 ? sublet_region_put(region, offset, piece, PIECE)
                            : sublet_region_get(region, offset, piece, PIECE);
        if (i == 100)
            ready();
        sleep_until(begin + (uint64_t)((double)(i + 1) * PIECE / bytes_per_second * 1e9));
    }
    free(piece);
    return status;
}

static sublet_status come_and_go(sublet_session *session, const char *node, double per_second)
{
    uint64_t begin = now_ns(), refused = 0;
    for (uint64_t i = 0;; i++) {
        sublet_lease *lease = NULL;
        sublet_lease_options wish = SUBLET_LEASE_OPTIONS_INIT;
        wish.cores = 1;
        wish.node = node;
        sublet_status status = sublet_lease_acquire(session, &wish, &lease);
        if (status == SUBLET_OK)
            sublet_lease_release(lease);
        else if (status != SUBLET_ERR_BUSY)
            return status;
        else
            refused++;
        if (i == 20)
            ready();
        if (i % 100 == 99) {
            printf("%.1f leases a second, %llu refused\n", (double)(i + 1 - refused) * 1e9 / (double)(now_ns() - begin),
                   (unsigned long long)refused);
            fflush(stdout);
        }
        sleep_until(begin + (uint64_t)((double)(i + 1) / per_second * 1e9));
    }
}

int main(int argc, char **argv)
{
    sublet_session *session;
    sublet_library *library;
    sublet_function_ref *function = NULL;
    double rate = argc == 5 ? atof(argv[3]) : 0;
    if (argc != 5 || rate <= 0) {
        fprintf(stderr, "usage: %s NODE idle|cpu|hog|region|churn RATE LIBRARY\n", argv[0]);
        return 2;
    }
    const char *node = argv[1], *kind = argv[2];
    sublet_lease *lease;
    sublet_status status = sublet_open(NULL, &session);
    if (status == SUBLET_OK)
        status = sublet_library_open(session, argv[4], &library);
    if (status == SUBLET_OK)
        status = sublet_function_find(library, strcmp(kind, "hog") == 0 ? "stream" : "compute", &function);
    if (status == SUBLET_OK && strcmp(kind, "idle") == 0) {
        status = acquire(session, node, &lease);
        if (status == SUBLET_OK)
            ready();
        while (status == SUBLET_OK)
            sleep_until(now_ns() + 1000000000u);
    } else if (status == SUBLET_OK && (strcmp(kind, "cpu") == 0 || strcmp(kind, "hog") == 0)) {
        status = call_on(session, node, function);
    } else if (status == SUBLET_OK && strcmp(kind, "region") == 0) {
        status = use_region(session, node, rate * 1e6);
    } else if (status == SUBLET_OK) {
        status = come_and_go(session, node, rate);
    }
    fprintf(stderr, "%s (%s)\n", sublet_status_text(status), sublet_last_error());
    return 1;
}
