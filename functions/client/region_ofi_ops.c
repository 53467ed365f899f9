/** What is under way over a fabric: cutting, order, completion, and going over to the stream (region_ofi.h). */
#include "client/region_ofi.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "wire/ofi.h"

#define SMALL_PIECE    512u /* on average, of more than SMALL_COUNT: they go over the stream as one */
#define SMALL_COUNT    32u
#define LOOKS_PER_PEEK 64u

/** What the next operation would be. */
struct plan {
    uint64_t begin, end;
    unsigned char *here;
    size_t size;
    bool whole; /* the job as it is, over the stream */
};

static size_t pieces_of(const struct region_job *job)
{
    return job->stride.block > 0 ? job->size / job->stride.block : job->piece_count;
}

static bool goes_whole(const struct region_fabric *fabric, const struct region_job *job)
{
    size_t count = pieces_of(job);
    return job->asked == 0 &&
           (job->operation == STREAM_ADD || job->operation == STREAM_SWAP || fabric->state == REGION_FABRIC_GONE ||
            (count > SMALL_COUNT && job->size / count < SMALL_PIECE));
}

static void plan_whole(const struct region_job *job, struct plan *plan)
{
    const struct stream_stride *stride = &job->stride;
    *plan = (struct plan){.begin = UINT64_MAX, .size = job->size, .whole = true};
    for (size_t i = 0; i < job->piece_count; i++) {
        const sublet_region_piece *piece = &job->pieces[i];
        uint64_t end = piece->offset + piece->size;
        if (region_job_atomic(job))
            end = piece->offset + 8;
        else if (stride->block > 0)
            end = job->offset + (job->size / stride->block - 1) * stride->stride + stride->block;
        plan->begin = piece->offset < plan->begin ? piece->offset : plan->begin;
        plan->end = end > plan->end ? end : plan->end;
    }
}

static void plan_next(const struct region_fabric *fabric, const struct region_job *job, struct plan *plan)
{
    const sublet_region_piece *piece = &job->pieces[job->cut.piece];
    size_t at = job->cut.at, left = piece->size - at;
    if (goes_whole(fabric, job)) {
        plan_whole(job, plan);
        return;
    }
    plan->begin = piece->offset + at;
    if (job->stride.block > 0) {
        size_t block = job->stride.block, within = at % block;
        plan->begin = job->offset + at / block * job->stride.stride + within;
        left = block - within;
    }
    plan->whole = false;
    plan->here = (unsigned char *)piece->bytes + at;
    plan->size = left < REGION_LOAN_BYTES ? left : REGION_LOAN_BYTES;
    plan->end = plan->begin + plan->size;
}

/** Must it wait for something under way? */
static bool blocked(const struct region_fabric *fabric, const struct region_job *job, const struct plan *plan)
{
    bool puts = region_job_writes(job);
    if (job->fenced && job->asked == 0 && fabric->used > 0)
        return true;
    for (uint32_t i = 0; i < REGION_OPS; i++) {
        const struct region_op *op = &fabric->ops[i];
        if (op->job != NULL && (puts || op->puts) && plan->begin < op->end && op->begin < plan->end)
            return true;
    }
    return false;
}

static struct region_op *free_op(struct region_fabric *fabric)
{
    for (uint32_t i = 0; i < REGION_OPS; i++)
        if (fabric->ops[i].job == NULL)
            return &fabric->ops[i];
    return NULL;
}

/** Over the stream, for which it is a job of its own. */
static sublet_status relay(struct link *link, struct region_op *op, bool whole)
{
    struct region_job *job = &op->relay;
    *job = (struct region_job){.operation = op->puts ? STREAM_PUT : STREAM_GET, .size = op->size, .waited_for = true};
    if (whole) {
        job->operation = op->job->operation;
        job->atomic = op->job->atomic;
        job->offset = op->job->offset;
        job->stride = op->job->stride;
        job->pieces = op->job->pieces;
        job->piece_count = op->job->piece_count;
        job->one = op->job->one;
    } else {
        job->one = (sublet_region_piece){.offset = op->begin, .bytes = op->here, .size = op->size};
        job->pieces = &job->one;
        job->piece_count = 1;
    }
    op->relayed = true;
    return region_stream_transport.begin(link, job);
}

static unsigned char *stage_of(const struct region_fabric *fabric, const struct region_op *op)
{
    return fabric->stage.base + (size_t)(op - fabric->ops) * REGION_STAGE_BYTES;
}

/** Lends or copies the memory here; how much of it, as op->size. */
static const struct ofi_memory *prepare(struct region_fabric *fabric, struct region_op *op)
{
    size_t most = ofi_transfer_max(fabric->ofi);
    bool lend =
        !fabric->copies && (!ofi_needs_memory(fabric->ofi) || (!op->job->not_lent && op->size >= REGION_LOAN_LEAST));
    op->size = op->size < most ? op->size : most;
    if (lend && ofi_borrow(fabric->ofi, op->here, op->size, &op->loan) == SUBLET_OK)
        return &op->loan;
    if (lend)
        op->job->not_lent = true; /* too much is locked, or it may not be written */
    op->staged = true;
    op->size = op->size < REGION_STAGE_BYTES ? op->size : REGION_STAGE_BYTES;
    if (op->puts)
        memcpy(stage_of(fabric, op), op->here, op->size);
    return &fabric->stage;
}

static sublet_status transfer(struct region_fabric *fabric, struct region_op *op)
{
    const struct ofi_memory *memory = prepare(fabric, op);
    unsigned char *bytes = op->staged ? stage_of(fabric, op) : op->here;
    op->end = op->begin + op->size;
    atomic_store(&op->done, 0);
    sublet_status status = op->puts
                               ? ofi_put(fabric->ofi, memory, bytes, op->size, &fabric->target, op->begin, &op->done)
                               : ofi_get(fabric->ofi, memory, bytes, op->size, &fabric->target, op->begin, &op->done);
    if (status != SUBLET_OK)
        ofi_unregister(&op->loan);
    return status;
}

static void has_moved(struct region_fabric *fabric)
{
    fabric->moves++;
    fabric->moved_ns = now_ns();
}

/** Starts what may start; false when a transfer was refused for good. */
static bool post(struct link *link, struct region_access *access)
{
    struct region_fabric *fabric = access->fabric;
    while (access->asking != NULL && fabric->state != REGION_FABRIC_LEAVING) {
        struct region_job *job = access->asking;
        struct region_op *op = free_op(fabric);
        struct plan plan;
        if (op == NULL)
            return true;
        plan_next(fabric, job, &plan);
        if (blocked(fabric, job, &plan))
            return true;
        *op = (struct region_op){.job = job,
                                 .stamp = ++fabric->stamps,
                                 .puts = region_job_writes(job),
                                 .begin = plan.begin,
                                 .end = plan.end,
                                 .size = plan.size,
                                 .here = plan.here};
        bool relayed = plan.whole || fabric->state == REGION_FABRIC_GONE;
        sublet_status status = relayed ? relay(link, op, plan.whole) : transfer(fabric, op);
        if (status != SUBLET_OK && !relayed) {
            op->job = NULL;
            return status == SUBLET_ERR_BUSY;
        }
        if (status != SUBLET_OK) { /* not begun */
            op->relay.status = status;
            op->relay.done = true;
        }
        fabric->used++;
        job->asked += op->size;
        region_job_advance(job, &job->cut, op->size);
        if (job->asked == job->size)
            access->asking = job->next;
        has_moved(fabric);
    }
    return true;
}

static void finish(struct region_access *access, struct region_op *op, sublet_status status)
{
    struct region_fabric *fabric = access->fabric;
    struct region_job *job = op->job;
    ofi_unregister(&op->loan);
    if (op->staged && !op->puts && !op->relayed && status == SUBLET_OK)
        memcpy(op->here, stage_of(fabric, op), op->size);
    if (status != SUBLET_OK && job->status == SUBLET_OK)
        job->status = status;
    job->answered += op->size;
    op->job = NULL;
    fabric->used--;
    has_moved(fabric);
    if (job->answered == job->size)
        region_jobs_end(access, job);
}

static struct region_op *oldest_relayed(struct region_fabric *fabric)
{
    struct region_op *oldest = NULL;
    for (uint32_t i = 0; i < REGION_OPS; i++) {
        struct region_op *op = &fabric->ops[i];
        if (op->job != NULL && op->relayed && (oldest == NULL || op->stamp < oldest->stamp))
            oldest = op;
    }
    return oldest;
}

/** Takes what has ended; false when a transfer has failed. */
static bool collect(struct link *link, struct region_access *access)
{
    struct region_fabric *fabric = access->fabric;
    bool good = true;
    struct region_op *op;
    if (fabric->ofi != NULL) {
        ofi_progress(fabric->ofi);
        good = fabric->used == 0 || !ofi_peer_is_lost(fabric->ofi, fabric->target.peer);
    }
    for (uint32_t i = 0; i < REGION_OPS && fabric->used > 0; i++) {
        op = &fabric->ops[i];
        int done = op->job == NULL || op->relayed ? 0 : atomic_load_explicit(&op->done, memory_order_acquire);
        if (done == 1)
            finish(access, op, SUBLET_OK);
        good = good && done != 2;
    }
    /* Over the stream they end in order. */
    while ((op = oldest_relayed(fabric)) != NULL && region_stream_transport.test(link, &op->relay))
        finish(access, op, op->relay.status);
    return good;
}

/** Has the other side closed? It says nothing else. */
static bool peer_closed(const struct region_fabric *fabric)
{
    char byte;
    return recv(fabric->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

void region_ofi_shut(struct region_fabric *fabric)
{
    void *base = fabric->stage.base;
    size_t bytes = fabric->stage.bytes;
    if (fabric->ofi == NULL)
        return;
    for (uint32_t i = 0; i < REGION_OPS; i++)
        ofi_unregister(&fabric->ops[i].loan);
    ofi_unregister(&fabric->stage);
    ofi_close(fabric->ofi);
    fabric->ofi = NULL;
    if (base != NULL)
        munmap(base, bytes);
    fabric->stage.base = NULL;
}

/** All that was under way is done again over the stream; none of it touches what another does. */
static void go_over(struct link *link, struct region_fabric *fabric)
{
    fabric->state = REGION_FABRIC_GONE;
    close(fabric->fd);
    fabric->fd = -1;
    for (uint32_t i = 0; i < REGION_OPS; i++) {
        struct region_op *op = &fabric->ops[i];
        if (op->job == NULL || op->relayed)
            continue;
        op->stamp = ++fabric->stamps; /* behind those that were relayed before */
        (void)relay(link, op, false); /* puts and gets are always begun */
    }
}

static void leave(struct link *link, struct region_fabric *fabric)
{
    static const unsigned char word = OFI_REGION_BROKEN;
    region_ofi_shut(fabric);
    atomic_fetch_add(&link->falls, 1);
    fabric->leaving_ns = now_ns();
    fabric->state = REGION_FABRIC_LEAVING;
    (void)!send(fabric->fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* one that is broken shows itself below */
}

static bool silent(const struct link *link, uint64_t since_ns, uint32_t part)
{
    return now_ns() - since_ns > link->session->timeout_ns / part;
}

sublet_status region_ofi_pump(struct link *link, struct region_access *access)
{
    struct region_fabric *fabric = access->fabric;
    uint64_t ignored;
    if (fabric->epoll_fd < 0)
        return SUBLET_ERR_LOST; /* closed */
    bool slept = fabric->busy || fabric->state == REGION_FABRIC_LEAVING;
    if (fabric->busy)
        (void)!read(fabric->busy_fd, &ignored, sizeof(ignored));
    fabric->busy = false;
    bool good = collect(link, access);
    bool closed =
        fabric->state != REGION_FABRIC_GONE && (slept || ++fabric->looks % LOOKS_PER_PEEK == 0) && peer_closed(fabric);
    bool waits = fabric->used > 0 || access->asking != NULL;
    if (fabric->state == REGION_FABRIC_OPEN &&
        (!good || closed || (waits && silent(link, fabric->moved_ns, 2)) || !post(link, access)))
        leave(link, fabric);
    if (fabric->state == REGION_FABRIC_LEAVING && (closed || peer_closed(fabric)))
        go_over(link, fabric);
    if (fabric->state == REGION_FABRIC_LEAVING && silent(link, fabric->leaving_ns, 4))
        return SUBLET_ERR_TIMEOUT;
    if (fabric->state == REGION_FABRIC_GONE)
        (void)post(link, access);
    return SUBLET_OK;
}
