/**
 * The parts are the distances between marks on one line from the call to its return, so they add up to the whole. On
 * the same node all marks are stamps of one counter. Over a connection the worker tells durations only: they are laid
 * into the middle of what lies between sending and seeing. What a worker tells and cannot be (a guest lies, or a
 * machine whose counters differ from core to core) is as if it had told nothing.
 */
#include "client/trace.h"

#include <string.h>

/** Parts in the order of sublet_trace; mark i is where part i ends. */
enum part { SEND, WIRE, WAKE, QUEUE, PREPARE, RUN, ANSWER, BACK, CALLER, RECEIVE, PARTS };

_Static_assert(sizeof(sublet_trace) == 2 * sizeof(uint32_t) + (1 + PARTS) * sizeof(uint64_t), "parts");

sublet_trace *trace_wanted(const sublet_call_options *options)
{
    if (options == NULL || options->struct_bytes < sizeof(*options))
        return NULL;
    return options->trace;
}

void trace_begin(struct call_trace *trace)
{
    *trace = (struct call_trace){.begin = cycles()};
}

static bool take_way(struct call_trace *trace, uint32_t way, bool asked)
{
    trace->way = way;
    trace->asked = asked;
    trace->told = trace->slept = false;
    trace->sent = trace->seen = cycles();
    return asked;
}

bool trace_begin_ring(struct call_trace *trace, bool executor_tells)
{
    return take_way(trace, SUBLET_TRACE_MEMORY, executor_tells);
}

bool trace_begin_stream(struct call_trace *trace, bool executor_tells)
{
    return take_way(trace, SUBLET_TRACE_CONNECTION, executor_tells);
}

void trace_begin_here(struct call_trace *trace)
{
    (void)take_way(trace, SUBLET_TRACE_HERE, false);
}

void trace_take_ring(struct call_trace *trace, const struct ring *ring, uint32_t slot)
{
    trace->seen = cycles();
    if (trace->asked)
        ring_get_trace(ring, slot, &trace->ring);
    trace->told = trace->asked;
}

void trace_told_stream(struct call_trace *trace, const struct stream_trace *told)
{
    trace->stream = *told;
    trace->told = true;
}

/** Marks of a call by ring, from the worker's stamps; false when these cannot be. */
static bool mark_ring(const struct call_trace *trace, uint64_t *marks)
{
    const struct ring_trace *told = &trace->ring;
    if (!trace->told || told->found < trace->sent || told->start < told->found || told->end < told->start ||
        told->answer < told->end || told->answer > trace->seen)
        return false;
    bool woken = told->woke > trace->sent && told->woke <= told->found;
    bool queued = !woken && (told->flags & TRACE_BUSY) != 0;
    marks[WIRE] = woken || queued ? trace->sent : told->found;
    marks[WAKE] = woken ? told->woke : marks[WIRE];
    marks[QUEUE] = queued ? told->found : marks[WAKE];
    marks[PREPARE] = told->start;
    marks[RUN] = told->end;
    marks[ANSWER] = told->answer;
    marks[BACK] = trace->slept ? told->answer : trace->seen;
    return true;
}

/** `ns` as cycles, as one that is at most `most`. */
static uint64_t ticks_of(uint64_t ns, double ns_per_tick, uint64_t most)
{
    double ticks = ns_per_tick > 0 ? (double)ns / ns_per_tick : 0;
    return ticks < (double)most ? (uint64_t)ticks : most;
}

/** Marks of a call over a connection; `told` all zero = the worker's part is not known. */
static bool mark_stream(const struct call_trace *trace, const struct stream_trace *told, double ns_per_tick,
                        uint64_t *marks)
{
    uint64_t sent = trace->sent, spent = 0, ticks[4];
    const uint64_t ns[4] = {told->queue_ns, told->prepare_ns, told->run_ns, told->answer_ns};
    for (int i = 0; i < 4; i++) {
        ticks[i] = ticks_of(ns[i], ns_per_tick, UINT64_MAX / 8);
        spent += ticks[i];
    }
    if (spent > trace->seen - trace->begin)
        return false;
    if (spent > trace->seen - sent) /* it had begun before our system call came back */
        sent = trace->seen - spent;
    marks[SEND] = sent;
    marks[WIRE] = marks[WAKE] = sent + (trace->seen - sent - spent) / 2;
    marks[QUEUE] = marks[WAKE] + ticks[0];
    marks[PREPARE] = marks[QUEUE] + ticks[1];
    marks[RUN] = marks[PREPARE] + ticks[2];
    marks[ANSWER] = marks[RUN] + ticks[3];
    marks[BACK] = trace->seen;
    return true;
}

static bool mark(const struct call_trace *trace, double ns_per_tick, uint64_t *marks)
{
    static const struct stream_trace nothing;
    if (trace->way == SUBLET_TRACE_HERE) {
        for (int i = SEND; i < RUN; i++)
            marks[i] = trace->sent;
        marks[RUN] = marks[ANSWER] = marks[BACK] = trace->seen;
        return false;
    }
    if (trace->way == SUBLET_TRACE_MEMORY && mark_ring(trace, marks))
        return true;
    if (trace->way == SUBLET_TRACE_CONNECTION && trace->told && mark_stream(trace, &trace->stream, ns_per_tick, marks))
        return true;
    (void)mark_stream(trace, &nothing, ns_per_tick, marks);
    return false;
}

void trace_end(const struct call_trace *trace, const struct sublet_session *session, sublet_trace *out)
{
    uint64_t now = cycles(), marks[PARTS] = {[SEND] = trace->sent}, parts[PARTS], before = 0, last = trace->begin;
    uint64_t ticks = now > session->opened_cycles ? now - session->opened_cycles : 1;
    double ns_per_tick = (double)(now_ns() - session->opened_ns) / (double)ticks;
    sublet_trace all = {.struct_bytes = out->struct_bytes, .flags = trace->way};
    bool told = mark(trace, ns_per_tick, marks);
    marks[CALLER] = trace->seen;
    marks[RECEIVE] = now;
    for (int i = 0; i < PARTS; i++) {
        last = marks[i] > last ? marks[i] : last; /* a thread may have changed to a core whose counter is behind */
        uint64_t at = (uint64_t)((double)(last - trace->begin) * ns_per_tick);
        parts[i] = at - before;
        before = at;
    }
    all.total_ns = before;
    memcpy((char *)&all + offsetof(sublet_trace, send_ns), parts, sizeof(parts));
    uint32_t before_it = trace->way == SUBLET_TRACE_MEMORY ? trace->ring.flags : trace->stream.flags;
    if (told)
        all.flags |= SUBLET_TRACE_WORKER_TOLD | ((before_it & TRACE_SLEPT) != 0 ? SUBLET_TRACE_WORKER_SLEPT : 0) |
                     ((before_it & TRACE_BUSY) != 0 ? SUBLET_TRACE_WORKER_BUSY : 0);
    if (trace->slept)
        all.flags |= SUBLET_TRACE_CALLER_SLEPT;
    memcpy(out, &all, out->struct_bytes < sizeof(all) ? out->struct_bytes : sizeof(all));
}
