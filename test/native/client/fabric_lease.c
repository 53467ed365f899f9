/**
 * A call through everything: `fabric_lease PROVIDER LIBRARY` leases a core from this node's real agent, checks that the
 * way to it is PROVIDER ("tcp", "verbs;ofi_rxm"), and calls echo in the sandbox that the starter made. The executor's
 * unix socket must be hidden from it, or the way is memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "sublet/sublet.h"

#define CALLS 200u

static int fail(const char *what)
{
    fprintf(stderr, "fabric_lease: %s: %s\n", what, sublet_last_error());
    return 1;
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
    if (count != 3)
        return 2;
    options.timeout_ms = 60000;
    wanted.cores = 1;
    if (sublet_open(&options, &session) != SUBLET_OK ||
        sublet_library_open(session, arguments[2], &library) != SUBLET_OK ||
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
    sublet_close(session);
    return 0;
}
