/*
 * Who answers a call: worker, supervisor and client of one slot (functions/executor/worker.h, worker.c, workers.c).
 *
 * The client submits a call, waits for its answer and, at any time, asks for its end (CANCEL); that may arrive when the
 * call is over and its slot is used again. The worker announces, claims, runs, answers; user code may crash it while it runs, and the supervisor may kill it at any
 * instruction. A killed or crashed worker is reaped: the supervisor answers if nobody has, and starts the next one.
 *
 * Proved: every call is answered exactly once and by its own answer (asserted in `answer`), none is left without one
 * (an invalid end state), and a call that was cancelled before it was claimed is never run.
 * -DLATE_ANNOUNCE: the worker announces after it has claimed. -DNO_THIRD_LOOK: a supervisor whose compare-and-swap
 * failed does not look at what `current` became. -DSTALE_NOTE: it notes the call that `current` named instead of the one
 * that it was asked to end. -DNO_FIRST_LOOK with -DNO_GIVE_BACK: it takes the claim of whatever call the slot holds. The
 * checker must find each.
 *
 * Not covered: the kernel kills the worker (out of memory) between its announcement and its claim while the slot is
 * cancelled and used again. That call may be reported CRASHED, or wait for its deadline or the end of its lease.
 */
#define CALLS 3

/* `current` of the worker page: 0 = none, sequence = being served, + ANSWERING, ENDED alone */
#define ANSWERING 16
#define ENDED     64

byte request;          /* sequence in the request line */
bool pending;
byte response;         /* sequence in the response line */
byte current;
byte ended_call;       /* the supervisor's own note */
bool killed, dead;
byte outstanding;      /* ghost: what the client waits for */
byte cancelled_early;  /* ghost: sequence that was ended before it was claimed */
chan cancel = [1] of { byte };

inline answer(sequence)
{
    d_step {
        assert(outstanding == sequence);  /* of this call */
        assert(response != sequence);     /* and the first one */
        response = sequence
    }
}

proctype client()
{
    byte sequence = 1;
    do
    :: sequence <= CALLS ->
        atomic { request = sequence; outstanding = sequence };
        pending = true;
        if
        :: true -> (response == sequence)
        :: true ->
            cancel ! sequence; /* and its end may come by itself meanwhile */
            (response == sequence)
        fi;
        sequence++
    :: else -> break
    od
}

inline take_claim(mine)
{
    atomic { mine = pending; pending = false }
}

proctype worker()
{
    byte mine, got;
    bool claimed;
    {
end:
        do
        :: pending ->
            mine = request;
#ifndef LATE_ANNOUNCE
            current = mine;
#endif
            take_claim(claimed);
            if
            :: claimed ->
#ifdef LATE_ANNOUNCE
                current = mine;
#endif
                got = request;
                if
                :: got != mine -> /* cancelled and used again between announcement and claim */
                    atomic {
                        if
                        :: current == mine -> current = got; mine = got
                        :: else -> goto gone
                        fi
                    }
                :: else
                fi;
                assert(cancelled_early != mine);
                if
                :: true -> skip      /* the function returns */
                :: true -> goto gone /* or ends the process */
                fi;
                atomic {
                    if
                    :: current == mine -> current = mine + ANSWERING
                    :: else -> goto gone
                    fi
                };
                answer(mine)
            :: else
            fi;
            current = 0
        od
    } unless { killed };
gone:
    dead = true
}

inline reap()
{
    /* waitid has named the worker: it does nothing any more */
    call = (ended_call != 0 -> ended_call : current);
    if
    :: call >= ENDED || call == 0 -> skip
    :: else ->
        call = call % ANSWERING;
        if
        :: pending || response == call -> skip /* nothing ran: the successor takes it; or it was answered */
        :: else -> answer(call)
        fi
    fi;
    atomic { ended_call = 0; current = 0; killed = false; dead = false; run worker() }
}

/* CANCEL of one sequence. Its answer tells the client nothing that the slot does not, so it is left out here. */
proctype supervisor()
{
    byte sequence, call;
    bool claimed;
end:
    do
    :: dead ->
        reap()
    :: cancel ? sequence ->
        if
#ifndef NO_FIRST_LOOK
        :: response == sequence || request != sequence -> goto end /* over; the slot may serve another call */
#endif
        :: else
        fi;
        take_claim(claimed);
        if
        :: claimed ->
            if
#ifndef NO_GIVE_BACK
            :: request != sequence -> pending = true /* answered and used again right now */
#endif
            :: else ->
                cancelled_early = sequence;
                if
                :: response != sequence -> answer(sequence)
                :: else
                fi
            fi
        :: else ->
            do
            :: true ->
                call = (ended_call != 0 -> ended_call : current);
                if
                :: ended_call != 0 || call >= ANSWERING -> goto end /* being ended, or being answered */
                :: call == 0 -> break
                :: request != sequence -> goto end
                :: else
                fi;
                atomic {
                    if
                    :: current == call ->
                        current = ENDED;
#ifndef STALE_NOTE
                        ended_call = sequence; /* `current` may still name an earlier call of this slot */
#else
                        ended_call = call;
#endif
                        killed = true;
                        goto end
                    :: else
                    fi
                };
#ifdef NO_THIRD_LOOK
                break
#endif
            od;
            /* not being served: it was answered, or its worker died and was reaped */
            if
            :: response != sequence && request == sequence -> answer(sequence)
            :: else
            fi
        fi
    od
}

init {
    atomic { run worker(); run supervisor(); run client() }
}
