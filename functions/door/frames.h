/**
 * Where frames begin and end in the bytes that pass by (u32 little-endian length, then that many bytes), and the one
 * kind of frame that the door looks into: a request for a lease.
 */
#ifndef SUBLET_DOOR_FRAMES_H
#define SUBLET_DOOR_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER = 4, FRAME_MAX = 65536 };

/** A length with this bit is the door's own word to the agent. Nobody else may say such. */
#define FRAME_MARK 0x80000000u

/** A place in a stream of frames. */
struct framing {
    uint32_t left; /* bytes of the frame that are still to come */
    unsigned char head[FRAME_HEADER];
    uint8_t have; /* of head */
    bool astray;  /* a length that is none came by: nothing can be told from here on */
};

/** Nothing of a frame has come. */
bool framing_between(const struct framing *framing);
/** Bytes pass by. False: they hold a marked length. */
bool framing_pass(struct framing *framing, const unsigned char *bytes, size_t size);
uint32_t frame_length(const unsigned char *header);
void frame_put_length(unsigned char *header, uint32_t length);

/** A LocalRequest with a LocalLease (proto/sublet/v1/local.proto); pointers go into the frame. */
struct lease_ask {
    const unsigned char *id; /* field 1 as it stands there, tag and value: what the answer begins with */
    size_t id_size;
    const unsigned char *request; /* the LeaseRequest's bytes */
    size_t request_size;
    uint32_t job_id;
};

/** Whether a frame's body is exactly that, encoded as protobuf does; what is anything else is the agent's to judge. */
bool lease_ask_read(const unsigned char *body, size_t size, struct lease_ask *ask);

#endif
