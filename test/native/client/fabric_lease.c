/**
 * A call and a region through everything: `fabric_lease CALLS REGION LIBRARY` leases a core and memory from this node's
 * real agent, checks that the ways to them are these ("tcp", "verbs;msg"), calls echo in the sandbox that the starter
 * made, writes and reads. The executors' unix sockets must be hidden from it, or the way is memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sublet/sublet.h"

#define CALLS        200u
#define REGION_BYTES (16u << 20)

static int fail(const char *what)
{
    fprintf(stderr, "fabric_lease: %s: %s\n", what, sublet_last_error());
    return 1;
}

/** Half of it in one piece, registered where it lies, the rest through all sizes. */
static int region(sublet_session *session, const char *path)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    sublet_region *region;
    unsigned char *in = malloc(REGION_BYTES), *out = calloc(1, REGION_BYTES);
    uint64_t before = 7;
    if (in == NULL || out == NULL || sublet_region_alloc(session, REGION_BYTES, NULL, &region) != SUBLET_OK ||
        sublet_region_info_get(region, &info) != SUBLET_OK)
        return fail("region");
    if (strcmp(info.path, path) != 0) {
        fprintf(stderr, "fabric_lease: the way to the region is %s, not %s\n", info.path, path);
        return 1;
    }
    for (size_t i = 0; i < REGION_BYTES; i++)
        in[i] = (unsigned char)(i * 0x9e3779b97f4a7c15u >> 56);
    if (sublet_region_put(region, 0, in, REGION_BYTES / 2) != SUBLET_OK)
        return fail("put");
    for (size_t at = REGION_BYTES / 2, size = 1; at < REGION_BYTES; at += size, size = size * 2 % 99991 + 1) {
        size = size < REGION_BYTES - at ? size : REGION_BYTES - at;
        if (sublet_region_put_async(region, at, in + at, size) != SUBLET_OK)
            return fail("put");
    }
    if (sublet_region_flush(region) != SUBLET_OK || sublet_region_fetch_add(region, 64, 0, &before) != SUBLET_OK ||
        sublet_region_get(region, 0, out, REGION_BYTES) != SUBLET_OK)
        return fail("get");
    if (memcmp(in, out, REGION_BYTES) != 0 || memcmp(in + 64, &before, 8) != 0 ||
        sublet_region_info_get(region, &info) != SUBLET_OK || strcmp(info.path, path) != 0)
        return fail("not what was put");
    sublet_region_free(region);
    printf("a region of %u MiB over %s\n", REGION_BYTES >> 20, info.path);
    free(in);
    free(out);
    return 0;
}

int main(int count, char **arguments)
{
    sublet_options options = SUBLET_OPTIONS_INIT;
    sublet_lease_options wanted = SUBLET_LEASE_OPTIONS_INIT;
    sublet_call_options call = SUBLET_CALL_OPTIONS_INIT;
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    static unsigned char in[65536], out[65536];
    sublet_session *session;
    sublet_library *library;
    sublet_function_ref *echo;
    sublet_lease *lease;
    if (count != 4)
        return 2;
    options.timeout_ms = 60000;
    wanted.cores = 1;
    if (sublet_open(&options, &session) != SUBLET_OK ||
        sublet_library_open(session, arguments[3], &library) != SUBLET_OK ||
        sublet_function_find(library, "echo", &echo) != SUBLET_OK ||
        sublet_lease_acquire(session, &wanted, &lease) != SUBLET_OK)
        return fail("lease");
    if (sublet_lease_info_get(lease, &info) != SUBLET_OK || strcmp(info.path, arguments[1]) != 0) {
        fprintf(stderr, "fabric_lease: the way is %s, not %s\n", info.path, arguments[1]);
        return 1;
    }
    call.flags = SUBLET_CALL_NO_LOCAL;
    call.lease = lease;
    for (uint32_t i = 0; i < CALLS; i++) {
        size_t size = i % 4 == 3 ? sizeof(in) : 1 + i, got = 0;
        memset(in, (int)i, size);
        if (sublet_invoke(session, echo, in, size, out, sizeof(out), &got, &call) != SUBLET_OK)
            return fail("call");
        if (got != size || memcmp(in, out, size) != 0)
            return fail("not what was sent");
    }
    printf("%u calls over %s, in the sandbox\n", CALLS, info.path);
    int failed = region(session, arguments[2]);
    sublet_close(session);
    return failed;
}
