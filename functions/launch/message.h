/**
 * Frames of the starter's socket: u32 little-endian length (1..65536), then lines "key=value\n". Keys are
 * [a-z_]{1,32}, values hold no control characters. A request carries verb= first and id=.
 */
#ifndef SUBLET_LAUNCH_MESSAGE_H
#define SUBLET_LAUNCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER = 4,
    FRAME_MAX = 65536,
    LINES_MAX = 96,
};

struct line {
    const char *key;
    const char *value;
};

/** A frame cut into lines; they point into the frame's bytes. */
struct message {
    struct line lines[LINES_MAX];
    size_t count;
};

/** Cuts in place: `text` has room for one byte more than `size`. False when the frame breaks the rules above. */
bool message_parse(char *text, size_t size, struct message *message);
/** The value of a key that must stand there exactly once, else NULL. */
const char *message_get(const struct message *message, const char *key);

/** A message to keep: `bytes` is what its lines point into. */
struct message_copy {
    struct message message;
    char *bytes;
    size_t size;
};

/** False: out of memory. */
bool message_copy(const struct message *message, struct message_copy *copy_out);
/** Overwrites it first: it may hold a token. One that is all zero holds nothing. */
void message_copy_free(struct message_copy *copy);
/** Leaves out the lines with these keys; the list ends with NULL. */
void message_drop(struct message *message, const char *const *keys);

/** A decimal number without sign or leading blanks; false when it is none or beyond `max`. */
bool parse_number(const char *text, uint64_t max, uint64_t *value_out);

/** A frame being written, its length field in front. */
struct text {
    char bytes[FRAME_HEADER + FRAME_MAX];
    size_t size;
    bool full;
};

void text_begin(struct text *text);
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Fills in the length; the frame is bytes[0..size). */
void text_end(struct text *text);

#endif
