/*
 * Flow control of calls over a fabric (functions/wire/ofi.h; client/ofi_connection.c, executor/ofi_serve.c,
 * fabric/ofi_connected.c): a worker and two clients, the second of which may stand still for ever at any step.
 *
 * A provider takes WRITES writes each way before the other end has them; then it says BUSY, until they have landed. A write
 * with data lands if a receive is posted there, and takes a place in the worker's queue. The worker moves what it finds
 * to its list, posts receives again when as many are owed as may be under way or when it finds nothing, and serves the
 * list. The client's slots are its credits: a call has one from its request until its answer was taken.
 *
 * Proved: neither queue nor list nor receives run out, whatever the second client does; no request is overwritten before
 * it was read, each call is served once and gets its own answer (asserted), and the first client gets all of its
 * answers (all else is an invalid end state): nobody waits for one who waits for him, nor for one who stands still.
 * -DMANUAL: writes land only when the worker polls, as with providers that are software. -DSLOTS=4: one client, whose
 * slots are more than what the ways there and back hold. -DPLAIN: one client, whose writes bring no data: a message
 * follows each; what is BUSY in between is written again.
 *
 * -DEARLY_FREE: a slot is free once its request is written. -DNO_DRAIN: who is told BUSY tries again, and takes nothing
 * meanwhile. -DNO_STALL_END: the worker waits for ever for a client to take its answer. -DFEW_RECEIVES: only as many
 * are posted as may be under way. -DOVERPROMISED: places for fewer calls than clients have slots. -DOVERTAKES with
 * -DPLAIN: a message may be there before the write that it follows. The checker must find each.
 */
#ifdef PLAIN
#define WRITES  2
#else
#define WRITES  1
#endif
#define CLIENTS 2
#ifdef PLAIN
#define SLOTS   2
#define FIRST   3
#define SECOND  0
#elif !defined(SLOTS)
#define SLOTS   2
#ifdef FEW_RECEIVES
#define FIRST   3
#else
#define FIRST   2 /* calls of the first client */
#endif
#define SECOND  2 /* and of the other */
#else
#define FIRST   4
#define SECOND  0
#endif
#define DEPTH   (SLOTS + 1)

#ifdef OVERPROMISED
#define LIST    1
#define QUEUE   1
#else
#define LIST    (CLIENTS * SLOTS)
#define QUEUE   (LIST + CLIENTS)
#endif
#ifdef FEW_RECEIVES
#define POSTED  DEPTH
#else
#define POSTED  (2 * DEPTH + 2)
#endif

#define PROBE   SLOTS /* in the place of a slot */
#define CALL    1     /* a write with data, or the message in its place */
#define WRITE   2     /* a write that brings none */

#define AT(c, slot) ((c) * SLOTS + (slot))

chan up[CLIENTS] = [WRITES] of { byte, byte, byte }; /* kind, slot, sequence */
chan down[CLIENTS] = [WRITES] of { byte, byte };     /* slot, sequence */
chan queue = [QUEUE] of { byte, byte };            /* client, slot */
chan list = [LIST] of { byte, byte };

byte request[CLIENTS * SLOTS]; /* memory at the worker */
byte posted[CLIENTS] = POSTED;
byte owed[CLIENTS];
bool still[CLIENTS]; /* it does nothing any more */
bool gone[CLIENTS];  /* the worker has dropped it */

/* What a client wrote first arrives at the worker. */
inline land(from)
{
    atomic {
        len(up[from]) > 0 ->
#ifdef OVERTAKES
        if
        :: up[from] ?? CALL, slot, number -> kind = CALL
        :: up[from] ? kind, slot, number
        fi;
#else
        up[from] ? kind, slot, number;
#endif
#ifndef PLAIN
        if
        :: slot != PROBE -> request[AT(from, slot)] = number
        :: else
        fi;
#endif
        if
        :: kind == WRITE -> request[AT(from, slot)] = number
        :: kind == CALL && gone[from] -> skip
        :: else ->
            assert(posted[from] > 0);
            assert(len(queue) < QUEUE);
            posted[from]--;
            queue ! from, slot
        fi;
        kind = 0;
        slot = 0;
        number = 0
    }
}

proctype hardware(byte from)
{
    byte kind, slot, number;
end:
    do
    :: land(from)
    od
}

/* Of the worker's next poll: from the queue to the list. */
inline collect()
{
    atomic {
        len(queue) > 0 && len(list) < LIST ->
        queue ? from, slot;
        list ! from, slot;
        owed[from]++;
        if
        :: owed[from] == DEPTH -> posted[from] = posted[from] + owed[from]; owed[from] = 0
        :: else
        fi;
        from = 0;
        slot = 0
    }
}

/* The poll finds nothing. */
inline settle()
{
    atomic {
        len(queue) == 0 && owed[0] + owed[1] > 0 ->
        posted[0] = posted[0] + owed[0];
        posted[1] = posted[1] + owed[1];
        owed[0] = 0;
        owed[1] = 0
    }
}

proctype worker()
{
    byte kind, slot, number, from;         /* of a poll */
    byte caller, place, sequence, last[CLIENTS]; /* of a call */
end:
    do
    :: list ? caller, place ->
        sequence = 0;
        if
        :: place != PROBE -> sequence = request[AT(caller, place)]
        :: else
        fi;
        if
        :: gone[caller] || (place != PROBE && sequence <= last[caller]) -> goto next /* it announced nothing new */
        :: else
        fi;
        if
        :: place != PROBE -> last[caller] = sequence
        :: else
        fi;
        do
        :: len(down[caller]) < WRITES -> down[caller] ! place, sequence; break
#ifndef NO_DRAIN
        :: len(down[caller]) == WRITES && len(queue) > 0 && len(list) < LIST -> collect()
#ifdef MANUAL
        :: len(down[caller]) == WRITES && len(list) < LIST && len(up[0]) > 0 -> land(0)
        :: len(down[caller]) == WRITES && len(list) < LIST && len(up[1]) > 0 -> land(1)
#endif
#endif
#ifndef NO_STALL_END
        :: len(down[caller]) == WRITES && still[caller] -> gone[caller] = true; break
#endif
        od;
next:
        caller = 0;
        place = 0;
        sequence = 0
    :: collect()
    :: settle()
#ifdef MANUAL
    :: len(list) < LIST && len(up[0]) > 0 -> land(0)
    :: len(list) < LIST && len(up[1]) > 0 -> land(1)
#endif
    od
}

inline take()
{
    if
    :: slot == PROBE -> probed = true
    :: else ->
#ifndef EARLY_FREE
        assert(used[slot] == got);
        used[slot] = 0;
        busy--;
#endif
        answered++
    fi;
    slot = 0;
    got = 0
}

proctype client(byte me; byte calls)
{
    byte used[SLOTS], busy, answered, sequence, slot, got, to;
    bool probed;
    up[me] ! CALL, PROBE, 0;
    do
    :: down[me] ? slot, got -> take()
    :: d_step {
        probed && sequence < calls && busy < SLOTS ->
        do
        :: used[to] != 0 -> to++
        :: else -> break
        od;
        busy++;
        sequence++;
        used[to] = sequence
    };
        do
        :: len(up[me]) < WRITES ->
#ifdef PLAIN
            up[me] ! WRITE, to, sequence;
            if
            :: len(up[me]) < WRITES -> up[me] ! CALL, to, sequence; break
            :: len(up[me]) == WRITES -> skip /* again, the write too */
            fi
#else
            up[me] ! CALL, to, sequence;
            break
#endif
#ifndef NO_DRAIN
        :: len(up[me]) == WRITES && len(down[me]) > 0 -> down[me] ? slot, got; take()
#endif
        :: me == 1 -> goto stands
        od;
#ifdef EARLY_FREE
        used[to] = 0;
        busy--;
#endif
        to = 0
    :: answered == calls -> goto over
    :: me == 1 -> goto stands
    od;
stands:
    still[me] = true;
over:
    skip
}

init {
    atomic {
#ifndef MANUAL
        run hardware(0);
        run hardware(1);
#endif
        run worker();
        run client(0, FIRST);
        run client(1, SECOND)
    }
}
