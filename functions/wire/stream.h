/**
 * What crosses a TCP connection between a client and an executor. Little endian; every connection begins with a
 * hello of the client (64 bytes) and a welcome of the executor (32 bytes). The role says what follows:
 *
 *   STREAM_CONTROL  control frames (wire/control.h: CONTROL_LOAD and so on), one outstanding at a time
 *   STREAM_CALLS    calls to one worker: stream_request + arguments, stream_response + result, answered in order
 *   STREAM_FABRIC   calls to one worker over a fabric with remote writes (wire/ofi.h)
 *   STREAM_REGION   stream_access + content of a put, stream_response + content of a get, answered in order
 *   STREAM_REGION_FABRIC  reads and writes of a region over a fabric (wire/ofi.h), beside a STREAM_REGION
 *
 * Sizes of calls have 64 bits: a request carries the upper halves in size_high and room_high, a response bits 32 to 47
 * in the upper half of its flags. A large payload flows as the connection takes it; what the worker cannot hold is
 * answered with TOO_LARGE or NO_MEMORY and STREAM_FLAG_LAST before its bytes are read. A result that does not fit is
 * answered with TOO_LARGE and STREAM_FLAG_NEEDED: no bytes follow, the size is what it needs.
 * A call that asks for it (STREAM_ROOM_TRACE) is answered with STREAM_FLAG_TRACED: a stream_trace (wire/trace.h) stands
 * between response and result.
 *
 * A worker that dies in a call is answered for with CRASHED or TIMEOUT and STREAM_FLAG_LAST; then the connection
 * closes. Requests sent after that one were not started: the client connects again and sends them once more.
 */
#ifndef SUBLET_WIRE_STREAM_H
#define SUBLET_WIRE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "sublet/status.h"
#include "wire/control.h"

#define STREAM_MAGIC         0x54424c53u /* "SLBT" */
#define STREAM_VERSION       2u
#define STREAM_VERSION_LEAST 2u                  /* wire/version.h; 1 had sizes of 32 bits */
#define STREAM_PAYLOAD_MAX   (64u << 20)         /* of one access to a region */
#define STREAM_CALL_MAX      (UINT64_C(1) << 33) /* arguments or result of one call */
#define STREAM_FLAG_LAST     1u
#define STREAM_FLAG_NEEDED   2u
#define STREAM_FLAG_TRACED   4u
#define STREAM_SIZE_SHIFT    16u         /* of the upper part of a size in the flags of a response */
#define STREAM_ROOM_UP_TO    0x80000000u /* in room_high: the executor may grant less room than that */
#define STREAM_ROOM_TRACE    0x40000000u /* in room_high: it is to say where the time went */

enum stream_role {
    STREAM_CONTROL = 1,
    STREAM_CALLS = 2,
    STREAM_REGION = 3,
    STREAM_FABRIC = 4,
    STREAM_REGION_FABRIC = 5,
    STREAM_ROLE_END = 6
};

struct stream_hello {
    uint32_t magic;
    uint16_t version;
    uint16_t role;
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t worker;   /* CALLS, FABRIC: which one */
    uint32_t in_bytes; /* CALLS: usual size of arguments and result, a hint */
    uint32_t out_bytes;
    uint32_t connection; /* CALLS: a number of the client's choice that CANCEL names; unique within the lease, which
                            several clients may share: it counts from one drawn at random */
    uint32_t reserved[2];
};

struct stream_welcome {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint32_t status;
    uint32_t workers;
    uint64_t region_bytes;
    uint32_t features; /* bits; what is not known is ignored */
    uint32_t reserved2;
};

struct stream_request {
    uint32_t sequence; /* rises; never 0 */
    uint32_t function;
    uint32_t size;
    uint32_t out_capacity;
    uint64_t timeout_ns;
    uint32_t size_high;
    uint32_t room_high;
};

struct stream_response {
    uint32_t sequence;
    uint32_t status;
    uint32_t size; /* bytes that follow */
    uint32_t flags;
};

/**
 * Accesses to a region. Every access begins with stream_access (24 bytes, offsets in brackets):
 *
 *   [0] sequence   rises, never 0; the answer repeats it
 *   [4] operation  below; the layout that follows belongs to it and to STREAM_VERSION
 *   [8] offset     where in the region; lists: 0
 *   [16] size      bytes of content, up to STREAM_PAYLOAD_MAX; lists and strides: of all pieces together
 *   [20] count     lists: pieces, 1 to STREAM_PIECES_MAX; strides: blocks, at least 1; others: 0
 *
 *   operation            follows in the request                    content of the answer
 *   STREAM_GET           nothing                                   size bytes
 *   STREAM_PUT           size bytes                                nothing
 *   STREAM_ADD           stream_atomic; size 8, offset aligned     8 bytes: what was there before
 *   STREAM_SWAP          stream_atomic; size 8, offset aligned     8 bytes: what was there before
 *   STREAM_GET_LIST      count x stream_piece                      size bytes, piece after piece
 *   STREAM_PUT_LIST      count x stream_piece, then size bytes     nothing
 *   STREAM_GET_STRIDED   stream_stride                             size bytes, block after block
 *   STREAM_PUT_STRIDED   stream_stride, then size bytes            nothing
 *
 * STREAM_ADD stores old + operand; STREAM_SWAP stores operand where old == expected. Both are atomic against every
 * other client of the region, by whatever way it comes. All from STREAM_ADD on are for a peer whose welcome says
 * STREAM_FEATURE_ACCESS; others answer INVALID.
 */
enum stream_operation {
    STREAM_GET = 1,
    STREAM_PUT = 2,
    STREAM_ADD = 3,
    STREAM_SWAP = 4,
    STREAM_GET_LIST = 5,
    STREAM_PUT_LIST = 6,
    STREAM_GET_STRIDED = 7,
    STREAM_PUT_STRIDED = 8,
    STREAM_OPERATION_END = 9
};

#define STREAM_PIECES_MAX     1024u
#define STREAM_FEATURE_ACCESS 1u  /* of stream_welcome.features */
#define STREAM_FEATURE_TRACE  2u  /* requests may bear STREAM_ROOM_TRACE */
#define STREAM_FEATURE_FABRIC 4u  /* of a region: STREAM_REGION_FABRIC may be tried */
#define STREAM_FEATURE_CODE   8u  /* of STREAM_CONTROL: LOAD_HASH may be asked */
#define STREAM_FEATURE_PATH   16u /* of STREAM_CONTROL: LOAD_PATH may be asked */

static inline uint64_t stream_request_size(const struct stream_request *request)
{
    return (uint64_t)request->size_high << 32 | request->size;
}

static inline uint64_t stream_request_room(const struct stream_request *request)
{
    return (uint64_t)(request->room_high & ~(STREAM_ROOM_UP_TO | STREAM_ROOM_TRACE)) << 32 | request->out_capacity;
}

static inline void stream_request_set(struct stream_request *request, uint64_t size, uint64_t room, bool up_to)
{
    request->size = (uint32_t)size;
    request->size_high = (uint32_t)(size >> 32);
    request->out_capacity = (uint32_t)room;
    request->room_high = (uint32_t)(room >> 32) | (up_to ? STREAM_ROOM_UP_TO : 0);
}

static inline uint64_t stream_response_size(const struct stream_response *response)
{
    return (uint64_t)(response->flags >> STREAM_SIZE_SHIFT) << 32 | response->size;
}

static inline void stream_response_set(struct stream_response *response, uint64_t size, uint32_t flags)
{
    response->size = (uint32_t)size;
    response->flags = (uint32_t)(size >> 32) << STREAM_SIZE_SHIFT | flags;
}

/** May an answer have that status? Not BUSY: to whoever asks for a call's result it says that the call still runs. */
static inline bool stream_status_answers(uint32_t status)
{
    return status < SUBLET_STATUS_COUNT && status != SUBLET_ERR_BUSY;
}

/** Bytes that follow the response. */
static inline uint64_t stream_response_body(const struct stream_response *response)
{
    return (response->flags & STREAM_FLAG_NEEDED) != 0 ? 0 : stream_response_size(response);
}

struct stream_access {
    uint32_t sequence;
    uint32_t operation;
    uint64_t offset;
    uint32_t size;
    uint32_t count;
};

struct stream_atomic {
    uint64_t operand;
    uint64_t expected; /* ADD: 0 */
};

struct stream_piece {
    uint64_t offset;
    uint32_t size;
    uint32_t reserved; /* 0 */
};

/** Block i is at access.offset + i * stride; blocks may not overlap, so stride >= block. */
struct stream_stride {
    uint64_t stride;
    uint32_t block;    /* bytes; count * block = access.size */
    uint32_t reserved; /* 0 */
};

/** Each checks what came from a peer; OK means every field is within its bounds. */
sublet_status stream_hello_check(const struct stream_hello *hello);
sublet_status stream_welcome_check(const struct stream_welcome *welcome);
sublet_status stream_request_check(const struct stream_request *request);
/** The answer to `sequence` with room for `capacity` bytes. */
sublet_status stream_response_check(const struct stream_response *response, uint32_t sequence, uint64_t capacity);
sublet_status stream_access_check(const struct stream_access *access, uint64_t region_bytes);
/** What follows an access that was checked. */
sublet_status stream_pieces_check(const struct stream_access *access, const struct stream_piece *pieces,
                                  uint64_t region_bytes);
sublet_status stream_stride_check(const struct stream_access *access, const struct stream_stride *stride,
                                  uint64_t region_bytes);
/** Bytes between an access and its content. */
uint32_t stream_access_extra(const struct stream_access *access);
static inline bool stream_access_puts(uint32_t operation)
{
    return operation == STREAM_PUT || operation == STREAM_PUT_LIST || operation == STREAM_PUT_STRIDED;
}

#endif
