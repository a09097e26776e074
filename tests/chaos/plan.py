"""What one seed decides: the options, the list, the actions. No clock, no process, no port."""
from dataclasses import dataclass, field
from random import Random
from typing import Optional
from urllib.parse import quote

BASE = "http://ORIGIN"       # in a line's text, until the origin's port is known
LINES_A_SECOND = 200         # of the time a seed is given
ACTING_SHARE = 0.5           # of that time; the rest is for the end of the run and the checks
MOST_FILE = "8M"             # --max-filesize
MOST_HOPS = 10               # --max-redirs
STALL_S = 3                  # --speed-time: longer than any wait and the pauses that meet it


@dataclass(frozen=True)
class Line:
    """A line of the list and what has to become of it."""
    text: str
    body: Optional[str] = None   # the origin's path whose bytes are delivered; None: it fails
    fails: Optional[str] = None  # the class it fails with; both None: blank or comment
    rude: int = 0                # requests that the origin spoils before it behaves
    requests: int = 1            # that one try takes: redirects too

    def is_task(self) -> bool:
        return self.body is not None or self.fails is not None


@dataclass(frozen=True)
class Action:
    """`role` "all": on each process there is."""
    at: float       # seconds since the start
    deed: str       # kill, stop, term, int, int-int, add
    role: str       # feeder, fetcher, uploader, all
    pick: float     # which of the role's processes, as a share of their number
    pause: float    # seconds until it goes on, or its successor starts


@dataclass
class Plan:
    seed: int
    seconds: float
    tcp: bool = False
    fetchers: int = 2
    uploaders: int = 1
    journal: bool = True
    stay: bool = False      # workers wait for another run, or for this one to go on
    gap: float = 1.0        # mean seconds between two actions
    feeder_options: list[str] = field(default_factory=list)
    fetcher_options: list[str] = field(default_factory=list)
    uploader_options: list[str] = field(default_factory=list)
    store: dict[str, str] = field(default_factory=dict)  # tests/shim/slow_store.c
    lines: list[Line] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def tasks(self) -> dict[int, Line]:
        return {n: line for n, line in enumerate(self.lines, 1) if line.is_task()}

    def acting_s(self) -> float:
        return self.seconds * ACTING_SHARE


# The list.

def body_size(rng: Random, most: int = 4_000_000) -> int:
    dice = rng.random()
    if dice < 0.06:
        return 0
    if dice < 0.66:
        return rng.randint(1, 4096)
    if dice < 0.93:
        return min(most, rng.randint(4096, 100_000))
    if dice < 0.993:
        return min(most, rng.randint(100_000, 600_000))
    return min(most, rng.randint(1_000_000, 4_000_000))


class ListMaker:
    """Lines of each kind, every one with a name of its own."""

    def __init__(self, rng: Random, wait_ms: int, compressed: bool):
        self.rng, self.wait_ms, self.compressed = rng, wait_ms, compressed
        self.names = 0

    def path(self, size: int) -> str:
        self.names += 1
        return f"/-/bytes/{size}/{self.names}.{self.rng.choice(['html', 'bin', 'jpg', 'x'])}"

    def line(self, size: int, *options: str, fails: Optional[str] = None, rude: int = 0,
             requests: int = 1) -> Line:
        path = self.path(size)
        query = "&".join(option for option in options if option)
        text = BASE + path + ("?" + query if query else "")
        return Line(text, None if fails else path, fails, rude, requests)

    def wait(self) -> str:
        if self.rng.random() < 0.2:
            return ""
        return f"wait={min(int(self.rng.expovariate(1 / self.wait_ms)), 2 * self.wait_ms)}"

    def dress(self) -> str:
        """How the body is sent."""
        ways = ["", "", "", "", "close=1", "chunked=1", "nolength=1", "headers=3000"]
        if self.compressed:
            ways += ["gzip=1", "deflate=1"]
        return self.rng.choice(ways)

    def plain(self) -> Line:
        return self.line(body_size(self.rng), self.wait(), self.dress())

    def slow(self) -> Line:
        size = self.rng.randint(2000, 20_000)
        return self.line(size, f"rate={int(size / self.rng.uniform(0.1, 0.8))}")

    def spoiled(self) -> Line:
        """Stalls, is reset or cut once or twice, and is fine then."""
        size = body_size(self.rng, 600_000)
        how = self.rng.choice(["stall", "reset", "reset", "truncate", "truncate"])
        at = "head" if size < 2 or self.rng.random() < 0.3 else self.rng.randint(0, size - 1)
        times = 1 if how == "stall" else self.rng.randint(1, 2)
        return self.line(size, f"{how}={at}", f"times={times}", rude=times)

    def busy(self) -> Line:
        times = self.rng.randint(1, 2)
        after = self.rng.choice(["retry-after=0", "retry-after=1", ""])
        status = self.rng.choice([503, 503, 500, 429])
        return self.line(body_size(self.rng, 100_000), f"status={status}", after, f"times={times}",
                         rude=times)

    def lying(self) -> Line:
        size = body_size(self.rng, 100_000)
        return self.line(size, f"length={size + 100}", "times=1", rude=1)

    def hopping(self) -> Line:
        hops = self.rng.randint(1, 6)
        return self.line(body_size(self.rng), f"hop={hops}", f"wait={self.rng.randint(0, 100)}",
                         requests=1 + hops)

    def moved(self) -> Line:
        there = self.path(body_size(self.rng, 100_000))
        return Line(self.line(1, f"to={quote(there, safe='')}").text, there, requests=2)

    def missing(self) -> Line:
        return self.line(10, f"status={self.rng.choice([404, 404, 403, 410])}", fails="http")

    def hopeless(self) -> Line:
        """Fails for good, each in its own way."""
        query, fails, requests = self.rng.choice([
            ("status=500", "http", 1), ("loop=1", "redirect", 1 + MOST_HOPS),
            ("to=ftp%3A%2F%2Fx%2F", "redirect", 1), ("to=http%3A%2F%2F10.1.2.3%2F", "refused", 1),
            ("reset=head", "cut", 1), ("truncate=5", "cut", 1)])
        return self.line(10, query, fails=fails, requests=requests)

    def bad_gzip(self) -> Line:
        return self.line(1000, "badgzip=1", "times=1" if self.compressed else "status=404",
                         fails=None if self.compressed else "http", rude=int(self.compressed))

    def too_large(self) -> Line:
        return self.line(9_000_000, fails="too-large")

    def no_url(self) -> Line:
        self.names += 1
        return Line(f"ftp://127.0.0.1/{self.names}", fails="input", requests=0)

    def nobody_there(self) -> Line:
        self.names += 1
        return Line(f"http://127.0.0.1:1/{self.names}", fails="connect", requests=0)

    def no_line(self) -> Line:
        return Line(self.rng.choice(["", "# a comment", "  "]))

    def make(self, count: int) -> list[Line]:
        kinds = [(self.plain, 820), (self.slow, 15), (self.spoiled, 40), (self.busy, 25),
                 (self.lying, 5), (self.hopping, 25), (self.moved, 10), (self.missing, 20),
                 (self.hopeless, 6), (self.bad_gzip, 4), (self.too_large, 2), (self.no_url, 4),
                 (self.nobody_there, 2)]
        makers = self.rng.choices([k for k, _ in kinds], [w for _, w in kinds], k=count)
        lines = [make() for make in makers]
        for line in self.rng.sample([x for x in lines if x.body and not x.rude], count // 200):
            lines.append(line)  # the same URL again
        lines += [self.no_line() for _ in range(count // 200)]
        self.rng.shuffle(lines)
        return lines


# The options.

def draw_store(plan: Plan, rng: Random, threads: int) -> None:
    """How the store differs from a good one."""
    if rng.random() < 0.3:  # the whole list still gets through, a few times over
        plan.store["SLOW_STORE"] = str(int(40e6 / threads / plan.uploaders * rng.uniform(1, 3)))
    if rng.random() < 0.3:
        plan.store["NO_TMPFILE"] = "1"
    if "--overwrite" in plan.uploader_options and rng.random() < 0.5:
        plan.store["SLOW_RENAME"] = "0.02"


def draw_options(plan: Plan, rng: Random) -> tuple[int, bool]:
    """Returns the mean wait of a body in ms, and whether bodies may be coded."""
    plan.tcp, plan.journal = rng.random() < 0.3, rng.random() < 0.9
    plan.fetchers, plan.uploaders = rng.randint(2, 4), rng.randint(1, 3)
    plan.gap = rng.choice([0.15, 0.3, 0.5, 1.0])
    plan.stay = rng.random() < 0.2
    wait_ms, compressed = rng.choice([20, 60, 150, 300]), rng.random() < 0.5
    count = plan.seconds * LINES_A_SECOND
    busy_s = count * (0.7 * wait_ms + 50) / 1000  # what all transfers take together
    parallel = max(2, int(busy_s / (0.85 * plan.acting_s()) / plan.fetchers))
    threads = rng.randint(1, 8)
    plan.feeder_options = ["--window", str(rng.choice([200, 1000, 10_000]))]
    plan.fetcher_options = ["-j", str(parallel), "--chunk-size",
                            rng.choice(["16k", "32k", "64k", "128k", "256k"]),
                            "--hwm", str(rng.choice([2, 8, 64]))]
    plan.uploader_options = ["-j", str(threads), "--hwm", str(rng.choice([1, 4, 8])),
                             "--buffer", rng.choice(["1M", "8M", "64M"])]
    if compressed:
        plan.fetcher_options.append("--compressed")
    if rng.random() < 0.25:
        plan.uploader_options.append("--fsync")
    if rng.random() < 0.25:
        plan.uploader_options.append("--overwrite")
    draw_store(plan, rng, threads)
    draw_pace(plan, parallel * plan.fetchers, count)
    return wait_ms, compressed


def draw_pace(plan: Plan, parallel: int, count: float) -> None:
    """Drawn apart, so that a seed is else what it was. A batch waits for a lease now and then."""
    rng = Random(f"pace {plan.seed}")
    if rng.random() < 0.5:
        plan.feeder_options += ["--pace", rng.choice([
            "unbounded", "sleep:1ms", f"batch:{max(parallel, int(count / 8))}",
            f"semaphore:{2 * parallel}", f"pool:{2 * parallel}"])]


# The actions.

def draw_pause(deed: str, rng: Random) -> float:
    if deed == "stop":  # a lease is 1 s
        return rng.choice([rng.uniform(0.02, 0.3), rng.uniform(0.3, 1.0), rng.uniform(1.0, 3.0)])
    return rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0.3, 1.5)])


def draw_actions(plan: Plan, rng: Random) -> list[Action]:
    worker_deeds = [("kill", 40), ("stop", 30), ("term", 18), ("add", 12)]
    feeder_deeds = [("kill", 45), ("stop", 30), ("int", 20), ("int-int", 5)]
    roles = [("fetcher", 42), ("uploader", 38), ("feeder", rng.choice([5, 15, 30])), ("all", 2)]

    def one_of(weighted: list) -> str:
        return rng.choices([x for x, _ in weighted], [w for _, w in weighted])[0]

    actions, at = [], rng.uniform(0, 1)
    while at < plan.acting_s():
        role = one_of(roles)
        deed = "kill" if role == "all" else one_of(
            feeder_deeds if role == "feeder" else worker_deeds)
        actions.append(Action(at, deed, role, rng.random(), draw_pause(deed, rng)))
        at += plan.gap * rng.uniform(0.3, 1.7)
    return actions


def draw(seed: int, seconds: float) -> Plan:
    """The plan of a seed: always the same."""
    plan = Plan(seed, seconds)
    wait_ms, compressed = draw_options(plan, Random(f"options {seed}"))
    plan.lines = ListMaker(Random(f"list {seed}"), wait_ms, compressed).make(
        int(seconds * LINES_A_SECOND))
    plan.actions = draw_actions(plan, Random(f"actions {seed}"))
    return plan
