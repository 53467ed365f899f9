/**
 * The same-node transport: one ring per client connection and worker (layout: wire/ring_layout.h).
 *
 * Hot path: no system call, no lock, no allocation. A side that has polled long enough sleeps: the worker on the
 * futex word of each of its rings or on an eventfd that all its clients hold (it says which), a client on the futex
 * word of its slot's response.
 *
 * Races: the sleeper announces itself, then looks once more, then sleeps; the waker publishes, then looks
 * whether anyone sleeps. With a full fence on both sides between the two steps, one of them sees the other.
 */
#ifndef SUBLET_FABRIC_RING_H
#define SUBLET_FABRIC_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sublet/status.h"
#include "wire/ring_layout.h"
#include "wire/trace.h"

/** A mapped ring. `header` is this side's own copy: the mapping is never asked again. */
struct ring {
    struct ring_header header;
    unsigned char *base;
    int wake_fd;   /* eventfd of the worker; not owned */
    uint64_t free; /* client: bit i set = slot i is free */
    uint32_t next_seq[RING_SLOTS_MAX];
};

/** A request as the worker sees it: copied out and bounded. */
struct ring_call {
    uint32_t slot;
    uint32_t sequence;
    uint32_t function;
    uint64_t size; /* of a ring below 4 GiB; calls in pieces may be larger */
    uint64_t out_capacity;
    uint64_t timeout_ns;
    const void *in;
    void *out;       /* in the ring, or `line` */
    bool lined;      /* the result goes into the response line */
    bool traced;     /* its caller wants to know where the time went */
    const void *end; /* the page behind the room for the result, see ring_guard; NULL = none */
    _Alignas(RING_LINE) unsigned char line[RING_INLINE_BYTES];
};

/** Executor: makes and seals the memfd, maps it. The caller owns *fd_out. */
sublet_status ring_create(uint32_t slots, uint64_t in_bytes, uint64_t out_bytes, int wake_fd, struct ring *ring,
                          int *fd_out);
/** Client: maps a ring received from an executor; refuses one that is not sealed or whose header lies. */
sublet_status ring_attach(int fd, int wake_fd, struct ring *ring);
void ring_unmap(struct ring *ring);

/** Client: takes a free slot, or SUBLET_ERR_BUSY. Not thread-safe: a ring has one client thread at a time. */
sublet_status ring_acquire(struct ring *ring, uint32_t *slot_out);
/** Buffers of a slot, for arguments built in place. */
void *ring_in(struct ring *ring, uint32_t slot);
void *ring_out(struct ring *ring, uint32_t slot);
/** Client: publishes the request and wakes the worker if it sleeps. */
sublet_status ring_submit(struct ring *ring, uint32_t slot, uint32_t function, uint32_t size, uint32_t out_capacity,
                          uint64_t timeout_ns);
/** The same with flags: RING_IN_LINE, RING_OUT_LINE (ring_in_line, ring_out_line instead of ring_in, ring_out). */
sublet_status ring_submit_flags(struct ring *ring, uint32_t slot, uint32_t function, uint32_t size,
                                uint32_t out_capacity, uint64_t timeout_ns, uint32_t flags);
void *ring_in_line(struct ring *ring, uint32_t slot);
void *ring_out_line(struct ring *ring, uint32_t slot);
/** Client: has the slot's answer arrived? Fills status and size (bounded by the slot) and frees nothing. */
bool ring_test(struct ring *ring, uint32_t slot, sublet_status *status_out, uint32_t *size_out);
/** Client: sleeps until the slot's answer may be there or the time is over. May return early. */
void ring_sleep(struct ring *ring, uint32_t slot, uint64_t timeout_ns);
void ring_release(struct ring *ring, uint32_t slot);

/** Worker: bitmap of pending slots, bounded to existing ones. Takes none of them. */
uint64_t ring_pending(const struct ring *ring);
/** Takes one pending slot; false if it was not pending. Of several claimants one wins. */
bool ring_claim(struct ring *ring, uint32_t slot);
/** Supervisor: makes a slot that it has claimed by mistake pending again. */
void ring_give_back(struct ring *ring, uint32_t slot);
/** Worker: the sequence that the slot's request bears now; another one may come until the slot is claimed. */
uint32_t ring_sequence(const struct ring *ring, uint32_t slot);
/** Worker: copies and bounds one request. INVALID or TOO_LARGE: answer with that status. */
sublet_status ring_read(struct ring *ring, uint32_t slot, struct ring_call *call_out);
/** Worker: makes the last page of every slot inaccessible, so that a result cannot run into the next slot. */
void ring_guard(const struct ring *ring);
/** Worker: puts a result of up to RING_INLINE_BYTES into the response line, before the answer. */
void ring_put_line(struct ring *ring, uint32_t slot, const void *bytes, uint32_t size);
/** Worker: says with TOO_LARGE how much the result needs, before the answer. */
void ring_put_needed(struct ring *ring, uint32_t slot, uint64_t bytes);
/** Client: what was said with TOO_LARGE; a hint of the peer's. */
uint64_t ring_needed(const struct ring *ring, uint32_t slot);
/** Worker: where the time of a traced call went, before the answer. */
void ring_put_trace(struct ring *ring, uint32_t slot, const struct ring_trace *trace);
/** Client: the same, after it; the peer's word. */
void ring_get_trace(const struct ring *ring, uint32_t slot, struct ring_trace *trace_out);
/** Worker: a request that is served soon comes nearer. */
void ring_prefetch(const struct ring *ring, uint32_t slot);
/** Worker: answers. Wakes the client if it sleeps. */
void ring_answer(struct ring *ring, uint32_t slot, uint32_t sequence, sublet_status status, uint32_t size);
/** Does the slot's answer bear this sequence? The executor asks before it answers for a dead worker. */
bool ring_answered(const struct ring *ring, uint32_t slot, uint32_t sequence);
/** Worker: announces sleep on this ring; true if requests are pending after all (then do not sleep). */
bool ring_announce_sleep(struct ring *ring, enum ring_sleep how);
void ring_announce_awake(struct ring *ring);
/** Worker: the word to sleep on while it holds RING_SLEEP_FUTEX. */
uint32_t *ring_sleep_word(const struct ring *ring);
/** Worker: when it was woken by a client of this ring, as that one says: a hint, to be bounded. */
uint64_t ring_wake_ns(const struct ring *ring);
/** Client: wakes a worker that sleeps. */
void ring_wake(_Atomic uint32_t *sleep, int wake_fd);

/** One step of a spin: tells the core that this is one. */
static inline void ring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
