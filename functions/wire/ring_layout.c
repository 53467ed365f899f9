#include "wire/ring_layout.h"

#include <string.h>

_Static_assert(sizeof(struct ring_header) == 32, "wire layout");
_Static_assert(sizeof(struct ring_sleeper) == 16, "wire layout");
_Static_assert(sizeof(struct ring_request) == RING_INLINE_OFFSET, "wire layout");
_Static_assert(sizeof(struct ring_response) == 16, "wire layout");

static uint64_t stride_of(uint64_t in_bytes, uint64_t out_bytes)
{
    uint64_t bytes = 2 * RING_LINE + in_bytes + out_bytes + RING_LINE;
    return ((bytes + RING_SLOT_ALIGN - 1) & ~(uint64_t)(RING_SLOT_ALIGN - 1)) + RING_SLOT_ALIGN;
}

sublet_status ring_header_make(uint32_t slots, uint64_t in_bytes, uint64_t out_bytes, struct ring_header *out)
{
    if (slots == 0 || slots > RING_SLOTS_MAX)
        return SUBLET_ERR_INVALID;
    if (in_bytes > RING_BUFFER_MAX || out_bytes > RING_BUFFER_MAX)
        return SUBLET_ERR_TOO_LARGE;
    uint64_t in = (in_bytes + RING_LINE - 1) & ~(uint64_t)(RING_LINE - 1);
    uint64_t res = (out_bytes + RING_LINE - 1) & ~(uint64_t)(RING_LINE - 1);
    uint64_t stride = stride_of(in, res);
    struct ring_header header = {
        .magic = RING_MAGIC,
        .version = RING_VERSION,
        .slots = (uint16_t)slots,
        .in_bytes = (uint32_t)in,
        .out_bytes = (uint32_t)res,
        .slot_stride = stride,
        .total_bytes = RING_SLOTS_OFFSET + slots * stride,
    };
    *out = header;
    return SUBLET_OK;
}

sublet_status ring_header_check(const struct ring_header *header, uint64_t mapped_bytes)
{
    struct ring_header expected;
    if (header->magic != RING_MAGIC)
        return SUBLET_ERR_INVALID;
    if (header->version != RING_VERSION)
        return SUBLET_ERR_VERSION;
    sublet_status status = ring_header_make(header->slots, header->in_bytes, header->out_bytes, &expected);
    if (status != SUBLET_OK)
        return SUBLET_ERR_INVALID;
    if (memcmp(&expected, header, sizeof(expected)) != 0 || expected.total_bytes > mapped_bytes)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}
