/** Buffers that nothing happens to yet: acquired, released, and taken out of a ring whose worker is lost. */
#include "client/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fds.h"
#include "client/error.h"
#include "client/lease.h"

#define BYTES_DEFAULT (UINT64_C(1) << 20)
#define ALIGN         64u

bool buffer_leave_ring(struct buffer *buffer)
{
    struct ring_place *place = &buffer->place;
    void *pages = mmap(NULL, place->base_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return false;
    memcpy(pages, place->base, place->base_bytes);
    if (mremap(pages, place->base_bytes, place->base_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place->base) == MAP_FAILED) {
        munmap(pages, place->base_bytes);
        return false;
    }
    buffer->call.held = NULL;
    buffer->in_place = false;
    return true;
}

/** Enters the call as one that runs on the link; nothing of an earlier one is left in it. */
static struct sublet_call *become_ordinary(struct buffer *buffer)
{
    struct sublet_call *call = &buffer->call;
    buffer->state = BUFFER_ORDINARY;
    call->deadline_ns = buffer->deadline_ns;
    call->ending = false;
    call->held = buffer;
    call->link = buffer->place.link;
    call->state = CALL_RUNNING;
    return call;
}

void buffer_lost(struct buffer *buffer)
{
    struct link *link = buffer->place.link;
    link_lost(link, SUBLET_ERR_LOST);
    calls_move(become_ordinary(buffer), (sublet_status)atomic_load(&link->lost));
}

void buffer_adopt(struct buffer *buffer)
{
    int lost = atomic_load(&buffer->place.link->lost);
    struct sublet_call *call = become_ordinary(buffer);
    if (lost == 0)
        ring_link_adopt(&buffer->place, call);
    else if (ring_slot_ready(&buffer->place.slot)) { /* the answer came before the end */
        ring_link_adopt(&buffer->place, call);
        call->link->transport->take(call->link, call);
    } else if (ring_slot_withdraw(&buffer->place.slot) && call->lease == NULL && buffer_leave_ring(buffer)) {
        call->link = NULL; /* never begun: it may run elsewhere whatever it is */
        calls_place(call);
    } else
        calls_move(call, (sublet_status)lost);
}

uint64_t buffers_answers(const struct sublet_session *session, const struct link *link)
{
    uint64_t answers = 0;
    for (const struct buffer *buffer = session->buffers; buffer != NULL; buffer = buffer->next)
        if (buffer->has_slot && buffer->place.link == link)
            answers += atomic_load_explicit(&buffer->answers, memory_order_relaxed);
    return answers;
}

/** Is a place on this link possible? UNRESOLVED: ask it first. */
static bool suits(const struct buffer *buffer, const sublet_buffer_options *options, const struct link *link,
                  enum link_resolution *known_out)
{
    if (link == NULL || link->rings == NULL || atomic_load(&link->lost) != 0 || options->in_bytes > link->in_bytes ||
        options->out_bytes > link->out_bytes)
        return false;
    *known_out = link->functions[buffer->call.function->number].state;
    return *known_out != LINK_REFUSED;
}

/** Looks for a slot in a ring. Lock held; dropped to make the function known. */
static bool find_place(struct buffer *buffer, const sublet_buffer_options *options)
{
    struct sublet_session *session = buffer->call.session;
    struct sublet_lease *lease = session->leases;
    while (lease != NULL) {
        enum link_resolution known;
        bool wanted = options->lease == NULL || options->lease == lease;
        if (!wanted || !suits(buffer, options, lease->link, &known)) {
            lease = lease->next;
            continue;
        }
        if (known == LINK_RESOLVED) {
            if (ring_link_hold(lease->link, options->worker, &buffer->place))
                return true;
            lease = lease->next;
            continue;
        }
        if (known == LINK_UNRESOLVED)
            link_resolve(lease->link, buffer->call.function);
        else
            session_sleep(session, now_ns() + 1000000);
        lease = session->leases; /* the lock was dropped: from the beginning */
    }
    return false;
}

static void use_place(struct buffer *buffer, const sublet_buffer_options *options)
{
    struct ring_place *place = &buffer->place;
    const struct link *link = place->link;
    bool in_line = options->in_bytes != 0 && options->in_bytes <= RING_INLINE_BYTES;
    bool out_line = options->out_bytes != 0 && options->out_bytes <= RING_INLINE_BYTES;
    buffer->face.in_bytes = options->in_bytes != 0 ? options->in_bytes : link->in_bytes;
    buffer->face.out_bytes = options->out_bytes != 0 ? options->out_bytes : link->out_bytes;
    buffer->face.in = in_line ? place->in_line : place->in;
    buffer->face.out = out_line ? place->out_line : place->out;
    buffer->face.in_place = 1;
    buffer->in_place = buffer->has_slot = true;
    place->slot.function = link->functions[buffer->call.function->number].id;
    place->slot.out_capacity = (uint32_t)buffer->face.out_bytes;
    place->slot.timeout_ns = buffer->call.timeout_ns;
    place->slot.flags = (in_line ? RING_IN_LINE : 0) | (out_line ? RING_OUT_LINE : 0);
}

static size_t rounded(uint64_t bytes)
{
    return (size_t)((bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1));
}

static bool use_memory(struct buffer *buffer, const sublet_buffer_options *options)
{
    uint64_t in_bytes = options->in_bytes != 0 ? options->in_bytes : BYTES_DEFAULT;
    uint64_t out_bytes = options->out_bytes != 0 ? options->out_bytes : BYTES_DEFAULT;
    unsigned char *memory = aligned_alloc(ALIGN, rounded(in_bytes) + rounded(out_bytes));
    if (memory == NULL)
        return false;
    buffer->face.in = memory;
    buffer->face.out = memory + rounded(in_bytes);
    buffer->face.in_bytes = (size_t)in_bytes;
    buffer->face.out_bytes = (size_t)out_bytes;
    return true;
}

static sublet_status check(const sublet_session *session, const sublet_function_ref *function,
                           const sublet_buffer_options *options)
{
    if (function->library->session != session)
        return error_set(SUBLET_ERR_INVALID, "%s belongs to another session", function->name);
    if ((options->flags & ~(SUBLET_CALL_ONCE | SUBLET_CALL_NO_LOCAL)) != 0)
        return error_set(SUBLET_ERR_INVALID, "unknown flags 0x%x", options->flags);
    if (options->worker >= 0 && options->lease == NULL)
        return error_set(SUBLET_ERR_INVALID, "a worker can only be chosen together with a lease");
    if (options->in_bytes > UINT32_MAX || options->out_bytes > UINT32_MAX)
        return error_set(SUBLET_ERR_TOO_LARGE, "arguments and results have less than 4 GiB");
    return SUBLET_OK;
}

sublet_status sublet_buffer_acquire(sublet_session *session, sublet_function_ref *function,
                                    const sublet_buffer_options *options, sublet_buffer **buffer_out)
{
    sublet_buffer_options all = SUBLET_BUFFER_OPTIONS_INIT;
    if (session == NULL || function == NULL || buffer_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "session, function and buffer_out must not be NULL");
    if (options != NULL)
        memcpy(&all, options, options->struct_bytes < sizeof(all) ? options->struct_bytes : sizeof(all));
    sublet_status status = check(session, function, &all);
    if (status != SUBLET_OK)
        return status;
    lease_defaults(function->home, session, &all.lease, &all.timeout_ms);
    struct buffer *buffer = aligned_alloc(ALIGN, rounded(sizeof(*buffer)));
    if (buffer == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    memset(buffer, 0, sizeof(*buffer));
    buffer->call = (struct sublet_call){.session = session,
                                        .function = function,
                                        .flags = all.flags,
                                        .lease = all.lease,
                                        .worker = all.worker < 0 ? -1 : all.worker,
                                        .node = ""};
    if (all.timeout_ms != 0)
        buffer->call.timeout_ns = all.timeout_ms < UINT64_MAX / 2000000 ? all.timeout_ms * 1000000 : UINT64_MAX / 2;
    pthread_mutex_lock(&session->lock);
    if (find_place(buffer, &all))
        use_place(buffer, &all);
    else if (!use_memory(buffer, &all)) {
        pthread_mutex_unlock(&session->lock);
        free(buffer);
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    }
    buffer->in_most = buffer->face.in_bytes;
    buffer->call.in = buffer->face.in;
    buffer->call.out = buffer->face.out;
    buffer->call.out_capacity = buffer->face.out_bytes;
    buffer->next = session->buffers;
    session->buffers = buffer;
    pthread_mutex_unlock(&session->lock);
    *buffer_out = &buffer->face;
    return SUBLET_OK;
}

/** Ends what runs. Lock held; dropped to wait. */
static void end_call(struct buffer *buffer)
{
    if (buffer->state == BUFFER_FLYING)
        buffer_adopt(buffer);
    if (buffer->state == BUFFER_ORDINARY && buffer->call.state != CALL_DONE) {
        calls_end_early(&buffer->call);
        (void)calls_wait(&buffer->call, 0); /* bounded: an executor that does not end it counts as lost */
    }
    while (buffer->call.pins > 0)
        session_sleep(buffer->call.session, now_ns() + 1000000000);
}

void sublet_buffer_release(sublet_buffer *face)
{
    struct buffer *buffer = (struct buffer *)face;
    if (buffer == NULL)
        return;
    struct sublet_session *session = buffer->call.session;
    pthread_mutex_lock(&session->lock);
    end_call(buffer);
    for (struct buffer **at = &session->buffers; *at != NULL; at = &(*at)->next)
        if (*at == buffer) {
            *at = buffer->next;
            break;
        }
    if (buffer->has_slot) {
        buffer->place.link->calls += atomic_load_explicit(&buffer->answers, memory_order_relaxed);
        ring_link_let_go(&buffer->place);
    } else
        free((void *)(uintptr_t)buffer->call.in);
    pthread_mutex_unlock(&session->lock);
    free(buffer);
}
