/**
 * Layout of the ring that a client and one worker on the same node share (one sealed memfd). Little endian.
 *
 *   0      header, written once by the executor; each side copies and checks it, then trusts its copy
 *            0  u32 magic "SLBR"   4  u16 version   6  u16 slots   8  u32 in_bytes   12  u32 out_bytes
 *           16  u64 slot_stride   24  u64 total_bytes
 *   64     pending, u64: the client sets bit i when slot i holds a request, whoever serves or cancels it takes it
 *   128    the sleeping worker
 *            0  u32 sleep: enum ring_sleep, the word that it sleeps on   4  u32 reserved
 *            8  u64 wake_ns: CLOCK_MONOTONIC of whoever woke it last, a hint
 *   4096   slot 0; slot i at 4096 + i * slot_stride. A slot shares no page with another: when its worker is lost, its
 *          owner can put memory of its own in its place.
 *            0  request line, written by the client before it sets the bit
 *                 0  u32 sequence   4  u32 function   8  u32 size   12  u32 out_capacity   16  u64 timeout_ns
 *                24  u32 flags   28  u32 reserved   32  arguments of up to 32 bytes (RING_IN_LINE)
 *           64  response line, written by the worker, `sequence` last
 *                 0  u32 sequence   4  u32 status   8  u32 size   12  u32 client_sleeping (written by the client)
 *                16  u64 needed: with TOO_LARGE, the size of the result, 0 = not known   24  reserved   32  result of
 * up to 32 bytes (RING_OUT_LINE) 128  in[in_bytes], then out[out_bytes], then at least 64 bytes up to the end of the
 * page, the last 48 of them for a struct ring_trace (wire/trace.h). The last page of the slot is used by nobody: the
 * worker makes it inaccessible to its functions
 *
 * A call without arguments moves four lines between the cores: pending, request, response and pending again.
 * Arguments and results of up to 32 bytes add none.
 *
 * Both sides treat the other as hostile: nothing read from here is used as an index or a length before it was copied
 * and bounded. The memfd is sealed against shrinking, so that no access can fault.
 *
 * Version 2: page-aligned slots, arguments and results in the lines, futex sleep. Version 1 is refused.
 */
#ifndef SUBLET_WIRE_RING_LAYOUT_H
#define SUBLET_WIRE_RING_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#define RING_MAGIC          0x52424c53u /* "SLBR" */
#define RING_VERSION        2u
#define RING_SLOTS_MAX      64u
#define RING_BUFFER_MAX     (64u << 20)
#define RING_PENDING_OFFSET 64u
#define RING_SLEEP_OFFSET   128u
#define RING_SLOTS_OFFSET   4096u
#define RING_SLOT_ALIGN     4096u
#define RING_LINE           64u
#define RING_NEEDED_OFFSET  16u /* within the response line */
#define RING_INLINE_OFFSET  32u /* within a line */
#define RING_INLINE_BYTES   32u

#define RING_IN_LINE        1u /* the arguments are in the request line */
#define RING_OUT_LINE       2u /* the result goes into the response line */
#define RING_TRACE          4u /* the worker is to say where the time went; see CONTROL_FEATURE_TRACE */
#define RING_FLAGS_KNOWN    7u

struct ring_header {
    uint32_t magic;
    uint16_t version;
    uint16_t slots;
    uint32_t in_bytes;  /* multiple of 64 */
    uint32_t out_bytes; /* multiple of 64 */
    uint64_t slot_stride;
    uint64_t total_bytes;
};

/** How the worker is to be woken. A client that does so stores FUTEX_WOKEN first: then no later sleep misses it. */
enum ring_sleep {
    RING_AWAKE = 0,
    RING_SLEEP_FD = 1,    /* on its eventfd */
    RING_SLEEP_FUTEX = 2, /* on this word */
    RING_FUTEX_WOKEN = 3,
};

struct ring_sleeper {
    uint32_t sleep;
    uint32_t reserved;
    uint64_t wake_ns;
};

struct ring_request {
    uint32_t sequence; /* rises with each use of the slot; never 0 */
    uint32_t function;
    uint32_t size;
    uint32_t out_capacity;
    uint64_t timeout_ns; /* 0 = none */
    uint32_t flags;
    uint32_t reserved;
};

struct ring_response {
    uint32_t sequence; /* futex word of a sleeping client */
    uint32_t status;
    uint32_t size;
    uint32_t client_sleeping; /* written by the client */
};

/** Fills a header for the given geometry; buffers are rounded up to 64 B, slots to pages. */
sublet_status ring_header_make(uint32_t slots, uint64_t in_bytes, uint64_t out_bytes, struct ring_header *out);

/** Checks a header that came from a peer against the size of the mapping. */
sublet_status ring_header_check(const struct ring_header *header, uint64_t mapped_bytes);

#endif
