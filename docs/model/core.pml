/* core.pml - custody: who has a task, and what is left of it after a crash.
 *
 * Feeder (window, dispatch d, settle once, journal), two fetchers, an uploader, bodies of two
 * chunks assembled by d. What beats would tell is taken as known at once (evidence.pml does
 * without), so a lease runs out when nobody has d, or, SPURIOUS times, at any moment.
 * Each attempt fetches other bytes: the digest of a body is its d.
 *
 * Faults, how many of each: FETCHER, UPLOADER, FEEDER (POWER: its host's power), RESET (a link),
 * SPURIOUS, FAIL (a fetch). The state graph has no cycles: a run that stops short of `done` is an
 * invalid end state. The invariants I1, I2, ... are marked where they are asserted. */
#ifndef N
#define N 2
#endif
#ifndef W
#define W N                /* window */
#endif
#ifndef RETRY
#define RETRY 1
#endif
#ifndef FETCHER
#define FETCHER 0
#endif
#ifndef UPLOADER
#define UPLOADER 0
#endif
#ifndef FEEDER
#define FEEDER 0
#endif
#ifndef RESET
#define RESET 0
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif
#ifndef FAIL
#define FAIL 0
#endif
#define MAXD 7             /* asserted to be enough */
#define NOBODY 2
#define BIT(t) (1 << (t))

#define UNREAD 0           /* a task, to the feeder */
#define READY 1
#define FLY 2
#define SETTLED 3
#define NONE 0             /* a d, to the uploader */
#define OPEN 1             /* its first chunk is here */
#define HELD 2             /* all of it */
#define KEPT 3             /* stored; a receipt to be sent */
#define SENT 4             /* and sent */

chan tasks[2] = [1] of { byte };        /* d */
chan chunks[2] = [2] of { byte, bit };  /* d, last */
chan failed[2] = [1] of { byte, bit };  /* d, lost */
chan stored = [1] of { byte, byte };    /* d, digest in the store */

/* The feeder's. */
byte st[N], cur[N], tries[N], next, size, last_d;
bit put_down;              /* the next checkpoint's contents are taken */
byte put_next, put_open, put_len;

/* On its disk: the manifest (`synced` of its `lines` survive a power loss), the checkpoint. */
byte lines, synced, line_task[N + 1], line_digest[N + 1];   /* digest 0: failed */
byte ck_next, ck_open, ck_len;

/* A fetcher's: the attempt it runs, whether its first chunk is sent, whether its uploader died. */
byte run_d[2];
bit begun[2], orphan[2];

/* The uploader's, by d (by task, if it errs), and the store. */
byte up[MAXD + 1], head[MAXD + 1], receipt[MAXD + 1], store[N];

/* Ghosts. */
byte task_of[MAXD + 1], owner[N], highest;
byte fetcher_crashes = FETCHER, uploader_crashes = UPLOADER, feeder_crashes = FEEDER,
     resets = RESET, spurious = SPURIOUS, fails = FAIL;
byte i, d, t, x;
bit last, lost, hit;

#define done (st[0] == SETTLED && st[N-1] == SETTLED)
ltl live { <> done }

#ifdef BUG_BY_TASK
#define SLOT(d) (task_of[d] + 1)
#else
#define SLOT(d) (d)
#endif

/* Evidence, known at once. A partial is none: nobody may be left who sends the rest. */
#define IN_HAND(f, d) (f != NOBODY && \
    (tasks[f]??[eval(d)] || run_d[f] == d || chunks[f]??[eval(d),_]))
#define EVIDENCE(t) (IN_HAND(owner[t], cur[t]) || up[SLOT(cur[t])] >= HELD)
#define PARTIAL(f) (begun[f] && !orphan[f])

inline in_manifest(task, from, to)      /* into hit */
{
    hit = 0;
    i = from;
    do
    :: i < to -> hit = hit || line_task[i] == task; i++
    :: else -> break
    od;
    i = 0
}

inline land(task)
{
    cur[task] = 0;
    owner[task] = NOBODY
}

inline append(task, digest)
{
    in_manifest(task, 0, lines);
    assert(!hit);                                       /* I1: one line a task */
    assert(digest == 0 || store[task] != 0);            /* I2: committed before */
    assert(digest == 0 || store[task] == digest);       /* I6 */
    line_task[lines] = task;
    line_digest[lines] = digest;
    lines++;
    st[task] = SETTLED;
    land(task);
    size--
}

/* I3: what was read is in the window or in the manifest, and never in both. */
inline check_custody()
{
    t = 0;
    do
    :: t < N ->
        in_manifest(t, 0, lines);
        assert(hit == (st[t] == SETTLED));
        assert((t >= next) == (st[t] == UNREAD));
        t++
    :: else -> break
    od;
    t = 0; hit = 0
}

/* I3 of the pair on disk: up to the recorded length it is the same, whatever came after. */
inline check_journal()
{
    assert(lines >= ck_len);
    t = 0;
    do
    :: t < N ->
        in_manifest(t, 0, ck_len);
        assert(t >= ck_next || hit != ((ck_open & BIT(t)) != 0));
        assert(t < ck_next || !hit);
        t++
    :: else -> break
    od;
    t = 0; hit = 0
}

inline read_list()
{
    do
    :: next < N && size < W -> st[next] = READY; size++; next++
    :: else -> break
    od
}

/* The window first, then the inbox: a receipt of a line not read again yet would be dropped. */
inline restart()
{
    next = 0; size = 0; put_down = 0; put_next = 0; put_open = 0; put_len = 0;
    t = 0;
    do
    :: t < N -> land(t); tries[t] = 0; st[t] = UNREAD; t++
    :: else -> break
    od;
    t = 0;
    do
    :: t < N ->
        in_manifest(t, ck_len, lines);
        if
        :: t < ck_next && (ck_open & BIT(t)) && !hit -> st[t] = READY; size++
        :: t < ck_next && !((ck_open & BIT(t)) && !hit) -> st[t] = SETTLED
        :: t >= ck_next && hit && t == next -> st[t] = SETTLED
        :: t >= ck_next && !hit && t == next && size < W -> st[t] = READY; size++
        :: else -> skip                                 /* read later */
        fi;
        if :: st[t] != UNREAD -> next = t + 1 :: else fi;
        t++
    :: else -> break
    od;
    t = 0; hit = 0;
#ifdef BUG_D_RESTARTS
    last_d = 0
#endif
}

/* A link is cut: what was under way from some point on is lost. */
inline cut(c)
{
    if
    :: len(c) == 2 -> c?d,last; if :: c!d,last :: skip fi; c?d,last
    :: len(c) == 1 -> c?d,last
    :: else
    fi;
    d = 0; last = 0
}

inline drop(s)
{
    up[s] = NONE; head[s] = 0; receipt[s] = 0
}

inline forget_receipts()   /* those on their way: they are sent again */
{
    i = 1;
    do
    :: i <= MAXD -> if :: up[i] == SENT -> up[i] = KEPT :: else fi; i++
    :: else -> break
    od;
    i = 0
}

/* The fetchers are alike: the first task goes to the first of them. */
#define DISPATCH(t, f) :: atomic { st[t] == READY && nfull(tasks[f]) && (f == 0 || highest) -> \
    last_d++; assert(last_d <= MAXD); \
    assert(last_d > highest); highest = last_d;          /* I7 */ \
    task_of[last_d] = t; owner[t] = f; cur[t] = last_d; st[t] = FLY; tasks[f]!last_d }

#define EXPIRE(t) :: atomic { st[t] == FLY && (spurious > 0 || !EVIDENCE(t)) -> \
    if :: EVIDENCE(t) -> spurious-- :: else fi; st[t] = READY; land(t) }

#ifdef BUG_OFFSET_ONLY
#define WINDOW_BIT(t) 0
#else
#define WINDOW_BIT(t) ((st[t] == READY || st[t] == FLY) << (t))
#endif

active proctype Feeder()
{
end:
    do
    :: atomic { next < N && size < W -> read_list() }
    DISPATCH(0, 0)
    DISPATCH(0, 1)
    EXPIRE(0)
#if N > 1
    DISPATCH(1, 0)
    DISPATCH(1, 1)
    EXPIRE(1)
#endif
    :: atomic { nempty(stored) -> d_step { stored?d,x;     /* of any attempt */
        t = task_of[d];
        if
#ifdef BUG_NO_SETTLE_ONCE
        :: st[t] != UNREAD
#else
        :: st[t] == READY || st[t] == FLY
#endif
            -> append(t, x)
        :: else
        fi;
        if :: up[SLOT(d)] == SENT -> drop(SLOT(d)) :: else fi;
        d = 0; x = 0; t = 0; check_custody() } }
#define HEAR_FAILED(f) \
    :: atomic { nempty(failed[f]) -> d_step { failed[f]?d,lost; \
        t = task_of[d]; \
        if \
        :: CURRENT && lost -> st[t] = READY; land(t) \
        :: CURRENT && !lost -> \
            tries[t]++; \
            if \
            :: tries[t] > RETRY -> \
                assert(cur[t] == d);     /* given up for what happened to this attempt */ \
                append(t, 0) \
            :: else -> st[t] = READY; land(t) \
            fi \
        :: else \
        fi; \
        d = 0; t = 0; lost = 0; check_custody() } }
#ifdef BUG_STALE_FAILURE
#define CURRENT (st[t] == FLY)
#else
#define CURRENT (st[t] == FLY && cur[t] == d)
#endif
    HEAR_FAILED(0)
    HEAR_FAILED(1)
#if FEEDER > 0
    /* Contents and length of one moment; fdatasync; only then the checkpoint. */
    :: d_step { feeder_crashes > 0 && !put_down && (ck_next != next || ck_len != lines) ->
        put_down = 1; put_next = next; put_len = lines;
        put_open = WINDOW_BIT(0) | WINDOW_BIT(N - 1);
#ifndef BUG_CHECKPOINT_FIRST
        synced = lines
#endif
        }
    :: d_step { feeder_crashes > 0 && put_down ->
        put_down = 0; ck_next = put_next; ck_open = put_open; ck_len = put_len;
        put_next = 0; put_open = 0; put_len = 0 }
    :: atomic { feeder_crashes > 0 && !done -> feeder_crashes--;
#ifdef POWER
        do :: lines > synced -> lines--; line_task[lines] = 0; line_digest[lines] = 0
           :: break od;
        i = 0;
#endif
        d_step { check_journal();
        do :: failed[0]?d,lost :: failed[1]?d,lost :: stored?d,x
           :: empty(failed[0]) && empty(failed[1]) && empty(stored) -> break od;
        d = 0; lost = 0; x = 0;
        forget_receipts(); restart() }
        if :: nempty(tasks[0]) -> tasks[0]?d :: skip fi;
        if :: nempty(tasks[1]) -> tasks[1]?d :: skip fi;
        d = 0;
        d_step { check_custody() } }
#endif
    od
}

/* A fetcher: it reads, sends two chunks, and has d in its list until the last one is read. */
active [2] proctype Fetcher()
{
#define f _pid - 1
end:
    do
    :: atomic { run_d[f] == 0 && nempty(tasks[f]) -> tasks[f]?run_d[f] }
    :: atomic { run_d[f] && !orphan[f] && nfull(chunks[f]) ->
        chunks[f]!run_d[f],begun[f];
        if :: begun[f] -> run_d[f] = 0 :: else fi;
        begun[f] = !begun[f] }
    :: atomic { run_d[f] && cur[task_of[run_d[f]]] != run_d[f] ->       /* cancelled */
        run_d[f] = 0; begun[f] = 0; orphan[f] = 0 }
    :: atomic { orphan[f] && nfull(failed[f]) ->                        /* its uploader is gone */
        failed[f]!run_d[f],1; run_d[f] = 0; begun[f] = 0; orphan[f] = 0 }
#if FAIL > 0
    :: atomic { fails > 0 && run_d[f] && nfull(failed[f]) -> fails--;
        failed[f]!run_d[f],0; run_d[f] = 0; begun[f] = 0; orphan[f] = 0 }
#endif
#if FETCHER > 0
    :: atomic { fetcher_crashes > 0 && !done -> fetcher_crashes--;     /* another takes its place */
        run_d[f] = 0; begun[f] = 0; orphan[f] = 0;
        if :: owner[0] == f -> owner[0] = NOBODY :: else fi;
        if :: owner[N-1] == f -> owner[N-1] = NOBODY :: else fi;
        if :: nempty(tasks[f]) -> tasks[f]?d :: empty(tasks[f]) fi;
        if :: nempty(failed[f]) -> failed[f]?d,lost :: skip fi;
        d = 0; lost = 0;
        if :: true :: cut(chunks[f]) fi }
#endif
    od
#undef f
}

#ifdef BUG_LAST_ALONE
#define FITS(s) (up[s] == OPEN || up[s] == NONE)
#else
#define FITS(s) (up[s] == OPEN)
#endif

inline take(f)
{
    chunks[f]?d,last;
    if
#ifdef BUG_BY_TASK
    :: !last && (up[SLOT(d)] == NONE || up[SLOT(d)] == OPEN) -> up[SLOT(d)] = OPEN; head[SLOT(d)] = d
#else
    :: !last && up[SLOT(d)] == NONE -> up[SLOT(d)] = OPEN; head[SLOT(d)] = d
#endif
    :: last && FITS(SLOT(d)) ->
        assert(head[SLOT(d)] == d);                     /* I8: chunks of one d only */
        up[SLOT(d)] = HELD
    :: else -> skip                 /* at the wrong offset: dropped, and its lease runs out */
    fi;
    d = 0; last = 0
}

inline commit(s)
{
    t = task_of[head[s]];
#ifdef BUG_LAST_WRITER_WINS
    store[t] = head[s];
#else
    if :: store[t] == 0 -> store[t] = head[s] :: else fi;
#endif
    x = 0;
    do
    :: x < lines ->
        assert(line_task[x] != t || line_digest[x] == 0 || line_digest[x] == store[t]); /* I6 */
        x++
    :: else -> break
    od;
    receipt[s] = store[t];
    t = 0; x = 0
}

#ifdef BUG_RECEIPT_FIRST
#define STORE(s) receipt[s] = head[s]; up[s] = KEPT
#else
#define STORE(s) commit(s); up[s] = KEPT
#endif
#define UPLOADS(s) \
    :: d_step { up[s] == HELD -> STORE(s) } \
    :: atomic { up[s] == KEPT && nfull(stored) -> stored!head[s],receipt[s]; up[s] = SENT } \
    :: d_step { up[s] == OPEN && cur[task_of[head[s]]] != head[s] -> drop(s)   /* cancelled */ }

active proctype Uploader()
{
end:
    do
    :: d_step { nempty(chunks[0]) -> take(0) }
    :: d_step { nempty(chunks[1]) -> take(1) }
    UPLOADS(1)
    UPLOADS(2)
    UPLOADS(3)
    UPLOADS(4)
    UPLOADS(5)
    UPLOADS(6)
    UPLOADS(7)
#if UPLOADER > 0
    :: atomic { uploader_crashes > 0 && !done -> uploader_crashes--;
        d_step {
        i = 1;
        do :: i <= MAXD -> drop(i); i++ :: else -> break od;
        i = 0;
        do :: chunks[0]?d,last :: chunks[1]?d,last
           :: empty(chunks[0]) && empty(chunks[1]) -> break od;
        d = 0; last = 0;
        if :: PARTIAL(0) -> orphan[0] = 1 :: else fi;
        if :: PARTIAL(1) -> orphan[1] = 1 :: else fi }
        if :: nempty(stored) -> stored?d,x :: skip fi;
        d = 0; x = 0 }
#endif
#if RESET > 0
    :: atomic { resets > 0 && nempty(tasks[0]) -> resets--; tasks[0]?d; d = 0 }
    :: atomic { resets > 0 && nempty(chunks[0]) -> resets--; cut(chunks[0]) }
    :: atomic { resets > 0 && nempty(stored) -> resets--; stored?d,x; d = 0; x = 0; forget_receipts() }
#endif
    od
}

/* Nothing can happen any more: then it is because all is done. */
active proctype Last()
{
    timeout ->
    assert(done);
    d_step { check_custody() }
}
