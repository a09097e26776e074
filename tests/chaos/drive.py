"""One run from its start to its end, disturbed as the plan says."""
import heapq
import itertools
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Callable

from fleet import Fleet, Process
from plan import BASE, Action, Plan

TURN_S = 0.02
LOOK_S = 0.5              # between two looks at how far the manifest is
ENOUGH = 0.9              # of the list settled: no more actions
SETTLE_S = 40             # for the run to end after the last action
LEAVE_S = 8               # for the workers to leave after the feeder
LATE_S = 3                # whose start or pause was so shortly before the end may not have heard
MOST = {"fetcher": 6, "uploader": 4}
STOPPED = 3               # a feeder's exit status
FINISHED = (0, 1)


class Run:
    def __init__(self, plan: Plan, fleet: Fleet, directory: Path):
        self.plan, self.fleet, self.directory = plan, fleet, directory
        self.base = ""
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.actions = list(plan.actions)
        self.feeder_status: int | None = None
        self.lines_seen, self.looked_at = 0, 0.0
        self.began = self.moved_at = time.monotonic()
        self.stood_s = 0.0              # the longest time without a settled line
        self.quiet_since = self.began   # the last time we did anything
        self.acted_s = self.ended_s = 0.0
        self.story = open(directory / "story", "w", encoding="ascii")

    def say(self, what: str) -> None:
        self.story.write(f"{self.now():8.3f} {what}\n")
        self.story.flush()

    def complain(self, what: str) -> None:
        self.say("COMPLAINT " + what)
        self.complaints.append(what)

    def now(self) -> float:
        return time.monotonic() - self.began

    def later(self, pause_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self.due, (time.monotonic() + pause_s, next(self.order), call))

    # The story.

    def play(self) -> None:
        self.base = f"http://127.0.0.1:{self.fleet.start_origin()}"
        text = "\n".join(line.text for line in self.plan.lines) + "\n"
        (self.directory / "urls").write_text(text.replace(BASE, self.base))
        self.start_all()
        while self.feeder_status not in FINISHED and not self.is_too_late():
            self.do_what_is_due()
            self.reap()
            self.look()
            self.act()
            time.sleep(TURN_S)
        self.ended_s = self.now()
        self.dismiss()

    def start_all(self) -> None:
        self.began = self.quiet_since = self.moved_at = time.monotonic()
        for role, count in (("uploader", self.plan.uploaders), ("fetcher", self.plan.fetchers),
                            ("feeder", 1)):
            for _ in range(count):
                self.start(role)

    def start(self, role: str) -> None:
        process = self.fleet.start(role)
        self.say(f"{process.name} started, pid {process.popen.pid}")

    def is_too_late(self) -> bool:
        if not self.actions and time.monotonic() - self.quiet_since > SETTLE_S:
            self.complain(f"the run has not ended {SETTLE_S} s after the last action")
            return True
        return self.feeder_status not in (None, STOPPED)  # it has failed, and reap() complained

    def do_what_is_due(self) -> None:
        while self.due and self.due[0][0] <= time.monotonic():
            heapq.heappop(self.due)[2]()
            self.quiet_since = time.monotonic()

    # Ends.

    def reap(self) -> None:
        for process in self.fleet.ended():
            status = process.popen.returncode
            self.say(f"{process.name} ended with status {status}")
            if process.role == "feeder":
                self.feeder_ended(process, status)
            elif process.role == "origin":
                self.complain(f"the origin ended with status {status}")
            elif not process.died_as_told():
                self.worker_left(process, status)

    def feeder_ended(self, process: Process, status: int) -> None:
        if status < 0 and process.died_as_told():
            if not process.killed:  # else its successor is due
                self.resume(0.1)
            return
        self.feeder_status = status
        if status == STOPPED and process.asked:
            self.counts["feeder stopped, status 3"] += 1
            self.resume(0.1)
        elif status not in FINISHED:
            self.complain(f"{process.name} ended with status {status}")

    def resume(self, pause_s: float) -> None:
        """The same command again, once, whatever it was that has ended it."""
        self.later(pause_s, self.resume_now)

    def resume_now(self) -> None:
        if not self.fleet.alive("feeder"):
            self.counts["feeder resumed"] += 1
            self.start("feeder")

    def worker_left(self, process: Process, status: int) -> None:
        """By itself: with a stopped feeder, or because it was asked to. The run goes on."""
        if status != 0:
            self.complain(f"{process.name} ended with status {status}")
        if self.feeder_status not in FINISHED:
            self.counts[f"{process.role} left" + (" when asked" if process.asked else "")] += 1
            if not process.asked:
                self.later(0.3, lambda: self.start(process.role))

    # Actions.

    def act(self) -> None:
        if self.actions and self.lines_seen >= ENOUGH * len(self.plan.tasks()):
            self.say("enough of the list is settled: no more actions")
            self.actions = []
        while self.actions and self.actions[0].at <= self.now():
            action = self.actions.pop(0)
            self.quiet_since = time.monotonic()
            self.acted_s = self.now()
            self.do(action)

    def look(self) -> None:
        """How far the manifest is, and how long it has not moved."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_S or not self.fleet.manifest().exists():
            return
        self.looked_at = now
        lines = self.fleet.manifest().read_bytes().count(b"\n")
        if lines == self.lines_seen:
            self.stood_s = max(self.stood_s, now - self.moved_at)
            return
        self.say(f"{lines} lines are settled")
        self.lines_seen, self.moved_at = lines, now

    def do(self, action: Action) -> None:
        if action.role == "all":
            self.kill_all(action)
        elif action.role == "feeder":
            self.do_to_feeder(action)
        elif action.deed == "add":
            self.add(action.role)
        elif self.fleet.alive(action.role):
            alive = self.fleet.alive(action.role)
            self.do_to_worker(action, alive[int(action.pick * len(alive))])

    def count(self, deed: str, process: Process) -> None:
        self.counts[f"{process.role} {deed}"] += 1
        self.say(f"{deed} {process.name}")

    def kill(self, process: Process, pause_s: float) -> None:
        self.count("killed", process)
        process.signal(signal.SIGKILL)
        process.popen.wait(timeout=10)  # its locks are free then
        if process.role == "feeder":
            self.resume(pause_s)
        else:
            self.later(pause_s, lambda: self.start(process.role))

    def kill_all(self, action: Action) -> None:
        self.counts["all killed at once"] += 1
        victims = self.fleet.workers()
        if self.fleet.journal:
            victims += self.fleet.alive("feeder")
        for process in victims:
            process.signal(signal.SIGKILL)
        for process in victims:
            self.kill(process, action.pause)

    def stop(self, process: Process, pause_s: float) -> None:
        self.count("suspended", process)
        if pause_s > 1:
            self.counts[f"{process.role} suspended for longer than the lease"] += 1
        process.signal(signal.SIGSTOP)
        self.later(pause_s, lambda: self.go_on(process))

    def go_on(self, process: Process) -> None:
        self.say(f"continue {process.name}")
        process.signal(signal.SIGCONT)

    def do_to_feeder(self, action: Action) -> None:
        for feeder in self.fleet.alive("feeder"):  # one, or none at the moment
            if action.deed == "stop":
                self.stop(feeder, action.pause)
            elif not self.fleet.journal:
                pass  # its end would be the run's
            elif action.deed == "kill":
                self.kill(feeder, action.pause)
            else:
                self.count("interrupted", feeder)
                feeder.signal(signal.SIGINT)
                if action.deed == "int-int":
                    self.later(0.1, lambda: feeder.signal(signal.SIGINT))

    def do_to_worker(self, action: Action, process: Process) -> None:
        if action.deed == "kill":
            self.kill(process, action.pause)
        elif action.deed == "stop":
            self.stop(process, action.pause)
        elif not process.asked:
            self.count("asked to leave", process)
            process.signal(signal.SIGTERM)
            self.later(action.pause, lambda: self.start(process.role))

    def add(self, role: str) -> None:
        if len(self.fleet.alive(role)) < MOST[role]:
            self.counts[f"{role} added"] += 1
            self.start(role)

    # After the feeder.

    def dismiss(self) -> None:
        """Workers leave with the run. One that came or woke up when it was over has not heard, and
        has to be asked, as one has that stays; no other may need that."""
        over, late = time.monotonic(), set()
        self.due = []
        for process in self.fleet.workers():
            if self.plan.stay or process.stopped or over - process.disturbed_at < LATE_S:
                late.add(process.name)
            if process.stopped:
                self.go_on(process)
        self.wait_for_workers(1, set())
        self.wait_for_workers(LEAVE_S, late)
        for process in self.fleet.workers():
            if process.name not in late:
                self.complain(f"{process.name} does not leave with the run")
            self.counts["asked to leave after the run"] += 1
            process.signal(signal.SIGTERM)
        self.wait_for_workers(LEAVE_S, set())
        for process in self.fleet.workers():
            process.signal(signal.SIGTERM)  # "now"
        self.wait_for_workers(LEAVE_S, set())
        for process in self.fleet.workers():
            self.complain(f"{process.name} does not even leave at the second TERM")

    def wait_for_workers(self, most_s: float, but: set[str]) -> None:
        """For all to have ended, except those named in `but`."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline:
            self.reap()
            if all(process.name in but for process in self.fleet.workers()):
                return
            time.sleep(TURN_S)
