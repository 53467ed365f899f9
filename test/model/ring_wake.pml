/*
 * Sleep and wake of the same-node ring (functions/fabric/ring.c), with the store buffers of x86 and two slots.
 *
 * What is proved: no request and no answer is lost while its receiver sleeps (a lost one is an invalid end state: the
 * client never ends), the worker never reads a request that is older than the bit it took, no slot is answered twice.
 * The real client also wakes up by itself after a bounded time; the model does not, so that nothing hides a lost wake-up.
 *
 * With -DNO_FENCE the two announcements of sleep are plain stores: the checker must then find the lost wake-up.
 * -DFUTEX: the worker sleeps on the word that says so, which its waker changes, instead of on an eventfd.
 * With -DNO_SECOND_LOOK the sleeper does not look again after its announcement: the same.
 */
#define SLOTS   2
#define CALLS   3 /* per slot */

#define CLIENT  0
#define WORKER  1

/* addresses in the shared memory */
#define REQUEST(i)         (i)
#define RESPONSE(i)        (SLOTS + (i))
#define CLIENT_SLEEPING(i) (2 * SLOTS + (i))
#define WORKER_SLEEPING    (3 * SLOTS)
#define WORDS              (3 * SLOTS + 1)

#define ASLEEP 1
#define WOKEN  2

#include "store_buffer.inc"

byte pending;   /* only ever changed by locked operations */
byte event;     /* the worker's eventfd: 0 = not readable */
bool woken[SLOTS];

/* One client thread per slot would share a store buffer in reality only if they shared a core; one process, slot by slot
 * submitted, then waited for: both slots are in flight at once. */
proctype client()
{
    byte seen, got, slot, sequence = 1;
    bit sleeper;
    do
    :: sequence <= CALLS ->
        slot = 0;
        do
        :: slot < SLOTS ->
            store(CLIENT, REQUEST(slot), sequence);
            atomic { fence(CLIENT); pending = pending | (1 << slot) };
            load(CLIENT, WORKER_SLEEPING, got);
            if
#ifdef FUTEX
            :: got != 0 -> store(CLIENT, WORKER_SLEEPING, WOKEN); fence(CLIENT)
#else
            :: got != 0 -> event = 1
#endif
            :: else
            fi;
            slot++
        :: else -> break
        od;
        slot = 0;
        do
        :: slot < SLOTS ->
            do
            :: load(CLIENT, RESPONSE(slot), got);
                if
                :: got == sequence -> break
                :: else
                fi;
                /* ring_sleep */
                store(CLIENT, CLIENT_SLEEPING(slot), 1);
#ifndef NO_FENCE
                fence(CLIENT);
#endif
#ifndef NO_SECOND_LOOK
                load(CLIENT, RESPONSE(slot), got);
                if
                :: got != sequence ->
#else
                if
                :: true ->
#endif
                    /* FUTEX_WAIT: compares and sleeps in one step, as the kernel does (a system call orders stores) */
                    atomic {
                        fence(CLIENT);
#ifndef NO_SECOND_LOOK
                        sleeper = (memory[RESPONSE(slot)] != sequence);
#else
                        sleeper = 1;
#endif
                        woken[slot] = false
                    };
                    if
                    :: sleeper -> (woken[slot])
                    :: else
                    fi
                :: else
                fi;
                store(CLIENT, CLIENT_SLEEPING(slot), 0)
            od;
            slot++
        :: else -> break
        od;
        sequence++
    :: else -> break
    od
}

proctype worker()
{
    byte seen, got, slot, sequence;
    byte last[SLOTS];
    bit mine;
serve:
    do
    :: pending != 0 ->
        slot = 0;
        do
        :: slot < SLOTS ->
            atomic { fence(WORKER); mine = (pending >> slot) & 1; pending = pending & (255 - (1 << slot)) };
            if
            :: mine ->
                load(WORKER, REQUEST(slot), sequence);
                assert(sequence == last[slot] + 1); /* neither an old request nor one answered before */
                last[slot] = sequence;
                store(WORKER, RESPONSE(slot), sequence);
                fence(WORKER);
                load(WORKER, CLIENT_SLEEPING(slot), got);
                if
                :: got != 0 -> woken[slot] = true
                :: else
                fi
            :: else
            fi;
            slot++
        :: else -> break
        od
    :: pending == 0 -> /* polled long enough */
        store(WORKER, WORKER_SLEEPING, ASLEEP);
#ifndef NO_FENCE
        fence(WORKER);
#endif
#ifndef NO_SECOND_LOOK
        if
        :: pending == 0 ->
#else
        if
        :: true ->
#endif
end_asleep:
#ifdef FUTEX
            (memory[WORKER_SLEEPING] != ASLEEP && buffers[WORKER].count == 0) /* every change is followed by a wake */
#else
            (event != 0);
            event = 0
#endif
        :: else
        fi;
        store(WORKER, WORKER_SLEEPING, 0)
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
