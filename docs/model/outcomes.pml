/* outcomes.pml - o, done, oldest: no outcome is lost, taken twice, or waited for in vain.
 *
 * A feeder and one worker, which stores what it is given. Rounds of one beat as in evidence.pml.
 * Safe: one manifest line a task; a restarted feeder hands out nothing that the worker has.
 * Live: all is settled, and the worker keeps nothing.
 *
 * Faults, how many of each: RESET (what was on its way up is lost from some point on, or comes
 * late, beside the new pipe), PAUSE (the worker stands until it is taken as gone, and comes back),
 * RESTART (of the feeder, killed: same run, the next epoch, claims), STOP (the same, but it was
 * stopped in order, and the worker has heard that it is over, and stays), NEWRUN (the feeder dies
 * without a journal, another one with a run of its own takes its place), FAIL (the worker gives a
 * task back).
 *
 * The restart as built: for QUIET rounds nothing is handed out and nothing is cancelled; a d that
 * is held claims its task, if that is ready or in flight under an older d; a failure of a d that
 * claimed nothing is dropped; a receipt settles whatever its epoch. */
#ifndef N
#define N 2
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef SLOW
#define SLOW 1
#endif
#ifndef RESET
#define RESET 0
#endif
#ifndef PAUSE
#define PAUSE 0
#endif
#ifndef RESTART
#define RESTART 0
#endif
#ifndef NEWRUN
#define NEWRUN 0
#endif
#ifndef STOP
#define STOP 0
#endif
#ifndef FAIL
#define FAIL 0
#endif
#define LEASE 4
#define AGAIN 2            /* rounds: what is uncovered so long is sent again */
#ifdef BUG_NO_QUIET_TIME
#define QUIET 0
#else
#define QUIET 3            /* rounds in which a restarted feeder only listens */
#endif
#define READY 0
#define FLY 1
#define SETTLED 2
#define MAXD 5             /* asserted to be enough */
#define MAXO 7
#define BEAT 0
#define OUTCOME 1
#define FAILED 16          /* added to the d of an outcome */
#define OVER (MAXO + 1)    /* a `done` beyond all; in `held`: has heard it */
#define SAYS_OVER 128
#define BIT(d) (1 << ((d) - 1))

chan down = [3] of { byte, byte, byte, byte };     /* feeder, d; or feeder, 0, done, cancel */
chan up = [4] of { byte, bit, byte, byte };        /* to, BEAT, oldest, held; or OUTCOME, o, d */
chan rest = [4] of { byte, bit, byte, byte };      /* an old pipe's rest */

/* The feeder's; its number stands for its run and epoch. */
byte feeder = 1, st[N], cur[N], lease[N], last_d, quiet, silent, taken, covered, cancel;
bit known, on_run;          /* its last beat was of our run */
bit heard_over;             /* and said that the run is over for it */
byte first_of_run = 1;

/* The worker's. */
byte heard, oldest = 1, next_o = 1, unsent = 1, age, kept[MAXO + 1];
bit has[MAXD + 1], numbered_beat;
bit paused, over;

bit beaten, told, chaos;
byte slow = SLOW, resets = RESET, pauses = PAUSE, restarts = RESTART, newruns = NEWRUN,
     stops = STOP, fails = FAIL;
byte task_of[MAXD + 1], run_of[MAXD + 1];
byte i, a, b, c, e;
bit k, cutting;

#define OUR_RUN(x) ((x) >= first_of_run)
#define HANDS_FULL (has[1] + has[2] + has[3] + has[4] + has[5] > 0)
#define done (st[0] == SETTLED && st[N - 1] == SETTLED && oldest == next_o && !HANDS_FULL)
ltl live { <> done }
#define TAKES_PART (known && on_run && !heard_over)
#define DUE_TASK(t) (st[t] == FLY && lease[t] == 0 || \
    st[t] == READY && TAKES_PART && quiet == 0 && len(down) < 3)
#define DUE (DUE_TASK(0) || DUE_TASK(N - 1) || !paused && heard && (HANDS_FULL || unsent < next_o))

/* The feeder. */

inline settle(d)
{
    if
    :: OUR_RUN(run_of[d]) && st[task_of[d]] != SETTLED ->
        st[task_of[d]] = SETTLED; cur[task_of[d]] = 0; lease[task_of[d]] = 0
    :: else
    fi
}

inline lose(d)
{
    if
    :: OUR_RUN(run_of[d]) && st[task_of[d]] == FLY && cur[task_of[d]] == (d) ->
        st[task_of[d]] = READY; cur[task_of[d]] = 0; lease[task_of[d]] = 0
    :: else
    fi
}

#ifdef BUG_OLDEST_ONCE     /* looked at only when the worker joins */
#define COVERED_BEFORE false
#else
#define COVERED_BEFORE (OUR_RUN(a) && taken < b - 1)
#endif
/* A d of an earlier epoch; of several of one task the latest. A beat says whose d it is. */
#ifdef BUG_FIRST_CLAIM_STANDS
#define CLAIMS(d) (run_of[d] < feeder && st[task_of[d]] == READY)
#else
#define CLAIMS(d) (run_of[d] < feeder && (st[task_of[d]] == READY || \
    st[task_of[d]] == FLY && cur[task_of[d]] < (d)))
#endif
inline hear_beat()         /* a: to, b: oldest, c: held */
{
    silent = 0; on_run = OUR_RUN(a); heard_over = (c & SAYS_OVER) != 0;
    if
    :: !known -> known = 1; taken = b - 1; covered = taken
    :: known && COVERED_BEFORE -> taken = b - 1; covered = taken
    :: else
    fi;
    cancel = 0;
    for (i : 1 .. MAXD) {
        if
        :: !OUR_RUN(a) || !(c & BIT(i)) -> skip
        :: else ->
            if
            :: st[task_of[i]] == FLY && cur[task_of[i]] == i -> lease[task_of[i]] = LEASE
            :: quiet > 0 && CLAIMS(i) ->
                st[task_of[i]] = FLY; cur[task_of[i]] = i; lease[task_of[i]] = LEASE
            :: quiet == 0 && cur[task_of[i]] != i -> cancel = cancel | BIT(i)
            :: else
            fi
        fi
    }
    i = 0
}

inline hear(from)
{
    from?a,k,b,c;
    d_step {
    if
    :: k == BEAT -> hear_beat()
    :: k == OUTCOME && known && a == feeder && b == taken + 1 ->
        taken++;
        if
        :: c > FAILED -> lose(c - FAILED)
        :: c && c < FAILED -> settle(c)
        :: else                                 /* a beat that took a number */
        fi;
        covered = taken                         /* its line is written */
    :: else
    fi;
    a = 0; b = 0; c = 0; k = 0 }
}

#define MINE(t, d) (last_d >= d && task_of[d] == t && OUR_RUN(run_of[d]) && (has[d] || KEEPS(d)))
#define KEEPS(d) (kept[1] == d && oldest <= 1 || kept[2] == d && oldest <= 2 || \
    kept[3] == d && oldest <= 3 || kept[4] == d && oldest <= 4 || kept[5] == d && oldest <= 5)
#define NEEDLESS(t) (MINE(t, 1) || MINE(t, 2) || MINE(t, 3) || MINE(t, 4))

#define DISPATCH(t) \
    :: atomic { st[t] == READY && TAKES_PART && quiet == 0 && nfull(down) -> \
        assert(chaos || !NEEDLESS(t)); \
        last_d++; assert(last_d <= MAXD); task_of[last_d] = t; run_of[last_d] = feeder; \
        cur[t] = last_d; st[t] = FLY; lease[t] = LEASE; down!feeder,last_d,0,0 } \
    :: atomic { st[t] == FLY && lease[t] == 0 -> st[t] = READY; cur[t] = 0 }

active proctype Feeder()
{
end:
    do
    :: atomic { nempty(up) -> hear(up) }
    :: atomic { nempty(rest) -> hear(rest) }
    DISPATCH(0)
#if N > 1
    DISPATCH(1)
#endif
    :: atomic { !told && known && nfull(down) -> told = 1; down!feeder,0,covered,cancel; cancel = 0 }
    :: atomic { !told && known && full(down) && paused -> told = 1 }
    od
}

/* The worker. */

inline forget(upto)
{
    do
    :: oldest < next_o && oldest <= (upto) ->
        kept[oldest] = 0; oldest++; age = 0
    :: else -> break
    od;
    if :: unsent < oldest -> unsent = oldest :: else fi
}

#ifdef BUG_NO_REPEAT
#define REPEAT skip
#else
#define REPEAT unsent = oldest
#endif
#ifdef BUG_OVER_FOR_EVER   /* but for another run */
#define ANEW skip
#else
#define ANEW over = 0
#endif

inline drop_all()
{
    for (i : 1 .. MAXD) { has[i] = 0 }
    i = 0
}

inline follow()            /* a: who speaks */
{
    if
    :: a != heard && a >= first_of_run && heard && heard < first_of_run ->
        forget(MAXO);                           /* of another run: all of the old is dropped */
        over = 0;
        drop_all()
    :: else
    fi;
    if :: a != heard -> heard = a; ANEW; REPEAT :: else fi
}

#define STORES(d) \
    :: atomic { fails > 0 && !paused && has[d] && next_o < MAXO -> fails--; \
        has[d] = 0; kept[next_o] = d + FAILED; if :: oldest == next_o -> age = 0 :: else fi; \
        next_o++ } \
    :: atomic { !paused && has[d] && next_o < MAXO -> \
        has[d] = 0; kept[next_o] = d; if :: oldest == next_o -> age = 0 :: else fi; next_o++ }

active proctype Worker()
{
end:
    do
    :: atomic { !paused && nempty(down) -> down?a,b,c,e;
        d_step {
        if :: b == 0 -> follow() :: else fi;
        if
        :: a == heard && b && !over -> has[b] = 1
        :: a == heard && c == OVER -> over = 1; forget(MAXO); drop_all()
        :: a == heard && b == 0 && c != OVER ->
            forget(c);
            for (i : 1 .. MAXD) { if :: e & BIT(i) -> has[i] = 0 :: else fi }
            i = 0
        :: else
        fi;
        a = 0; b = 0; c = 0; e = 0 } }
    STORES(1)
    STORES(2)
    STORES(3)
    STORES(4)
    STORES(5)
    :: atomic { !paused && heard && unsent < next_o && nfull(up) ->
        if :: kept[unsent] -> up!heard,OUTCOME,unsent,kept[unsent] :: !kept[unsent] fi;
        unsent++ }
    :: atomic { !paused && !beaten && nfull(up) && !done ->
        beaten = 1;
        d_step {
        for (i : 1 .. MAXD) { if :: has[i] -> c = c | BIT(i) :: else fi }
        i = 0;
        if :: over -> c = c | SAYS_OVER :: else fi }
        if
#ifdef BUG_SHARED_NUMBERS  /* a beat takes a number too, and is never sent again */
        :: !numbered_beat && unsent == next_o && heard ->
            numbered_beat = 1;
            up!heard,OUTCOME,next_o,0;
            next_o++; unsent++
#endif
        :: up!heard,BEAT,oldest,c
        fi;
        c = 0 }
    od
}

/* Time, and what goes wrong. */

inline cut()               /* what was on its way: read, then lost from some point on, or late */
{
    i = len(up);
    do
    :: i > 0 -> up?a,k,b,c; i--;
        if
        :: !cutting -> up!a,k,b,c
        :: cutting = 1
        :: cutting
        fi
    :: else -> break
    od;
    if :: empty(rest) -> do :: nempty(up) -> up?a,k,b,c; rest!a,k,b,c :: empty(up) -> break od
       :: true
    fi;
    a = 0; b = 0; c = 0; k = 0; cutting = 0
}

inline feeder_dies()
{
    do :: up?a,k,b,c :: rest?a,k,b,c :: empty(up) && empty(rest) -> break od;
    feeder++; known = 0; on_run = 0; taken = 0; covered = 0; cancel = 0; silent = 0; told = 0; heard_over = 0;
    a = 0; b = 0; c = 0; k = 0;
    for (i : 0 .. N - 1) {
        if :: st[i] == FLY -> st[i] = READY :: else fi;
        cur[i] = 0; lease[i] = 0
    }
    i = 0
}

inline maybe_lose_last()   /* of what a dying feeder has sent */
{
    i = len(down);
    do
    :: i > 0 -> down?a,b,c,e; i--;
        if :: !cutting -> down!a,b,c,e :: cutting = 1 :: cutting fi
    :: else -> break
    od;
    a = 0; b = 0; c = 0; e = 0; cutting = 0
}

active proctype World()
{
end:
    do
    :: atomic { !done && (beaten || paused) && (told || !known) && (len(down) <= LATE || paused) &&
        len(up) <= LATE && len(rest) == 0 && (!DUE || slow > 0) && !(paused && !known) ->
        if :: DUE -> slow-- :: !DUE fi;
        d_step {
        beaten = 0; told = 0;
        for (i : 0 .. N - 1) { if :: lease[i] > 0 -> lease[i]-- :: else fi }
        i = 0;
        if :: quiet > 0 -> quiet-- :: else fi;
        if :: known -> silent++ :: else fi;
        if :: silent > LEASE -> known = 0; on_run = 0; silent = 0 :: else fi;
        if
        :: oldest < next_o && unsent == next_o && !paused ->
            age++;
            if :: age >= AGAIN -> age = 0; REPEAT :: else fi
        :: else
        fi } }
#if RESET > 0
    :: atomic { resets > 0 && nempty(up) && empty(rest) -> resets--; chaos = 1; cut() }
#endif
#if PAUSE > 0
    :: atomic { pauses > 0 && known && !done -> pauses--; chaos = 1; paused = 1 }
    :: atomic { paused && !known -> paused = 0 }
#endif
#if RESTART > 0
    :: atomic { restarts > 0 && !done -> restarts--;
        d_step { feeder_dies(); quiet = QUIET };
        maybe_lose_last() }
#endif
#if STOP > 0
    :: atomic { stops > 0 && !done && known && nfull(down) -> stops--;
        down!feeder,0,OVER,0;
        d_step { feeder_dies(); quiet = QUIET };
        maybe_lose_last() }
#endif
#if NEWRUN > 0
    :: atomic { newruns > 0 && !done -> newruns--;
        d_step {
        feeder_dies(); first_of_run = feeder;
        for (i : 0 .. N - 1) { st[i] = READY }
        i = 0 };
        maybe_lose_last() }
#endif
    od
}
