#!/usr/bin/python3
"""uploader.py [--join] [--host HOST] [--at ENDPOINT] dir:PATH

An upload stage of somebody's own: docs/protocol.md in Python. It needs Debian's python3-zmq,
python3-msgpack and python3-xxhash. To store elsewhere, write another class Directory.

A body is gathered in an unnamed file of the directory, and linked to its name when it is whole:
put-if-absent, atomic, and nothing to clean up after a kill.

Left out: fsync, --overwrite, --stay, a floor of free space, a bound for what lies in partial
files; and it believes the members of its run (no check of who sends what).

Ends with 0 when the run is over or it has left (TERM), 1 killed by an error of its own, 2 refused
or usage, 4 when no feeder was heard for a minute."""
import argparse
import errno
import hashlib
import os
import re
import resource
import secrets
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import msgpack
import xxhash
import zmq

WAIT_S = 60             # without a feeder for so long: leave
MOST_STORING = 64       # commits under way, and
MOST_KEPT = 10_000      # outcomes not covered; above, the intake is left unread
MOST_OUTCOMES = 256     # in one message
MOST_MESSAGES = 64      # read in one turn of the loop
SOON_S = 0.02           # until a beat that a change asks for
FULL_S = 1.0            # a full store is left alone
NO_RUN = bytes(16)

# What a message, and an element of its lists, must have, and what it may have.
TEXT, NUMBER = str, int
EVERY = {"v": NUMBER, "kind": TEXT, "run": bytes, "from": NUMBER, "to": NUMBER}
MUST = {
    "news": {**EVERY, "n": NUMBER, "epoch": NUMBER, "lease_ms": NUMBER, "done": NUMBER},
    "chunks": {**EVERY, "n": NUMBER},
    "piece": {"d": NUMBER, "task": NUMBER, "len": NUMBER, "sum": NUMBER},
}
MAY = {
    "news": {"fetchers": list, "cancel": list, "over": TEXT, "refused": bool},
    "chunks": {"closed": bool, "items": list},
    "piece": {"offset": NUMBER, "first": bool, "last": bool, "url": TEXT, "key": TEXT,
              "content_type": TEXT, "total": NUMBER, "digest": TEXT, "response_code": NUMBER,
              "time_us": NUMBER, "url_effective": TEXT},
}
FACTS = ("response_code", "time_us", "url_effective")  # of the last chunk, passed on
KEY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


def fields(of: dict, kind: str) -> SimpleNamespace:
    """The fields that we know, missing ones as 0, false or empty. ValueError: not as they must."""
    known = {**MUST[kind], **MAY[kind]}
    got = {name: of[name] for name in known if name in of}
    for name, value in got.items():
        if type(value) is not known[name] or (type(value) is int and value < 0):
            raise ValueError(f"{name}: wrong type")
        if isinstance(value, (str, list)) and len(value) > (2**16, 2**20)[type(value) is list]:
            raise ValueError(f"{name}: too long")
    if lacking := MUST[kind].keys() - got.keys():
        raise ValueError(f"{lacking}: missing")
    return SimpleNamespace(**{name: known[name]() for name in known} | got)


def parse(frame: bytes) -> tuple[SimpleNamespace, memoryview]:
    """A message for us and the bytes behind it. ValueError: none."""
    try:
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", max_buffer_size=len(frame))
        unpacker.feed(frame)
        raw = unpacker.unpack()
        kind = raw["kind"]
        if kind not in ("news", "chunks"):
            raise ValueError("unknown kind")
        message = fields(raw, kind)
        if message.v != 1 or len(message.run) != 16:
            raise ValueError("another version")
        if kind == "chunks":
            message.items = [fields(item, "piece") for item in message.items]
        body = memoryview(frame)[unpacker.tell():]
    except ValueError:
        raise
    except Exception as e:  # no map, no MessagePack, cut short, no text for a key
        raise ValueError(str(e)) from e
    if len(body) != sum(p.len for p in getattr(message, "items", [])):
        raise ValueError("other bytes than its chunks say")
    return message, body


class Lost(Exception):
    """A body that is not what was fetched."""


class NoKey(Exception):
    """A name that no object can have."""


class Directory:
    """The store. Its calls may take long: put() is called in a thread."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def begin(self, key: str):
        """A file for a body. NoKey: there can't be such an object."""
        if not KEY.fullmatch(key) or len(key) > 1024:
            raise NoKey(f"{key!r} is no key")
        return os.fdopen(os.open(self.path, os.O_TMPFILE | os.O_RDWR, 0o666), "wb")

    def put(self, file, key: str, digest: str) -> tuple[bool, int, str]:
        """Puts a whole object, if none is there. Whether one was; size and digest of what is."""
        def linkat(file, key: str) -> None:
            os.link(f"/proc/self/fd/{file.fileno()}", key, src_dir_fd=self.fd, dst_dir_fd=self.fd,
                    follow_symlinks=True)

        with file:
            file.flush()
            (self.path / key).parent.mkdir(parents=True, exist_ok=True)
            try:
                linkat(file, key)
                return False, os.fstat(file.fileno()).st_size, digest
            except FileExistsError:
                with open(self.path / key, "rb") as there:
                    of_it = hashlib.file_digest(there, "sha256").hexdigest()
                    return True, os.fstat(there.fileno()).st_size, f"sha256:{of_it}"


class Outcomes:
    """What became of each d, numbered from 1, kept until the feeder says that it has it."""

    def __init__(self, tell) -> None:
        self.tell = tell
        self.oldest = 1     # number of kept[0], or of the next one
        self.kept = []      # (kind, item)
        self.sent = 0       # how many of them
        self.since = 0.0    # when the oldest one was sent, or covered the one before it

    def add(self, kind: str, item: dict) -> None:
        self.kept.append((kind, item))

    def forget(self) -> None:
        self.cover(self.oldest + len(self.kept) - 1)

    def cover(self, done: int) -> None:
        count = min(done - self.oldest + 1, len(self.kept))
        if count > 0:
            del self.kept[:count]
            self.oldest += count
            self.sent = max(0, self.sent - count)
            self.since = time.monotonic()

    def send(self, patience: float) -> None:
        now = time.monotonic()
        if self.sent and now - self.since > patience:
            self.sent = 0
        if not self.sent:
            self.since = now
        while self.sent < len(self.kept):
            kind = self.kept[self.sent][0]
            items = []
            for other, item in islice(self.kept, self.sent, self.sent + MOST_OUTCOMES):
                if other != kind:
                    break
                items.append(item)
            if not self.tell(kind, o=self.oldest + self.sent, items=items):
                break
            self.sent += len(items)


class Uploader:
    def __init__(self, at: str, dest: str, store: Directory, host: str, join: bool) -> None:
        self.dest, self.store, self.join = dest, store, join
        self.member = secrets.randbits(63) + 1
        self.forget_run(NO_RUN)
        self.outcomes = Outcomes(self.tell)
        self.dropped = self.objects = self.bytes = 0
        self.beat_s = 1.0               # until the feeder says what a lease is
        self.last_beat = self.silence = 0.0
        self.heard_at = time.monotonic()
        self.terms = 0                  # how often we were asked to leave
        self.full_until = 0.0           # the store has no room, perhaps
        self.over_at = None             # when we heard that the run is over
        self.status = None              # set: we end
        self.said = None                # what the last beat said of leaving and reading
        self.threads = ThreadPoolExecutor(4)
        self.put = []                   # (object, future) that are done, from the threads
        self.open_sockets(at, host)

    def forget_run(self, run: bytes) -> None:
        self.run, self.epoch, self.feeder = run, 0, 0
        self.read = {}                  # sender: the last n
        self.fetchers, self.closed = set(), set()
        self.open = {}                  # d: partial object; None: one whose rest is of no use
        self.storing = {}               # d: complete object

    def open_sockets(self, at: str, host: str) -> None:
        self.context = context = zmq.Context()
        here = f"{at}.{self.member:016x}" if at.startswith("ipc:") else f"tcp://{host}:*"

        def bind(name: str, most: int):
            pull = context.socket(zmq.PULL)
            pull.rcvhwm = most
            pull.bind(here + f".{name}" * at.startswith("ipc:"))
            return pull, pull.last_endpoint.rstrip(b"\0").decode()

        self.inbox, self.inbox_at = bind("inbox", 0)
        self.intake, self.intake_at = bind("intake", 4)  # messages, for each fetcher
        self.to_feeder = context.socket(zmq.PUSH)
        self.to_feeder.immediate, self.to_feeder.linger = True, 1000
        self.to_feeder.reconnect_ivl, self.to_feeder.reconnect_ivl_max = 2, 100
        self.to_feeder.connect(at)
        # Signals and threads wake the loop through a socket pair.
        self.bell, self.ring = socket.socketpair()
        self.bell.setblocking(False)
        self.ring.setblocking(False)
        signal.set_wakeup_fd(self.ring.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)

    def on_signal(self, *_) -> None:
        self.terms += 1
        if self.terms > 1:
            self.status = 0

    # What we say

    def tell(self, kind: str, **more) -> bool:
        """To the feeder, or not at all: nothing here ever waits to send."""
        if not self.feeder and kind != "beat":
            return False
        message = {"v": 1, "kind": kind, "run": self.run, "from": self.member, "to": self.feeder}
        try:
            self.to_feeder.send(
                msgpack.packb(message | more, unicode_errors="surrogateescape"), zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False

    def beat(self, **last) -> None:
        self.last_beat = time.monotonic()
        sent = self.tell(
            "beat", role="uploader", host=socket.gethostname(), pid=os.getpid(),
            inbox=self.inbox_at, intake=self.intake_at, dest=self.dest, join=self.join,
            read=[{"from": sender, "n": n} for sender, n in self.read.items()],
            held=list(self.storing), held_tasks=[o.task for o in self.storing.values()],
            open=list(self.open), leaving=self.terms > 0, reading=self.has_room(),
            oldest=self.outcomes.oldest, objects=self.objects, bytes=self.bytes,
            dropped=self.dropped, **last)
        self.said = (self.terms > 0, self.has_room()) if sent else None

    def fail(self, whole: SimpleNamespace, why: Exception, facts: dict) -> None:
        name = "lost" if isinstance(why, Lost) else "store"
        if isinstance(why, OSError) and why.errno == errno.ENOSPC:
            name, self.full_until = "full", time.monotonic() + FULL_S
        self.outcomes.add("failed", {"d": whole.d, "task": whole.task, "class": name,
                                     "detail": str(why), "retry": not isinstance(why, NoKey),
                                     **facts})

    # What we hear

    def take(self, frame: bytes) -> None:
        try:
            message, body = parse(frame)
        except ValueError:
            self.dropped += 1
            return
        sender = getattr(message, "from")
        if (message.to not in (0, self.member) or message.n <= self.read.get(sender, 0) or
                message.kind == "chunks" and message.run != self.run):
            self.dropped += 1
        elif message.kind == "news":
            self.hear(message, sender)
        else:
            self.read[sender] = message.n
            (self.closed.add if message.closed else self.closed.discard)(sender)
            at = 0
            for piece in message.items:
                self.take_piece(sender, piece, body[at:at + piece.len])
                at += piece.len

    def hear(self, news: SimpleNamespace, feeder: int) -> None:
        if news.run != self.run:
            self.outcomes.forget()
            self.forget_run(news.run)
        elif news.epoch < self.epoch:
            return  # a dead feeder's last words
        if feeder != self.feeder:
            self.read.pop(self.feeder, None)
            self.feeder, self.epoch = feeder, news.epoch
            self.outcomes.sent = 0
            self.said = None
        self.read[feeder] = news.n
        self.silence = 0.0
        self.beat_s = max(news.lease_ms, 10) / 10_000
        self.fetchers = set(news.fetchers)
        self.outcomes.cover(news.done)
        for d in news.cancel:
            self.open.pop(d, None)
            self.storing.pop(d, None)
        if news.refused:
            print(f"uploader.py: {news.over}", file=sys.stderr)
            self.status = 2
        elif self.over_at:
            self.status = 0
        elif news.over:
            self.over_at = time.monotonic()
            self.beat(over=True, empty=True)

    # What is brought

    def take_piece(self, fetcher: int, piece: SimpleNamespace, body: memoryview) -> None:
        d = piece.d
        if d in self.storing:
            return  # it is whole
        begins = d not in self.open
        if begins:
            self.open[d] = SimpleNamespace(d=d, task=piece.task, key=piece.key, file=None, size=0,
                                           content_type=piece.content_type, fetcher=fetcher)
        whole = self.open[d]
        if whole:
            try:
                self.add(whole, piece, body, begins)
            except (Lost, NoKey, OSError) as why:
                self.fail(whole, why, {})
                self.open[d] = whole = None  # the rest of it is swallowed
        if piece.last:
            del self.open[d]
            if whole:
                self.complete(whole, piece)

    def add(self, whole: SimpleNamespace, piece: SimpleNamespace, body: memoryview,
            begins: bool) -> None:
        if piece.first != begins or piece.offset != whole.size:
            raise Lost(f"a chunk for offset {piece.offset}, at {whole.size}")
        if piece.sum != xxhash.xxh3_64_intdigest(body):
            raise Lost("a chunk whose sum is wrong")
        whole.size += piece.len
        if piece.last and piece.total != whole.size:
            raise Lost(f"{whole.size} bytes of {piece.total}")
        if begins:
            whole.file = self.store.begin(whole.key)
        whole.file.write(body)

    def has_room(self) -> bool:
        return (len(self.storing) < MOST_STORING and len(self.outcomes.kept) < MOST_KEPT and
                time.monotonic() >= self.full_until)

    def complete(self, whole: SimpleNamespace, last: SimpleNamespace) -> None:
        whole.facts = {name: getattr(last, name) for name in FACTS}
        self.storing[whole.d] = whole
        future = self.threads.submit(self.store.put, whole.file, whole.key, last.digest)
        future.add_done_callback(lambda done: (self.put.append((whole, done)), self.wake()))

    def wake(self) -> None:
        try:
            self.ring.send(b"!")
        except BlockingIOError:
            pass  # it is ringing already

    def collect(self) -> None:
        while self.put:
            whole, done = self.put.pop(0)
            if self.storing.get(whole.d) is not whole:
                continue  # cancelled, or of another run
            del self.storing[whole.d]
            try:
                existing, size, digest = done.result()
            except OSError as why:
                self.fail(whole, why, whole.facts)
                continue
            self.objects += 1
            self.bytes += size
            self.outcomes.add("stored", {
                "d": whole.d, "task": whole.task, "key": whole.key, "bytes": size,
                "digest": digest, "existing": existing, "fetcher": whole.fetcher,
                "content_type": whole.content_type, **whole.facts})

    # The loop

    def has_left(self) -> bool:
        return self.terms > 0 and self.fetchers <= self.closed and not (
            self.open or self.storing or self.outcomes.kept)

    def beat_due_s(self) -> float:
        """The time to the next one: soon, where what we said no longer holds."""
        holds = self.said == (self.terms > 0, self.has_room())
        return self.last_beat + (self.beat_s if holds else SOON_S) - time.monotonic()

    def drain(self, pull, may) -> None:
        for _ in range(MOST_MESSAGES):
            if not may():
                break
            try:
                self.take(pull.recv(zmq.DONTWAIT))
            except zmq.Again:
                break

    def wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self.inbox, zmq.POLLIN)
        poller.register(self.bell, zmq.POLLIN)
        if self.has_room():
            poller.register(self.intake, zmq.POLLIN)
        poller.poll(max(0, self.beat_due_s()) * 1000)
        try:
            self.bell.recv(4096)
        except BlockingIOError:
            pass

    def lose_patience(self) -> None:
        now = time.monotonic()
        self.silence += min(now - self.heard_at, self.beat_s)
        self.heard_at = now
        if self.silence > WAIT_S:
            print("uploader.py: no feeder for a minute: leaving", file=sys.stderr)
            self.status = 4
        if self.over_at and now - self.over_at > 0.5:
            self.status = 0

    def work(self) -> int:
        while self.status is None:
            self.drain(self.inbox, lambda: True)
            self.drain(self.intake, self.has_room)
            self.collect()
            self.outcomes.send(3 * self.beat_s)
            self.lose_patience()
            if self.has_left():
                self.beat(empty=True)
                self.status = 0
            elif not self.over_at and self.beat_due_s() <= 0:
                self.beat()
            if self.status is None:
                self.wait()
        self.context.destroy()  # when the last beat has gone
        for endpoint in (self.inbox_at, self.intake_at):
            if endpoint.startswith("ipc://"):
                Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        return self.status


def main() -> int:
    parser = argparse.ArgumentParser(description="stores what the fetchers bring")
    parser.add_argument("--at", default=os.environ.get("SLUICE_AT"),
                        help="the feeder's inbox, ipc:// or tcp:// (env SLUICE_AT)")
    parser.add_argument("--host", default="127.0.0.1", help="tcp: our address (127.0.0.1)")
    parser.add_argument("--join", action="store_true", help="whatever DEST the run has")
    parser.add_argument("dest", metavar="dir:PATH")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a file for each partial body
    if not given.at:
        parser.error("say where the feeder is: --at, or SLUICE_AT")
    if not given.dest.startswith("dir:"):
        parser.error(f"{given.dest}: not dir:PATH")
    store = Directory(given.dest.removeprefix("dir:"))
    return Uploader(given.at, given.dest, store, given.host, given.join).work()


if __name__ == "__main__":
    sys.exit(main())
