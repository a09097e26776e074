"""What has to be true afterwards. Each check says itself; a failed one with examples."""
import hashlib
import http.client
import json
import subprocess
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Iterable, Optional
from urllib.parse import urlsplit

from drive import Run
from plan import BASE

EXAMPLES = 5
PRINTED = 200    # objects compared with `origin --print`, byte by byte
Record = dict[str, Any]


class Origin:
    """Asks the origin, over one connection."""

    def __init__(self, base: str):
        where = urlsplit(base)
        self.base = base
        self.connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path)
        return self.connection.getresponse().read()

    def sum(self, path: str) -> str:
        """Of what the path has without any rudeness."""
        return hashlib.sha256(self.get(path)).hexdigest()

    def requests(self) -> int:
        return int(json.loads(self.get("/-/stats"))["requests"])


class Checks:
    def __init__(self, run: Run, programs: Path):
        self.run, self.programs, self.directory = run, programs, run.directory
        self.origin = Origin(run.base)
        self.failed = 0
        self.tasks = run.plan.tasks()
        self.records = self.read_manifest()
        self.by_id: dict[int, Record] = {r["id"]: r for r in self.records}
        self.delivered = [r for r in self.records if r.get("status") == "delivered"]

    def read_manifest(self) -> list[Record]:
        records = []
        for text in self.run.fleet.manifest().read_bytes().splitlines():
            try:
                records.append(json.loads(text))
            except ValueError:
                self.say(f"the manifest's lines are JSON: not {text[:200]!r}", ["torn"])
        return records

    def say(self, what: str, wrong: Iterable[object]) -> None:
        examples = list(wrong)
        print(f"  {'NOT OK' if examples else 'ok    '} {what}")
        for example in examples[:EXAMPLES]:
            print(f"           {example}")
        if len(examples) > EXAMPLES:
            print(f"           and {len(examples) - EXAMPLES} more")
        self.failed += bool(examples)

    def text_of(self, number: int) -> str:
        return self.tasks[number].text.replace(BASE, self.run.base).strip()

    def all(self) -> int:
        """Returns how many failed."""
        self.say("all went as it should until the end", self.run.complaints)
        self.say("no process is left", (p.name for p in self.run.fleet.workers() +
                                        self.run.fleet.alive("feeder")))
        self.each_line_once()
        self.as_planned()
        self.exit_status()
        self.failed_list()
        self.count_requests()  # before we ask for bodies ourselves
        self.count_absorbed()
        self.stored_as_said()
        self.as_the_origin_has_it()
        self.as_the_origin_prints_it()
        self.no_leftovers()
        self.strangers()
        return self.failed

    # The manifest.

    def each_line_once(self) -> None:
        times = Counter(r["id"] for r in self.records)
        wrong = [f"line {n}: {times[n]} times ({self.text_of(n)})" for n in self.tasks
                 if times[n] != 1]
        wrong += [f"line {n} is none of the list" for n in times if n not in self.tasks]
        wrong += [f"line {n}: another URL, {r['url']}" for n, r in self.by_id.items()
                  if n in self.tasks and r["url"] != self.text_of(n)]
        self.say(f"every line of the list once in the manifest ({len(self.tasks)})", wrong)

    def as_planned(self) -> None:
        wrong, fails = [], 0
        for number, record in sorted(self.by_id.items()):
            planned = self.tasks[number].fails if number in self.tasks else None
            fails += planned is not None
            if record.get("status") != ("failed" if planned else "delivered") \
               or record.get("class") != planned:
                wrong.append(f"planned: {planned or 'delivered'}; it says {json.dumps(record)}")
        self.say(f"what should fail has failed with its class ({fails}), the rest is delivered",
                 wrong)

    def exit_status(self) -> None:
        want = int(any(line.fails for line in self.tasks.values()))
        got = self.run.feeder_status
        self.say(f"the feeder's last exit status is {want}", [] if got == want else [got])

    def failed_list(self) -> None:
        if not self.run.fleet.journal:
            return
        got = Counter((self.run.fleet.journal / "failed").read_text().splitlines())
        want = Counter(self.text_of(n) for n, line in self.tasks.items() if line.fails)
        wrong = [f"{got[text]} times instead of {want[text]}: {text}"
                 for text in sorted(set(got) | set(want)) if got[text] != want[text]]
        self.say("each failed line once in the journal's `failed`", wrong)

    # The store.

    def stored(self, record: Record) -> Path:
        return self.directory / "out" / record["key"]

    def stored_as_said(self) -> None:
        wrong = []
        for record in self.delivered:
            path = self.stored(record)
            if not path.is_file():
                wrong.append(f"not there: {json.dumps(record)}")
                continue
            body = path.read_bytes()
            if len(body) != record["size_download"] or \
               "sha256" not in record or hashlib.sha256(body).hexdigest() != record["sha256"]:
                wrong.append(f"{len(body)} bytes, another digest: {json.dumps(record)}")
        self.say(f"what is stored has the manifest's size and SHA-256 ({len(self.delivered)})",
                 wrong)

    def body_of(self, record: Record) -> Optional[str]:
        line = self.tasks.get(record["id"])
        return line.body if line else None

    def as_the_origin_has_it(self) -> None:
        wrong = []
        for record in self.delivered:
            body = self.body_of(record)
            if body and self.origin.sum(body) != record.get("sha256"):
                wrong.append(f"the origin has other bytes: {json.dumps(record)}")
        self.say(f"the manifest's SHA-256 is that of what the origin has ({len(self.delivered)})",
                 wrong)

    def as_the_origin_prints_it(self) -> None:
        wrong = []
        rng = Random(self.run.plan.seed)
        sample = rng.sample(self.delivered, min(PRINTED, len(self.delivered)))
        for record in sample:
            body = self.body_of(record)
            if not body:
                continue
            printed = subprocess.run([self.programs / "origin", "--print", body],
                                     capture_output=True, timeout=20, check=True).stdout
            if not self.stored(record).is_file() or self.stored(record).read_bytes() != printed:
                wrong.append(json.dumps(record))
        self.say(f"a sample of the store is byte-equal to `origin --print` ({len(sample)})", wrong)

    def no_leftovers(self) -> None:
        out = self.directory / "out"
        self.say("no temporary file is left in the store", sorted(out.rglob(".sluice-*")))

    def strangers(self) -> None:
        known = {r["key"] for r in self.delivered}
        out = self.directory / "out"
        there = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
        self.run.counts["objects that the manifest does not know"] = len(there - known)

    # What happened, as numbers.

    def requests_of(self, record: Record, tries: int) -> int:
        line = self.tasks.get(record["id"])
        return tries * line.requests if line else 0

    def count_requests(self) -> None:
        """A lost try leaves no trace in the manifest, but its request does at the origin."""
        counts = self.run.counts
        asked = self.origin.requests()
        told = sum(self.requests_of(r, max(r.get("tries", 1), 1)) for r in self.records)
        counts["requests"] = asked
        counts["requests beyond the manifest's tries: second dispatches, at least"] = asked - told
        counts["tries that the origin had not spoiled"] = sum(
            max(0, r.get("tries", 1) - 1 - self.tasks[r["id"]].rude) for r in self.delivered
            if r["id"] in self.tasks)

    def count_absorbed(self) -> None:
        counts, copies = self.run.counts, Counter(self.text_of(n) for n in self.tasks)
        logs = b"".join(p.read_bytes() for p in (self.directory / "logs").glob("feeder.*"))
        counts["handed out again, by the feeder's words"] = logs.count(b"handing it out again")
        counts["held by a worker through a feeder's death"] = logs.count(b"has it still")
        counts["existing: duplicates absorbed"] = sum(bool(r.get("existing"))
                                                      for r in self.delivered)
        counts["existing, of these at most by URLs that the list has twice"] = sum(
            n - 1 for n in copies.values())
