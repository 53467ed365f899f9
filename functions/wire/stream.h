/**
 * What crosses a TCP connection between a client and an executor. Little endian; every connection begins with a
 * hello of the client (64 bytes) and a welcome of the executor (32 bytes). The role says what follows:
 *
 *   STREAM_CONTROL  control frames (wire/control.h: LOAD, RESOLVE, CANCEL), one outstanding at a time
 *   STREAM_CALLS    calls to one worker: stream_request + arguments, stream_response + result, answered in order
 *   STREAM_REGION   stream_access + bytes of a put, stream_response + bytes of a get, answered in order
 *
 * A worker that dies in a call is answered for with CRASHED or TIMEOUT and STREAM_FLAG_LAST; then the connection
 * closes. Requests sent after that one were not started: the client connects again and sends them once more.
 */
#ifndef SUBLET_WIRE_STREAM_H
#define SUBLET_WIRE_STREAM_H

#include <stdint.h>

#include "sublet/status.h"
#include "wire/control.h"

#define STREAM_MAGIC       0x54424c53u /* "SLBT" */
#define STREAM_VERSION     1u
#define STREAM_PAYLOAD_MAX (64u << 20)
#define STREAM_FLAG_LAST   1u

enum stream_role { STREAM_CONTROL = 1, STREAM_CALLS = 2, STREAM_REGION = 3, STREAM_ROLE_END = 4 };

struct stream_hello {
    uint32_t magic;
    uint16_t version;
    uint16_t role;
    uint8_t token[CONTROL_TOKEN_BYTES];
    uint32_t worker; /* CALLS: which one */
    uint32_t in_bytes;
    uint32_t out_bytes;  /* CALLS: largest arguments and result, up to STREAM_PAYLOAD_MAX */
    uint32_t connection; /* CALLS: a number of the client's choice that CANCEL names; unique within the lease */
    uint32_t reserved[2];
};

struct stream_welcome {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint32_t status;
    uint32_t workers;
    uint64_t region_bytes;
    uint64_t reserved2;
};

struct stream_request {
    uint32_t sequence; /* rises; never 0 */
    uint32_t function;
    uint32_t size;
    uint32_t out_capacity;
    uint64_t timeout_ns;
    uint64_t reserved;
};

struct stream_response {
    uint32_t sequence;
    uint32_t status;
    uint32_t size; /* bytes that follow */
    uint32_t flags;
};

enum stream_operation { STREAM_GET = 1, STREAM_PUT = 2, STREAM_OPERATION_END = 3 };

struct stream_access {
    uint32_t sequence;
    uint32_t operation;
    uint64_t offset;
    uint32_t size; /* up to STREAM_PAYLOAD_MAX */
    uint32_t reserved;
};

/** Each checks what came from a peer; OK means every field is within its bounds. */
sublet_status stream_hello_check(const struct stream_hello *hello);
sublet_status stream_welcome_check(const struct stream_welcome *welcome);
sublet_status stream_request_check(const struct stream_request *request, uint32_t in_bytes, uint32_t out_bytes);
/** The answer to `sequence` with room for `capacity` bytes. */
sublet_status stream_response_check(const struct stream_response *response, uint32_t sequence, uint32_t capacity);
sublet_status stream_access_check(const struct stream_access *access, uint64_t region_bytes);

#endif
