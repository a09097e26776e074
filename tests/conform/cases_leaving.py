"""Leaving, and the end."""
import signal

from case import body_of, case
from speech import Wrong
from stage import Stage

GOES = "it goes when all live fetchers have closed, it holds nothing, and `done` covers all"
END = ("each worker answers with an `empty` beat and "
       "ends when it hears any further news, or after half a second")


@case("Leaving (TERM): the beat says `leaving`", GOES)
def leaves_when_idle(stage: Stage) -> None:
    """TERM when there are no fetchers: a beat `leaving`, a last one `empty`, status 0."""
    stage.start()
    stage.beats_pass(3)
    stage.signal(signal.SIGTERM)
    stage.ends(0)
    for name in ("leaving", "empty"):
        if not stage.has_said(name):
            raise Wrong(f"no beat said `{name}`")


@case("To a leaving uploader fetchers start nothing new, and send `closed` when nothing is\nopen",
      GOES)
def leaves_when_closed(stage: Stage) -> None:
    """TERM in mid-object: it takes the rest, waits for each fetcher's `closed` and for `done`."""
    stage.start()
    fetchers = [stage.fetcher(), stage.fetcher()]
    obj = stage.object(body_of(200_000))
    fetchers[0].send(obj.piece(0, 100_000))
    stage.has_read(fetchers[0])
    stage.beats_pass(2)
    stage.signal(signal.SIGTERM)
    stage.until("a beat says `leaving`", lambda: stage.beat["leaving"])
    fetchers[1].send(closed=True)
    stage.beats_pass(5)
    fetchers[0].send(obj.piece(100_000, 200_000))
    stage.is_stored(obj)
    stage.beats_pass(5)
    stage.feeder.most_done = stage.feeder.accepted
    late = stage.object(b"sent before it was heard\n")
    fetchers[0].send(late.piece(0, 100))
    fetchers[0].send(closed=True)
    stage.is_stored(late)
    stage.beats_pass(5)
    if stage.has_said("empty"):
        raise Wrong("`empty` before `done` covers all")
    stage.feeder.most_done = None
    stage.ends(0)
    if not stage.has_said("empty"):
        raise Wrong("no beat said `empty`")


@case("it goes when all live fetchers have closed")
def leaves_without_the_dead(stage: Stage) -> None:
    """A fetcher that is no longer in the news needs not close."""
    stage.start()
    dead = stage.fetcher()
    dead.send()
    stage.has_read(dead)
    stage.beats_pass(2)
    stage.signal(signal.SIGTERM)
    stage.beats_pass(5)
    stage.feeder.fetchers = []
    stage.ends(0)


@case("when every line is settled, news say `over`", END)
def over(stage: Stage) -> None:
    """News say `over`: a beat says `over` and `empty`, further news end it, with status 0."""
    stage.start()
    stage.still_works(stage.fetcher())
    stage.silent = True
    stage.say(over="all is settled")
    stage.until("a beat says `over`", lambda: stage.beat["over"], alive=False)
    if not stage.beat["empty"]:
        raise Wrong("a beat that says `over` does not say `empty`")
    if not stage.ended():
        stage.say(over="all is settled")
    stage.ends(0)


@case(END)
def over_and_silence(stage: Stage) -> None:
    """News say `over` and no more: it ends by itself, with half a body open."""
    stage.start()
    fetcher = stage.fetcher()
    half = stage.object(body_of(200_000))
    fetcher.send(half.piece(0, 100_000))
    stage.has_read(fetcher)
    stage.silent = True
    stage.say(over="all is settled")
    stage.ends(0)
    stage.is_absent(half)


@case("Refused: it says why and ends, with status 2")
def refused(stage: Stage) -> None:
    """Refused: it says why on stderr, and ends with status 2."""
    stage.open_inbox()
    stage.silent = True
    stage.spawn()
    stage.until("a first beat comes", lambda: stage.beat)
    stage.say(over="this run stores into dir:other", refused=True)
    stage.silent = False
    stage.ends(2)
    if "dir:other" not in stage.stderr():
        raise Wrong("stderr does not have the feeder's words")


@case("A second TERM: now")
def leaves_at_once(stage: Stage) -> None:
    """A second TERM ends it, whatever is open, with status 0."""
    stage.start()
    fetcher = stage.fetcher()
    half = stage.object(body_of(200_000))
    fetcher.send(half.piece(0, 100_000))
    stage.has_read(fetcher)
    stage.signal(signal.SIGTERM)
    stage.until("a beat says `leaving`", lambda: stage.beat["leaving"])
    stage.signal(signal.SIGTERM)
    stage.ends(0)
    stage.is_absent(half)


@case("a process that was suspended, or busy, declares nobody dead")
def suspended(stage: Stage) -> None:
    """Suspended for two leases in mid-object it goes on where it was."""
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(body_of(200_000))
    fetcher.send(obj.piece(0, 100_000))
    stage.has_read(fetcher)
    stage.signal(signal.SIGSTOP)
    stage.beats_pass(20)
    stage.signal(signal.SIGCONT)
    fetcher.send(obj.piece(100_000, 200_000))
    stage.is_stored(obj)
    stage.beats_pass(5)
