/**
 * The executor's side of wire/code.h: libraries that the node has are taken from the starter, others are offered to it
 * once they were loaded. Nothing waits for the starter: a connection does, and not for long.
 */
#ifndef SUBLET_EXECUTOR_CODE_H
#define SUBLET_EXECUTOR_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/code.h"
#include "wire/control.h"

/** Until then an answer is worth waiting for. */
#define CODE_WAIT_NS UINT64_C(250000000)

struct code {
    bool open;
    bool paths; /* the starter hears CODE_PATH */
    uint32_t last_id;
};

/** What came from the starter. */
struct code_news {
    struct code_answer answer;
    int fd; /* -1: none; the taker closes it */
};

/** Takes over descriptors 8 and 9 when the starter says that it has given them. */
void code_open(struct code *code);
/** Asks for a library; its id in *id_out. False: it cannot be asked for now. `path_bytes` 0: where it lies is not said.
 */
bool code_get(struct code *code, const struct control_code *wanted, const char *path, uint32_t path_bytes,
              uint32_t *id_out);
/** What came as CODE_PATH has been loaded. */
void code_tried(struct code *code, const uint8_t *hash, uint64_t size);
/** Offers what the memfd of that id was filled with. */
void code_offer(struct code *code, uint32_t id, const uint8_t *hash, uint64_t size);
/** That memfd will not be filled, or not be offered. */
void code_drop(struct code *code, uint32_t id, const uint8_t *hash, uint64_t size);
/** Takes the next answer; false when there is none. Closes the channel when the starter has. */
bool code_next(struct code *code, struct code_news *out);

#endif
