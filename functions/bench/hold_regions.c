/**
 * Holds COUNT regions of MIB each on NODE until the first is taken away (or 60 s have passed): something to reclaim.
 *
 *   sublet-hold-regions NODE COUNT MIB
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sublet/sublet.h"

#define MOST 16

int main(int argc, char **argv)
{
    sublet_session *session;
    sublet_region *regions[MOST];
    char byte = 1;
    int count = argc == 4 ? atoi(argv[2]) : 0, mib = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1 || count > MOST || mib < 1 || mib > 65536) {
        fprintf(stderr, "usage: %s NODE COUNT MIB\n", argv[0]);
        return 2;
    }
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.node = argv[1];
    sublet_status status = sublet_open(NULL, &session);
    for (int i = 0; i < count && status == SUBLET_OK; i++) {
        uint64_t bytes = (uint64_t)mib << 20;
        status = sublet_region_alloc(session, bytes, &options, &regions[i]);
        /* Every page is touched: memory that nobody touched costs nothing to take back. */
        for (uint64_t offset = 0; offset < bytes && status == SUBLET_OK; offset += 4096)
            status = sublet_region_put_async(regions[i], offset, &byte, 1);
        if (status == SUBLET_OK)
            status = sublet_region_flush(regions[i]);
    }
    if (status != SUBLET_OK) {
        fprintf(stderr, "%s (%s)\n", sublet_status_text(status), sublet_last_error());
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    for (int i = 0; i < 3000 && sublet_region_get(regions[0], 0, &byte, 1) == SUBLET_OK; i++)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    sublet_close(session);
    return 0;
}
