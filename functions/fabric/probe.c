/**
 * sublet-fabric-probe [--uid N] [PROVIDER]: which provider of libfabric works on this machine, as lines key=value:
 *
 *   provider=verbs;ofi_rxm      what an endpoint was opened with, and wrote to itself; or `none`
 *   why=...                     with `none`, in words
 *
 * The agent runs it once, as the users that guests are, and in a process of its own: libfabric takes some tenths of a
 * second to load, starts threads, and may crash on hardware that is ill. PROVIDER `auto` (the default) is the first of
 * the list in fabric/ofi.h. Exit status 0 with a provider, 1 with none, 2 for wrong usage.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fds.h"
#include "fabric/ofi.h"

#define PROBE_NS    UINT64_C(5000000000)
#define PROBE_BYTES 4096u
#define PROBE_DATA  0x5b1e7u

static int none(const char *why)
{
    printf("provider=none\nwhy=%s\n", why);
    return 1;
}

/** Writes from one half of a page to the other, and waits for the data that comes with it. */
static bool writes_to_itself(struct ofi *ofi, struct ofi_memory *memory)
{
    unsigned char name[OFI_NAME_MAX];
    struct ofi_target target = {.address = memory->address, .key = memory->key};
    uint32_t size = 0, data = 0;
    uint64_t end_ns = now_ns() + PROBE_NS;
    bool sent = false;
    if (ofi_name(ofi, name, sizeof(name), &size) != SUBLET_OK ||
        ofi_peer_add(ofi, name, size, 1, &target.peer) != SUBLET_OK)
        return false;
    memset(memory->base, 0x5a, 64);
    while (now_ns() < end_ns) {
        sublet_status status = SUBLET_OK;
        if (!sent)
            status = ofi_write_data(ofi, memory, memory->base, 64, &target, PROBE_BYTES / 2, PROBE_DATA);
        sent |= status == SUBLET_OK;
        if (status != SUBLET_OK && status != SUBLET_ERR_BUSY)
            return false;
        if (ofi_poll(ofi, &data, 1) == 1)
            return data == PROBE_DATA && memcmp(memory->base, memory->base + PROBE_BYTES / 2, 64) == 0;
    }
    return false;
}

static int probe(const char *provider)
{
    static _Alignas(4096) unsigned char page[PROBE_BYTES];
    struct ofi_settings settings = {.provider = strcmp(provider, "auto") == 0 ? NULL : provider, .completions = 64};
    struct ofi_memory memory = {0};
    struct ofi *ofi;
    if (settings.provider == NULL && !ofi_wanted(""))
        return none("no device of a fabric");
    if (ofi_open(&settings, &ofi) != SUBLET_OK)
        return none("no libfabric, or no provider that opens an endpoint");
    if (ofi_register(ofi, page, sizeof(page), true, &memory) != SUBLET_OK)
        return none("memory cannot be registered (memlock?)");
    if (!writes_to_itself(ofi, &memory))
        return none("an endpoint opens, but cannot write to itself");
    printf("provider=%s\n", ofi_provider(ofi));
    return 0;
}

int main(int count, char **arguments)
{
    int at = 1;
    unsigned long uid = 0;
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (count > 2 && strcmp(arguments[1], "--uid") == 0) {
        uid = strtoul(arguments[2], NULL, 10);
        at = 3;
    }
    if (count > at + 1 || (count > at && arguments[at][0] == '-')) {
        fprintf(stderr, "usage: sublet-fabric-probe [--uid N] [auto | PROVIDER]\n");
        return 2;
    }
    setrlimit(RLIMIT_MEMLOCK, &all); /* as the starter does for guests, by the lease */
    if (uid != 0 && (setgroups(0, NULL) != 0 || setgid((gid_t)uid) != 0 || setuid((uid_t)uid) != 0))
        return none("cannot become that user");
    int status = probe(count > at ? arguments[at] : "auto");
    fflush(stdout);
    _exit(status); /* what libfabric would do at its end is not worth waiting for */
}
