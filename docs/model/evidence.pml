/* evidence.pml - leases by evidence, from beats that arrive late.
 *
 * Feeder, two fetchers, an uploader (a second one after its crash), bodies of two chunks. The
 * feeder knows what beats say and nothing else. Time goes in rounds of one beat: `Tick` comes when
 * every live process has sent its beat, at most LATE messages a link are unread, and all that can
 * be done is done, but for SLOW rounds in which work takes longer. So `<> done` needs no fairness.
 *
 * Safe: without a fault nothing is dispatched twice. Live: all is settled, and nobody holds or
 * keeps open anything. What `done` makes of receipts is outcomes.pml's: here an outcome goes with
 * each beat until it is heard.
 *
 * n: only tasks and chunks take a number here (a task's is its d); news and idle messages carry
 * the last one taken, which orders them just so, and keeps the states finite.
 *
 * Faults, how many of each: FETCHER, UPLOADER (a crash; another uploader comes), RESET (a link),
 * PAUSE (the uploader stands for more than a lease, and comes back), MUTE (all that the feeder
 * sends to fetcher 0 is swallowed; its beats come), AMNESIA (the uploader dies while the feeder
 * restarts, all tasks being claimed: the new one has never heard it), RESTART (of the feeder, as
 * built: what is held claims its task; for QUIET rounds nothing is handed out or cancelled). */
#ifndef N
#define N 1
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef SLOW
#define SLOW 0
#endif
#ifndef FETCHER
#define FETCHER 0
#endif
#ifndef UPLOADER
#define UPLOADER 0
#endif
#ifndef RESET
#define RESET 0
#endif
#ifndef PAUSE
#define PAUSE 0
#endif
#ifndef MUTE
#define MUTE 0
#endif
#ifndef AMNESIA
#define AMNESIA 0
#endif
#ifndef RESTART
#define RESTART 0
#endif
#ifndef ENOUGH
#define ENOUGH (2 + N)     /* dispatches, asserted: nothing is handed out again and again */
#endif
#define MAXD 4
#ifdef BUG_LEASE_ONE_BEAT
#define LEASE 1
#else
#define LEASE 3
#endif
#ifdef BUG_NO_QUIET_TIME
#define QUIET 0
#else
#define QUIET 3
#endif
#define MOVES 2            /* rounds: a mark that has moved since is not standing */
#define READY 0
#define FLY 1
#define SETTLED 2
#define QUEUED 1           /* a d, to its fetcher */
#define RUNNING 2          /* its first chunk is sent */
#define PASSED 3           /* its last chunk is sent */
#define OWED 4             /* a `failed` (lost) is owed for it */
#define OPEN 1             /* a d, to the uploader */
#define HELD 2
#define STORED 3
#define REFUSED 4
#define FIRST 0            /* a chunk */
#define LAST 1
#define IDLE 2
#define BIT(d) (1 << ((d) - 1))
#define PAIR(f, u) ((f) * 2 + (u))

/* feeder -> fetcher: d; or 0, n, what uploaders 0, 1 have read, listed | gone << 2, cancel */
chan down[2] = [3] of { byte, byte, byte, byte, byte, byte };
chan up[2] = [3] of { bit, byte, byte, bit };   /* 0, mark, held, whether it moved; or 1, failed d */
chan chunks[4] = [3] of { byte, byte, byte };   /* d, what, n */
/* uploader -> feeder: read from fetchers 0, 1, held, open, stored, refused */
chan ubeats[2] = [2] of { byte, byte, byte, byte, byte, byte };
chan unews[2] = [2] of { byte };                /* cancel */

/* The feeder's. */
byte st[N], cur[N], lease[N], to[N];
byte last_d, sent_n[2], mark[2], stands[2], silent[2], usilent[2], rel[4], drop_f[2], drop_u[2];
bit heard[2], gone[2];

/* The fetchers'. */
bit dead[2], moved[2], knows[4];
byte read_n[2], chunk_n[4], absent[4];
byte has[MAXD + 1], whose[MAXD + 1], via[MAXD + 1], last_n[MAXD + 1];

/* The uploader's that lives; `who`: the first or the second. */
bit alive = 1, who, paused;
byte umark[4], got[MAXD + 1];

bit beaten[2], ubeaten, told, chaos;
byte slow = SLOW, fetcher_crashes = FETCHER, uploader_crashes = UPLOADER, resets = RESET,
     pauses = PAUSE, mutes = MUTE, amnesias = AMNESIA, restarts = RESTART,
     task_of[MAXD + 1], quiet;
bit muted;
byte i, j, a, b, c, e, h, o, s, l;
bit k, m, cutting;

#define CURRENT(d) (cur[task_of[d]] == (d))
#define LINKED(u) (alive && who == (u))
#define CUT_OFF(f) (muted && (f) == 0)

/* Work that holds up the clock: what is here can be done now. */
#define DUE_TASK(t) (st[t] == FLY && lease[t] == 0 || \
    st[t] == READY && quiet == 0 && (MAY_GET(0) || MAY_GET(1)))
#define DUE_D(d) (has[d] == OWED || got[d] == HELD && AT_WORK || \
    has[d] == RUNNING && LINKED(via[d]) || \
    has[d] == QUEUED && alive && knows[PAIR(whose[d], who)])
#define DUE (DUE_TASK(0) || DUE_TASK(N - 1) || DUE_D(1) || DUE_D(2) || DUE_D(3) || DUE_D(4) || \
    AT_WORK && len(chunks[who]) + len(chunks[2 + who]) > 0 || !alive)
#define NOBODY_HAS(d) (has[d] == 0 && got[d] == 0)
#define done (st[0] == SETTLED && st[N - 1] == SETTLED && NOBODY_HAS(1) && NOBODY_HAS(2) && \
    NOBODY_HAS(3) && NOBODY_HAS(4))
#define AT_WORK (alive && !paused)
ltl live { <> done }

/* Evidence. */

#ifdef BUG_STANDING_MARK
#define MAY_COME(f, d) (mark[f] < (d))
#else
#define MAY_COME(f, d) (mark[f] < (d) && stands[f] <= MOVES)
#endif
#ifdef BUG_ANY_LIVE
#define UNDER_WAY(f, t) (true)
#else
#define UNDER_WAY(f, t) (to[t] == (f) && MAY_COME(f, cur[t]))
#endif
#ifdef BUG_OPEN_IS_EVIDENCE
#define EVIDENCE(h, o) ((h) | (o))
#else
#define EVIDENCE(h, o) (h)
#endif
#ifdef BUG_NO_CANCEL
#define CANCEL(x) 0
#else
#define CANCEL(x) x
#endif

#ifdef BUG_CANCELS_AT_ONCE
#define CANCELS true
#else
#define CANCELS (quiet == 0)
#endif
inline not_current(x, into)
{
    into = 0;
    for (i : 1 .. MAXD) {
        if :: ((x) & BIT(i)) && !CURRENT(i) && CANCELS -> into = into | BIT(i) :: else fi
    }
    i = 0
}

/* While it is quiet, all d's are of an earlier epoch; of several of one task the latest wins. */
inline claim(x)
{
    for (i : 1 .. MAXD) {
        if
        :: quiet > 0 && ((x) & BIT(i)) && (st[task_of[i]] == READY ||
            st[task_of[i]] == FLY && cur[task_of[i]] < i) ->
            st[task_of[i]] = FLY; cur[task_of[i]] = i; lease[task_of[i]] = LEASE
        :: else
        fi
    }
    i = 0
}

inline refresh(x)
{
    for (j : 0 .. N - 1) {
        if :: st[j] == FLY && ((x) & BIT(cur[j])) -> lease[j] = LEASE :: else fi
    }
    j = 0
}

inline land(d, into)
{
    if
    :: st[task_of[d]] == FLY && CURRENT(d) && into == READY ->
        assert(chaos); st[task_of[d]] = READY; cur[task_of[d]] = 0; lease[task_of[d]] = 0
    :: into == SETTLED && st[task_of[d]] != SETTLED ->
        st[task_of[d]] = SETTLED; cur[task_of[d]] = 0; lease[task_of[d]] = 0
    :: else
    fi
}

inline hear_fetcher(f)
{
    up[f]?k,a,h,m;
    d_step {
    if
    :: k == 1 -> land(a, READY)
    :: k == 0 ->
        silent[f] = 0;
        if :: a > mark[f] -> mark[f] = a :: else fi;
        if :: m -> stands[f] = 0 :: else fi;
        for (j : 0 .. N - 1) {
            if :: st[j] == FLY && UNDER_WAY(f, j) -> lease[j] = LEASE :: else fi
        }
        refresh(h);
        claim(h);
        not_current(h, drop_f[f])
    fi;
    k = 0; a = 0; h = 0; m = 0 }
}

inline hear_uploader(u)
{
    ubeats[u]?a,b,h,o,s,l;
    d_step {
    heard[u] = 1; usilent[u] = 0; gone[u] = 0;
    rel[PAIR(0, u)] = a; rel[PAIR(1, u)] = b;
    refresh(EVIDENCE(h, o));
    claim(h);
    for (e : 1 .. MAXD) {
        if :: s & BIT(e) -> land(e, SETTLED) :: else fi;
        if :: l & BIT(e) -> land(e, READY) :: else fi
    }
    not_current(CANCEL(h | o), drop_u[u]);
    a = 0; b = 0; e = 0; h = 0; o = 0; s = 0; l = 0 }
}

/* A fetcher whose mark stands gets nothing. */
#ifdef BUG_GIVE_THOUGH_MARK_STANDS
#define GETS_TASKS(f) true
#else
#define GETS_TASKS(f) (stands[f] <= MOVES)
#endif
#define AT_IT(d, t) (last_d >= d && task_of[d] == (t) && \
    (has[d] == QUEUED || has[d] == RUNNING || got[d] == HELD || got[d] == STORED))
#define NEEDLESS(t) (AT_IT(1, t) || AT_IT(2, t) || AT_IT(3, t) || AT_IT(4, t))
#define MAY_GET(f) (silent[f] < LEASE && GETS_TASKS(f))
#define DISPATCH(t, f) \
    :: atomic { st[t] == READY && quiet == 0 && MAY_GET(f) && nfull(down[f]) && \
        (f == 0 || last_d || MUTE) -> \
        assert(chaos || !NEEDLESS(t)); \
        last_d++; assert(last_d <= ENOUGH); task_of[last_d] = t; cur[t] = last_d; to[t] = f; \
        st[t] = FLY; lease[t] = LEASE; sent_n[f] = last_d; \
        if :: dead[f] || CUT_OFF(f) :: else -> down[f]!last_d,0,0,0,0,0 fi }
#define EXPIRE(t) :: atomic { st[t] == FLY && lease[t] == 0 -> \
        assert(chaos); st[t] = READY; cur[t] = 0 }
#ifdef BUG_NEWS_MOVE_NO_MARK
#define NEWS_N(f) 0
#else
#define NEWS_N(f) sent_n[f]
#endif
#define TELL(f) \
        if \
        :: dead[f] || CUT_OFF(f) \
        :: else -> down[f]!0,NEWS_N(f),rel[PAIR(f, 0)],rel[PAIR(f, 1)], \
            heard[0] | heard[1] << 1 | gone[0] << 2 | gone[1] << 3,CANCEL(drop_f[f]) \
        fi; \
        drop_f[f] = 0

active proctype Feeder()
{
end:
    do
    DISPATCH(0, 0)
    DISPATCH(0, 1)
    EXPIRE(0)
#if N > 1
    DISPATCH(1, 0)
    DISPATCH(1, 1)
    EXPIRE(1)
#endif
    :: atomic { nempty(up[0]) -> hear_fetcher(0) }
    :: atomic { nempty(up[1]) -> hear_fetcher(1) }
    :: atomic { nempty(ubeats[0]) -> hear_uploader(0) }
#if UPLOADER > 0 || AMNESIA > 0
    :: atomic { nempty(ubeats[1]) -> hear_uploader(1) }
#endif
    :: atomic { !told && (ubeaten || !AT_WORK) && nfull(down[0]) && nfull(down[1]) && (nfull(unews[who]) || !AT_WORK) -> told = 1;
        TELL(0);
        TELL(1);
        if
        :: alive && heard[who] && len(unews[who]) < 2 -> unews[who]!drop_u[who]; drop_u[who] = 0
        :: !(alive && heard[who] && len(unews[who]) < 2)
        fi }
    od
}

/* Fetchers. */

inline lose_uploader(f, u)
{
    knows[PAIR(f, u)] = 0;
    for (i : 1 .. MAXD) {
        if
        :: whose[i] == f && via[i] == u && (has[i] == RUNNING || has[i] == PASSED) -> has[i] = OWED
        :: else
        fi
    }
    i = 0
}

#ifdef BUG_LISTED_FOR_EVER
#define TOO_LONG_ABSENT(f, u) false
#else
#define TOO_LONG_ABSENT(f, u) (absent[PAIR(f, u)] > LEASE)
#endif
inline hear_of(f, u, x)    /* x: what it has read of us */
{
    if
    :: l & (1 << u) -> knows[PAIR(f, u)] = 1; absent[PAIR(f, u)] = 0
    :: !(l & (1 << u)) && knows[PAIR(f, u)] && ((l & (4 << u)) || TOO_LONG_ABSENT(f, u)) ->
        lose_uploader(f, u)
    :: else
    fi;
    for (i : 1 .. MAXD) {
        if
        :: whose[i] == f && has[i] == PASSED && via[i] == u && (x) >= last_n[i] -> has[i] = 0
        :: else
        fi
    }
    i = 0
}

inline listen(f)
{
    down[f]?a,e,b,c,l,h;
    d_step {
    moved[f] = 1;
    if
    :: a > read_n[f] -> read_n[f] = a; has[a] = QUEUED; whose[a] = f
    :: a == 0 ->
        if :: e > read_n[f] -> read_n[f] = e :: else fi;
        for (i : 1 .. MAXD) {
            if :: (h & BIT(i)) && whose[i] == f -> has[i] = 0 :: else fi
        }
        hear_of(f, 0, b);
        hear_of(f, 1, c)
    :: else
    fi;
    a = 0; b = 0; c = 0; e = 0; h = 0; l = 0 }
}

#define SEND_CHUNK(d, f, what) \
        chunk_n[PAIR(f, who)]++; chunks[PAIR(f, who)]!d,what,chunk_n[PAIR(f, who)]
#define WORKS_ON(d) \
    :: atomic { has[d] == QUEUED && whose[d] == f && alive && knows[PAIR(f, who)] && \
        nfull(chunks[PAIR(f, who)]) -> \
        has[d] = RUNNING; via[d] = who; SEND_CHUNK(d, f, FIRST) } \
    :: atomic { has[d] == RUNNING && whose[d] == f && LINKED(via[d]) && \
        nfull(chunks[PAIR(f, who)]) -> \
        has[d] = PASSED; SEND_CHUNK(d, f, LAST); last_n[d] = chunk_n[PAIR(f, who)] } \
    :: atomic { has[d] == OWED && whose[d] == f && nfull(up[f]) -> has[d] = 0; up[f]!1,d,0,0 }

/* A message when a beat passes without one: what is before it is read or lost. */
#ifdef BUG_NO_IDLE
#define IDLE_DUE(f, u) false
#else
#define IDLE_DUE(f, u) (knows[PAIR(f, u)] && LINKED(u) && len(chunks[PAIR(f, u)]) == 0)
#endif
#define SEND_IDLE(f, u) \
        if \
        :: IDLE_DUE(f, u) -> chunks[PAIR(f, u)]!0,IDLE,chunk_n[PAIR(f, u)] \
        :: !IDLE_DUE(f, u) \
        fi

active [2] proctype Fetcher()
{
#define f (_pid - 1)
end:
    do
    :: atomic { nempty(down[f]) -> listen(f) }
    WORKS_ON(1)
    WORKS_ON(2)
    WORKS_ON(3)
    WORKS_ON(4)
    :: atomic { !dead[f] && !beaten[f] && (f == 0 || beaten[0] || dead[0]) && nfull(up[f]) && !done ->
        beaten[f] = 1;
        d_step {
        for (i : 1 .. MAXD) {
            if :: has[i] && has[i] != OWED && whose[i] == f -> h = h | BIT(i) :: else fi
        }
        i = 0 }
        up[f]!0,read_n[f],h,moved[f];
        moved[f] = 0; h = 0;
        SEND_IDLE(f, 0);
        SEND_IDLE(f, 1) }
    od
#undef f
}

/* The uploader. */

inline take(f)
{
    chunks[PAIR(f, who)]?a,b,c;
    d_step {
    umark[PAIR(f, who)] = c;
    if
    :: b == FIRST && got[a] == 0 -> got[a] = OPEN
    :: b == LAST && got[a] == OPEN -> got[a] = HELD
    :: b == LAST && got[a] == 0 -> got[a] = REFUSED     /* at the wrong offset */
    :: else
    fi;
    a = 0; b = 0; c = 0 }
}

#define COVERED(d) (st[task_of[d]] == SETTLED || cur[task_of[d]] && !CURRENT(d))

active proctype Uploader()
{
end:
    do
    :: atomic { AT_WORK && nempty(chunks[PAIR(0, who)]) -> take(0) }
    :: atomic { AT_WORK && nempty(chunks[PAIR(1, who)]) -> take(1) }
    :: d_step { AT_WORK && got[1] == HELD -> got[1] = STORED }
    :: d_step { AT_WORK && got[2] == HELD -> got[2] = STORED }
    :: d_step { AT_WORK && got[3] == HELD -> got[3] = STORED }
    :: d_step { AT_WORK && got[4] == HELD -> got[4] = STORED }
    :: atomic { AT_WORK && nempty(unews[who]) -> unews[who]?h;
        d_step {
        for (i : 1 .. MAXD) {
            if :: (h & BIT(i)) && got[i] <= HELD -> got[i] = 0 :: else fi
        }
        i = 0; h = 0 } }
    :: atomic { AT_WORK && !ubeaten && (beaten[1] || dead[1]) && nfull(ubeats[who]) && !done ->
        ubeaten = 1;
        d_step {
        for (i : 1 .. MAXD) {
            if                              /* covered, for all that this model is about */
            :: got[i] >= STORED && COVERED(i) -> got[i] = 0
            :: got[i] == HELD -> h = h | BIT(i)
            :: got[i] == OPEN -> o = o | BIT(i)
            :: got[i] == STORED -> s = s | BIT(i)
            :: got[i] == REFUSED -> l = l | BIT(i)
            :: else
            fi
        }
        i = 0 }
        ubeats[who]!umark[PAIR(0, who)],umark[PAIR(1, who)],h,o,s,l;
        h = 0; o = 0; s = 0; l = 0 }
    od
}

/* Time, and what goes wrong. */

inline older(x, most)
{
    if :: x <= most -> x++ :: else fi
}

inline cut(c)              /* what was under way from some point on is lost */
{
    i = len(c);
    do
    :: i > 0 -> c?a,b,e; i--;
        if :: !cutting -> c!a,b,e :: cutting = 1 :: cutting -> skip fi
    :: else -> break
    od;
    a = 0; b = 0; e = 0; cutting = 0
}

inline cut_inbox(f)
{
    i = len(down[f]);
    do
    :: i > 0 -> down[f]?a,e,b,c,l,h; i--;
        if :: !cutting -> down[f]!a,e,b,c,l,h :: cutting = 1 :: cutting -> skip fi
    :: else -> break
    od;
    a = 0; b = 0; c = 0; e = 0; h = 0; l = 0; cutting = 0
}

inline uploader_dies()
{
    chaos = 1; alive = 0; paused = 0; ubeaten = 0;
    for (i : 1 .. MAXD) { got[i] = 0 }
    i = 0;
    do :: chunks[0]?a,b,e :: chunks[2]?a,b,e
       :: empty(chunks[0]) && empty(chunks[2]) -> break od;
    do :: unews[0]?h :: empty(unews[0]) -> break od;
    a = 0; b = 0; e = 0; h = 0
}

#define IDLE_HANDS(d) (has[d] == 0 || whose[d] != 0)
#define FEW(c) (len(c) <= LATE)
active proctype World()
{
end:
    do
    :: atomic { (beaten[0] || dead[0]) && (beaten[1] || dead[1]) && (ubeaten || !AT_WORK) && told &&
        len(down[0]) + len(down[1]) == 0 && FEW(up[0]) && FEW(up[1]) && FEW(ubeats[0]) &&
        FEW(ubeats[1]) && (len(unews[who]) == 0 || !AT_WORK) && !done && !(paused && gone[who]) && (!DUE || slow > 0) ->
        if :: DUE -> slow-- :: !DUE fi;
        d_step {
        beaten[0] = 0; beaten[1] = 0; ubeaten = 0; told = 0;
        if :: quiet > 0 -> quiet-- :: else fi;
        for (i : 0 .. N - 1) { if :: lease[i] > 0 -> lease[i]-- :: else fi }
        for (i : 0 .. 1) {
            older(stands[i], MOVES); older(silent[i], LEASE);
            if
            :: heard[i] ->
                older(usilent[i], LEASE);
                if :: usilent[i] > LEASE -> heard[i] = 0; gone[i] = 1 :: else fi
            :: else
            fi
        }
        for (i : 0 .. 3) { if :: knows[i] -> older(absent[i], LEASE) :: else fi }
        i = 0 } }
#if FETCHER > 0
    :: atomic { fetcher_crashes > 0 && !done -> fetcher_crashes--;
        chaos = 1; dead[0] = 1;
        d_step {
        for (i : 1 .. MAXD) { if :: whose[i] == 0 -> has[i] = 0 :: else fi }
        i = 0;
        do :: down[0]?a,e,b,c,l,h :: empty(down[0]) -> break od;
        a = 0; b = 0; c = 0; e = 0; h = 0; l = 0 }
        cut(chunks[0]);
        if :: nempty(up[0]) -> up[0]?k,a,h,m; k = 0; a = 0; h = 0; m = 0 :: true fi }
#endif
#if RESET > 0
    :: atomic { resets > 0 && nempty(down[0]) -> resets--; chaos = 1; cut_inbox(0) }
    :: atomic { resets > 0 && nempty(chunks[0]) -> resets--; chaos = 1; cut(chunks[0]) }
    :: atomic { resets > 0 && nempty(up[0]) -> resets--; chaos = 1; up[0]?k,a,h,m;
        k = 0; a = 0; h = 0; m = 0 }
#endif
#if UPLOADER > 0
    :: atomic { uploader_crashes > 0 && who == 0 && !done -> uploader_crashes--;
        d_step { uploader_dies() };
        if :: nempty(ubeats[0]) -> ubeats[0]?a,b,h,o,s,l; a = 0; b = 0; h = 0; o = 0; s = 0; l = 0
           :: true fi }
#endif
#if AMNESIA > 0
    :: d_step { amnesias > 0 && who == 0 && !done -> amnesias--;
        uploader_dies();
        do :: ubeats[0]?a,b,h,o,s,l :: empty(ubeats[0]) -> break od;
        a = 0; b = 0; h = 0; o = 0; s = 0; l = 0;
        heard[0] = 0; gone[0] = 0; usilent[0] = 0 }
#endif
#if RESTART > 0
    :: atomic { restarts > 0 && !done -> restarts--;
        d_step {
        do :: up[0]?k,a,h,m :: up[1]?k,a,h,m :: ubeats[0]?a,b,h,o,s,l
           :: empty(up[0]) && empty(up[1]) && empty(ubeats[0]) -> break od;
        k = 0; a = 0; b = 0; h = 0; m = 0; o = 0; s = 0; l = 0;
        for (i : 0 .. N - 1) {
            if :: st[i] == FLY -> st[i] = READY :: else fi;
            cur[i] = 0; lease[i] = 0
        }
        for (i : 0 .. 1) {
            heard[i] = 0; gone[i] = 0; usilent[i] = 0; silent[i] = LEASE; drop_f[i] = 0;
            drop_u[i] = 0; stands[i] = 0
        }
        for (i : 0 .. 3) { rel[i] = 0 }
        i = 0; quiet = QUIET };
        cut_inbox(0) }
#endif
#if UPLOADER > 0 || AMNESIA > 0
    :: atomic { !alive -> alive = 1; who = 1 }
#endif
#if PAUSE > 0
    :: atomic { pauses > 0 && alive && heard[who] && !done -> pauses--; chaos = 1; paused = 1 }
    :: atomic { paused && gone[who] -> paused = 0 }
#endif
#if MUTE > 0
    :: atomic { mutes > 0 && !done && IDLE_HANDS(1) && IDLE_HANDS(2) && IDLE_HANDS(3) && IDLE_HANDS(4) -> mutes--; chaos = 1; muted = 1;
        do :: down[0]?a,e,b,c,l,h :: empty(down[0]) -> break od;
        a = 0; b = 0; c = 0; e = 0; h = 0; l = 0 }
#endif
    od
}
