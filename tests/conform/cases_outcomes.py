"""Outcomes are kept until they are covered; feeders and runs come and go."""
from case import body_of, case
from speech import Wrong
from stage import Feeder, Stage

KEPT = "It keeps each until `done` covers it"
ANOTHER_RUN = "A worker that hears\nanother run drops everything of the old one"


@case(KEPT, "What is uncovered after 3 beats,\nor when another feeder speaks, is sent again in "
      "order")
def sent_again_until_covered(stage: Stage) -> None:
    """What is not covered comes again, after 3 beats and not before, in order; then no more."""
    stage.feeder.lease_ms = 4000
    stage.start()
    fetcher = stage.fetcher()
    stage.feeder.most_done = 0
    objects = [stage.object(body_of(100)), stage.object(b"broken"), stage.object(body_of(300))]
    fetcher.send(objects[0].piece(0, 2**17))
    stage.is_stored(objects[0])
    fetcher.send(objects[1].piece(0, 2**17, sum=1))
    stage.is_failed(objects[1], "lost")
    fetcher.send(objects[2].piece(0, 2**17))
    stage.is_stored(objects[2])
    first = stage.outcomes[0]
    for times in (2, 3):
        stage.until(f"all have come {times} times",
                    lambda: all(len(stage.of(x)) >= times for x in objects))
    again = [x for x in stage.outcomes if x.o == first.o][1]
    if again.at - first.at < 2 * stage.feeder.beat_s():
        raise Wrong(f"sent again after {again.at - first.at:.3f} s: less than 3 beats")
    if stage.beat["oldest"] != 1:
        raise Wrong(f"`oldest` is {stage.beat['oldest']}: 1 is not covered")
    stage.feeder.most_done = 1
    stage.until("`oldest` is 2", lambda: stage.beat["oldest"] == 2)
    count = len(stage.of(objects[0]))
    stage.until("the second comes again", lambda: len(stage.of(objects[1])) >= 4)
    if len(stage.of(objects[0])) > count + 1:
        raise Wrong("a covered outcome was sent again")
    stage.feeder.most_done = None
    stage.until("`oldest` is 4", lambda: stage.beat["oldest"] == 4)
    count = len(stage.outcomes)
    stage.beats_pass(8)
    if len(stage.outcomes) != count:
        raise Wrong("covered outcomes were sent again")


@case("numbers a worker's outcomes, from 1, one by one",
      "`oldest` number of the oldest outcome kept, or of the next one")
def numbered(stage: Stage) -> None:
    """Outcomes of both kinds have numbers one by one; `oldest` follows `done`."""
    stage.start()
    fetcher = stage.fetcher()
    objects = [stage.object(body_of(10 * i)) for i in range(20)]
    for i, obj in enumerate(objects):
        fetcher.send(obj.piece(0, 2**17, **({"sum": 1} if i % 3 == 1 else {})))
    stage.until("each has an outcome", lambda: all(stage.of(x) for x in objects))
    if (got := [x.o for x in stage.outcomes if x.new]) != list(range(1, 21)):
        raise Wrong(f"outcomes are numbered {got}")
    stage.until("`oldest` is 21", lambda: stage.beat["oldest"] == 21)


@case("or when another feeder speaks, is sent again in order",
      "Only the feeder's inbox\nhas a well-known address")
def another_feeder(stage: Stage) -> None:
    """The feeder is killed, another of the run comes: it hears what was not covered, at once, and
    a body in the middle goes on."""
    stage.feeder.lease_ms = 10_000
    stage.start()
    fetcher = stage.fetcher()
    stage.feeder.most_done = 1
    covered, kept = stage.object(b"covered"), stage.object(b"kept")
    half = stage.object(body_of(300_000))
    fetcher.send(half.piece(0, 100_000))
    fetcher.send_all(covered)
    stage.is_stored(covered)
    stage.until("the first is covered", lambda: stage.beat["oldest"] == 2)
    stage.has_read(fetcher)
    fetcher.send_all(kept)
    first = stage.is_stored(kept)
    stage.replace_feeder(Feeder(run=stage.feeder.run, epoch=2))
    stage.outcomes.clear()
    after_s = stage.outcome(kept).at - first.at
    if after_s > 2.5 * stage.feeder.beat_s():
        raise Wrong(f"it came to the other feeder after {after_s:.1f} s, as to any")
    if stage.of(covered):
        raise Wrong("a covered outcome was sent again")
    stage.until("a beat has the new feeder's mark", lambda: stage.mark(stage.feeder.member))
    fetcher.send(half.piece(100_000, 200_000))
    fetcher.send(half.piece(200_000, 300_000))
    stage.is_stored(half)


@case("news of its own run with a lower epoch are the last\nwords of a dead feeder, and passed "
      "over")
def last_words(stage: Stage) -> None:
    """News of a lower epoch are passed over."""
    stage.start()
    old = stage.feeder
    stage.replace_feeder(Feeder(run=old.run, epoch=2))
    stage.until("the mark for the new feeder", lambda: stage.mark(stage.feeder.member))
    stage.say(**{"from": old.member, "epoch": 1, "n": old.n + 1000, "over": "we are done"})
    stage.beats_pass(8)
    stage.still_works(stage.fetcher())


@case(ANOTHER_RUN,
      "or one that has dropped another run's",
      "d's of another run mean nothing")
def another_run(stage: Stage) -> None:
    """News of another run: what was kept and what was open of the old one is gone, outcomes are
    numbered on, and d's that the old one had mean other objects."""
    stage.start()
    fetcher = stage.fetcher()
    stage.feeder.most_done = 0
    kept, half = stage.object(b"kept"), stage.object(body_of(200_000))
    fetcher.send_all(kept)
    stage.is_stored(kept)
    fetcher.send(half.piece(0, 100_000))
    stage.until("the half is in `open`", lambda: half.d in stage.beat["open"])
    stage.feeder.fetchers = []
    stage.replace_feeder(Feeder())
    stage.outcomes.clear()
    stage.join()
    fetcher = stage.fetcher()
    if stage.beat["open"] or stage.beat["held"]:
        raise Wrong("`open` or `held` has something of the old run")
    if stage.beat["oldest"] != 2:
        raise Wrong(f"`oldest` is {stage.beat['oldest']}: numbers go on, 1 was dropped")
    stage.counter = 0
    for obj in (stage.object(b"d of the covered one"), stage.object(body_of(1000, seed=3))):
        fetcher.send_all(obj)
        stage.is_stored(obj)
    stage.beats_pass(5)
    if len(stage.outcomes) > 2:
        raise Wrong("an outcome of the old run was sent again")
    if stage.look(half.key) is not None:
        raise Wrong("half an object of the old run is in the store")


@case(ANOTHER_RUN)
def rest_of_another_run(stage: Stage) -> None:
    """The rest of a body that was half there when another run was heard: no object."""
    stage.start()
    fetcher = stage.fetcher()
    half = stage.object(body_of(200_000))
    fetcher.send(half.piece(0, 100_000))
    stage.has_read(fetcher)
    stage.feeder.fetchers = []
    stage.replace_feeder(Feeder())
    stage.join()
    fetcher = stage.fetcher()
    fetcher.send(half.piece(100_000, 200_000))
    stage.still_works(fetcher)
    stage.is_absent(half)
