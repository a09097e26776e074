/* leaving.pml - who is asked to leave does leave, and leaves nothing undone.
 *
 * Uploader 0 is asked to leave, at any moment; uploader 1 stays (LAST_ONE: there is none). Two
 * fetchers, bodies of two chunks. News and beats arrive late, in order; leases are known at once,
 * as in core.pml, and so are claims after a restart. Every message is sent once, when there is
 * something to say, so the state graph has no cycles: who waits in vain is a dead end.
 *
 * At the end all is settled, each task with one line, nobody keeps anything, and all who were
 * asked have gone. Meanwhile: leaving costs no second fetch, unless something else goes wrong too.
 *
 * Faults, how many of each: F_LEAVES (fetcher 1 is asked to leave), F_DIES (fetcher 1), U_DIES
 * (uploader 0, leaving or not), JOIN (fetcher 1 comes only now, and has heard nothing), RESTART
 * (of the feeder), BOUND (uploader 0 does not wait for `done`).
 *
 * Not in it: marks, credit, o; a second TERM; other runs; links that lose something. */
#ifndef N
#define N 1
#endif
#ifndef LAST_ONE
#define LAST_ONE 0
#endif
#ifndef F_LEAVES
#define F_LEAVES 0
#endif
#ifndef F_DIES
#define F_DIES 0
#endif
#ifndef U_DIES
#define U_DIES 0
#endif
#ifndef JOIN
#define JOIN 0
#endif
#ifndef ALONE
#define ALONE 0            /* fetcher 0 is: there is no other */
#endif
#ifndef RESTART
#define RESTART 0
#endif
#ifndef BOUND
#define BOUND 0
#endif
#ifndef MAXD
#define MAXD 4             /* asserted to be enough */
#endif
#define READY 0            /* a task */
#define FLY 1
#define SETTLED 2
#define HERE 1             /* a worker, and what its beat says of it */
#define LEAVING 2
#define EMPTY 3            /* its last beat */
#define QUEUED 1           /* a d, to its fetcher */
#define BEGUN 2            /* no chunk is sent yet */
#define RUNNING 3          /* its first chunk is sent: open for uploader via[d] */
#define PASSED 4           /* its last chunk is sent; until it is known to be read */
#define OWED 5             /* a `failed` (lost) is owed for it */
#define OPEN 1             /* a d, to uploader via[d] */
#define HELD 2
#define KEPT 3             /* stored; a receipt to be sent */
#define SENT 4             /* and sent */
#define FIRST 1
#define LAST 2
#define CLOSED 3
#define BIT(d) (1 << (d))
#define PAIR(f, u) ((f) * 2 + (u))
#define FETCHERS (JOIN || ALONE -> 1 : 3)
#define UPLOADERS (LAST_ONE -> 1 : 3)

chan down[2] = [2] of { byte, byte };      /* to a fetcher: d; or 0, uploaders */
chan news[2] = [1] of { byte, byte };      /* to an uploader: fetchers, covered d's */
chan up[2] = [2] of { byte, byte };        /* of a fetcher: 0, what it says; or a lost d */
chan uup[2] = [2] of { byte, byte };       /* of an uploader: 0, what it says; or a stored d */
chan chunks[4] = [3] of { byte, byte };    /* d, what */

/* The feeder's. Uploaders, as told: listed | leaving << 2 | gone << 4. */
byte st[N], cur[N], last_d, lines[N];
byte fsays[2], usays[2], covered[2], gone, told[2], told_u[2], told_covered[2];

/* Fetchers'. */
byte fetcher[2], fsaid[2], knows[2];
byte has[MAXD + 1], whose[MAXD + 1], via[MAXD + 1];
bit said_closed[4];

/* Uploaders'. */
byte uploader[2], usaid[2], fetchers[2];
byte got[MAXD + 1];
bit closed[4];

byte task_of[MAXD + 1];
bit read_all[MAXD + 1];    /* its uploader has read its last chunk */
bit given[N];              /* handed out before */
bit excused[N];            /* given back, or never read: to be fetched by another */
bit chaos, asked, f_asked;
byte f_dies = F_DIES, u_dies = U_DIES, joins = JOIN, restarts = RESTART;
byte i, a, b;

#define CURRENT(d) (cur[task_of[d]] == (d))
#define NOBODY_HAS(d) (has[d] == 0 && got[d] == 0)
#define DONE_ALL (st[0] == SETTLED && st[N - 1] == SETTLED && NOBODY_HAS(1) && NOBODY_HAS(2) && \
    NOBODY_HAS(3) && NOBODY_HAS(4))
#define ALL_GONE (asked && !uploader[0] && (!F_LEAVES || f_asked && !fetcher[1]))
#define done (ALL_GONE && (LAST_ONE || DONE_ALL))
ltl live { <> done }

/* Evidence, known at once. */
#define IN_HAND(f, d) (fetcher[f] && (down[f]??[eval(d),_] || has[d] && whose[d] == (f)))
#define UNDER_WAY(d) (chunks[0]??[eval(d),LAST] || chunks[1]??[eval(d),LAST] || \
    chunks[2]??[eval(d),LAST] || chunks[3]??[eval(d),LAST])
#define REPORTED(d) (uup[0]??[eval(d),_] || uup[1]??[eval(d),_] || \
    up[0]??[eval(d),_] || up[1]??[eval(d),_])
#define EVIDENCE(d) (IN_HAND(0, d) || IN_HAND(1, d) || UNDER_WAY(d) || got[d] >= HELD || \
    REPORTED(d))

/* The feeder. */
#define LISTED (((usays[0] != 0) | (usays[1] != 0) << 1) | \
    ((usays[0] == LEAVING) | (usays[1] == LEAVING) << 1) << 2 | gone << 4)
#define ALIVE ((fsays[0] != 0) | (fsays[1] != 0) << 1)

#define DISPATCH(t, f) \
    :: atomic { st[t] == READY && fsays[f] == HERE && nfull(down[f]) && \
        (usays[0] == HERE || usays[1] == HERE) -> \
        assert(!given[t] || chaos || excused[t]); given[t] = 1; \
        last_d++; assert(last_d <= MAXD); task_of[last_d] = t; cur[t] = last_d; st[t] = FLY; \
        if :: fetcher[f] -> down[f]!last_d,0 :: else -> excused[t] = 1 fi }
#define NOTICED(f) (fetcher[f] || !fsays[f])
#define EXPIRE(t) \
    :: d_step { st[t] == FLY && !EVIDENCE(cur[t]) && NOTICED(0) && NOTICED(1) -> \
        st[t] = READY; cur[t] = 0 }
#define TELL(f) \
    :: atomic { fsays[f] && told[f] != LISTED && nfull(down[f]) -> \
        told[f] = LISTED; if :: fetcher[f] -> down[f]!0,told[f] :: else fi }
#define TELL_UPLOADER(u) \
    :: atomic { usays[u] && (told_u[u] != ALIVE || told_covered[u] != covered[u]) && \
        nfull(news[u]) -> \
        told_u[u] = ALIVE; told_covered[u] = covered[u]; \
        if :: uploader[u] -> news[u]!told_u[u],covered[u] :: else fi }
#define HEAR(f) \
    :: atomic { nempty(up[f]) -> up[f]?a,b; \
        d_step { \
        if \
        :: a && CURRENT(a) && st[task_of[a]] == FLY -> \
            st[task_of[a]] = READY; cur[task_of[a]] = 0; excused[task_of[a]] = excused[task_of[a]] || b \
        :: a == 0 && b == EMPTY -> fsays[f] = 0; told[f] = 0 \
        :: a == 0 && b != EMPTY -> fsays[f] = b \
        :: else \
        fi; \
        a = 0; b = 0 } }
#define HEAR_UPLOADER(u) \
    :: atomic { nempty(uup[u]) -> uup[u]?a,b; \
        d_step { \
        if \
        :: a -> \
            covered[u] = covered[u] | BIT(a); \
            if \
            :: st[task_of[a]] != SETTLED -> \
                st[task_of[a]] = SETTLED; cur[task_of[a]] = 0; lines[task_of[a]]++ \
            :: else \
            fi; \
            assert(lines[task_of[a]] == 1) \
        :: a == 0 && b == EMPTY -> usays[u] = 0; gone = gone | BIT(u) \
        :: a == 0 && b != EMPTY -> usays[u] = b \
        fi; \
        a = 0; b = 0 } }
/* A lease of silence. */
#define SILENT(f) \
    :: d_step { fsays[f] && !fetcher[f] && empty(up[f]) -> fsays[f] = 0; told[f] = 0 }
#define UPLOADER_SILENT(u) \
    :: d_step { usays[u] && !uploader[u] && empty(uup[u]) -> usays[u] = 0; gone = gone | BIT(u) }

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
    TELL(0)
    TELL(1)
    TELL_UPLOADER(0)
    TELL_UPLOADER(1)
    HEAR(0)
    HEAR(1)
    HEAR_UPLOADER(0)
    HEAR_UPLOADER(1)
    SILENT(0)
    SILENT(1)
    UPLOADER_SILENT(0)
    UPLOADER_SILENT(1)
    od
}

/* Fetchers. */

inline lose_uploader(f, u)
{
    for (i : 1 .. MAXD) {
        if
        :: whose[i] == f && via[i] == u && (has[i] == RUNNING || has[i] == PASSED) -> has[i] = OWED
        :: else
        fi
    }
    i = 0
}

#define ITS_LEAVING_SAID (fetcher[f] == LEAVING && fsaid[f] == LEAVING)
#define GIVES_BACK(d) (has[d] == QUEUED && ITS_LEAVING_SAID)
#define OPEN_FOR(u, d) (has[d] == RUNNING && whose[d] == f && via[d] == (u))
#define NONE_OPEN(u) (!OPEN_FOR(u, 1) && !OPEN_FOR(u, 2) && !OPEN_FOR(u, 3) && !OPEN_FOR(u, 4))
#ifdef BUG_BEGINS_NEW
#define MAY_BEGIN(u) (knows[f] & (1 << (u)))
#else
#define MAY_BEGIN(u) ((knows[f] & (5 << (u))) == (1 << (u)))
#endif
#ifdef BUG_CLOSED_TOO_EARLY
#define MAY_CLOSE(u) true
#else
#define MAY_CLOSE(u) NONE_OPEN(u)
#endif
#define SEND(u, d, what) \
        if :: uploader[u] -> chunks[PAIR(f, u)]!d,what :: else fi
#define BEGINS(d, u) \
    :: atomic { has[d] == BEGUN && whose[d] == f && MAY_BEGIN(u) && nfull(chunks[PAIR(f, u)]) -> \
        has[d] = RUNNING; via[d] = u; said_closed[PAIR(f, u)] = 0; SEND(u, d, FIRST) }
#define WORKS_ON(d) \
    :: d_step { has[d] == QUEUED && whose[d] == f && fetcher[f] == HERE -> has[d] = BEGUN } \
    BEGINS(d, 0) \
    BEGINS(d, 1) \
    :: atomic { has[d] == RUNNING && whose[d] == f && nfull(chunks[PAIR(f, via[d])]) -> \
        has[d] = PASSED; said_closed[PAIR(f, via[d])] = 0; SEND(via[d], d, LAST) } \
    :: d_step { has[d] == PASSED && whose[d] == f && read_all[d] -> has[d] = 0 } \
    :: atomic { whose[d] == f && (has[d] == OWED || GIVES_BACK(d) || GIVES_UP(d)) && \
        nfull(up[f]) -> up[f]!d,(has[d] != OWED); has[d] = 0 }
#ifdef BUG_KEEPS_WHAT_NOBODY_TAKES
#define GIVES_UP(d) false
#else                      /* begun, and no uploader stays to take it */
#define GIVES_UP(d) (has[d] == BEGUN && ITS_LEAVING_SAID && !MAY_BEGIN(0) && !MAY_BEGIN(1))
#endif
#define CLOSES(u) \
    :: atomic { fetcher[f] && (knows[f] & (4 << (u))) && !said_closed[PAIR(f, u)] && \
        MAY_CLOSE(u) && nfull(chunks[PAIR(f, u)]) -> \
        said_closed[PAIR(f, u)] = 1; SEND(u, 0, CLOSED) } \
    :: atomic { (knows[f] & (1 << (u))) && !uploader[u] && (told[f] & (1 << (u))) == 0 && \
        empty(down[f]) -> /* absent for a lease */ \
        d_step { lose_uploader(f, u); knows[f] = knows[f] & ~(5 << (u)) } }
#define HAS_NONE(d) (has[d] == 0 || whose[d] != f)

active [2] proctype Fetcher()
{
#define f (_pid - 1)
end:
    do
    :: atomic { nempty(down[f]) -> down[f]?a,b;
        d_step {
        if
        :: a -> has[a] = QUEUED; whose[a] = f
        :: else ->
            if :: b & 16 -> lose_uploader(f, 0) :: else fi;
            if :: b & 32 -> lose_uploader(f, 1) :: else fi;
            /* Absent is not gone. */
            knows[f] = (b & 15) | (knows[f] & ~(b | b << 2 | b >> 4 | b >> 2) & 15)
        fi;
        a = 0; b = 0 } }
    WORKS_ON(1)
    WORKS_ON(2)
    WORKS_ON(3)
    WORKS_ON(4)
    CLOSES(0)
    CLOSES(1)
    :: atomic { fetcher[f] && fsaid[f] != fetcher[f] && nfull(up[f]) ->
        fsaid[f] = fetcher[f]; up[f]!0,fsaid[f] }
    :: atomic { fetcher[f] == LEAVING && fsaid[f] == LEAVING && nfull(up[f]) &&
        HAS_NONE(1) && HAS_NONE(2) && HAS_NONE(3) && HAS_NONE(4) ->
        up[f]!0,EMPTY;
        fetcher[f] = 0;
        d_step {
        do :: down[f]?a,b -> if :: a -> excused[task_of[a]] = 1 :: else fi
           :: empty(down[f]) -> break od;
        a = 0; b = 0 } }
    od
#undef f
}

/* Uploaders. */

#define MINE(d) (via[d] == u)
#define STORES(d) \
    :: d_step { MINE(d) && got[d] == HELD -> got[d] = KEPT } \
    :: atomic { MINE(d) && got[d] == KEPT && nfull(uup[u]) -> got[d] = SENT; uup[u]!d,0 } \
    :: d_step { MINE(d) && got[d] == OPEN && !CURRENT(d) -> got[d] = 0   /* cancelled */ }
#ifdef BUG_PARTIAL_IS_NOTHING
#define HOLDS_NONE(d) (!MINE(d) || got[d] != HELD)
#else
#define HOLDS_NONE(d) (!MINE(d) || got[d] == 0 || got[d] >= KEPT)
#endif
#ifdef BUG_LEAVES_BEFORE_DONE
#define COVERED(d) true
#else
#define COVERED(d) (!MINE(d) || got[d] != KEPT && got[d] != SENT || BOUND && got[d] == SENT)
#endif
#ifdef BUG_WAITS_FOR_THE_DEAD
#define WAITED_FOR (fetchers[u] | FETCHERS)
#else
#define WAITED_FOR fetchers[u]
#endif
#ifdef BUG_NO_CLOSED
#define ALL_CLOSED true
#else
#define ALL_CLOSED ((WAITED_FOR & ~(closed[PAIR(0, u)] | closed[PAIR(1, u)] << 1)) == 0)
#endif
#define TAKES(f) \
    :: atomic { uploader[u] && nempty(chunks[PAIR(f, u)]) -> chunks[PAIR(f, u)]?a,b; \
        d_step { \
        closed[PAIR(f, u)] = (b == CLOSED); \
        if \
        :: b == FIRST -> got[a] = OPEN \
        :: b == LAST -> read_all[a] = 1; if :: got[a] == OPEN -> got[a] = HELD :: else fi \
        :: else \
        fi; \
        a = 0; b = 0 } }

inline uploader_ends(u)
{
    uploader[u] = 0;
    for (i : 1 .. MAXD) { if :: via[i] == u -> got[i] = 0 :: else fi }
    i = 0;
    do :: chunks[PAIR(0, u)]?a,b :: chunks[PAIR(1, u)]?a,b :: news[u]?a,b
       :: empty(chunks[PAIR(0, u)]) && empty(chunks[PAIR(1, u)]) && empty(news[u]) -> break od;
    a = 0; b = 0
}

active [2] proctype Uploader()
{
#define u (_pid - 3)
end:
    do
    TAKES(0)
    TAKES(1)
    STORES(1)
    STORES(2)
    STORES(3)
    STORES(4)
    :: atomic { nempty(news[u]) -> news[u]?a,b;
        d_step {
        fetchers[u] = a;
        for (i : 1 .. MAXD) {
            if :: via[i] == u && got[i] == SENT && (b & BIT(i)) -> got[i] = 0 :: else fi
        }
        i = 0; a = 0; b = 0 } }
    :: atomic { uploader[u] && usaid[u] != uploader[u] && nfull(uup[u]) ->
        usaid[u] = uploader[u]; uup[u]!0,usaid[u] }
    :: atomic { uploader[u] == LEAVING && usaid[u] == LEAVING && nfull(uup[u]) && ALL_CLOSED &&
        HOLDS_NONE(1) && HOLDS_NONE(2) && HOLDS_NONE(3) && HOLDS_NONE(4) &&
        COVERED(1) && COVERED(2) && COVERED(3) && COVERED(4) ->
        uup[u]!0,EMPTY;
        d_step { uploader_ends(u) } }
    od
#undef u
}

/* What happens. */

inline restart()
{
    do :: up[0]?a,b :: up[1]?a,b :: uup[0]?a,b :: uup[1]?a,b
       :: empty(up[0]) && empty(up[1]) && empty(uup[0]) && empty(uup[1]) -> break od;
    a = 0; b = 0; gone = 0;
    for (i : 0 .. 1) {
        fsays[i] = 0; usays[i] = 0; told[i] = 0; told_u[i] = 0; covered[i] = 0;
        told_covered[i] = 0; fsaid[i] = 0; usaid[i] = 0
    }
    for (i : 1 .. MAXD) { if :: got[i] == SENT -> got[i] = KEPT :: else fi }
    i = 0
}

active proctype World()
{
    d_step {
    fetcher[0] = HERE; fsaid[0] = HERE; fsays[0] = HERE;
    uploader[0] = HERE; usaid[0] = HERE; usays[0] = HERE;
    if :: !JOIN && !ALONE -> fetcher[1] = HERE; fsaid[1] = HERE; fsays[1] = HERE :: else fi;
    if :: !LAST_ONE -> uploader[1] = HERE; usaid[1] = HERE; usays[1] = HERE :: else fi;
    for (i : 0 .. 1) {
        fetchers[i] = FETCHERS; told_u[i] = FETCHERS;
        if :: fetcher[i] -> knows[i] = UPLOADERS; told[i] = UPLOADERS :: else fi
    }
    i = 0 }
end:
    do
    :: d_step { !asked && uploader[0] -> asked = 1; uploader[0] = LEAVING }
#if F_LEAVES > 0
    :: d_step { !f_asked && fetcher[1] -> f_asked = 1; fetcher[1] = LEAVING }
#endif
#if F_DIES > 0
    :: atomic { f_dies > 0 && fetcher[1] && !done -> f_dies--; chaos = 1; fetcher[1] = 0;
        d_step {
        for (i : 1 .. MAXD) { if :: whose[i] == 1 -> has[i] = 0 :: else fi }
        i = 0;
        do :: down[1]?a,b :: empty(down[1]) -> break od;
        a = 0; b = 0 }
        if                 /* what it has sent: all, none, or the first of it */
        :: true
        :: d_step { do :: chunks[2]?a,b :: empty(chunks[2]) -> break od; a = 0; b = 0 }
        :: d_step { len(chunks[2]) > 1 -> chunks[2]?a,b; i = a; a = b;
            do :: chunks[2]?b,b :: empty(chunks[2]) -> break od;
            chunks[2]!i,a; i = 0; a = 0; b = 0 }
        fi }
#endif
#if U_DIES > 0
    :: atomic { u_dies > 0 && uploader[0] && !done -> u_dies--; chaos = 1; asked = 1;
        d_step { uploader_ends(0) };
        if :: d_step { nempty(uup[0]) -> uup[0]?a,b; a = 0; b = 0 } :: true fi }
#endif
#if JOIN > 0
    :: d_step { joins > 0 -> joins--; chaos = 1; fetcher[1] = HERE }
#endif
#if RESTART > 0
    :: atomic { restarts > 0 && !done -> restarts--; chaos = 1;
        d_step { restart() };
        if :: d_step { nempty(down[0]) -> down[0]?a,b; a = 0; b = 0 } :: true fi;
        if :: d_step { nempty(news[0]) -> news[0]?a,b; a = 0; b = 0 } :: true fi }
#endif
    od
}

/* Nothing can happen any more: then it is because all is done. */
active proctype End()
{
    timeout -> assert(done)
}
