/**
 * libsublet: leases on the spare cores and memory of a Slurm cluster, invocations on them, regions in them.
 *
 * Safe beside MPI: calls no MPI, installs no signal handler, never exits, prints nothing. Every function may be
 * called from any thread. Sizes are bytes, times milliseconds; a timeout of 0 means the default said in the options.
 * Outputs are set only when SUBLET_OK is returned. Options structs are made with their INIT macro and grow at their end
 * only. Without any lender (no agent on this node, nothing spare) everything works and runs here, with the same result.
 *
 *   sublet_session *session;
 *   sublet_library *library;
 *   sublet_function_ref *price;
 *   sublet_open(NULL, &session);
 *   sublet_library_open(session, "libprice.so", &library);
 *   sublet_function_find(library, "price", &price);
 *   sublet_for_each(session, price, in, in_bytes, out, out_bytes, count, NULL);   // here and on what can be leased
 *   sublet_close(session);
 */
#ifndef SUBLET_SUBLET_H
#define SUBLET_SUBLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SUBLET_API     __attribute__((visibility("default")))
#define SUBLET_VERSION "0.1.0"

typedef struct sublet_session sublet_session;
typedef struct sublet_lease sublet_lease;
typedef struct sublet_library sublet_library;
typedef struct sublet_function_ref sublet_function_ref;
typedef struct sublet_call sublet_call;
typedef struct sublet_region sublet_region;

/* ------------------------------------------------------------------ session */

typedef struct sublet_options {
    uint32_t struct_bytes;
    uint32_t flags;           /**< reserved, 0 */
    const char *agent_socket; /**< NULL: $SUBLET_AGENT_SOCKET, else /run/sublet/agent.sock */
    uint64_t timeout_ms;      /**< for agent and executor to answer; 0 = 10,000 */
    uint64_t spin_us;         /**< how long a waiting thread polls before it sleeps; 0 = 50 */
    /** Where evacuated regions go when nobody lends memory; NULL: $SUBLET_SPILL_DIR, else nowhere. Files have no names.
     */
    const char *spill_folder;
    uint64_t spill_bytes; /**< all spilled regions of the session together; 0 = as the file system allows */
    /** The way to other nodes: a provider of libfabric ("verbs;msg", "cxi", ...), which is used where
     * it works and else TCP, or "none": TCP. NULL: $SUBLET_FABRIC_PROVIDER, else the first that works if there is an
     * adapter. */
    const char *fabric;
} sublet_options;
#define SUBLET_OPTIONS_INIT                                                                                            \
    {                                                                                                                  \
        sizeof(sublet_options), 0, NULL, 0, 0, NULL, 0, NULL                                                           \
    }

/** Opens a session. Succeeds without an agent, too: then nothing can be leased and all runs here. options may be NULL.
 */
SUBLET_API sublet_status sublet_open(const sublet_options *options, sublet_session **session_out);
/** Releases all leases, ends all calls, frees everything the session made. NULL is allowed. */
SUBLET_API void sublet_close(sublet_session *session);
/** Text about the last error of this thread, never NULL; says what to do where something can be done. */
SUBLET_API const char *sublet_last_error(void);

/* ------------------------------------------------------------------ leases */

typedef struct sublet_lease_options {
    uint32_t struct_bytes;
    uint32_t cores;            /**< workers wanted; 0 = 1 */
    uint32_t min_cores;        /**< take fewer, down to this; 0 = exactly `cores` */
    uint32_t slots;            /**< calls in flight per worker; 0 = 4, up to 64 */
    uint64_t memory_bytes;     /**< for the functions' own use; 0 = 64 MiB per worker */
    uint64_t in_bytes;         /**< usual arguments; 0 = 1 MiB. Larger ones flow in pieces */
    uint64_t out_bytes;        /**< usual result; 0 = 1 MiB */
    uint64_t term_ms;          /**< 0 = the site's default; renewed by itself until released */
    const char *node;          /**< only there; NULL = anywhere */
    const char *exclude_nodes; /**< not there, comma-separated; NULL = none */
} sublet_lease_options;
#define SUBLET_LEASE_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(sublet_lease_options), 0, 0, 0, 0, 0, 0, 0, NULL, NULL                                                  \
    }

typedef enum sublet_lease_state {
    SUBLET_LEASE_ACTIVE = 0,
    SUBLET_LEASE_RELEASED = 1,
    SUBLET_LEASE_EXPIRED = 2,
    SUBLET_LEASE_REVOKED = 3, /**< a batch job needed it, or its executor or node is gone */
    /** Works still, but is wanted back: finish or move what is there within remaining_ms and release it; then it is
     *  REVOKED. Calls that name no lease do not start on it. */
    SUBLET_LEASE_DRAINING = 4,
} sublet_lease_state;

typedef struct sublet_lease_info {
    uint32_t struct_bytes; /**< set by the caller */
    sublet_lease_state state;
    uint32_t workers;
    uint32_t same_node; /**< 1: reached by shared memory */
    char id[64];
    char node[64];
    char reason[64];     /**< why it ended or is wanted back, as text; empty while it is active */
    uint64_t request_ns; /**< from the request to the executor's welcome */
    uint64_t calls;      /**< answered by it, to this process */
    char path[32];       /**< how it is reached: memory, tcp, or the provider of a fabric */
    uint64_t huge_bytes; /**< regions of this node: how much of it is in huge pages now; 0 also when not known */
    uint32_t
        reason_known; /**< 0: REVOKED, but only its executor's end was seen; `reason` may become exact in a moment */
    uint32_t copies;  /**< regions that are not ephemeral: whole copies now; else 0 */
    uint64_t remaining_ms;  /**< DRAINING: what is left of its budget; else 0 */
    uint64_t moves;         /**< of such a region: how often a copy was filled elsewhere */
    uint64_t spilled_bytes; /**< of such a region: what of it is in a file now */
    uint64_t fabric_falls;  /**< how often a fabric was wanted or used and TCP had to do instead */
} sublet_lease_info;

/** Asks for a lease and connects to its executor. BUSY when nobody lends that much now. options may be NULL. */
SUBLET_API sublet_status sublet_lease_acquire(sublet_session *session, const sublet_lease_options *options,
                                              sublet_lease **lease_out);
/** Gives it back. The handle is not valid afterwards; calls on it run again elsewhere or here. NULL is allowed. */
SUBLET_API void sublet_lease_release(sublet_lease *lease);
SUBLET_API sublet_status sublet_lease_info_get(const sublet_lease *lease, sublet_lease_info *info);

/* ------------------------------------------------------------------ functions */

/** Reads a function library (see sublet/function.h) and loads it here as well, for calls that run locally. */
SUBLET_API sublet_status sublet_library_open(sublet_session *session, const char *path, sublet_library **library_out);
/** Finds a function by its name. Lives as long as the session. NOT_FOUND when the library has none. */
SUBLET_API sublet_status sublet_function_find(sublet_library *library, const char *name,
                                              sublet_function_ref **function_out);

/* ------------------------------------------------------------------ invocations */

#define SUBLET_CALL_ONCE          1u /**< not idempotent: REVOKED or LOST instead of running it again */
#define SUBLET_CALL_NO_LOCAL      2u /**< never run it here: BUSY instead */

#define SUBLET_TRACE_MEMORY       1u  /**< by the ring that both share */
#define SUBLET_TRACE_CONNECTION   2u  /**< by TCP, or a socket of this node where arguments or result exceed the ring */
#define SUBLET_TRACE_HERE         4u  /**< it ran in the calling thread: all is send, run and receive */
#define SUBLET_TRACE_WORKER_TOLD  8u  /**< 0: the worker's part is not known, and counts as wire */
#define SUBLET_TRACE_WORKER_SLEPT 16u /**< before the call; over a connection its wake-up is part of the wire */
#define SUBLET_TRACE_WORKER_BUSY  32u /**< it came from another call; over a connection waiting for that may be wire */
#define SUBLET_TRACE_CALLER_SLEPT 64u /**< while it waited; over a connection its wake-up is part of the wire */

/**
 * Where the time of one call went, in the order in which it went there. The parts add up to total_ns. Over a connection
 * the two clocks are not compared: what neither side has spent is the wire, half of it each way. What the worker told
 * is the word of a guest.
 */
typedef struct sublet_trace {
    uint32_t struct_bytes; /**< set by the caller */
    uint32_t flags;
    uint64_t total_ns;
    uint64_t send_ns;  /**< here, until the request has left; the first call of a function on a lease brings it there */
    uint64_t wire_ns;  /**< until the worker sees it */
    uint64_t wake_ns;  /**< a sleeping worker wakes up */
    uint64_t queue_ns; /**< behind other calls of this worker */
    uint64_t prepare_ns; /**< the worker, from its turn to the function */
    uint64_t run_ns;     /**< the function */
    uint64_t answer_ns;  /**< the worker, until the answer leaves */
    uint64_t back_ns;    /**< the wire, until the caller sees it */
    uint64_t caller_ns;  /**< a sleeping caller wakes up */
    uint64_t receive_ns; /**< here, until sublet_invoke returns: copies the result */
} sublet_trace;

typedef struct sublet_call_options {
    uint32_t struct_bytes;
    uint32_t flags;
    sublet_lease *lease; /**< on this one only (then never locally); NULL = any lease of the session, else here */
    int32_t worker;      /**< on this worker of the lease; -1 = any */
    uint32_t reserved;
    uint64_t timeout_ms; /**< the call's own deadline; then TIMEOUT, and the worker is freed; 0 = none */
    sublet_trace *trace; /**< sublet_invoke only: filled when it returns OK or FUNCTION; NULL = not wanted */
} sublet_call_options;
#define SUBLET_CALL_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(sublet_call_options), 0, NULL, -1, 0, 0, NULL                                                           \
    }

/** Largest arguments and largest result of a call. */
#define SUBLET_PAYLOAD_MAX (UINT64_C(8) << 30)

/**
 * Calls a function and waits. *out_bytes_out is the size of the result; with TOO_LARGE it is what the result needs, 0
 * if the function did not say. options may be NULL.
 *
 * Arguments and results of any size up to SUBLET_PAYLOAD_MAX: what is larger than in_bytes and out_bytes of the lease
 * flows in pieces, and takes memory of the lease (memory_bytes) for as long as the call runs: all arguments together up
 * to half of it, all results up to the other half, else TOO_LARGE or, while other calls hold it, NO_MEMORY. Functions
 * in the plain form are called with arguments below 4 GiB only.
 */
SUBLET_API sublet_status sublet_invoke(sublet_session *session, sublet_function_ref *function, const void *in,
                                       size_t in_bytes, void *out, size_t out_capacity, size_t *out_bytes_out,
                                       const sublet_call_options *options);
/**
 * The same for a result whose size is not known before: *out_out is memory of the library's, which sublet_free gives
 * back. most_bytes bounds it (0 = SUBLET_PAYLOAD_MAX, or as much as the lease has left).
 */
SUBLET_API sublet_status sublet_invoke_alloc(sublet_session *session, sublet_function_ref *function, const void *in,
                                             size_t in_bytes, size_t most_bytes, void **out_out, size_t *out_bytes_out,
                                             const sublet_call_options *options);
/** Frees a result of sublet_invoke_alloc. NULL is allowed. */
SUBLET_API void sublet_free(void *result);
/** Starts a call. `in` and `out` stay the caller's and must stay valid until the call is freed. */
SUBLET_API sublet_status sublet_submit(sublet_session *session, sublet_function_ref *function, const void *in,
                                       size_t in_bytes, void *out, size_t out_capacity,
                                       const sublet_call_options *options, sublet_call **call_out);
/** OK: finished (see sublet_call_result). BUSY: still running. */
SUBLET_API sublet_status sublet_test(sublet_call *call);
/** OK: finished. TIMEOUT: still running. timeout_ms 0 = for as long as it takes. */
SUBLET_API sublet_status sublet_wait(sublet_call *call, uint64_t timeout_ms);
/** Waits for one of several; NULL entries are skipped. */
SUBLET_API sublet_status sublet_wait_any(sublet_call *const *calls, size_t count, uint64_t timeout_ms,
                                         size_t *index_out);
SUBLET_API sublet_status sublet_wait_all(sublet_call *const *calls, size_t count, uint64_t timeout_ms);
/** The call's own status and result size; BUSY while it runs. *node_out (may be NULL) is where it ran, "" = here. */
SUBLET_API sublet_status sublet_call_result(sublet_call *call, size_t *out_bytes_out, const char **node_out);
/** Ends a call: its result becomes TIMEOUT unless it was faster. */
SUBLET_API void sublet_cancel(sublet_call *call);
/** Frees a call; cancels it first if it runs. NULL is allowed. */
SUBLET_API void sublet_call_free(sublet_call *call);

/* ------------------------------------------------------------------ leases that are handed on */

#define SUBLET_EXPORT_BYTES 384u

/**
 * A lease and one function of it as bytes, to be passed as an argument: a function that gets them can call that
 * function. They hold the lease's token, so whoever reads them may use the lease: treat them as a secret. Nothing is
 * taken back but by releasing the lease. TOO_LARGE below SUBLET_EXPORT_BYTES. Loads the function there if it is not.
 */
SUBLET_API sublet_status sublet_lease_export(sublet_lease *lease, sublet_function_ref *function, void *out,
                                             size_t out_capacity, size_t *out_bytes_out);
/**
 * What somebody else has exported, as a lease of this session, reached over TCP. A function library brings libsublet
 * along (libsublet.a and libprotobuf-c); a session without an agent is enough, and no thread is started:
 *
 *   static sublet_session *session;
 *   if (session == NULL)
 *       sublet_open(NULL, &session);
 *   sublet_lease_import(session, bytes, size, &lease, &function);
 *   sublet_invoke(session, function, in, in_bytes, out, out_capacity, &out_bytes, NULL);
 *   sublet_lease_release(lease);
 *
 * A worker serves many calls: with a session of its own for all of them, the same bytes find the connections that were
 * made for them before (of the last 8 that were released). What is imported twice is released twice.
 *
 * The function goes with its last release. It is called on this lease only, and only while its owner keeps it: then
 * REVOKED or LOST. Calls without a timeout get the session's timeout_ms, so that workers that wait for each other end
 * with TIMEOUT.
 */
SUBLET_API sublet_status sublet_lease_import(sublet_session *session, const void *bytes, size_t size,
                                             sublet_lease **lease_out, sublet_function_ref **function_out);

/* ------------------------------------------------------------------ buffers */

/**
 * Memory for the arguments and the result of one function, and calls of it from there. On the same node both lie in the
 * worker's ring: a call copies nothing, and while it is hot it makes no system call, takes no lock and allocates
 * nothing. Across nodes, and without a lender, the memory is ordinary and calls go the ordinary way, with the same
 * result. A buffer has one call in flight at a time, and one thread that uses it at a time; different buffers may be
 * used by different threads at once.
 *
 *   sublet_buffer *buffer;
 *   sublet_buffer_acquire(session, price, NULL, &buffer);
 *   memcpy(buffer->in, ...);
 *   sublet_buffer_invoke(buffer, in_bytes, &out_bytes);   // the result is in buffer->out
 *   sublet_buffer_release(buffer);
 *
 * `in` and `out` stay where they are until the buffer is released, also when its lease is taken back: then its calls
 * run elsewhere or here. A function that writes over its arguments cannot be run again from them: call it with
 * SUBLET_CALL_ONCE.
 */
typedef struct sublet_buffer {
    void *in;          /**< arguments; 64-byte aligned (32 if smaller than that); undefined while a call is in flight */
    void *out;         /**< the result; stays until the next call */
    size_t in_bytes;   /**< room in `in` */
    size_t out_bytes;  /**< room in `out` */
    uint32_t in_place; /**< 1 when acquired in a worker's ring */
    uint32_t reserved;
} sublet_buffer;

typedef struct sublet_buffer_options {
    uint32_t struct_bytes;
    uint32_t flags;      /**< SUBLET_CALL_ONCE, SUBLET_CALL_NO_LOCAL */
    sublet_lease *lease; /**< on this one only (then never locally); NULL = any lease of the session, else here */
    int32_t worker;      /**< on this worker of the lease; -1 = any: buffers spread over the workers */
    uint32_t reserved;
    uint64_t timeout_ms; /**< each call's own deadline, kept by whoever tests or waits; 0 = none */
    uint64_t in_bytes;   /**< room for arguments; 0 = what the lease allows, else 1 MiB; up to 32 travel fastest */
    uint64_t out_bytes;  /**< room for the result; the same */
} sublet_buffer_options;
#define SUBLET_BUFFER_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(sublet_buffer_options), 0, NULL, -1, 0, 0, 0, 0                                                         \
    }

/**
 * Acquires a buffer. One slot of each worker stays free for other calls: with `slots` of a lease, slots - 1 buffers per
 * worker are in place, further ones are ordinary memory. options may be NULL.
 */
SUBLET_API sublet_status sublet_buffer_acquire(sublet_session *session, sublet_function_ref *function,
                                               const sublet_buffer_options *options, sublet_buffer **buffer_out);
/** Frees it; a call in flight is cancelled first. NULL is allowed. The session frees those that are left. */
SUBLET_API void sublet_buffer_release(sublet_buffer *buffer);
/** Calls the function with the first in_bytes of `in` and waits. *out_bytes_out (may be NULL) is the result's size. */
SUBLET_API sublet_status sublet_buffer_invoke(sublet_buffer *buffer, size_t in_bytes, size_t *out_bytes_out);
/** Starts a call. INVALID while one is in flight. */
SUBLET_API sublet_status sublet_buffer_submit(sublet_buffer *buffer, size_t in_bytes);
/** Starts one call of each; buffers of one worker start together. On an error those before *started_out have begun. */
SUBLET_API sublet_status sublet_buffer_submit_many(sublet_buffer *const *buffers, const size_t *in_bytes, size_t count,
                                                   size_t *started_out);
/** BUSY: still running. Else the call's own status, and the buffer can be used again. */
SUBLET_API sublet_status sublet_buffer_test(sublet_buffer *buffer, size_t *out_bytes_out);
/** The same, and waits: BUSY when it still runs after timeout_ms. 0 = for as long as it takes. */
SUBLET_API sublet_status sublet_buffer_wait(sublet_buffer *buffer, uint64_t timeout_ms, size_t *out_bytes_out);
/** Waits until one has finished, and takes turns among them; its result is then taken by sublet_buffer_test. NULL
 *  entries and those without a call are skipped. BUSY after timeout_ms. */
SUBLET_API sublet_status sublet_buffer_wait_any(sublet_buffer *const *buffers, size_t count, uint64_t timeout_ms,
                                                size_t *index_out);
/** Waits until all have finished; results are taken by sublet_buffer_test. BUSY after timeout_ms. */
SUBLET_API sublet_status sublet_buffer_wait_all(sublet_buffer *const *buffers, size_t count, uint64_t timeout_ms);

/* ------------------------------------------------------------------ many items */

typedef struct sublet_for_each_report {
    uint64_t remote;  /**< items answered by leases */
    uint64_t local;   /**< items done here */
    uint64_t retried; /**< items run again since their lease was gone */
} sublet_for_each_report;

/**
 * Runs the function once per item, on all leases of the session and on the calling thread, until all are done.
 * Item i reads in + i * in_bytes and writes out + i * out_bytes; every result must be out_bytes long (else TOO_LARGE).
 * The first error of a function ends it. report_out may be NULL.
 */
SUBLET_API sublet_status sublet_for_each(sublet_session *session, sublet_function_ref *function, const void *in,
                                         size_t in_bytes, void *out, size_t out_bytes, size_t count,
                                         sublet_for_each_report *report_out);

/* ------------------------------------------------------------------ regions */

/** What becomes of a region when its memory is wanted back or its node dies. */
typedef enum sublet_durability {
    /** Its content is gone, and the next access says so. */
    SUBLET_EPHEMERAL = 1,
    /** When a job wants the memory, the content moves to other spare memory, or to the session's spill folder, while
     *  accesses go on. It does not survive the death of its node. */
    SUBLET_EVACUATED = 2,
    /** Two nodes hold it. A put returns when both have it; the loss of one is not noticed, and another one is filled.
     */
    SUBLET_MIRRORED = 3,
} sublet_durability;

typedef struct sublet_region_options {
    uint32_t struct_bytes;
    uint32_t durability; /**< a sublet_durability; 0 = SUBLET_EPHEMERAL */
    uint64_t term_ms;
    const char *node;
    const char *exclude_nodes;
} sublet_region_options;
#define SUBLET_REGION_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(sublet_region_options), 0, 0, NULL, NULL                                                                \
    }

/**
 * Leases memory. BUSY when nobody lends that much (mirrored: on two nodes). Its content starts as zeros.
 *
 * What is not ephemeral follows its content: the handle stays valid, several threads, asynchronous accesses, fence and
 * flush work as on any region, sublet_map pages it. It belongs to the process that made it: a child of fork gets
 * DENIED. It needs a thread, asleep while all is well. An asynchronous get may see puts that were begun after it.
 */
SUBLET_API sublet_status sublet_region_alloc(sublet_session *session, uint64_t bytes,
                                             const sublet_region_options *options, sublet_region **region_out);
/** Waits until done. REVOKED or LOST when the region is gone: its content is gone, too. INVALID outside of it. */
SUBLET_API sublet_status sublet_region_put(sublet_region *region, uint64_t offset, const void *from, size_t bytes);
SUBLET_API sublet_status sublet_region_get(sublet_region *region, uint64_t offset, void *to, size_t bytes);
/** Asynchronous forms: the buffer stays the caller's until sublet_region_flush has returned. */
SUBLET_API sublet_status sublet_region_put_async(sublet_region *region, uint64_t offset, const void *from,
                                                 size_t bytes);
SUBLET_API sublet_status sublet_region_get_async(sublet_region *region, uint64_t offset, void *to, size_t bytes);
/** A piece of a gathered or scattered access: `size` bytes at `offset` of the region, `bytes` in this process. */
typedef struct sublet_region_piece {
    uint64_t offset;
    void *bytes; /**< a put reads, a get writes it */
    size_t size;
} sublet_region_piece;

/** Any number of pieces, in one round trip however many there are. Pieces of a put that overlap land in order. */
SUBLET_API sublet_status sublet_region_put_list(sublet_region *region, const sublet_region_piece *pieces, size_t count);
SUBLET_API sublet_status sublet_region_get_list(sublet_region *region, const sublet_region_piece *pieces, size_t count);
/** The list itself is copied; its buffers stay the caller's until flush. */
SUBLET_API sublet_status sublet_region_put_list_async(sublet_region *region, const sublet_region_piece *pieces,
                                                      size_t count);
SUBLET_API sublet_status sublet_region_get_list_async(sublet_region *region, const sublet_region_piece *pieces,
                                                      size_t count);
/**
 * `count` blocks of `block` bytes (up to 64 MiB each), the i-th at offset + i * stride of the region, all behind each
 * other in this process: a column of a matrix in one round trip. stride >= block.
 */
SUBLET_API sublet_status sublet_region_put_strided(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                                   uint64_t stride, const void *from);
SUBLET_API sublet_status sublet_region_get_strided(sublet_region *region, uint64_t offset, size_t count, size_t block,
                                                   uint64_t stride, void *to);
SUBLET_API sublet_status sublet_region_put_strided_async(sublet_region *region, uint64_t offset, size_t count,
                                                         size_t block, uint64_t stride, const void *from);
SUBLET_API sublet_status sublet_region_get_strided_async(sublet_region *region, uint64_t offset, size_t count,
                                                         size_t block, uint64_t stride, void *to);
/**
 * Atomic on 64 bits (little endian) at an offset that is a multiple of 8, against all clients of the region. What was
 * there before goes to *before_out; compare_swap stored `desired` if that is `expected`. When the region is lost
 * under way nobody can tell whether it was done.
 */
SUBLET_API sublet_status sublet_region_fetch_add(sublet_region *region, uint64_t offset, uint64_t value,
                                                 uint64_t *before_out);
SUBLET_API sublet_status sublet_region_compare_swap(sublet_region *region, uint64_t offset, uint64_t expected,
                                                    uint64_t desired, uint64_t *before_out);
/** *before_out is set when flush has returned. */
SUBLET_API sublet_status sublet_region_fetch_add_async(sublet_region *region, uint64_t offset, uint64_t value,
                                                       uint64_t *before_out);
SUBLET_API sublet_status sublet_region_compare_swap_async(sublet_region *region, uint64_t offset, uint64_t expected,
                                                          uint64_t desired, uint64_t *before_out);
/** Whoever sees a put of this thread made after the fence sees those made before it. Waits for nothing. */
SUBLET_API sublet_status sublet_region_fence(sublet_region *region);
/** Waits for all asynchronous accesses of this region begun so far; the first error of any of them. */
SUBLET_API sublet_status sublet_region_flush(sublet_region *region);
SUBLET_API sublet_status sublet_region_info_get(const sublet_region *region, sublet_lease_info *info);
/** Gives the memory back. NULL is allowed. */
SUBLET_API void sublet_region_free(sublet_region *region);

/* ------------------------------------------------------------------ mappings */

typedef struct sublet_mapping sublet_mapping;

#define SUBLET_MAP_READ_ONLY 1u /**< writing is SIGSEGV; needs no write protection of the kernel (Linux before 5.7) */
#define SUBLET_MAP_PAGED     2u /**< page it although the memory is on this node */

typedef struct sublet_map_options {
    uint32_t struct_bytes;
    uint32_t flags;
    uint64_t cache_bytes;      /**< of this process, for everything the mapping keeps; 0 = 64 MiB, at least 2 MiB */
    uint64_t read_ahead_bytes; /**< in front of a reader that goes forward; 0 = 1 MiB, which is also the most */
} sublet_map_options;
#define SUBLET_MAP_OPTIONS_INIT                                                                                        \
    {                                                                                                                  \
        sizeof(sublet_map_options), 0, 0, 0                                                                            \
    }

typedef struct sublet_map_info {
    uint32_t struct_bytes;  /**< set by the caller */
    uint32_t direct;        /**< 1: the memory itself, no cache */
    uint32_t kernel_faults; /**< 0: see sublet_map about system calls */
    uint32_t reserved;
    uint64_t cache_bytes; /**< resident at most */
    uint64_t resident_bytes;
    uint64_t dirty_bytes;
    uint64_t faults;
    uint64_t second_chances; /**< of them, answered from copies of pages that had just left */
    uint64_t fetched_bytes;
    uint64_t written_bytes;
    uint64_t lost_bytes; /**< written here, never saved: the region was gone */
} sublet_map_info;

/**
 * A part of a region as ordinary pointers. On the region's own node it is the memory itself. Across nodes pages come
 * when they are touched (userfaultfd) and leave when cache_bytes are full; what was written goes back before it leaves,
 * at sublet_map_flush and at sublet_unmap. `offset` is a multiple of 4096. options may be NULL.
 *
 * - While it is mapped nobody else should write the same part: whole pages go back, and neighbours with them.
 * - When the region is gone, every access to the mapping is SIGBUS (never a wait without end, never wrong data);
 *   sublet_map_status says so without touching it. What was not flushed is lost and counted in lost_bytes.
 * - Without the right to handle the kernel's own faults (vm.unprivileged_userfaultfd 0, no CAP_SYS_PTRACE) a system
 *   call that is handed pages which are not resident fails with EFAULT: touch them first. info.kernel_faults says it.
 * - A child of fork does not inherit it. madvise, mprotect and mremap on it are not allowed.
 * Installs no signal handler. One thread per mapping, asleep when nothing is touched.
 */
SUBLET_API sublet_status sublet_map(sublet_region *region, uint64_t offset, uint64_t bytes,
                                    const sublet_map_options *options, void **pointer_out, sublet_mapping **map_out);
/** Waits until everything written so far is in the region. Touching pages that are not resident waits meanwhile. */
SUBLET_API sublet_status sublet_map_flush(sublet_mapping *map);
/** OK, or why the region is gone: REVOKED or LOST. */
SUBLET_API sublet_status sublet_map_status(const sublet_mapping *map);
SUBLET_API sublet_status sublet_map_info_get(const sublet_mapping *map, sublet_map_info *info);
/**
 * Flushes and unmaps; the mapping is gone whatever it returns. Unmap before sublet_region_free and sublet_close: they
 * leave the pointers SIGBUS, and what was not flushed is lost. NULL is allowed.
 */
SUBLET_API sublet_status sublet_unmap(sublet_mapping *map);

#ifdef __cplusplus
}
#endif
#endif
