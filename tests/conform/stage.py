"""One case's world: the uploader under test, a feeder and fetchers that we play for it.

All is done in turns: whoever waits for something pumps, and each turn takes what the uploader said
and, each beat, tells it the news, until the case makes the feeder silent."""
import os
import secrets
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import zmq

from speech import Wrong, chunk_sum, pack, parse

STDERR_LINES = 8
BEATS_UNLISTED = 3      # so long a beat may leave out what an uploader holds


@dataclass
class Settings:
    command: str            # with {at} and {dir}, or to have `--at ENDPOINT dir:PATH` appended
    show: str = ""          # prints the object {key}; fails when there is none
    timeout_s: float = 10
    tcp: bool = False

    def argv(self, at: str, directory: Path) -> list[str]:
        words = shlex.split(self.command)
        if not any("{at}" in word or "{dir}" in word for word in words):
            words += ["--at", "{at}", "dir:{dir}"]
        return [w.replace("{at}", at).replace("{dir}", str(directory)) for w in words]

    def can_look(self) -> bool:
        return bool(self.show) or "{dir}" in self.command or "{at}" not in self.command


@dataclass
class Outcome:
    o: int
    kind: str
    item: dict
    at: float               # when it came
    new: bool               # not one that we had
    object: bytes | None    # new and stored: what was in the store when its receipt came


@dataclass
class Object:
    """A body to be uploaded, under one d."""
    body: bytes
    key: str
    d: int
    task: int
    more: dict = field(default_factory=dict)    # of the last chunk

    def piece(self, begin: int, end: int, **other: Any) -> tuple[dict, bytes]:
        part = self.body[begin:end]
        item = {"d": self.d, "task": self.task, "len": len(part), "sum": chunk_sum(part),
                "offset": begin}
        if begin == 0:
            item |= {"first": True, "url": f"http://127.0.0.1/{self.task}", "key": self.key,
                     "content_type": "text/plain"}
        if end >= len(self.body):
            item |= {"last": True, "total": len(self.body), "response_code": 200,
                     "time_us": 1234, "url_effective": f"http://127.0.0.1/{self.task}/there"}
            item |= self.more
        return item | other, part

    def pieces(self, size: int = 2**17) -> list[tuple[dict, bytes]]:
        return [self.piece(at, at + size) for at in range(0, max(len(self.body), 1), size)]


class Feeder:
    """What it says of itself in the news, and what it has heard."""

    def __init__(self, run: bytes | None = None, epoch: int = 1) -> None:
        self.run = run or secrets.token_bytes(16)
        self.epoch = epoch
        self.member = secrets.randbits(63) + 1
        self.n = 0
        self.lease_ms = 1000
        self.fetchers: list[int] = []
        self.cancel: list[int] = []
        self.accepted: int | None = None    # outcomes are taken up to this one; None: of nobody yet
        self.most_done: int | None = None   # a bound that a case sets for `done`

    def beat_s(self) -> float:
        return self.lease_ms / 10_000

    def done(self, oldest: int) -> int:
        if self.accepted is None or self.accepted < oldest - 1:
            self.accepted = oldest - 1
        return self.accepted if self.most_done is None else min(self.accepted, self.most_done)


class Fetcher:
    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.member = secrets.randbits(63) + 1
        self.n = 0
        self.push = stage.socket(zmq.PUSH)
        self.push.sndhwm = 64
        self.push.connect(stage.beat["intake"])

    def message(self, *pieces: tuple[dict, bytes], **other: Any) -> bytes:
        self.n += 1
        header = {"v": 1, "kind": "chunks", "run": self.stage.feeder.run, "from": self.member,
                  "to": self.stage.beat["from"], "n": self.n, "items": [p for p, _ in pieces]}
        return pack(header | other) + b"".join(part for _, part in pieces)

    def send(self, *pieces: tuple[dict, bytes], **other: Any) -> None:
        self.send_frame(self.message(*pieces, **other))

    def send_frame(self, frame: bytes) -> None:
        self.stage.send(self.push, frame, "the intake takes a message")

    def send_all(self, obj: Object, size: int = 2**17) -> None:
        for piece in obj.pieces(size):
            self.send(piece)


class Stage:
    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory
        self.store = directory / "store"
        self.store.mkdir()
        self.context = zmq.Context()
        self.feeder = Feeder()
        self.counter = 0                # of dispatches
        self.silent = False             # the feeder says nothing
        self.beat: dict = {}            # the last one
        self.beats: list[dict] = []
        self.outcomes: list[Outcome] = []
        self.process: subprocess.Popen | None = None
        self.inbox: Any = None
        self.to_uploader: Any = None
        self.next_news = 0.0
        self.at = "tcp://127.0.0.1:*" if settings.tcp else f"ipc://{directory}/feeder"

    # The feeder's inbox

    def socket(self, kind: int) -> Any:
        socket = self.context.socket(kind)
        socket.linger, socket.immediate = 0, True
        socket.reconnect_ivl, socket.reconnect_ivl_max = 2, 100
        return socket

    def open_inbox(self) -> None:
        self.inbox = self.socket(zmq.PULL)
        self.inbox.rcvhwm = 0
        self.inbox.bind(self.at)
        self.at = self.inbox.last_endpoint.rstrip(b"\0").decode()

    def replace_feeder(self, feeder: Feeder) -> None:
        """The feeder dies, and another one comes to its address; it speaks to whom it has heard."""
        self.inbox.close()
        self.to_uploader.close()
        self.to_uploader = None
        feeder.lease_ms, feeder.fetchers = self.feeder.lease_ms, self.feeder.fetchers
        self.feeder = feeder
        self.until("the old address is free", self.try_open_inbox)

    def try_open_inbox(self) -> bool:
        try:
            self.open_inbox()
        except zmq.ZMQError:
            return False
        return True

    # The uploader

    def spawn(self) -> None:
        log = open(self.directory / "stderr", "ab")
        argv = self.settings.argv(self.at, self.store)
        with log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.beat, self.to_uploader = {}, None

    def start(self) -> None:
        """The uploader has started and is of our run."""
        if not self.inbox:
            self.open_inbox()
        self.spawn()
        self.join()

    def start_before_feeder(self, seconds: float) -> None:
        """The uploader has started, and for a while there is nobody at the feeder's address."""
        self.open_inbox()
        self.inbox.close()
        self.spawn()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.ended():
            time.sleep(0.01)
        self.until("the address is free", self.try_open_inbox)

    def join(self) -> None:
        self.until("a beat of our run", lambda: self.beat.get("run") == self.feeder.run)

    def fetcher(self) -> Fetcher:
        fetcher = Fetcher(self)
        self.feeder.fetchers.append(fetcher.member)
        return fetcher

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def ends(self, status: int | None = 0, seconds: float | None = None) -> int:
        self.until("it ends", self.ended, seconds, alive=False)
        self.pump()
        if status is not None and self.process.returncode != status:
            raise Wrong(f"it ended with status {self.process.returncode}, not {status}")
        return self.process.returncode

    def has_said(self, name: str) -> bool:
        return any(beat[name] for beat in self.beats)

    def stderr(self) -> str:
        path = self.directory / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        if self.process and not self.ended():
            self.kill()
        self.context.destroy(linger=0)

    # Objects

    def object(self, body: bytes, key: str = "", task: int = 0, **more: Any) -> Object:
        """A new dispatch, of a new task and a key that was never used, unless they are named."""
        self.counter += 1
        random = secrets.token_hex(16)
        d = self.feeder.epoch << 40 | self.counter
        name = key or f"{random[:2]}/{random}.txt"
        return Object(body, name, d, task or 1000 + self.counter, more)

    def look(self, key: str) -> bytes | None:
        """What the store has under a key."""
        if not self.settings.can_look():
            return None
        if self.settings.show:
            words = [w.replace("{key}", key).replace("{dir}", str(self.store))
                     for w in shlex.split(self.settings.show)]
            shown = subprocess.run(words, capture_output=True, check=False)
            return shown.stdout if shown.returncode == 0 else None
        path = self.store / key
        return path.read_bytes() if path.is_file() else None

    # Turns

    def send(self, push: Any, frame: bytes, what: str) -> None:
        def sent() -> bool:
            try:
                push.send(frame, zmq.DONTWAIT)
            except zmq.Again:
                return False
            return True
        self.until(what, sent)

    def news(self, **other: Any) -> dict:
        self.feeder.n += 1
        return {"v": 1, "kind": "news", "run": self.feeder.run, "from": self.feeder.member,
                "to": self.beat["from"], "n": self.feeder.n, "epoch": self.feeder.epoch,
                "lease_ms": self.feeder.lease_ms, "done": self.feeder.done(self.beat["oldest"]),
                "fetchers": self.feeder.fetchers, "cancel": self.feeder.cancel} | other

    def say(self, **other: Any) -> None:
        """News out of turn, with other fields than they would have."""
        self.send(self.to_uploader, pack(self.news(**other)), "the inbox takes news")

    def news_if_due(self) -> None:
        if self.silent or not self.to_uploader or time.monotonic() < self.next_news:
            return
        try:
            self.to_uploader.send(pack(self.news()), zmq.DONTWAIT)
            self.next_news = time.monotonic() + self.feeder.beat_s()
        except zmq.Again:
            self.feeder.n -= 1

    def pump(self, wait_s: float = 0.01) -> None:
        if self.inbox.poll(wait_s * 1000):
            for _ in range(1000):
                try:
                    self.take(parse(self.inbox.recv(zmq.DONTWAIT)))
                except zmq.Again:
                    break
        self.news_if_due()

    def take(self, message: dict) -> None:
        if message["kind"] == "beat":
            if message["from"] != self.beat.get("from", message["from"]):
                raise Wrong("`from` has changed without a new process")
            if not self.to_uploader:
                self.meet(message)
            self.beat = message
            self.beats.append(message | {"at": time.monotonic()})
        elif (message["run"], message["to"]) == (self.feeder.run, self.feeder.member):
            self.take_outcomes(message)

    def meet(self, beat: dict) -> None:
        if beat["from"] == 0:
            raise Wrong("`from` is 0: a member is a random number")
        self.to_uploader = self.socket(zmq.PUSH)
        self.to_uploader.connect(beat["inbox"])
        self.next_news = 0.0
        self.feeder.accepted = None

    def take_outcomes(self, message: dict) -> None:
        self.feeder.done(self.beat["oldest"])
        for number, item in enumerate(message["items"], message["o"]):
            new = number == self.feeder.accepted + 1
            if new:
                self.feeder.accepted = number
            there = self.look(item["key"]) if new and message["kind"] == "stored" else None
            self.outcomes.append(
                Outcome(number, message["kind"], item, time.monotonic(), new, there))

    def until(self, what: str, true: Callable[[], Any], seconds: float | None = None,
              alive: bool = True) -> Any:
        """Pumps until something is true; returns it. Wrong: it is not within the time, or the
        uploader ends, which it may where `alive` is false."""
        end = time.monotonic() + (self.settings.timeout_s if seconds is None else seconds)
        while not (is_so := true()):
            if time.monotonic() > end:
                raise Wrong(f"waited in vain until {what}")
            if alive and self.process and self.ended():
                raise Wrong(f"it ended with status {self.process.returncode}; "
                            f"waited until {what}")
            self.pump()
        return is_so

    def beats_pass(self, beats: float) -> None:
        """Pumps for so many beats. Wrong: the uploader ends meanwhile."""
        end = time.monotonic() + beats * self.feeder.beat_s()
        while time.monotonic() < end:
            if self.ended():
                raise Wrong(f"it ended, with status {self.process.returncode}, too early")
            self.pump()

    # What cases ask

    def of(self, obj: Object) -> list[Outcome]:
        return [x for x in self.outcomes if x.item["d"] == obj.d]

    def outcome(self, obj: Object) -> Outcome:
        return self.until(f"task {obj.task} has an outcome", lambda: self.of(obj))[0]

    def is_stored(self, obj: Object, expected: bytes | None = None) -> Outcome:
        """There is a receipt for it; and the object was whole in the store when it came."""
        got = self.outcome(obj)
        body = obj.body if expected is None else expected
        if got.kind != "stored":
            raise Wrong(f"failed: {got.item['class']}: {got.item['detail']}")
        for name, value in (("task", obj.task), ("key", obj.key), ("bytes", len(body))):
            if got.item[name] != value:
                raise Wrong(f"stored: `{name}` is {got.item[name]!r}, not {value!r}")
        if self.settings.can_look() and got.object != body:
            there = "nothing" if got.object is None else f"{len(got.object)} other bytes"
            raise Wrong(f"when the receipt for {obj.key} came, the store had {there}")
        return got

    def is_failed(self, obj: Object, name: str) -> Outcome:
        got = self.outcome(obj)
        if got.kind != "failed" or got.item["class"] != name:
            raise Wrong(f"{got.kind} {got.item}, not failed, class {name}")
        if got.item["task"] != obj.task:
            raise Wrong(f"failed: `task` is {got.item['task']}, not {obj.task}")
        self.is_absent(obj)
        return got

    def has_no_receipt(self, *objects: Object) -> None:
        for obj in objects:
            if any(x.kind == "stored" for x in self.of(obj)):
                raise Wrong(f"a receipt for task {obj.task}, dispatch {obj.d:#x}")

    def has_no_outcome(self, *objects: Object) -> None:
        for obj in objects:
            if self.of(obj):
                raise Wrong(f"{self.of(obj)[0].kind}: {self.of(obj)[0].item}")

    def is_absent(self, obj: Object) -> None:
        self.has_no_receipt(obj)
        if (there := self.look(obj.key)) is not None:
            raise Wrong(f"the store has {len(there)} bytes under {obj.key}")

    def still_works(self, fetcher: Fetcher) -> None:
        """A new object is stored; and whatever was sent before has been read, and is not being
        stored, by a slower thread perhaps."""
        obj = self.object(b"all is well\n")
        fetcher.send(obj.piece(0, 100))
        self.is_stored(obj)
        beats = len(self.beats) + BEATS_UNLISTED + 1
        self.until("it holds nothing any more",
                   lambda: len(self.beats) >= beats and not self.beat["held"])

    def mark(self, sender: int) -> int:
        return max((r["n"] for r in self.beat.get("read", []) if r["from"] == sender), default=0)

    def has_read(self, fetcher: Fetcher) -> None:
        self.until("the mark for a fetcher shows that its messages were read",
                   lambda: self.mark(fetcher.member) >= fetcher.n)
