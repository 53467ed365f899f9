/*
 * Back-pressure of calls over connections (executor/stream_serve.c, streams.c, memory.c; client/stream_connection.c): one
 * worker, two clients whose requests each take all the memory that the lease has for arguments. Sockets hold one piece
 * each way. A request is a head, which fits the small buffer that every connection has, and a body, which needs room; what
 * is read may bring the next request's head along. A client sends what the socket takes and reads what is there, whichever
 * can go on; its requests follow each other without a pause, SLOTS of them under way at most. The second one may stand
 * still for ever at any step.
 *
 * The worker looks at one connection after the other. Whom it cannot give room waits; the first of these is remembered, and
 * what is given back is his. With somebody waiting it takes room back from those who do not use it, and drops who holds
 * some and does not move; it also drops who does not take his answer.
 *
 * Proved: no more memory is taken than there is and no connection holds more than one body and one head (asserted: no
 * queue grows); while one client waits for room the other is served OVERTAKES times at most (asserted: nobody starves);
 * the first client gets all of its answers, whatever the second does (else an invalid end state: no deadlock).
 *
 * -DNO_TURNS: what the next request wants at once is not given back, and whoever is looked at first takes what is free.
 * -DNO_ORDER: it is given back, but for anybody. -DNO_TRIM: it is kept when nobody uses it. -DNO_STALL: who holds room and
 * stands still keeps it. -DNO_DROP: the worker waits for ever for a client to take its answer. -DBY_PIECES: a body takes its
 * room in two steps, as its pieces come. -DDEAF: a client sends, and reads only when it has nothing more to send. The
 * checker must find each.
 */
#define LIMIT     2 /* for arguments, of both connections together */
#define BODY      2 /* what a body takes */
#define SLOTS     2
#define OVERTAKES 1
#define FIRST     3 /* calls of the first client */
#define SECOND    2

mtype = { HEAD, PIECE, LAST };

chan up[2] = [1] of { mtype };
chan down[2] = [1] of { bit };

byte held[2];   /* room that a connection has beyond the small buffer */
byte heads[2];  /* read, and not yet of an answered request */
byte pieces[2]; /* of the body that is being read: 0, 1, 2 = whole */
bool waits[2];
byte passed[2]; /* calls of the other one that were served meanwhile */
bool still[2];  /* the client does nothing any more */
bool gone[2];   /* the worker has dropped it */
byte first;     /* 1 + the connection that waits longest; 0 = none */

#define WHOLE(c)   (pieces[c] == 2)
#define LACKS(c)   (heads[c] > 0 && !WHOLE(c) && held[c] < NEEDS(c))
#define OTHER(c)   (1 - (c))
#define TAKEN      (held[0] + held[1])
#ifdef NO_TURNS
#define OWED(c)    false
#define ORDERED(c) false
#else
#define OWED(c)    (first != 0 && first != (c) + 1)
#ifdef NO_ORDER
#define ORDERED(c) false
#else
#define ORDERED(c) OWED(c)
#endif
#endif
#ifdef BY_PIECES
#define NEEDS(c)   (pieces[c] + 1)
#else
#define NEEDS(c)   BODY
#endif

#define CAN_READ_HEAD(c) (!gone[c] && heads[c] == 0 && len(up[c]) > 0)
#define CAN_TAKE_ROOM(c) (!gone[c] && LACKS(c) && !ORDERED(c) && TAKEN - held[c] + NEEDS(c) <= LIMIT)
#define HAS_TO_WAIT(c) (!gone[c] && LACKS(c) && (!waits[c] || first == 0) && (ORDERED(c) || TAKEN - held[c] + NEEDS(c) > LIMIT))
#define CAN_READ_BODY(c) (!gone[c] && heads[c] > 0 && !WHOLE(c) && !LACKS(c) && len(up[c]) > 0)
#define CAN_READ_AHEAD(c) (!gone[c] && heads[c] == 1 && WHOLE(c) && len(up[c]) > 0)
#define CAN_SERVE(c) (!gone[c] && heads[c] > 0 && WHOLE(c))
#define CAN_TRIM(c) (waits[OTHER(c)] && held[c] > 0 && pieces[c] == 0 && (heads[c] == 0 || OWED(c)))
#define STALLED(c) (waits[OTHER(c)] && held[c] > 0 && still[c] && len(up[c]) == 0 && !WHOLE(c))
#define CAN(c) (CAN_READ_HEAD(c) || CAN_TAKE_ROOM(c) || HAS_TO_WAIT(c) || CAN_READ_BODY(c) || CAN_READ_AHEAD(c) || CAN_SERVE(c))
#ifdef NO_TRIM
#define CAN_GIVE(c) STALLED(c)
#elif defined(NO_STALL)
#define CAN_GIVE(c) CAN_TRIM(c)
#else
#define CAN_GIVE(c) (CAN_TRIM(c) || STALLED(c))
#endif

inline no_more(c)
{
    waits[c] = false;
    passed[c] = 0;
    if
    :: first == c + 1 -> first = 0
    :: else
    fi
}

inline drop(c)
{
    gone[c] = true;
    held[c] = 0;
    heads[c] = 0;
    pieces[c] = 0;
    no_more(c)
}

/* The head of a request. */
inline read_head(c)
{
    atomic {
        CAN_READ_HEAD(c) ->
        assert(up[c] ? [HEAD]);
        up[c] ? HEAD;
        heads[c]++
    }
}

/* Its body needs room, and is read at once as far as it is there. */
inline take_room(c)
{
    atomic {
        CAN_TAKE_ROOM(c) ->
        held[c] = NEEDS(c);
        assert(TAKEN <= LIMIT);
        no_more(c);
        if
        :: len(up[c]) > 0 -> up[c] ? _; pieces[c]++
        :: else
        fi
    }
}

inline wait_for_room(c)
{
    atomic {
        HAS_TO_WAIT(c) ->
        waits[c] = true;
        if
        :: first == 0 -> first = c + 1
        :: else
        fi
    }
}

/* A piece of the body. */
inline read_body(c)
{
    atomic {
        CAN_READ_BODY(c) ->
        up[c] ? _;
        pieces[c]++
    }
}

/* What is read may bring the next head along. */
inline read_ahead(c)
{
    atomic {
        CAN_READ_AHEAD(c) ->
        assert(up[c] ? [HEAD]);
        up[c] ? HEAD;
        heads[c]++
    }
}

/* The function runs, and its answer leaves: until it has, the worker does nothing else. */
inline serve(c)
{
    atomic {
        CAN_SERVE(c) ->
        if
        :: waits[OTHER(c)] ->
            passed[OTHER(c)]++;
            assert(passed[OTHER(c)] <= OVERTAKES)
        :: else
        fi
    };
    do
    :: atomic {
        len(down[c]) < 1 ->
        down[c] ! 1;
        heads[c]--;
        pieces[c] = 0;
        if
        :: OWED(c) -> held[c] = 0
        :: else
        fi;
        break
    }
#ifndef NO_DROP
    :: atomic { len(down[c]) == 1 && still[c] -> drop(c); break }
#endif
    od
}

/* Somebody waits: who holds room without using it gives it back, and who does not move is dropped. */
inline trim(c)
{
    atomic {
        CAN_TRIM(c) ->
        held[c] = 0
    }
}

inline drop_stalled(c)
{
    atomic {
        STALLED(c) ->
        drop(c)
    }
}

/* One thing of one connection, or nothing when there is none. */
inline look(c)
{
    if
    :: read_head(c)
    :: take_room(c)
    :: wait_for_room(c)
    :: read_body(c)
    :: read_ahead(c)
    :: serve(c)
    :: !CAN(c)
    fi
}

inline make_room(c)
{
    if
#ifndef NO_TRIM
    :: trim(c)
#endif
#ifndef NO_STALL
    :: drop_stalled(c)
#endif
    :: else
    fi
}

proctype worker()
{
end:
    do
    :: CAN(0) || CAN(1) || CAN_GIVE(0) || CAN_GIVE(1) ->
        make_room(0);
        make_room(1);
        if /* which of them is looked at first depends on when they became hot */
        :: look(0); look(1)
        :: look(1); look(0)
        fi
    od
}

proctype client(byte me; byte calls)
{
    byte begun, answered, part; /* part of the request that is being sent: 0 head, 1 and 2 body */
    do
    :: atomic {
        len(up[me]) < 1 && begun < calls && (part > 0 || begun - answered < SLOTS) ->
        if
        :: part == 0 -> up[me] ! HEAD; part = 1
        :: part == 1 -> up[me] ! PIECE; part = 2
        :: part == 2 -> up[me] ! LAST; part = 0; begun++
        fi
    }
#ifdef DEAF
    :: begun == calls && len(down[me]) > 0 -> down[me] ? _; answered++
#else
    :: atomic { len(down[me]) > 0 -> down[me] ? _; answered++ }
#endif
    :: answered == calls -> goto over
    :: me == 1 -> break
    od;
    still[me] = true;
over:
    skip
}

init {
    atomic {
        run worker();
        run client(0, FIRST);
        run client(1, SECOND)
    }
}
