/**
 * Two ways to one worker: slots (a ring on this node, ring_link.c, or a fabric to another, ofi_link.c) when arguments
 * and result fit a slot, and a connection (stream_link.c, by the executor's unix socket or over TCP) when they do not.
 * The connection is made with the first such call. A call that is on its way tells by its slot which of the two has it.
 */
#include <stdlib.h>

#include "client/calls.h"
#include "client/link.h"

/** By what never changes: links are closed part by part. */
static const struct transport *slots_of(const struct link *link)
{
    return link->same_node ? &ring_transport : &fabric_transport;
}

static const struct transport *of(const struct link *link, const struct sublet_call *call)
{
    return call->slot == CONTROL_SLOT_STREAM ? &stream_transport : slots_of(link);
}

static sublet_status both_start(struct link *link, uint32_t worker, struct sublet_call *call, uint32_t function)
{
    if (!call->allocates && call->in_bytes <= link->in_bytes && call->out_capacity <= link->out_bytes)
        return slots_of(link)->start(link, worker, call, function);
    sublet_status status = link->streams == NULL ? stream_link_prepare(link) : SUBLET_OK;
    return status == SUBLET_OK ? stream_transport.start(link, worker, call, function) : status;
}

static void both_fill(struct link *link, struct sublet_call *call)
{
    of(link, call)->fill(link, call);
}

static bool both_claim(struct link *link, struct sublet_call *call)
{
    return of(link, call)->claim(link, call);
}

static void both_unclaim(struct link *link, struct sublet_call *call)
{
    of(link, call)->unclaim(link, call);
}

static bool both_ready(struct link *link, const struct sublet_call *call)
{
    return of(link, call)->ready(link, call);
}

static void both_sleep(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    of(link, call)->sleep(link, call, timeout_ns);
}

static void both_take(struct link *link, struct sublet_call *call)
{
    of(link, call)->take(link, call);
}

static void both_progress(struct link *link)
{
    slots_of(link)->progress(link);
    stream_transport.progress(link);
}

static struct sublet_call *both_strip(struct link *link)
{
    struct sublet_call *call = slots_of(link)->strip(link);
    return call != NULL ? call : stream_transport.strip(link);
}

static void both_remove(struct link *link, struct sublet_call *call)
{
    of(link, call)->remove(link, call);
}

static bool both_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    return of(link, call)->name(link, call, cancel);
}

static bool both_detach(struct link *link, struct sublet_call *call)
{
    return of(link, call)->detach(link, call);
}

static bool both_stray(struct link *link, struct control_cancel *cancel)
{
    const struct transport *slots = slots_of(link);
    return (slots->stray != NULL && slots->stray(link, cancel)) || stream_transport.stray(link, cancel);
}

static bool both_has_strays(struct link *link)
{
    const struct transport *slots = slots_of(link);
    return (slots->has_strays != NULL && slots->has_strays(link)) || stream_transport.has_strays(link);
}

static int both_pollable(struct link *link, const struct sublet_call *call)
{
    return of(link, call)->pollable(link, call);
}

static void both_close(struct link *link)
{
    slots_of(link)->close(link);
    stream_transport.close(link);
}

#define BOTH(unlocked)                                                                                                 \
    {                                                                                                                  \
        .fill_unlocked = (unlocked), .start = both_start, .fill = both_fill, .claim = both_claim,                      \
        .unclaim = both_unclaim, .ready = both_ready, .sleep = both_sleep, .take = both_take,                          \
        .progress = both_progress, .strip = both_strip, .remove = both_remove, .name = both_name,                      \
        .detach = both_detach, .stray = both_stray, .has_strays = both_has_strays, .pollable = both_pollable,          \
        .close = both_close,                                                                                           \
    }

const struct transport here_transport = BOTH(true);
const struct transport there_transport = BOTH(false);
