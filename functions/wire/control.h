/**
 * Frames between a client and an executor's supervisor, on a stream socket. Little endian.
 *
 *   0  u32 magic "SLBC"   4  u16 version   6  u16 type   8  u32 size of the body   12  u32 status (answers)
 *
 * The client speaks first (HELLO) and has one request outstanding; each is answered by the same type. The executor
 * closes a connection that breaks these rules. With HELLO's answer come descriptors: per worker two (ring, eventfd)
 * from an executor of functions, one (the memory, a sealed memfd) from that of a region. Across nodes the same frames
 * follow a stream_hello (wire/stream.h), which takes HELLO's place.
 */
#ifndef SUBLET_WIRE_CONTROL_H
#define SUBLET_WIRE_CONTROL_H

#include <stdint.h>

#include "base/sha256.h"
#include "sublet/status.h"

#define CONTROL_MAGIC         0x43424c53u
#define CONTROL_VERSION       1u /* the ring of a connection has RING_VERSION of the same release */
#define CONTROL_VERSION_LEAST 1u /* wire/version.h */
#define CONTROL_HEADER_BYTES  16u
#define CONTROL_TOKEN_BYTES   32u
#define CONTROL_BODY_MAX      (64u << 20) /* a function library */
#define CONTROL_LIBRARY_MIN   64u
#define CONTROL_NAME_MAX      127u
#define CONTROL_PATH_MAX      960u
#define CONTROL_WORKERS_MAX   64u
#define CONTROL_SLOT_STREAM   0xffffffffu

enum control_type {
    CONTROL_HELLO = 1,     /* body: struct control_hello; answer: struct control_welcome */
    CONTROL_LOAD = 2,      /* body: an ELF shared object; answer: u32 library */
    CONTROL_RESOLVE = 3,   /* body: u32 library, name; answer: u32 function */
    CONTROL_CANCEL = 4,    /* body: struct control_cancel; answer: empty, after the call was ended */
    CONTROL_LOAD_HASH = 5, /* body: struct control_code; answer: u32 library, or HASH: send it with LOAD */
    CONTROL_LOAD_PATH = 6, /* body: struct control_code, then where it lies, for nodes that see the same file; answer:
                              as to LOAD_HASH */
    CONTROL_TYPE_END = 7,
};

struct control_header {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t size;
    uint32_t status;
};

struct control_hello {
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t slots;
    uint32_t in_bytes;
    uint32_t out_bytes;
    uint32_t reserved;
};

#define CONTROL_FEATURE_TRACE 1u /* requests may bear RING_TRACE */
#define CONTROL_FEATURE_CODE  2u /* LOAD_HASH may be asked: the node may have the library */
#define CONTROL_FEATURE_PATH  4u /* LOAD_PATH may be asked: the node may see its file */

struct control_welcome {
    uint32_t workers;      /* 0 for a region */
    uint32_t features;     /* bits; what is not known is ignored */
    uint64_t region_bytes; /* 0 for functions */
};

struct control_cancel {
    uint32_t worker;
    uint32_t slot; /* of the ring; for a call over a stream: CONTROL_SLOT_STREAM */
    uint32_t sequence;
    uint32_t connection; /* for a call over a stream: the number in its hello */
};

/** A library by its content. A path that follows is absolute and without links. Who is told HASH sends it with LOAD
 * next: room for it may have been made. */
struct control_code {
    uint8_t hash[SHA256_BYTES]; /* SHA-256 of all of it */
    uint64_t size;
};

/** Checks a header that came from a peer: magic, version, type, and a size that fits the type. */
sublet_status control_header_check(const struct control_header *header);

#endif
