/**
 * Frames between an executor and its starter about code that the node keeps. Little endian; both are of one node.
 *
 * The executor asks on a pipe (descriptor 8), since a pipe cannot carry descriptors: what a guest could pass to the
 * starter might stall it, if only by being closed. Answers, with descriptors, come on a socket on which the starter
 * hears nothing (descriptor 9, SEQPACKET). Every frame is written whole or not at all; one that does not come is a
 * library that the node does not have.
 *
 * CODE_GET: hash, size. OK: the library, sealed. HASH: not known; where a descriptor comes with that, it is an empty
 * memfd of this size, to be filled with the library, sealed, and offered.
 *
 * CODE_OFFER: the id of that GET and its hash: what was filled may be kept. OK once a copy of it was found to have this
 * hash, INVALID when it has not, BUSY when there is no room for it.
 *
 * CODE_DROP: the id of a GET and its hash: what came with it will not be offered. It has no answer.
 *
 * CODE_PATH: a GET that also says where the library lies; so many bytes of path follow it in the same write. It is
 * answered as a GET, or with CODE_PATH and OK: the library, sealed, that nobody has loaded yet.
 *
 * CODE_TRIED: hash and size: that one loads. It has no answer.
 *
 * The last two are for a starter that says CODE_VALUE_PATHS.
 */
#ifndef SUBLET_WIRE_CODE_H
#define SUBLET_WIRE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "sublet/status.h"

#define CODE_MAGIC 0x44424c53u /* "SLBD" */
/** In the environment of an executor whose descriptors 8 and 9 these are. */
#define CODE_ENVIRONMENT "SUBLET_CODE"
#define CODE_VALUE_PATHS "2" /* of CODE_ENVIRONMENT; before there were paths it was 1 */
#define CODE_ASK_FD      8
#define CODE_ANSWER_FD   9

enum code_operation {
    CODE_GET = 1,
    CODE_OFFER = 2,
    CODE_DROP = 3,
    CODE_PATH = 4,
    CODE_TRIED = 5,
    CODE_OPERATION_END = 6,
};

struct code_ask {
    uint32_t magic;
    uint32_t operation;
    uint32_t id;         /* of the GET, and of the OFFER that follows it; the executor's choice */
    uint32_t path_bytes; /* of CODE_PATH: 1 to CONTROL_PATH_MAX; else 0 */
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
};

struct code_answer {
    uint32_t magic;
    uint32_t operation;
    uint32_t id;
    uint32_t status;
};

/**
 * Can a path be one of a library? Absolute, every name in it is one (not empty, "." or ".."), and no byte is zero: so
 * that its text says below which folders it lies.
 */
bool code_path_check(const char *path, size_t bytes);
/** Each checks what came from the other side. */
sublet_status code_ask_check(const struct code_ask *ask);
sublet_status code_answer_check(const struct code_answer *answer);

#endif
