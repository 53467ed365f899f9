/**
 * A client that holds a lease and says what becomes of it, one JSON object per line: watch_lease NODE KEEP_MS
 * TIMEOUT_MS. KEEP_MS     how long it keeps the lease after the notice that it is wanted back; -1: it does not give it
 * back TIMEOUT_MS  how long its agent may take to answer
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sublet/sublet.h"

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    sublet_session *session;
    sublet_lease *lease;
    sublet_options patient = SUBLET_OPTIONS_INIT;
    sublet_lease_options options = SUBLET_LEASE_OPTIONS_INIT;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    if (argc != 4)
        return 2;
    patient.timeout_ms = strtoull(argv[3], NULL, 10);
    if (sublet_open(&patient, &session) != SUBLET_OK)
        return 2;
    long keep_ms = atol(argv[2]);
    options.node = argv[1];
    if (sublet_lease_acquire(session, &options, &lease) != SUBLET_OK) {
        fprintf(stderr, "%s\n", sublet_last_error());
        return 1;
    }
    double drained_ms = 0;
    sublet_lease_state said = SUBLET_LEASE_RELEASED; /* whatever it is not */
    for (double end_ms = now_ms() + 120000; now_ms() < end_ms; poll(NULL, 0, 2)) {
        sublet_lease_info_get(lease, &info);
        if (info.state != said)
            printf("{\"id\":\"%s\",\"state\":%d,\"remaining_ms\":%" PRIu64 ",\"reason\":\"%s\",\"at_ms\":%.0f}\n",
                   info.id, (int)info.state, info.remaining_ms, info.reason, now_ms());
        fflush(stdout);
        if (info.state != said && info.state == SUBLET_LEASE_DRAINING)
            drained_ms = now_ms();
        said = info.state;
        if (said != SUBLET_LEASE_ACTIVE && said != SUBLET_LEASE_DRAINING)
            break;
        if (drained_ms > 0 && keep_ms >= 0 && now_ms() >= drained_ms + (double)keep_ms)
            break;
    }
    sublet_lease_release(lease);
    printf("{\"id\":\"%s\",\"state\":%d,\"remaining_ms\":0,\"reason\":\"given back\",\"at_ms\":%.0f}\n", info.id,
           (int)SUBLET_LEASE_RELEASED, now_ms());
    sublet_close(session);
    return 0;
}
