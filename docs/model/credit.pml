/* credit.pml - what a fetcher is given is no more than it has room for, and all is given.
 *
 * A feeder and a fetcher with ROOM places. Tasks and idle messages with n; beats with the mark and
 * the room of one moment; a task that nobody has loses its lease, known at once. Messages that
 * would change nothing are not sent, so the state graph has no cycles: a dead end is a hang.
 *
 * Never is more in the fetcher's hands than it has room for, and all is settled at the end.
 *
 * Faults, how many of each: RESET (of the link down) and UP (of the link up): what is under way is
 * lost, or comes late, beside what the new link brings; SPURIOUS (a lease runs out though the task
 * is under way: that many more may come than there is room for).
 *
 * Not in it: evidence that comes late (evidence.pml); outcomes lost and sent again (outcomes.pml):
 * here all arrive; other fetchers, whose credit is their own. */
#ifndef N
#define N 4
#endif
#ifndef ROOM
#define ROOM 2
#endif
#ifndef PIPE
#define PIPE 2             /* messages that a link holds */
#endif
#ifndef RESET
#define RESET 0
#endif
#ifndef UP
#define UP 0
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif
#define MAXN 8             /* asserted to be enough */
#define IDLE 0
#define TASK 1
#define BEAT 0
#define OUTCOME 1

chan down = [PIPE] of { bit, byte };          /* TASK or IDLE, n */
chan old_down = [PIPE] of { bit, byte };      /* what the link before has left */
chan up = [PIPE] of { bit, byte, byte };      /* BEAT, mark, room; or OUTCOME, n */
chan old_up = [PIPE] of { bit, byte, byte };

/* The feeder's: tasks ready and settled; by n, whether it is in flight; mark and room as heard. */
byte ready = N, settled, last_n, mark, room, unread;
bit fly[MAXN + 1];

/* The fetcher's. */
byte read_n, holds, said_room = ROOM;
bit has[MAXN + 1];

byte resets = RESET, ups = UP, spurious = SPURIOUS, lost_early;
byte i, n, r;
bit k;

#define done (settled == N)
ltl live { <> done }

inline count_unread()
{
    unread = 0;
    for (i : mark + 1 .. MAXN) { unread = unread + fly[i] }
    i = 0
}

#ifdef BUG_LOST_KEEPS_ITS_CREDIT    /* it comes back with an outcome, and in no other way */
byte given;
#define CREDIT (given < ROOM && room)
#define GIVE given++
#define TAKE_BACK given--
#else
#define CREDIT (unread < room)
#define GIVE skip
#define TAKE_BACK skip
#endif

#ifdef BUG_ROOM_OF_AN_OLDER_BEAT
#define IS_NEWS true
#else
#define IS_NEWS (n >= mark)
#endif

inline hear(from)
{
    from?k,n,r;
    d_step {
    if
    :: k == BEAT ->
        if :: IS_NEWS -> room = r :: else fi;
        if :: n > mark -> mark = n :: else fi
    :: k == OUTCOME ->
        TAKE_BACK;
        if :: fly[n] -> fly[n] = 0; settled++ :: else fi
    fi;
    k = 0; n = 0; r = 0;
    count_unread() }
}

#ifdef BUG_BLOCKING_SEND   /* who sends reads nothing until there is room */
#define MAY_SEND(pipe) true
#else
#define MAY_SEND(pipe) nfull(pipe)
#endif

#define SEEN(x) (has[x] || up??[OUTCOME,eval(x),_] || old_up??[OUTCOME,eval(x),_])
#define COMES(x) (read_n < (x) && (down??[TASK,eval(x)] || old_down??[TASK,eval(x)]))
#define EXPIRE(x) \
    :: d_step { fly[x] && !SEEN(x) && (!COMES(x) || spurious > 0) -> \
        if :: COMES(x) -> spurious--; lost_early++ :: else fi; \
        fly[x] = 0; ready++; \
        count_unread() }

active proctype Feeder()
{
end:
    do
    :: atomic { ready > 0 && CREDIT && MAY_SEND(down) ->
        ready--; last_n++; assert(last_n <= MAXN); fly[last_n] = 1; GIVE;
        d_step { count_unread() };
        down!TASK,last_n }
    :: atomic { read_n < last_n && empty(down) && !done -> down!IDLE,last_n }
    :: atomic { nempty(up) -> hear(up) }
    :: atomic { nempty(old_up) -> hear(old_up) }
    EXPIRE(1)
    EXPIRE(2)
    EXPIRE(3)
    EXPIRE(4)
    EXPIRE(5)
    EXPIRE(6)
    EXPIRE(7)
    EXPIRE(8)
    od
}

/* The fetcher. */

#ifdef BUG_TWO_MOMENTS     /* the mark of now, the room of the beat before */
#define ITS_ROOM said_room
#else
#define ITS_ROOM (holds < ROOM -> ROOM - holds : 0)
#endif
#ifdef BUG_TAKES_WHAT_IS_OLDER
#define IS_NEW(n) true
#else
#define IS_NEW(n) ((n) > read_n)
#endif

inline read(from)
{
    from?k,n;
    d_step {
    if
    :: k == TASK && IS_NEW(n) -> has[n] = 1; holds++
    :: else
    fi;
    if :: n > read_n -> read_n = n :: else fi;
    assert(holds <= ROOM + lost_early);
    k = 0; n = 0 }
}

#define FINISH(x) \
    :: atomic { has[x] && MAY_SEND(up) -> up!OUTCOME,x,0; has[x] = 0; holds-- }

active proctype Fetcher()
{
    byte m, h;
end:
    do
    :: atomic { nempty(down) -> read(down) }
    :: atomic { nempty(old_down) -> read(old_down) }
    FINISH(1)
    FINISH(2)
    FINISH(3)
    FINISH(4)
    FINISH(5)
    FINISH(6)
    FINISH(7)
    FINISH(8)
    :: atomic { !done && (mark != read_n || room != ITS_ROOM) && empty(up) && MAY_SEND(up) ->
        m = read_n; h = ITS_ROOM; said_room = (holds < ROOM -> ROOM - holds : 0);
        up!BEAT,m,h; m = 0; h = 0 }
    od
}

/* A link is cut: each message on it is lost, or read late; an outcome is sent again if it is lost. */
active proctype World()
{
end:
    do
#if RESET > 0
    :: atomic { resets > 0 && nempty(down) && empty(old_down) -> resets--;
        do
        :: nempty(down) -> down?k,n; if :: old_down!k,n :: true fi
        :: empty(down) -> break
        od;
        k = 0; n = 0 }
#endif
#if UP > 0
    :: atomic { ups > 0 && nempty(up) && empty(old_up) -> ups--;
        do
        :: nempty(up) -> up?k,n,r; if :: old_up!k,n,r :: k == BEAT fi
        :: empty(up) -> break
        od;
        k = 0; n = 0; r = 0 }
#endif
    :: false
    od
}

/* Nothing can happen any more: then it is because all is done. */
active proctype End()
{
    timeout -> assert(done)
}
