"""What is lost, cut, late, wrong, or somebody else's: never an object, never a receipt."""
import secrets

from case import body_of, case
from speech import Wrong, pack
from stage import Stage

TO_ANOTHER = "One with another `to` is dropped"
OLD_N = "A receiver drops what has an n at or below its mark"
DROPS_D = ("A chunk at the wrong offset, or with a wrong sum: it\ndrops d and reports `failed` "
           "(lost)")


@case(TO_ANOTHER)
def to_its_predecessor(stage: Stage) -> None:
    """Chunks for another member are dropped."""
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(b"not for you\n")
    fetcher.send(obj.piece(0, 100), to=stage.beat["from"] ^ 1)
    stage.still_works(fetcher)
    stage.has_no_outcome(obj)
    stage.is_absent(obj)


@case("One of another run is dropped,\nexcept beats and news")
def of_another_run(stage: Stage) -> None:
    """Chunks of another run are dropped."""
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(b"of another run\n")
    fetcher.send(obj.piece(0, 100), run=secrets.token_bytes(16))
    stage.still_works(fetcher)
    stage.has_no_outcome(obj)
    stage.is_absent(obj)


@case(OLD_N)
def old_n(stage: Stage) -> None:
    """Chunks with an n at or below the mark are dropped."""
    stage.start()
    fetcher = stage.fetcher()
    stage.still_works(fetcher)
    stage.still_works(fetcher)
    old = [stage.object(b"too late\n") for _ in range(2)]
    fetcher.send(old[0].piece(0, 100), n=fetcher.n)
    fetcher.send(old[1].piece(0, 100), n=1)
    stage.still_works(fetcher)
    stage.has_no_outcome(*old)


@case("It rises with each message that was sent",
      "Without items: nothing new, sent when a beat\npasses without a message")
def marks(stage: Stage) -> None:
    """Marks move with whatever is read, idle messages too, and over gaps."""
    stage.start()
    fetcher = stage.fetcher()
    fetcher.send()
    stage.has_read(fetcher)
    fetcher.n += 1000
    fetcher.send()
    stage.has_read(fetcher)
    stage.still_works(fetcher)
    stage.has_read(fetcher)


@case(TO_ANOTHER, OLD_N)
def news_for_others(stage: Stage) -> None:
    """News for another member, or with an old n, are dropped: it does not end."""
    stage.start()
    stage.beats_pass(2)
    stage.say(to=stage.beat["from"] ^ 1, over="not yours")
    stage.say(n=1, over="too old")
    stage.beats_pass(8)
    stage.still_works(stage.fetcher())


@case("Unknown\nfields are passed over")
def unknown_fields(stage: Stage) -> None:
    """What a later version may add does no harm: fields anywhere, of any type."""
    stage.start()
    fetcher = stage.fetcher()
    more = {"later": {"a": [1, None, 1.5, b"x", {"b": -1}]}, "zz": None}
    stage.say(**more, uploaders=[{"member": 1, "intake": "ipc:///x", **more}], gone=[1, 2])
    obj = stage.object(b"known\n")
    fetcher.send(obj.piece(0, 100, **more), **more)
    stage.is_stored(obj)


def broken_items(stage: Stage) -> list[dict]:
    """A chunk's map, with one thing wrong in each."""
    good = stage.object(b"12345").piece(0, 100)[0]
    wrong = [{k: v for k, v in good.items() if k != name} for name in ("d", "task", "len", "sum")]
    wrong += [good | {name: value} for name, value in (
        ("d", -1), ("d", "1"), ("d", True), ("len", 6), ("len", 4), ("len", 2**63), ("sum", 1.5),
        ("first", 1),
        ("key", b"bytes"), ("key", None), ("offset", "0"), ("url", "x" * (2**16 + 1)))]
    return wrong


def garbage(stage: Stage, whole: bytes) -> list[bytes]:
    """Frames that are no messages."""
    envelope = {"v": 1, "kind": "chunks", "run": stage.feeder.run, "from": 77,
                "to": stage.beat["from"], "n": 1}
    frames = [b"", b"\x00", b"\xc1", b"\xff" * 100, secrets.token_bytes(1000), pack([1, 2]),
              b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff" * 10, b"\x91" * 10_000,
              b"\xc6\xff\xff\xff\xff", pack({1: 2})]
    frames += [whole[:cut] for cut in range(0, len(whole), 3)] + [whole + b"!"]
    frames += [pack(envelope | other) for other in (
        {"v": 2}, {"v": "1"}, {"kind": "novel"}, {"kind": 5}, {"run": b"short"}, {"run": "x" * 16},
        {"from": -1}, {"n": "1"}, {"items": {}}, {"items": [1]}, {"closed": 1})]
    frames += [pack({k: v for k, v in envelope.items() if k != name}) for name in envelope]
    return frames


@case("the message is dropped and counted",
      "with nothing between and nothing after")
def garbage_and_cut_frames(stage: Stage) -> None:
    """Frames cut short anywhere, bytes too many, wrong types, noise: dropped, counted, survived."""
    stage.start()
    fetcher = stage.fetcher()
    stage.still_works(fetcher)
    obj = stage.object(b"cut\n" * 8)
    frames = garbage(stage, fetcher.message(obj.piece(0, 100)))
    items = broken_items(stage)
    before = stage.until("a beat counts", lambda: stage.beat)["dropped"]
    for frame in frames:
        fetcher.send_frame(frame)
    for item in items:
        fetcher.send((item, b"12345"))
    stage.still_works(fetcher)
    stage.has_no_outcome(obj)
    if any(x.item["d"] == items[-1]["d"] for x in stage.outcomes):
        raise Wrong("an outcome of a message that is none")
    for frame in frames:
        stage.send(stage.to_uploader, frame, "the inbox takes a message")
    count = 2 * len(frames) + len(items)
    stage.until(f"`dropped` counts {count} more",
                lambda: stage.beat["dropped"] >= before + count)
    stage.still_works(fetcher)
    stage.is_absent(obj)


@case(DROPS_D)
def wrong_offset(stage: Stage) -> None:
    """A chunk is missing, or comes again, or too late: failed, class lost, and no object."""
    stage.start()
    fetcher = stage.fetcher()
    orders = ((0, 2, 3), (0, 1, 1, 2, 3), (0, 2, 1, 3), (0, 1, 0, 3))
    objects = [stage.object(body_of(400_000)) for _ in orders]
    for obj, order in zip(objects, orders):
        for part in order:
            fetcher.send(obj.piece(part * 100_000, (part + 1) * 100_000))
    for obj in objects:
        stage.is_failed(obj, "lost")
    stage.still_works(fetcher)
    for obj in objects:
        stage.is_absent(obj)


@case(DROPS_D)
def wrong_sum(stage: Stage) -> None:
    """A chunk whose bytes are not those of its sum: failed, class lost, and no object."""
    stage.start()
    fetcher = stage.fetcher()
    alone, first, last = (stage.object(body_of(1000 * i)) for i in (1, 2, 3))
    fetcher.send(alone.piece(0, 2**17, sum=7))
    fetcher.send(first.piece(0, 1000, sum=7))
    fetcher.send(first.piece(1000, 2000))
    fetcher.send(last.piece(0, 1000))
    fetcher.send(last.piece(1000, 3000, sum=7))
    for obj in (alone, first, last):
        stage.is_failed(obj, "lost")
    stage.still_works(fetcher)
    for obj in (alone, first, last):
        stage.is_absent(obj)


@case("a `total` that is not what came")
def wrong_total(stage: Stage) -> None:
    """A body that is not as long as its last chunk says: failed, class lost, and no object."""
    stage.start()
    fetcher = stage.fetcher()
    obj = stage.object(body_of(1000))
    fetcher.send(obj.piece(0, 2**17, total=1001))
    stage.is_failed(obj, "lost")


@case("a chunk that is not the first, of a d it has nothing of")
def without_a_beginning(stage: Stage) -> None:
    """The tail of a body whose beginning was lost: failed, class lost, once, and no object."""
    stage.start()
    fetcher = stage.fetcher()
    tail, last = stage.object(body_of(400_000)), stage.object(body_of(100))
    for at in (100_000, 200_000, 300_000):
        fetcher.send(tail.piece(at, at + 100_000))
    item, part = last.piece(0, 100)
    fetcher.send(({k: v for k, v in item.items() if k != "first"}, part))
    for obj in (tail, last):
        stage.is_failed(obj, "lost")
    stage.still_works(fetcher)
    for obj in (tail, last):
        stage.is_absent(obj)
        if len({x.o for x in stage.of(obj)}) != 1:
            raise Wrong(f"{len({x.o for x in stage.of(obj)})} outcomes of one d")


@case("handed out again under a new d")
def fetched_again(stage: Stage) -> None:
    """After a loss the task comes under a new d, and is stored; the old d's rest is nothing."""
    stage.start()
    fetcher = stage.fetcher()
    lost = stage.object(body_of(300_000), task=5)
    fetcher.send(lost.piece(0, 100_000, sum=1))
    stage.is_failed(lost, "lost")
    again = stage.object(lost.body, key=lost.key, task=5)
    for at in (0, 100_000, 200_000):
        fetcher.send(again.piece(at, at + 100_000))
        if at:
            fetcher.send(lost.piece(at, at + 100_000))
    stage.is_stored(again)
    stage.still_works(fetcher)
    stage.has_no_receipt(lost)


@case("A fetcher and an uploader keep no state that matters", TO_ANOTHER)
def killed_in_mid_object(stage: Stage) -> None:
    """kill -9 in mid-object, and a new start: no receipt for half of it, however the rest comes;
    fetched again it is stored."""
    stage.start()
    fetcher = stage.fetcher()
    half = stage.object(body_of(400_000))
    fetcher.send(half.piece(0, 100_000))
    fetcher.send(half.piece(100_000, 200_000))
    stage.has_read(fetcher)
    old = stage.beat["from"]
    stage.kill()
    stage.start()
    if stage.beat["from"] == old:
        raise Wrong("`from` is what it was before: a member is new at each process start")
    fetcher = stage.fetcher()
    fetcher.send(half.piece(200_000, 300_000), to=old)
    fetcher.send(half.piece(300_000, 400_000))
    stage.still_works(fetcher)
    stage.is_absent(half)
    again = stage.object(half.body, key=half.key, task=half.task)
    fetcher.send_all(again)
    if stage.is_stored(again).item["existing"]:
        raise Wrong("`existing`, though it was never stored")


@case("Uploaders name partial objects in `open`",
      "goes into `cancel`, and whoever has it drops it")
def cancelled(stage: Stage) -> None:
    """A partial object is in `open`, never in `held`; cancelled it goes, and has no receipt."""
    stage.start()
    fetcher = stage.fetcher()
    obj, other = stage.object(body_of(300_000)), stage.object(body_of(300_000, seed=2))
    fetcher.send(obj.piece(0, 100_000))
    fetcher.send(other.piece(0, 100_000))
    stage.until("both are in `open`", lambda: {obj.d, other.d} <= set(stage.beat["open"]))
    if any(obj.d in beat["held"] for beat in stage.beats):
        raise Wrong("a partial object is in `held`")
    stage.feeder.cancel = [obj.d, obj.d + 1000]
    stage.until("the cancelled one is not in `open`", lambda: obj.d not in stage.beat["open"])
    stage.feeder.cancel = []
    for x in (obj, other):
        fetcher.send(x.piece(100_000, 200_000))
        fetcher.send(x.piece(200_000, 300_000))
    stage.is_stored(other)
    stage.still_works(fetcher)
    stage.is_absent(obj)
