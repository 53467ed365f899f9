/**
 * Calls on this node: by ring (ring_link.c) when arguments and result fit a slot, and over a connection to the same
 * worker (stream_link.c, by the executor's unix socket) when they do not. The connection is made with the first such
 * call. A call that is on its way tells by its slot which of the two has it.
 */
#include <stdlib.h>

#include "client/calls.h"
#include "client/link.h"

static const struct transport *of(const struct sublet_call *call)
{
    return call->slot == CONTROL_SLOT_STREAM ? &stream_transport : &ring_transport;
}

static sublet_status here_start(struct link *link, uint32_t worker, struct sublet_call *call, uint32_t function)
{
    if (!call->allocates && call->in_bytes <= link->in_bytes && call->out_capacity <= link->out_bytes)
        return ring_transport.start(link, worker, call, function);
    sublet_status status = link->streams == NULL ? stream_link_prepare(link) : SUBLET_OK;
    return status == SUBLET_OK ? stream_transport.start(link, worker, call, function) : status;
}

static void here_fill(struct link *link, struct sublet_call *call)
{
    of(call)->fill(link, call);
}

static bool here_claim(struct link *link, struct sublet_call *call)
{
    return of(call)->claim(link, call);
}

static void here_unclaim(struct link *link, struct sublet_call *call)
{
    of(call)->unclaim(link, call);
}

static bool here_ready(struct link *link, const struct sublet_call *call)
{
    return of(call)->ready(link, call);
}

static void here_sleep(struct link *link, const struct sublet_call *call, uint64_t timeout_ns)
{
    of(call)->sleep(link, call, timeout_ns);
}

static void here_take(struct link *link, struct sublet_call *call)
{
    of(call)->take(link, call);
}

static void here_progress(struct link *link)
{
    ring_transport.progress(link);
    stream_transport.progress(link);
}

static struct sublet_call *here_strip(struct link *link)
{
    struct sublet_call *call = ring_transport.strip(link);
    return call != NULL ? call : stream_transport.strip(link);
}

static void here_remove(struct link *link, struct sublet_call *call)
{
    of(call)->remove(link, call);
}

static bool here_name(struct link *link, const struct sublet_call *call, struct control_cancel *cancel)
{
    return of(call)->name(link, call, cancel);
}

static bool here_detach(struct link *link, struct sublet_call *call)
{
    return of(call)->detach(link, call);
}

static bool here_stray(struct link *link, struct control_cancel *cancel)
{
    return stream_transport.stray(link, cancel);
}

static bool here_has_strays(struct link *link)
{
    return stream_transport.has_strays(link);
}

static int here_pollable(struct link *link, const struct sublet_call *call)
{
    return of(call)->pollable(link, call);
}

static void here_close(struct link *link)
{
    ring_transport.close(link);
    stream_transport.close(link);
}

const struct transport here_transport = {
    .start = here_start,
    .fill = here_fill,
    .fill_unlocked = true,
    .claim = here_claim,
    .unclaim = here_unclaim,
    .ready = here_ready,
    .sleep = here_sleep,
    .take = here_take,
    .progress = here_progress,
    .strip = here_strip,
    .remove = here_remove,
    .name = here_name,
    .detach = here_detach,
    .stray = here_stray,
    .has_strays = here_has_strays,
    .pollable = here_pollable,
    .close = here_close,
};
