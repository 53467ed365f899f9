/**
 * Frames between an executor and its starter about code that the node keeps. Little endian; both are of one node.
 *
 * The executor asks on a pipe (descriptor 8), since a pipe cannot carry descriptors: what a guest could pass to the
 * starter might stall it, if only by being closed. Answers, with descriptors, come on a socket on which the starter
 * hears nothing (descriptor 9, SEQPACKET). Every frame is written whole or not at all; one that does not come is a
 * library that the node does not have.
 *
 *   CODE_GET    hash, size. OK: the library, sealed. HASH: not known; where a descriptor comes with that, it is an
 * empty memfd of this size, to be filled with the library, sealed, and offered. CODE_OFFER  the id of that GET and its
 * hash: what was filled may be kept. OK once a copy of it was found to have this hash, INVALID when it has not, BUSY
 * when there is no room for it. CODE_DROP   the id of a GET and its hash: what came with it will not be offered. It has
 * no answer.
 */
#ifndef SUBLET_WIRE_CODE_H
#define SUBLET_WIRE_CODE_H

#include <stdint.h>

#include "base/sha256.h"
#include "sublet/status.h"

#define CODE_MAGIC 0x44424c53u /* "SLBD" */
/** In the environment of an executor whose descriptors 8 and 9 these are. */
#define CODE_ENVIRONMENT "SUBLET_CODE"
#define CODE_ASK_FD      8
#define CODE_ANSWER_FD   9

enum code_operation { CODE_GET = 1, CODE_OFFER = 2, CODE_DROP = 3, CODE_OPERATION_END = 4 };

struct code_ask {
    uint32_t magic;
    uint32_t operation;
    uint32_t id; /* of the GET, and of the OFFER that follows it; the executor's choice */
    uint32_t reserved;
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
};

struct code_answer {
    uint32_t magic;
    uint32_t operation;
    uint32_t id;
    uint32_t status;
};

/** Each checks what came from the other side. */
sublet_status code_ask_check(const struct code_ask *ask);
sublet_status code_answer_check(const struct code_answer *answer);

#endif
