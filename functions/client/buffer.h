/**
 * Buffers: memory that stays with one function, in a slot of a worker's ring where that is possible.
 *
 *   IDLE ──submit, in place──► FLYING ──answer──► ANSWERED ──taken──► IDLE
 *     │                          └──waited for too long, deadline, link lost──►┐ adopted
 *     └──submit, ordinary memory──► ORDINARY: a call like any other (calls.h) ◄┘──done──► ANSWERED
 *
 * While FLYING only the buffer's owner knows of the call, and looks at nothing but its slot and the link's `lost`.
 * Everything that takes long is left to the ordinary machinery: the call is adopted, that is, entered as the call that
 * runs in this slot. When its link is lost, the pages of the slot are exchanged for memory of this process with the
 * same content, since the worker may live a little longer and write there; from then on the buffer's calls go the
 * ordinary way from the same addresses.
 */
#ifndef SUBLET_CLIENT_BUFFER_H
#define SUBLET_CLIENT_BUFFER_H

#include "client/calls.h"
#include "client/link.h"

enum buffer_state { BUFFER_IDLE, BUFFER_FLYING, BUFFER_ORDINARY, BUFFER_ANSWERED };

struct buffer {
    sublet_buffer face; /* first: the handle points here */
    enum buffer_state state;
    bool in_place; /* calls begin in the slot */
    bool has_slot; /* `place` is to be given back */
    uint32_t misses;
    size_t in_most; /* as in `face`, which the program may write to */
    sublet_status status;
    size_t result_bytes;
    uint64_t deadline_ns;
    _Atomic uint64_t answers; /* in place; the owner alone writes */
    struct ring_place place;
    struct sublet_call call;
    struct buffer *next; /* of the session */
};

/** Exchanges the slot's pages; false without memory. Lock held. */
bool buffer_leave_ring(struct buffer *buffer);
/** A FLYING call becomes ORDINARY. Lock held; may drop it. */
void buffer_adopt(struct buffer *buffer);
/** The executor died with the FLYING call in its worker: the link is lost, and the call moves. Lock held. */
void buffer_lost(struct buffer *buffer);
/** Answers that buffers on this link got in place. Lock held. */
uint64_t buffers_answers(const struct sublet_session *session, const struct link *link);

#endif
