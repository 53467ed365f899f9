/**
 * sublet_for_each: items go to the leases from the front, the calling thread takes them from the back, until the two
 * meet. Each item is one call; those of a lease that went away come back and are run again, there or here, so that the
 * result does not depend on who lent what.
 *
 * Workers are kept busy a few calls deep, so that none waits for this thread between two items. Towards the end the
 * depth falls: what is queued behind a slow item cannot be taken back.
 */
#include <stdlib.h>

#include "base/fds.h"
#include "client/calls.h"
#include "client/error.h"
#include "client/lease.h"
#include "client/link.h"

#define CALLS_MAX 1024u

struct item {
    struct sublet_call call;
    size_t index;
    bool used;
};

struct run {
    struct sublet_session *session;
    struct sublet_function_ref *function;
    const unsigned char *in;
    unsigned char *out;
    size_t in_bytes;
    size_t out_bytes;
    size_t front; /* [front, back) has not been given out */
    size_t back;
    size_t *again; /* items that came back */
    size_t again_count;
    struct item *items;
    size_t item_count;
    size_t flying;
    sublet_status status;
    sublet_for_each_report report;
};

/** Calls that fit on the leases of this moment, and their workers. */
static size_t room(const struct sublet_session *session, size_t *workers_out)
{
    size_t calls = 0, workers = 0;
    for (const struct sublet_lease *lease = session->leases; lease != NULL; lease = lease->next) {
        const struct link *link = lease->link;
        if (link == NULL || link->transport == NULL || atomic_load(&link->lost) != 0)
            continue;
        workers += link->workers;
        calls += (size_t)link->workers * link->slots;
    }
    *workers_out = workers;
    return calls < CALLS_MAX ? calls : CALLS_MAX;
}

static bool take_index(struct run *run, bool from_back, size_t *index_out)
{
    if (run->again_count > 0)
        *index_out = run->again[--run->again_count];
    else if (run->front < run->back)
        *index_out = from_back ? --run->back : run->front++;
    else
        return false;
    return true;
}

static void prepare(const struct run *run, struct sublet_call *call, size_t index)
{
    *call = (struct sublet_call){
        .session = run->session,
        .function = run->function,
        .in = run->in + index * run->in_bytes,
        .in_bytes = run->in_bytes,
        .out = run->out + index * run->out_bytes,
        .out_capacity = run->out_bytes,
        .worker = -1,
        .state = CALL_RUNNING,
        .node = "",
        .moves_back = true,
    };
}

/** Grows the number of calls with the leases; lock held. */
static void make_room(struct run *run, size_t wanted)
{
    if (wanted <= run->item_count || run->flying > 0) /* calls that fly cannot move in memory */
        return;
    struct item *items = calloc(wanted, sizeof(*items));
    size_t *again = items == NULL ? NULL : realloc(run->again, wanted * sizeof(*again));
    if (again == NULL) { /* goes on with what there is */
        free(items);
        return;
    }
    free(run->items);
    run->items = items;
    run->again = again;
    run->item_count = wanted;
}

/** Gives items to workers with room. */
static void fill(struct run *run)
{
    size_t workers;
    size_t wanted = room(run->session, &workers);
    if (run->status != SUBLET_OK || wanted == 0)
        return;
    make_room(run, wanted);
    for (size_t i = 0; i < run->item_count; i++) {
        struct item *item = &run->items[i];
        size_t left = run->back - run->front + run->again_count;
        size_t depth = left / (workers + 1) + 1;
        if (item->used)
            continue;
        if (!take_index(run, false, &item->index))
            return;
        prepare(run, &item->call, item->index);
        if (!calls_place_now(&item->call, depth < UINT32_MAX ? (uint32_t)depth : UINT32_MAX)) {
            run->again[run->again_count++] = item->index;
            return;
        }
        item->used = true;
        run->flying++;
    }
}

static void collect(struct run *run)
{
    for (size_t i = 0; i < run->item_count && run->flying > 0; i++) {
        struct item *item = &run->items[i];
        if (!item->used || item->call.state != CALL_DONE)
            continue;
        item->used = false;
        run->flying--;
        sublet_status status = item->call.status;
        if (item->call.moved) {
            run->again[run->again_count++] = item->index;
            run->report.retried++;
            continue;
        }
        if (status == SUBLET_OK && item->call.result_bytes != run->out_bytes)
            status = SUBLET_ERR_TOO_LARGE;
        if (status == SUBLET_OK)
            run->report.remote++;
        else if (run->status == SUBLET_OK)
            run->status = error_set(status, "item %zu of %s on %s: %s", item->index, run->function->name,
                                    item->call.node, sublet_status_text(status));
    }
}

/** Runs one item here; false when there is none left. Without the lock. */
static bool run_one(struct run *run)
{
    size_t index, bytes = 0;
    if (run->status != SUBLET_OK || !take_index(run, true, &index))
        return false;
    sublet_status status = function_run(run->function, run->in + index * run->in_bytes, run->in_bytes,
                                        run->out + index * run->out_bytes, run->out_bytes, 0, &bytes);
    if (status == SUBLET_OK && bytes != run->out_bytes)
        status = SUBLET_ERR_TOO_LARGE;
    if (status == SUBLET_OK)
        run->report.local++;
    else
        run->status = error_set(status, "item %zu of %s on this node: %s", index, run->function->name,
                                sublet_status_text(status));
    return true;
}

/** After an error: what flies is ended, so that nothing writes to the caller's buffers any more. */
static void ground(struct run *run)
{
    for (size_t i = 0; i < run->item_count; i++)
        if (run->items[i].used && run->items[i].call.state != CALL_DONE) {
            calls_end_early(&run->items[i].call);
            (void)calls_wait(&run->items[i].call, 0);
        }
    collect(run);
}

static void go(struct run *run)
{
    struct sublet_session *session = run->session;
    struct sublet_call *oldest = NULL;
    uint64_t since_ns = now_ns();
    pthread_mutex_lock(&session->lock);
    for (;;) {
        calls_progress(session);
        size_t before = run->flying;
        collect(run);
        if (run->flying != before)
            since_ns = now_ns();
        fill(run);
        if (run->status != SUBLET_OK)
            break;
        pthread_mutex_unlock(&session->lock);
        bool worked = run_one(run);
        pthread_mutex_lock(&session->lock);
        if (worked)
            since_ns = now_ns();
        else if (run->flying == 0 && run->again_count == 0 && run->front == run->back)
            break;
        else if (run->flying > 0) {
            for (size_t i = 0; i < run->item_count; i++)
                if (run->items[i].used)
                    oldest = &run->items[i].call;
            calls_wait_round(session, &oldest, 1, since_ns, 0);
        }
    }
    ground(run);
    pthread_mutex_unlock(&session->lock);
}

sublet_status sublet_for_each(sublet_session *session, sublet_function_ref *function, const void *in, size_t in_bytes,
                              void *out, size_t out_bytes, size_t count, sublet_for_each_report *report_out)
{
    if (session == NULL || function == NULL || (in == NULL && in_bytes > 0 && count > 0) ||
        (out == NULL && out_bytes > 0 && count > 0))
        return error_set(SUBLET_ERR_INVALID, "session, function, in and out must not be NULL");
    if (function->library->session != session)
        return error_set(SUBLET_ERR_INVALID, "%s belongs to another session", function->name);
    if (in_bytes > UINT32_MAX || out_bytes > UINT32_MAX)
        return error_set(SUBLET_ERR_TOO_LARGE, "arguments and results have less than 4 GiB");
    struct run run = {.session = session,
                      .function = function,
                      .in = in,
                      .out = out,
                      .in_bytes = in_bytes,
                      .out_bytes = out_bytes,
                      .back = count};
    go(&run);
    free(run.items);
    free(run.again);
    if (run.status == SUBLET_OK && report_out != NULL)
        *report_out = run.report;
    return run.status;
}
