/**
 * Calls over a fabric with remote writes (fabric/ofi.h). Little endian.
 *
 * The way to a worker begins as a TCP connection (wire/stream.h) with the role STREAM_FABRIC. Right behind its hello
 * the client sends an ofi_offer; behind the welcome the worker answers with its own. Both bring 384 bytes:
 *
 *   0   u32 magic "SLBO"   4   u16 version   6   u16 size of the name   8   u32 tag   12   u32 slots
 *   16  u32 in_bytes   20  u32 out_bytes   24  u64 address   32  u64 key   40  u8 plain   41  reserved
 *   64  provider, ended by zeros (32 bytes)   96  name of the endpoint (256)   352 reserved (32)
 *
 * A provider that ends in ";msg" has an endpoint per peer: the worker's name is then where it listens, the client's is
 * a cookie of 16 bytes, which the client brings as the private data of its connection to there.
 *
 * The client's slots, in_bytes and out_bytes are what it wants; the worker repeats them, or refuses by closing. Tag,
 * address and key say how the other side writes to here. Then each writes a PROBE to the other: when the client has
 * got one, calls may begin.
 *
 * A side's memory is `slots` times stride = 64 + its bytes, rounded up to 64: 64 bytes that end with the header, then
 * arguments or result. Slot i's
 *   request   stream_request + arguments  is written to the worker's  address + i * stride(in_bytes) + 64 - 32
 *   response  stream_response + result    is written to the client's  address + i * stride(out_bytes) + 64 - 16
 * in one piece, with the 32 bits that the receiver finds in its queue (or, when the client's offer says `plain` since
 * its provider's writes bring no data, in a message of 4 bytes that follows the write and does not overtake it):
 *
 *   bits 0 to 5 slot   6 to 27 the receiver's tag   28 to 31 kind
 *
 * Flow control: a slot has one call from its request until its response has been taken, so that neither memory nor
 * queues can be overrun; both sides make their queues as long as there are slots. Sequences rise over all slots.
 *
 * The TCP connection stays, silent. It closes when the client is gone, and then the worker's memory can no longer be
 * reached. When the worker dies the supervisor sends one stream_response with STREAM_FLAG_LAST: `sequence` is the last
 * call that was begun, and it ended with `status` (LOST: it may have been answered). What was sent behind it did not
 * begin, and may be sent again over a new connection; what was sent before it and is not answered is lost.
 *
 * A region is reached in the same way, with the role STREAM_REGION_FABRIC. Its offers have neither slots, sizes, tag
 * nor `plain`; the executor's address and key are those of the region, the client's are 0. After the offers the client
 * reads and writes the region, and sends at most one byte, OFI_REGION_BROKEN, when a transfer has failed: the executor
 * then makes the key dead, for all clients, and closes their connections. Who has seen that close knows that nothing
 * which was on its way can still arrive, and goes on over STREAM_REGION.
 *
 * Whoever knows a key can write there, so nothing is used that was not copied and bounded before.
 */
#ifndef SUBLET_WIRE_OFI_H
#define SUBLET_WIRE_OFI_H

#include <stdint.h>

#include "sublet/status.h"

#define OFI_WIRE_MAGIC      0x4f424c53u /* "SLBO" */
#define OFI_WIRE_VERSION    1u
#define OFI_WIRE_TAG_MAX    ((1u << 22) - 1)
#define OFI_WIRE_HEAD       64u
#define OFI_WIRE_MEMORY_MAX (UINT64_C(256) << 20) /* one side's, of one connection */

#define OFI_REGION_BROKEN   0x42u

enum ofi_kind { OFI_CALL = 1, OFI_PROBE = 2 };

struct ofi_offer {
    uint32_t magic;
    uint16_t version;
    uint16_t name_bytes;
    uint32_t tag;
    uint32_t slots;
    uint32_t in_bytes;
    uint32_t out_bytes;
    uint64_t address;
    uint64_t key;
    uint8_t plain;
    uint8_t reserved[23];
    char provider[32];
    uint8_t name[256];
    uint8_t reserved2[32];
};

/** Checks an offer that came from a peer: bounds of every field, a provider's name that ends. */
sublet_status ofi_offer_check(const struct ofi_offer *offer);
/** The same for a region's. */
sublet_status ofi_region_offer_check(const struct ofi_offer *offer);

/** Bytes from one slot to the next. */
static inline uint64_t ofi_stride(uint32_t bytes)
{
    return (OFI_WIRE_HEAD + (uint64_t)bytes + 63) & ~UINT64_C(63);
}

static inline uint32_t ofi_data(enum ofi_kind kind, uint32_t tag, uint32_t slot)
{
    return (uint32_t)kind << 28 | tag << 6 | slot;
}

static inline uint32_t ofi_data_kind(uint32_t data)
{
    return data >> 28;
}

static inline uint32_t ofi_data_tag(uint32_t data)
{
    return data >> 6 & OFI_WIRE_TAG_MAX;
}

static inline uint32_t ofi_data_slot(uint32_t data)
{
    return data & 63;
}

#endif
