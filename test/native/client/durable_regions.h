/** Shared by the tests of durable regions: how they get one, wait for it, fill it and look at it. */
#ifndef SUBLET_TEST_CLIENT_DURABLE_REGIONS_H
#define SUBLET_TEST_CLIENT_DURABLE_REGIONS_H

#include "fixture.h"

#include <poll.h>
#include <string.h>

#define BYTES (UINT64_C(8) << 20)

static inline sublet_status alloc(struct fixture *fixture, sublet_durability durability, sublet_region **region_out)
{
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.durability = durability;
    return sublet_region_alloc(fixture->session, BYTES, &options, region_out);
}

static inline sublet_region *region_of(struct fixture *fixture, sublet_durability durability)
{
    sublet_region *region = NULL;
    if (alloc(fixture, durability, &region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return region;
}

static inline sublet_lease_info info_of(const sublet_region *region)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_region_info_get(region, &info), SUBLET_OK);
    return info;
}

static inline sublet_lease_info wait_copies(const sublet_region *region, uint32_t copies, uint64_t moves)
{
    for (uint64_t end_ns = time_ns() + 20000000000u; time_ns() < end_ns; poll(NULL, 0, 1))
        if (info_of(region).copies == copies && info_of(region).moves >= moves)
            return info_of(region);
    fail_msg("%u copies and %llu moves, not %u and %llu", info_of(region).copies,
             (unsigned long long)info_of(region).moves, copies, (unsigned long long)moves);
    return info_of(region);
}

static inline void wait_region(const sublet_region *region, sublet_lease_state state)
{
    for (uint64_t end_ns = time_ns() + 20000000000u; info_of(region).state != state; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
}

static inline void wait_given_back(struct fixture *fixture, const struct executor *executor)
{
    for (uint64_t end_ns = time_ns() + 20000000000u; fake_agent_holds(fixture->agent, executor->grant.id);) {
        assert_true(time_ns() < end_ns);
        poll(NULL, 0, 1);
    }
}

static inline unsigned char *pattern(uint32_t salt)
{
    unsigned char *bytes = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 131 + i / 65537 + salt);
    return bytes;
}

static inline void assert_content(sublet_region *region, const unsigned char *bytes)
{
    unsigned char *got = malloc(BYTES);
    assert_int_equal(sublet_region_get(region, 0, got, BYTES), SUBLET_OK);
    assert_memory_equal(got, bytes, BYTES);
    free(got);
}

#endif
