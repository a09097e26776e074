"""Bodies: what is brought whole is stored whole, once, and then said to be."""
import hashlib
import secrets

from case import Skip, body_of, case
from speech import Wrong
from stage import Object, Outcome, Stage


@case("**beat**, worker → feeder, each beat and at once on a change",
      "`inbox` endpoint · *`intake`* endpoint · *`dest`* the uploader's DEST",
      "`run` (16 bytes; zeros: of no run yet)")
def first_beat(stage: Stage) -> None:
    """The first beat says who it is, and that it is of no run."""
    stage.open_inbox()
    stage.silent = True
    stage.spawn()
    beat = stage.until("a first beat comes", lambda: stage.beat)
    if beat["run"] != bytes(16):
        raise Wrong(f"`run` is {beat['run']!r} though none was heard")
    if beat["inbox"] == beat["intake"]:
        raise Wrong("`inbox` and `intake` are one: they must be two sockets")
    if not (beat["host"] and beat["dest"] and beat["inbox"] and beat["intake"]):
        raise Wrong("`host`, `dest`, `inbox` or `intake` is empty")
    if beat["oldest"] != 1:
        raise Wrong(f"`oldest` is {beat['oldest']} before the first outcome, not 1")
    for name in ("held", "open", "read", "leaving", "empty", "over"):
        if beat[name]:
            raise Wrong(f"`{name}` is {beat[name]!r} at the start")


@case("**beat**: a tenth of the lease",
      "*`read`* [{`from`, `n`}] last n read from each sender",
      "*`reading`* the intake is being read")
def every_beat(stage: Stage) -> None:
    """Beats come each beat, of our run, with the mark for the feeder and `reading` true."""
    stage.start()
    for lease_ms in (1000, 3000):
        stage.feeder.lease_ms = lease_ms
        counts = []
        while not counts or not 4 <= counts[-1] <= 16:
            if len(counts) == 4:    # a busy machine holds up both of us at times, but not always
                raise Wrong(f"{counts} beats in 8 beats of {lease_ms // 10} ms")
            stage.beats_pass(3)
            before, mark = len(stage.beats), stage.mark(stage.feeder.member)
            stage.beats_pass(8)
            counts.append(len(stage.beats) - before)
        if stage.mark(stage.feeder.member) <= mark:
            raise Wrong("the mark for the feeder stands still")
    if not stage.beat["reading"]:
        raise Wrong("`reading` is false though nothing was sent")


@case("programs start in any order")
def starts_first(stage: Stage) -> None:
    """An uploader that starts before its feeder waits for it."""
    stage.start_before_feeder(seconds=0.5)
    stage.join()


@case("reports `stored` after the commit",
      "An uploader passes these on as they came: *`fetcher`* is who sent the chunks")
def small_body(stage: Stage) -> None:
    """A body of one chunk: a receipt with its facts, after the object is there."""
    stage.start()
    fetcher = stage.fetcher()
    body = b"hello\n"
    obj = stage.object(body, digest=f"sha256:{hashlib.sha256(body).hexdigest()}")
    fetcher.send(obj.piece(0, 100))
    got = stage.is_stored(obj)
    for name, value in (("fetcher", fetcher.member), ("response_code", 200), ("time_us", 1234),
                        ("content_type", "text/plain"), ("digest", obj.more["digest"]),
                        ("url_effective", f"http://127.0.0.1/{obj.task}/there"),
                        ("existing", False)):
        if got.item[name] != value:
            raise Wrong(f"stored: `{name}` is {got.item[name]!r}, not {value!r}")


@case("An empty body is one chunk, first and last")
def empty_body(stage: Stage) -> None:
    """An empty body is stored, and is empty."""
    stage.start()
    obj = stage.object(b"")
    stage.fetcher().send_all(obj)
    stage.is_stored(obj)


@case("each a piece of a body", "*`total`*")
def many_chunks(stage: Stage) -> None:
    """A body of many chunks, up to the largest that may come, is put together."""
    stage.start()
    fetcher = stage.fetcher()
    many, large = stage.object(body_of(3_000_001)), stage.object(body_of(9 * 2**20, seed=2))
    fetcher.send_all(many, 50_000)
    stage.is_stored(many)
    fetcher.send_all(large, 8 * 2**20)
    stage.is_stored(large)


@case("each is taken as if it had come alone")
def objects_in_one_message(stage: Stage) -> None:
    """Small bodies share messages: with pieces of larger ones, empty ones too."""
    stage.start()
    fetcher = stage.fetcher()
    small = [stage.object(body_of(i * 37, seed=i)) for i in range(40)]
    large = stage.object(body_of(100_000, seed=99))
    fetcher.send(*[x.piece(0, 2**17) for x in small[:20]], large.piece(0, 40_000))
    fetcher.send(large.piece(40_000, 80_000), *[x.piece(0, 2**17) for x in small[20:]])
    fetcher.send(large.piece(80_000, 100_000))
    for obj in (*small, large):
        stage.is_stored(obj)


@case("An uploader assembles by d, never by task",
      "one counter\nper sender for all its receivers")
def fetchers_side_by_side(stage: Stage) -> None:
    """Two fetchers' chunks, with the same n's, do not meet; each has a mark of its own."""
    stage.start()
    fetchers = [stage.fetcher(), stage.fetcher()]
    objects = [stage.object(body_of(500_000, seed=i)) for i in (1, 2)]
    for at in range(0, 500_000, 50_000):
        for fetcher, obj in zip(fetchers, objects):
            fetcher.send(obj.piece(at, at + 50_000))
    for fetcher, obj in zip(fetchers, objects):
        if stage.is_stored(obj).item["fetcher"] != fetcher.member:
            raise Wrong("`fetcher` is not who brought it")
        stage.has_read(fetcher)


@case("It commits atomically and put-if-absent")
def atomic(stage: Stage) -> None:
    """While a body is on its way, nothing is under its key."""
    if not stage.settings.can_look():
        raise Skip("the store can't be looked into: give --show")
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(body_of(300_000))
    fetcher.send(obj.piece(0, 100_000))
    fetcher.send(obj.piece(100_000, 200_000))
    stage.has_read(fetcher)
    stage.beats_pass(2)
    stage.is_absent(obj)
    fetcher.send(obj.piece(200_000, 300_000))
    stage.is_stored(obj)


def check_existing(got: Outcome, first: Object, second: Object) -> None:
    if not got.item["existing"]:
        raise Wrong("a receipt for a key that was there, without `existing`")
    digest = f"sha256:{hashlib.sha256(first.body).hexdigest()}"
    if got.item["digest"] not in ("", digest) or second.more["digest"] == got.item["digest"]:
        raise Wrong(f"`digest` is {got.item['digest']}, not that of what is there: {digest}")


def with_digest(stage: Stage, body: bytes, **more) -> Object:
    return stage.object(body, digest=f"sha256:{hashlib.sha256(body).hexdigest()}", **more)


@case("It commits atomically and put-if-absent",
      "A key that is there already is a success")
def existing_key(stage: Stage) -> None:
    """A key that is there stays as it is: a receipt with `existing`, its size and its digest."""
    stage.start()
    fetcher = stage.fetcher()
    first = with_digest(stage, b"first\n")
    second = with_digest(stage, b"another body\n", key=first.key)
    fetcher.send_all(first)
    stage.is_stored(first)
    fetcher.send_all(second)
    check_existing(stage.is_stored(second, expected=first.body), first, second)


@case("An uploader assembles by d, never by task")
def two_dispatches_of_a_task(stage: Stage) -> None:
    """Two attempts at a task, other bytes each, interleaved: never mixed, both succeed."""
    stage.start()
    fetchers = [stage.fetcher(), stage.fetcher()]
    one = with_digest(stage, body_of(200_000, seed=1), task=7)
    two = with_digest(stage, body_of(200_000, seed=2), task=7, key=one.key)
    for at in range(0, 150_000, 50_000):
        fetchers[0].send(one.piece(at, at + 50_000))
        fetchers[1].send(two.piece(at, at + 50_000))
    fetchers[1].send(two.piece(150_000, 200_000))
    stage.is_stored(two)
    fetchers[0].send(one.piece(150_000, 200_000))
    check_existing(stage.is_stored(one, expected=two.body), two, one)


@case("Fetches and uploads are at-least-once; keys are deterministic, so doing one\ntwice does no "
      "harm")
def same_d_twice(stage: Stage) -> None:
    """A whole body again under the same d does no harm to what is stored."""
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(body_of(100_000))
    fetcher.send_all(obj, 50_000)
    stage.is_stored(obj)
    fetcher.send_all(obj, 50_000)
    stage.still_works(fetcher)
    if stage.settings.can_look() and stage.look(obj.key) != obj.body:
        raise Wrong("the object is no longer what it was")


@case("Texts are str, and may hold bytes that are no UTF-8")
def url_that_is_no_utf8(stage: Stage) -> None:
    """A URL that is no UTF-8 comes back as it came."""
    stage.start()
    fetcher = stage.fetcher()
    url = b"http://127.0.0.1/\xff\xfe".decode(errors="surrogateescape")
    obj = stage.object(b"there\n", url_effective=url)
    fetcher.send(obj.piece(0, 100, url=url))
    if stage.is_stored(obj).item["url_effective"] != url:
        raise Wrong("`url_effective` is not what it was")


@case("item i is outcome number o + i", "numbers a worker's outcomes, from 1, one by one")
def many_objects(stage: Stage) -> None:
    """A thousand objects of two fetchers: a receipt each, numbered one by one."""
    stage.start()
    fetchers = [stage.fetcher(), stage.fetcher()]
    objects = [stage.object(body_of(i, seed=i)) for i in range(1000)]
    for at in range(0, 1000, 20):
        fetchers[at // 20 % 2].send(*[x.piece(0, 2**17) for x in objects[at:at + 20]])
    stage.until("all are stored", lambda: len({x.item["d"] for x in stage.outcomes}) == 1000)
    for obj in objects:
        stage.is_stored(obj)
    if len([x for x in stage.outcomes if x.new]) != 1000:
        raise Wrong(f"{len([x for x in stage.outcomes if x.new])} outcomes of 1000 objects")


@case("Refuse any other: class `store`, without `retry`")
def keys_that_are_none(stage: Stage) -> None:
    """Keys that would lead out of the store, or are no names: failed for good, class store."""
    stage.start()
    fetcher = stage.fetcher()
    names = ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".x", "a/.x", "a b", "a\0b", "a\nb",
             "\u00e4", "x" * 1025]
    objects = [(stage.object(b"bad\n"), name) for name in names]
    for obj, name in objects:
        fetcher.send(obj.piece(0, 100, key=name))
    for obj, name in objects:
        got = stage.is_failed(obj, "store")
        if got.item["retry"]:
            raise Wrong(f"key {name!r}: `retry` is true")
    good = stage.object(b"good\n", key="A-z/_0.9/-/x..y" + "/d" * 100 + secrets.token_hex(16))
    fetcher.send_all(good)
    stage.is_stored(good)
