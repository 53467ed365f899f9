/**
 * Calls from buffers. The hot way is ring_slot_write, ring_slot_publish and a spin on ring_slot_test: four cache lines,
 * and nothing else of this process is touched. Nobody reports a dead peer to a side that only spins, so it looks at
 * the link and at the clock with every SPINS_PER_LOOK-th step.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/fds.h"
#include "client/buffer.h"
#include "client/error.h"

#define SPINS_PER_LOOK 64u
#define NAP_FIRST_NS   UINT64_C(20000)
#define NAP_LAST_NS    UINT64_C(1000000)

static uint64_t end_of(uint64_t timeout_ms)
{
    return timeout_ms == 0 || timeout_ms > UINT64_MAX / 2000000 ? 0 : now_ns() + timeout_ms * 1000000;
}

/** An ordinary call has ended. Lock held. */
static void collect(struct buffer *buffer)
{
    buffer->status = buffer->call.status;
    buffer->result_bytes = buffer->call.result_bytes;
    buffer->state = BUFFER_ANSWERED;
}

/** A worker that died: with its executor, then this call is lost, or of the function. */
static void crashed(struct buffer *buffer)
{
    struct sublet_session *session = buffer->call.session;
    pthread_mutex_lock(&session->lock);
    if (link_gone(buffer->place.link))
        buffer_lost(buffer);
    pthread_mutex_unlock(&session->lock);
}

/** FLYING: has the answer come? */
static inline bool land(struct buffer *buffer)
{
    uint32_t size;
    if (!ring_slot_test(&buffer->place.slot, &buffer->status, &size))
        return false;
    buffer->result_bytes = size;
    buffer->state = BUFFER_ANSWERED;
    uint64_t answers = atomic_load_explicit(&buffer->answers, memory_order_relaxed);
    atomic_store_explicit(&buffer->answers, answers + 1, memory_order_relaxed);
    if (__builtin_expect(buffer->status == SUBLET_ERR_CRASHED, 0))
        crashed(buffer);
    return true;
}

static void adopt(struct buffer *buffer)
{
    pthread_mutex_lock(&buffer->call.session->lock);
    buffer_adopt(buffer);
    pthread_mutex_unlock(&buffer->call.session->lock);
}

/** With every SPINS_PER_LOOK-th step: must somebody else care for this call? */
static bool in_trouble(const struct buffer *buffer, uint64_t now)
{
    return atomic_load_explicit(&buffer->place.link->lost, memory_order_relaxed) != 0 ||
           (buffer->deadline_ns != 0 && now >= buffer->deadline_ns);
}

/** Takes the result: the buffer is free again. */
static inline sublet_status take(struct buffer *buffer, size_t *out_bytes_out)
{
    buffer->state = BUFFER_IDLE;
    if (__builtin_expect(buffer->status != SUBLET_OK, 0)) {
        buffer->call.status = buffer->status;
        return calls_explain(&buffer->call);
    }
    if (out_bytes_out != NULL)
        *out_bytes_out = buffer->result_bytes;
    return SUBLET_OK;
}

/** Ordinary memory, or a ring that is lost. */
static sublet_status begin_ordinary(struct buffer *buffer)
{
    struct sublet_call *call = &buffer->call;
    struct sublet_session *session = call->session;
    pthread_mutex_lock(&session->lock);
    if (session->calls.queued >= SESSION_QUEUE_MAX) {
        pthread_mutex_unlock(&session->lock);
        return error_set(SUBLET_ERR_BUSY, "%u calls wait for a worker already; wait for some of them",
                         SESSION_QUEUE_MAX);
    }
    call->state = CALL_RUNNING; /* not queued, not done: calls_place decides */
    call->deadline_ns = buffer->deadline_ns;
    call->ending = false;
    buffer->state = BUFFER_ORDINARY;
    calls_place_last(call);
    pthread_mutex_unlock(&session->lock);
    return SUBLET_OK;
}

/** Writes the request; *publish_out says that it is still to be published. */
static inline sublet_status begin(struct buffer *buffer, size_t in_bytes, bool *publish_out)
{
    *publish_out = false;
    if (__builtin_expect(buffer->state != BUFFER_IDLE, 0))
        return error_set(SUBLET_ERR_INVALID, "the buffer has a call whose result was not taken");
    if (__builtin_expect(in_bytes > buffer->in_most, 0))
        return error_set(SUBLET_ERR_TOO_LARGE, "the buffer has room for %zu bytes of arguments", buffer->in_most);
    buffer->call.in_bytes = in_bytes;
    if (buffer->call.timeout_ns != 0)
        buffer->deadline_ns = now_ns() + buffer->call.timeout_ns;
    if (__builtin_expect(!buffer->in_place, 0))
        return begin_ordinary(buffer);
    ring_slot_write(&buffer->place.slot, (uint32_t)in_bytes);
    buffer->state = BUFFER_FLYING;
    *publish_out = true;
    return SUBLET_OK;
}

sublet_status sublet_buffer_submit(sublet_buffer *face, size_t in_bytes)
{
    struct buffer *buffer = (struct buffer *)face;
    bool publish;
    if (buffer == NULL)
        return error_set(SUBLET_ERR_INVALID, "buffer must not be NULL");
    sublet_status status = begin(buffer, in_bytes, &publish);
    if (publish)
        ring_slot_publish(&buffer->place.slot, buffer->place.slot.bit);
    return status;
}

sublet_status sublet_buffer_submit_many(sublet_buffer *const *buffers, const size_t *in_bytes, size_t count,
                                        size_t *started_out)
{
    const struct ring_slot *open = NULL; /* a slot of the ring whose bits are not published yet */
    uint64_t bits = 0;
    sublet_status status = SUBLET_OK;
    size_t started = 0;
    if (count > 0 && (buffers == NULL || in_bytes == NULL))
        return error_set(SUBLET_ERR_INVALID, "buffers and in_bytes must not be NULL");
    for (; started < count; started++) {
        struct buffer *buffer = (struct buffer *)buffers[started];
        bool publish = false;
        status = buffer == NULL ? error_set(SUBLET_ERR_INVALID, "buffer %zu must not be NULL", started)
                                : begin(buffer, in_bytes[started], &publish);
        if (status != SUBLET_OK)
            break;
        if (!publish)
            continue;
        if (open != NULL && open->pending != buffer->place.slot.pending) {
            ring_slot_publish(open, bits);
            bits = 0;
        }
        open = &buffer->place.slot;
        bits |= open->bit;
    }
    if (open != NULL)
        ring_slot_publish(open, bits);
    if (started_out != NULL)
        *started_out = started;
    return status;
}

/** FLYING: spins until the answer is there (true), or for as long as it is worth it. */
static bool spin(struct buffer *buffer, uint64_t *since_ns, uint64_t end_ns)
{
    for (;;) {
        for (uint32_t i = 0; i < SPINS_PER_LOOK; i++) {
            if (land(buffer))
                return true;
            ring_relax();
        }
        uint64_t now = now_ns();
        *since_ns = *since_ns == 0 ? now : *since_ns;
        if (in_trouble(buffer, now) || now - *since_ns >= buffer->call.session->spin_ns ||
            (end_ns != 0 && now >= end_ns))
            return false;
        sched_yield(); /* the worker may share this core */
    }
}

/** Until it is ANSWERED; false at end_ns. */
static bool finish(struct buffer *buffer, uint64_t end_ns)
{
    uint64_t since_ns = 0;
    if (buffer->state == BUFFER_FLYING && spin(buffer, &since_ns, end_ns) && buffer->state == BUFFER_ANSWERED)
        return true;
    if (buffer->state == BUFFER_FLYING)
        adopt(buffer);
    if (buffer->state == BUFFER_ORDINARY) {
        pthread_mutex_lock(&buffer->call.session->lock);
        if (calls_wait_since(&buffer->call, since_ns != 0 ? since_ns : now_ns(), end_ns) == SUBLET_OK)
            collect(buffer);
        pthread_mutex_unlock(&buffer->call.session->lock);
    }
    return buffer->state != BUFFER_ORDINARY;
}

static sublet_status nothing(void)
{
    return error_set(SUBLET_ERR_INVALID, "buffer must not be NULL, and have a call");
}

sublet_status sublet_buffer_wait(sublet_buffer *face, uint64_t timeout_ms, size_t *out_bytes_out)
{
    struct buffer *buffer = (struct buffer *)face;
    if (buffer == NULL || buffer->state == BUFFER_IDLE)
        return nothing();
    if (!finish(buffer, end_of(timeout_ms)))
        return SUBLET_ERR_BUSY;
    return take(buffer, out_bytes_out);
}

sublet_status sublet_buffer_invoke(sublet_buffer *face, size_t in_bytes, size_t *out_bytes_out)
{
    sublet_status status = sublet_buffer_submit(face, in_bytes);
    return status == SUBLET_OK ? sublet_buffer_wait(face, 0, out_bytes_out) : status;
}

/** Looks without waiting; true when ANSWERED. */
static bool look(struct buffer *buffer)
{
    if (buffer->state == BUFFER_FLYING && !land(buffer)) {
        if (++buffer->misses % SPINS_PER_LOOK != 0 || !in_trouble(buffer, now_ns()))
            return false;
        adopt(buffer);
    }
    if (buffer->state == BUFFER_ORDINARY) {
        pthread_mutex_lock(&buffer->call.session->lock);
        if (calls_look(&buffer->call))
            collect(buffer);
        pthread_mutex_unlock(&buffer->call.session->lock);
    }
    return buffer->state == BUFFER_ANSWERED;
}

sublet_status sublet_buffer_test(sublet_buffer *face, size_t *out_bytes_out)
{
    struct buffer *buffer = (struct buffer *)face;
    if (buffer == NULL || buffer->state == BUFFER_IDLE)
        return nothing();
    return look(buffer) ? take(buffer, out_bytes_out) : SUBLET_ERR_BUSY;
}

/** Between two rounds of looking at several: a step of a spin, later a nap that gets longer with the time waited. */
static void pause_between(uint32_t round, uint64_t since_ns, uint64_t spin_ns)
{
    if (round % SPINS_PER_LOOK != 0) {
        ring_relax();
        return;
    }
    uint64_t waited_ns = now_ns() - since_ns, nap_ns = waited_ns / 8;
    if (waited_ns < spin_ns) {
        sched_yield();
        return;
    }
    nap_ns = nap_ns < NAP_FIRST_NS ? NAP_FIRST_NS : nap_ns > NAP_LAST_NS ? NAP_LAST_NS : nap_ns;
    struct timespec nap = {.tv_nsec = (long)nap_ns};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
}

sublet_status sublet_buffer_wait_any(sublet_buffer *const *buffers, size_t count, uint64_t timeout_ms,
                                     size_t *index_out)
{
    static _Thread_local size_t turn; /* the one after that found last comes first */
    uint64_t since_ns = 0, end_ns = 0;
    if (buffers == NULL || index_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "buffers and index_out must not be NULL");
    for (uint32_t round = 1;; round++) {
        struct buffer *waited = NULL;
        for (size_t i = 0; i < count; i++) {
            size_t index = (turn + i) % count;
            struct buffer *buffer = (struct buffer *)buffers[index];
            if (buffer == NULL || buffer->state == BUFFER_IDLE)
                continue;
            waited = buffer;
            if (look(buffer)) {
                turn = index + 1;
                *index_out = index;
                return SUBLET_OK;
            }
        }
        if (waited == NULL)
            return nothing();
        if (round == 1) {
            since_ns = now_ns();
            end_ns = end_of(timeout_ms);
        } else if (end_ns != 0 && round % SPINS_PER_LOOK == 0 && now_ns() >= end_ns)
            return SUBLET_ERR_BUSY;
        pause_between(round, since_ns, waited->call.session->spin_ns);
    }
}

sublet_status sublet_buffer_wait_all(sublet_buffer *const *buffers, size_t count, uint64_t timeout_ms)
{
    uint64_t end_ns = end_of(timeout_ms);
    if (buffers == NULL && count > 0)
        return error_set(SUBLET_ERR_INVALID, "buffers must not be NULL");
    for (size_t i = 0; i < count; i++) {
        struct buffer *buffer = (struct buffer *)buffers[i];
        if (buffer != NULL && buffer->state != BUFFER_IDLE && buffer->state != BUFFER_ANSWERED &&
            !finish(buffer, end_ns))
            return SUBLET_ERR_BUSY;
    }
    return SUBLET_OK;
}
