/**
 * Layout of the ring that a client and one worker on the same node share (one sealed memfd).
 *
 *   0     struct ring_header   written once by the executor; each side copies and checks it, then trusts its
 * copy 64    pending              u64 bitmap: the client sets bit i when slot i holds a request, the worker
 * takes all 128   worker_sleeping      u32: the worker is about to sleep on its eventfd 4096  slot 0: request
 * line (64 B), response line (64 B), in[in_bytes], out[out_bytes] slot i at 4096 + i * slot_stride
 *
 * Both sides treat the other as hostile: nothing read from here is used as an index or a length before it was
 * copied and bounded. The memfd is sealed against shrinking, so that no access can fault.
 */
#ifndef SUBLET_WIRE_RING_LAYOUT_H
#define SUBLET_WIRE_RING_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#define RING_MAGIC        0x52424c53u /* "SLBR" */
#define RING_VERSION      1u
#define RING_SLOTS_MAX    64u
#define RING_BUFFER_MAX   (64u << 20)
#define RING_SLOTS_OFFSET 4096u
#define RING_LINE         64u

struct ring_header {
    uint32_t magic;
    uint16_t version;
    uint16_t slots;
    uint32_t in_bytes;  /* multiple of 64 */
    uint32_t out_bytes; /* multiple of 64 */
    uint64_t slot_stride;
    uint64_t total_bytes;
};

/** Written by the client before it sets the slot's bit. */
struct ring_request {
    uint32_t sequence; /* rises with each use of the slot; never 0 */
    uint32_t function;
    uint32_t size;
    uint32_t out_capacity;
    uint64_t timeout_ns; /* 0 = none */
};

/** Written by the worker; `sequence` last, with release order. */
struct ring_response {
    uint32_t sequence; /* futex word of a sleeping client */
    uint32_t status;
    uint32_t size;
    uint32_t client_sleeping; /* written by the client */
};

/** Fills a header for the given geometry; buffers are rounded up to 64 B. */
sublet_status ring_header_make(uint32_t slots, uint64_t in_bytes, uint64_t out_bytes, struct ring_header *out);

/** Checks a header that came from a peer against the size of the mapping. */
sublet_status ring_header_check(const struct ring_header *header, uint64_t mapped_bytes);

#endif
