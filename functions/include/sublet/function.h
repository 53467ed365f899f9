/**
 * What a function looks like. A library holds any number of them, found by name; two forms:
 *
 *   uint32_t f(void *in, uint32_t size, void *out);     the rFaaS form: returns the bytes written to out
 *   SUBLET_FUNCTION(f) { ... }                          the context form: knows its limits, may report an error
 */
#ifndef SUBLET_FUNCTION_H
#define SUBLET_FUNCTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the context form is told. Grows at its end only; `struct_bytes` says how much of it there is. */
typedef struct sublet_context {
    uint32_t struct_bytes;
    uint32_t worker;       /**< number of this worker within its lease */
    uint32_t in_bytes;     /**< size of the arguments; UINT32_MAX when that is not enough: see in_size */
    uint32_t out_bytes;    /**< room for the result; UINT32_MAX when that is not enough: see out_room */
    uint64_t timeout_ns;   /**< what the caller allowed for this call; 0 = no limit */
    uint32_t result_bytes; /**< set by the function; starts at 0 */
    uint32_t reserved;
    uint64_t in_size;     /**< size of the arguments, of 4 GiB and more, too */
    uint64_t out_room;    /**< room for the result */
    uint64_t result_size; /**< set by the function instead of result_bytes, for 4 GiB and more; starts at 0 */
} sublet_context;

/** 0 is success, any other value reaches the caller as SUBLET_ERR_FUNCTION. */
typedef int (*sublet_function)(sublet_context *context, const void *in, void *out);
typedef uint32_t (*sublet_plain_function)(void *in, uint32_t size, void *out);

#if defined(__cplusplus) && defined(__cpp_exceptions)
/* What the body throws is an error of the function, also where it runs in the caller's own process. */
#define SUBLET_FUNCTION(name)                                                                                          \
    extern "C" __attribute__((visibility("default"))) const int sublet_form_##name;                                    \
    const int sublet_form_##name = 1;                                                                                  \
    static int sublet_body_##name(sublet_context *context, const void *in, void *out);                                 \
    extern "C" __attribute__((visibility("default"))) int name(sublet_context *context, const void *in, void *out)     \
    {                                                                                                                  \
        try {                                                                                                          \
            return sublet_body_##name(context, in, out);                                                               \
        } catch (...) {                                                                                                \
            return -1;                                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static int sublet_body_##name(sublet_context *context, const void *in, void *out)
#else
#define SUBLET_FUNCTION(name)                                                                                          \
    __attribute__((visibility("default"))) extern const int sublet_form_##name;                                        \
    const int sublet_form_##name = 1;                                                                                  \
    __attribute__((visibility("default"))) int name(sublet_context *context, const void *in, void *out)
#endif

/**
 * Stands once in a library that keeps threads of its own between calls (a pool). Without it, a function that returns
 * while a thread that it has started still runs is answered with SUBLET_ERR_LEFT_THREADS. Pools of OpenMP, TBB and BLAS
 * libraries are known.
 */
#ifdef __cplusplus
#define SUBLET_C extern "C"
#else
#define SUBLET_C extern
#endif
#define SUBLET_KEEPS_THREADS                                                                                           \
    __attribute__((visibility("default"))) SUBLET_C const int sublet_keeps_threads;                                    \
    const int sublet_keeps_threads = 1;

#ifdef __cplusplus
}
#endif
#endif
