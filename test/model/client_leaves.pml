/*
 * A client that leaves, and the worker's other client (functions/executor/worker.h, workers.c, stream_serve.c).
 *
 * A's function may never return. A leaves at any time: while its call is under way, with its answer, before the worker
 * has taken the call at all. The supervisor then ends what the worker does for A. B is served by the same worker, before A or
 * behind it.
 *
 * Proved: B is always answered (else an invalid end state), and by the worker that began its call (asserted in `reap`); nothing
 * runs for A for ever. -DENDS_ANSWERING: the supervisor ends a worker that answers A, too. -DNO_CLOSED_LOOK: the worker,
 * having announced A's call, does not look whether A has left. -DNO_SWAP: the supervisor ends what it has seen,
 * without compare-and-swap. The checker must find each.
 */
#define A 1
#define B 2
/* `current` of the worker page: 0 = none, a client, + ANSWERING, ENDED alone */
#define ANSWERING 16
#define ENDED     64

#ifndef ENDS_ANSWERING
#define ITS(call) (call == A)
#else
#define ITS(call) (call % ANSWERING == A && call < ENDED)
#endif

byte current;
bool a_pending, b_pending, b_begun, b_answered;
bool closed;         /* A has left: set before the look at `current` */
bool killed, dead;

/* The function has returned: takes the right to answer. */
inline begin_answer(mine)
{
    atomic {
        if
        :: current == mine -> current = mine + ANSWERING
        :: else -> goto gone
        fi
    }
}

proctype worker()
{
    {
end:
        do
        :: a_pending ->
            current = A;
            a_pending = false;
            if
#ifndef NO_CLOSED_LOOK
            :: closed -> skip
#endif
            :: else ->
                if
                :: true -> skip
                :: true -> (false) /* it never does: only the supervisor ends this */
                fi
            fi;
            begin_answer(A);
            current = 0
        :: b_pending ->
            current = B;
            b_pending = false;
            b_begun = true;
            begin_answer(B);
            b_answered = true;
            current = 0
        od
    } unless { killed };
gone:
    dead = true
}

inline reap()
{
    assert(!b_begun || b_answered); /* B's call was in a worker that ended because of A */
    atomic { current = 0; killed = false; dead = false; run worker() }
}

proctype supervisor()
{
    byte call;
    bool seen, won;
end:
    do
    :: dead -> reap()
    :: closed && !seen ->
        seen = true;
        call = current;
        if
        :: ITS(call) ->
            atomic {
#ifndef NO_SWAP
                won = (current == call);
#else
                won = true;
#endif
                if
                :: won -> current = ENDED
                :: else
                fi
            };
            killed = won /* the worker may have gone on meanwhile */
        :: else
        fi
    od
}

proctype client_a()
{
    a_pending = true;
    closed = true
}

proctype client_b()
{
    b_pending = true;
    (b_answered)
}

init {
    atomic { run worker(); run supervisor(); run client_a(); run client_b() }
}
