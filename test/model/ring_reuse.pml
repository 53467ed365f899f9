/*
 * One slot of the same-node ring, used again and again (functions/fabric/ring.c, ring_slot.h), with the store buffers of
 * x86: the request line and the bit, the response line and its sequence, and a client that takes a request back and uses
 * the slot again at once, while the worker still goes by an older look at the bits.
 *
 * Proved: the worker's copy of a request is of one call (never of two), no call runs twice or after it was taken back,
 * the result that a client takes is its own call's, and each call that was not taken back is answered.
 * -DPLAIN_BIT: the bit is set by a store that orders nothing. -DSEQUENCE_FIRST: the answer's sequence is written before
 * its result. -DNOT_WITHDRAWN: a client that no longer wants its answer uses the slot again without a look at the bit.
 * -DNO_CLAIM: the worker goes by its look at the bits alone. The checker must find each.
 */
#define CALLS    4

#define CLIENT   0
#define WORKER   1

/* addresses in the shared memory */
#define SEQUENCE 0 /* of the request */
#define ARGUMENT 1 /* stands for the rest of the request line, and what the client wrote elsewhere in the slot */
#define ANSWERED 2 /* sequence of the response */
#define RESULT   3 /* the rest of the response line, and what the worker wrote elsewhere */
#define WORDS    4

#include "store_buffer.inc"

bit pending;    /* only ever changed by locked operations */
byte withdrawn; /* ghost: the last call that was taken back */

proctype client()
{
    byte seen, got, sequence = 1;
    bit taken;
    do
    :: sequence <= CALLS ->
#ifdef PLAIN_BIT
        pending = 1;
#endif
        store(CLIENT, ARGUMENT, sequence);
        store(CLIENT, SEQUENCE, sequence);
#ifndef PLAIN_BIT
        atomic { fence(CLIENT); pending = 1 };
#endif
        do
        :: memory[ANSWERED] == sequence ->
            load(CLIENT, RESULT, got);
            assert(got == sequence);
            break
        :: true -> /* nobody wants it any more */
#ifndef NOT_WITHDRAWN
            atomic {
                fence(CLIENT);
                taken = pending;
                pending = 0;
                if
                :: taken -> withdrawn = sequence
                :: else
                fi
            };
            if
            :: taken -> break
            :: else -> (memory[ANSWERED] == sequence) /* begun: its answer is waited for */
            fi
#else
            break
#endif
        od;
        sequence++
    :: else -> break
    od
}

proctype worker()
{
    byte seen, sequence, argument, last;
    bit mine;
end:
    do
    :: pending ->
        mine = 1;
#ifndef NO_CLAIM
        atomic { fence(WORKER); mine = pending; pending = 0 };
#endif
        if
        :: mine ->
            load(WORKER, SEQUENCE, sequence);
            load(WORKER, ARGUMENT, argument);
#ifdef NO_CLAIM
            pending = 0;
#endif
            assert(argument == sequence);
            assert(sequence > last && sequence != withdrawn);
            last = sequence;
#ifdef SEQUENCE_FIRST
            store(WORKER, ANSWERED, sequence);
            store(WORKER, RESULT, sequence);
#else
            store(WORKER, RESULT, sequence);
            store(WORKER, ANSWERED, sequence);
#endif
            fence(WORKER) /* before the look whether the client sleeps */
        :: else
        fi
    od
}

init {
    atomic {
        run drain(CLIENT);
        run drain(WORKER);
        run worker();
        run client()
    }
}
