#include "client/region.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/durable.h"
#include "client/error.h"
#include "client/lease.h"

void region_access_close(struct link *link)
{
    struct region_access *access = link->region;
    mappings_lost(access);
    if (access->owner != NULL)
        durable_wake(access->owner);
    if (atomic_load(&access->users) == 0)
        access->transport->close(access);
}

void region_leaving(struct link *link, bool leaving)
{
    if (link == NULL || link->region == NULL)
        return;
    atomic_store(&link->region->leaving, leaving);
    if (link->region->owner != NULL)
        durable_wake(link->region->owner);
}

void region_access_free(struct link *link)
{
    if (link->region != NULL)
        link->region->transport->free(link->region);
    link->region = NULL;
}

sublet_status sublet_region_alloc(sublet_session *session, uint64_t bytes, const sublet_region_options *options,
                                  sublet_region **region_out)
{
    sublet_region_options wanted = SUBLET_REGION_OPTIONS_INIT;
    if (session == NULL || region_out == NULL || bytes == 0)
        return error_set(SUBLET_ERR_INVALID, "session and region_out must not be NULL, bytes not 0");
    if (options != NULL)
        memcpy(&wanted, options, options->struct_bytes < sizeof(wanted) ? options->struct_bytes : sizeof(wanted));
    if (wanted.durability > SUBLET_EPHEMERAL)
        return durable_alloc(session, bytes, &wanted, region_out);
    struct sublet_region *region = calloc(1, sizeof(*region));
    if (region == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    Sublet__V1__LeaseRequest request = SUBLET__V1__LEASE_REQUEST__INIT;
    request.kind = SUBLET__V1__LEASE_KIND__LEASE_KIND_REGION;
    request.durability = SUBLET__V1__DURABILITY__DURABILITY_EPHEMERAL;
    request.memory_bytes = bytes;
    request.term_ms = wanted.term_ms;
    request.node = wanted.node == NULL ? request.node : (char *)(uintptr_t)wanted.node;
    struct lease_wish wish = {
        .request = &request, .exclude_nodes = wanted.exclude_nodes, .slots = 1, .region_bytes = bytes};
    sublet_status status = lease_take(session, &wish, &region->lease);
    if (status != SUBLET_OK) {
        free(region);
        return status;
    }
    region->bytes = bytes;
    region->lease->region = region;
    *region_out = region;
    return SUBLET_OK;
}

/** What the kernel says about our mapping: asked for is not given. */
static uint64_t huge_bytes(const unsigned char *base)
{
    char line[512];
    uintptr_t from, to;
    unsigned long long kib, total = 0;
    bool ours = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            ours = from <= (uintptr_t)base && (uintptr_t)base < to;
        else if (ours && (sscanf(line, "FilePmdMapped: %llu kB", &kib) == 1 ||
                          sscanf(line, "ShmemPmdMapped: %llu kB", &kib) == 1))
            total += kib * 1024;
    }
    if (maps != NULL)
        fclose(maps);
    return total;
}

sublet_status sublet_region_info_get(const sublet_region *region, sublet_lease_info *info)
{
    struct link *link;
    if (region == NULL)
        return error_set(SUBLET_ERR_INVALID, "region must not be NULL");
    if (region->durable != NULL)
        return durable_describe(region->durable, info);
    sublet_status status = lease_describe(region->lease, info);
    if (status != SUBLET_OK ||
        info->struct_bytes < offsetof(sublet_lease_info, huge_bytes) + sizeof(info->huge_bytes) ||
        region_enter((struct sublet_region *)(uintptr_t)region, &link) != SUBLET_OK)
        return status;
    info->huge_bytes = link->region->base == NULL ? 0 : huge_bytes(link->region->base);
    region_leave(link);
    return SUBLET_OK;
}

void sublet_region_free(sublet_region *region)
{
    if (region == NULL)
        return;
    mappings_detach(region);
    if (region->durable != NULL) {
        durable_free(region->durable);
        return;
    }
    lease_give_back(region->lease);
    free(region);
}
