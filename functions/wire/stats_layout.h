/**
 * Layout of the page of statistics of one lease: a sealed memfd that the starter makes, the executor's processes write
 * and the agent reads (pread, while it is written). Little endian; all counters u64, rising, each with one writer: the
 * worker while it lives, its supervisor while it is dead. A guest can write anything here: the reader believes nothing
 * but that the numbers are the guest's own.
 *
 *   0      header
 *            0  u32 magic "SLBY"   4  u16 version   6  u16 workers   8  u32 worker_bytes   12  u32 reserved
 *   4096   worker 0; worker i at 4096 + i * 1024
 *            0    outcomes[32]       calls answered, by status number (sublet/status.h); 0 = with a result
 *          256    in_bytes           of their arguments
 *          264    out_bytes          of their results
 *          272    run_ns             spent in functions
 *          280    answer_ns          from the look that found a call to its answer: with what it waited for others
 *          288    polled_ns          spent looking for calls in vain
 *          296    sleeps             times that it went to sleep
 *          304    restarts           workers that followed a dead one
 *          312    reserved
 *          320    run[44]            calls by run time: run[i] took 2^i to 2^(i+1) - 1 ns; run[0] also 0
 *          672    answer[44]         the same from look to answer
 *
 * Outcomes and bytes count every call. Times are measured at every call that takes long (STATS_LONG_NS), follows a
 * pause, or is of another function than the one before, else at every STATS_SAMPLE-th, which then counts as so many.
 */
#ifndef SUBLET_WIRE_STATS_LAYOUT_H
#define SUBLET_WIRE_STATS_LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

#define STATS_MAGIC        0x59424c53u
#define STATS_VERSION      1u
#define STATS_WORKERS_MAX  64u
#define STATS_HEADER_BYTES 4096u
#define STATS_WORKER_BYTES 1024u
#define STATS_TOTAL_BYTES  (STATS_HEADER_BYTES + STATS_WORKERS_MAX * STATS_WORKER_BYTES)
#define STATS_OUTCOMES     32u
#define STATS_BUCKETS      44u
#define STATS_SAMPLE       128u
#define STATS_LONG_NS      2000u

struct stats_header {
    uint32_t magic;
    uint16_t version;
    uint16_t workers;
    uint32_t worker_bytes;
    uint32_t reserved;
};

struct stats_worker {
    _Atomic uint64_t outcomes[STATS_OUTCOMES];
    _Atomic uint64_t in_bytes;
    _Atomic uint64_t out_bytes;
    _Atomic uint64_t run_ns;
    _Atomic uint64_t answer_ns;
    _Atomic uint64_t polled_ns;
    _Atomic uint64_t sleeps;
    _Atomic uint64_t restarts;
    _Atomic uint64_t reserved;
    _Atomic uint64_t run[STATS_BUCKETS];
    _Atomic uint64_t answer[STATS_BUCKETS];
};

_Static_assert(sizeof(struct stats_worker) == STATS_WORKER_BYTES, "layout");

#endif
