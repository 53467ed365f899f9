/** Function libraries: their bytes, for executors, and themselves, for calls that run here. */
#ifndef SUBLET_CLIENT_LIBRARY_H
#define SUBLET_CLIENT_LIBRARY_H

#include <pthread.h>
#include <stdbool.h>

#include "base/sha256.h"
#include "sublet/function.h"
#include "sublet/sublet.h"

struct sublet_function_ref {
    struct sublet_function_ref *next;
    struct sublet_library *library;
    uint32_t number;             /* within the session */
    sublet_plain_function plain; /* one of the two is set */
    sublet_function context;
    const struct sublet_lease *home; /* imported with this lease (then neither is set), and called there only */
    bool kept;                       /* imported with a lease that may be imported again */
    char name[128];
};

struct sublet_library {
    struct sublet_library *next;
    struct sublet_session *session;
    uint32_t number; /* within the session */
    void *handle;
    void *bytes;
    size_t size;
    char *path; /* where it was read, without links; NULL: longer than an executor can be told */
    pthread_mutex_t hash_lock;
    bool hashed;
    uint8_t hash[SHA256_BYTES]; /* of its bytes, once somebody has asked */
    struct sublet_function_ref *functions;
};

/** Runs a function in the calling thread, with the rules of a worker. No lock. */
sublet_status function_run(const struct sublet_function_ref *function, const void *in, size_t in_bytes, void *out,
                           size_t out_capacity, uint64_t timeout_ns, size_t *bytes_out);
/** The SHA-256 of its bytes, taken at the first call. No lock of the session. */
void library_hash(struct sublet_library *library, uint8_t out[SHA256_BYTES]);
/**
 * A function of an imported lease; its library has no bytes and no code here. Takes the place of one whose lease has
 * ended.
 */
sublet_status function_import(struct sublet_session *session, struct sublet_lease *lease, const char *name,
                              struct sublet_function_ref **function_out);
/** Lock held: functions that were imported with the lease cannot be called any more. */
void libraries_forget_lease(struct sublet_session *session, const struct sublet_lease *lease);
/** Frees all libraries of a session. */
void libraries_free(struct sublet_session *session);

#endif
