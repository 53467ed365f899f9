/**
 * Where the time of a call went: stamps on its way, and what its worker told, made into the parts of a sublet_trace.
 * Stamps are cycles (base/cycles.h); a call that nobody traces takes none.
 */
#ifndef SUBLET_CLIENT_TRACE_H
#define SUBLET_CLIENT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cycles.h"
#include "client/session.h"
#include "fabric/ring.h"

struct call_trace {
    uint64_t begin; /* sublet_invoke was called */
    uint64_t sent;  /* the request has left: of the last attempt, when a lease was lost */
    uint64_t seen;  /* the answer is here */
    uint32_t way;   /* SUBLET_TRACE_MEMORY, _CONNECTION, _HERE; 0 = not begun */
    bool asked;     /* the worker is to tell */
    bool told;      /* it has */
    bool slept;     /* the thread that waits for it did */
    struct ring_trace ring;
    struct stream_trace stream;
};

/** Where the options want a trace; NULL = nowhere. */
sublet_trace *trace_wanted(const sublet_call_options *options);
void trace_begin(struct call_trace *trace);
/** It takes this way now; true when its worker is to be asked. */
bool trace_begin_ring(struct call_trace *trace, bool executor_tells);
bool trace_begin_stream(struct call_trace *trace, bool executor_tells);
void trace_begin_here(struct call_trace *trace);
/** The answer is there. */
void trace_take_ring(struct call_trace *trace, const struct ring *ring, uint32_t slot);
void trace_told_stream(struct call_trace *trace, const struct stream_trace *told);
/** Fills what the caller has room for. */
void trace_end(const struct call_trace *trace, const struct sublet_session *session, sublet_trace *out);

#endif
