/*
 * Memory for arguments between two workers of a lease (executor/memory.c, stream_serve.c, streams.c, nap.c), each with a
 * client whose requests take all of it. What a worker holds after a call it keeps for the next one. It takes memory by
 * adding its share and then looking at the sum, and steps back when that is too much; then it says that it waits. A
 * worker that is awake gives back what it does not use when the other waits, and takes none before the other has had its
 * turn, if that waits for longer. One that naps looks at nothing; with memory its nap has an end, at which it gives all
 * back. The second client may stand still for ever at any step.
 *
 * Proved: no more is used than there is (asserted); while a worker waits the other serves OVERTAKES calls at most
 * (asserted); the first client gets all of its answers, whatever the second does (else an invalid end state).
 *
 * Not here: a worker within a long call (the others hold back for a second at most), several connections of a worker
 * (stream_memory.pml).
 *
 * -DNO_END: a nap with memory does not end. -DNO_TURNS: a worker that wants its memory again at once keeps it, and
 * whoever looks first takes what is free. -DNO_STEP_BACK: who took too much stays. -DNO_STALL: who holds memory and does
 * not move keeps it. The checker must find each.
 */
#define LIMIT     2
#define BODY      2
#define OVERTAKES 2
#define FIRST     3 /* calls of the first client */
#define SECOND    2

byte share[2];  /* as it stands in the workers' pages */
bool holds[2];  /* and is used or kept */
bool wants[2];
byte oldest;    /* 1 + the worker that waits longer; 0 = none */
bool head[2];   /* of a request has come */
bool body[2];
bool still[2];  /* the client does nothing any more */
bool gone[2];   /* it was dropped */
byte answers[2];
byte passed[2];

#define OTHER(w) (1 - (w))
#ifdef NO_TURNS
#define OWED(w)  false
#else
#define OWED(w)  (wants[OTHER(w)] && !(wants[w] && oldest == (w) + 1))
#endif

inline no_more(w)
{
    wants[w] = false;
    passed[w] = 0;
    if
    :: oldest == w + 1 -> oldest = (wants[OTHER(w)] -> OTHER(w) + 1 : 0)
    :: else
    fi
}

inline give(w)
{
    atomic {
        holds[w] = false;
        share[w] = 0
    }
}

inline take(w)
{
    share[w] = BODY;
    if
#ifndef NO_STEP_BACK
    :: atomic { share[0] + share[1] > LIMIT -> share[w] = 0 };
        atomic {
            wants[w] = true;
            if
            :: oldest == 0 -> oldest = w + 1
            :: else
            fi
        }
    :: atomic {
        share[0] + share[1] <= LIMIT -> holds[w] = true;
        assert(!holds[OTHER(w)]);
        no_more(w)
    }
#else
    :: atomic { holds[w] = true; assert(!holds[OTHER(w)]); no_more(w) }
#endif
    fi
}

inline serve(w)
{
    atomic {
        head[w] = false;
        body[w] = false;
        answers[w]++;
        if
        :: wants[OTHER(w)] ->
            passed[OTHER(w)]++;
            assert(passed[OTHER(w)] <= OVERTAKES)
        :: else
        fi
    };
    if
    :: OWED(w) -> give(w)
    :: else
    fi
}

proctype worker(byte w)
{
end:
    do
    :: head[w] && !holds[w] && !gone[w] ->
        if
        :: OWED(w) ->
            if
            :: !wants[w] ->
                atomic {
                    wants[w] = true;
                    if
                    :: oldest == 0 -> oldest = w + 1
                    :: else
                    fi
                }
            :: else -> !OWED(w) /* its short naps: it looks again when something has changed */
            fi
        :: else ->
            if
            :: share[OTHER(w)] == 0 || !wants[w] -> take(w)
            :: else -> share[OTHER(w)] == 0 || OWED(w)
            fi
        fi
    :: body[w] && holds[w] -> serve(w)
#ifndef NO_STALL
    :: atomic { head[w] && !body[w] && holds[w] && still[w] && wants[OTHER(w)] -> gone[w] = true; head[w] = false }; give(w)
#endif
    :: !head[w] && holds[w] && wants[OTHER(w)] -> give(w)
    :: !head[w] && holds[w] -> /* it naps */
        if
#ifndef NO_END
        :: true -> /* for as long as such a nap lasts */
            if
            :: !head[w] -> give(w)
            :: else
            fi
#endif
        :: head[w]
        fi
    od
}

proctype client(byte me; byte calls)
{
    byte made;
    do
    :: made < calls ->
        if
        :: head[me] = true
        :: me == 1 -> break
        fi;
        if
        :: body[me] = true
        :: me == 1 -> break
        fi;
        made++;
        answers[me] == made
    :: made == calls -> goto over
    od;
    still[me] = true;
over:
    skip
}

init {
    atomic {
        run worker(0);
        run worker(1);
        run client(0, FIRST);
        run client(1, SECOND)
    }
}
