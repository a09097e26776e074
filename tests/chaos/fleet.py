"""The processes of a run: each is ours from its start until it is reaped, and ended by its pid."""
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Optional

from plan import MOST_FILE, MOST_HOPS, STALL_S, Plan

LEASE_S = 1
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_us() -> None:
    """In the child: even if the driver is killed nothing of it stays."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port that no other socket is given by chance: below the range of those."""
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


class Process:
    def __init__(self, role: str, name: str, popen: subprocess.Popen):
        self.role, self.name, self.popen = role, name, popen
        self.stopped = self.killed = self.asked = False
        self.asked_early = False  # before it counted signals: it dies of it
        self.disturbed_at = time.monotonic()  # its start, or its last stop or continuation

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)  # does nothing once it is reaped
        self.killed |= number == signal.SIGKILL
        if number in (signal.SIGTERM, signal.SIGINT):
            self.asked_early |= not self.counts(number)
            self.asked = True
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.stopped = number == signal.SIGSTOP
            self.disturbed_at = time.monotonic()

    def counts(self, number: int) -> bool:
        """Whether it is so far that it takes the signal instead of dying of it."""
        try:
            text = Path(f"/proc/{self.popen.pid}/status").read_text()
        except OSError:
            return True
        masks = [line.split()[1] for line in text.splitlines() if line.startswith("SigBlk")]
        return bool(int(masks[0], 16) >> (number - 1) & 1)

    def died_as_told(self) -> bool:
        """It is reaped, and ended by a signal of ours, as it may."""
        early = self.asked_early and self.popen.returncode in (-signal.SIGTERM, -signal.SIGINT)
        return self.killed or early

    def status(self) -> Optional[int]:
        return self.popen.poll()


class Fleet:
    def __init__(self, plan: Plan, programs: Path, directory: Path):
        self.plan, self.programs, self.directory = plan, programs, directory
        self.at = f"tcp://127.0.0.1:{free_port()}" if plan.tcp else f"ipc://{directory}/at/feeder"
        self.sanitized = "san" in programs.parent.name  # no preloaded library goes with that
        self.processes: list[Process] = []
        self.started = {"origin": 0, "feeder": 0, "fetcher": 0, "uploader": 0}
        self.journal = self.directory / "journal" if plan.journal else None
        (directory / "at").mkdir(mode=0o700)
        (directory / "logs").mkdir()

    def manifest(self) -> Path:
        return self.journal / "manifest.jsonl" if self.journal else self.directory / "stdout"

    def arguments(self, role: str) -> list[str]:
        plan, at = self.plan, ["--at", self.at, "-v"]
        if role == "origin":
            return []
        if plan.stay and role != "feeder":
            at.append("--stay")
        if role == "fetcher":
            return at + ["--allow-net", "loopback", "--speed-time", str(STALL_S),
                         "--max-filesize", MOST_FILE, "--max-redirs", str(MOST_HOPS)] + \
                plan.fetcher_options
        if role == "uploader":
            return at + plan.uploader_options + ["dir:out"]
        journal = ["--journal", str(self.journal)] if self.journal else []
        return at + ["--lease", str(LEASE_S), "--retry-delay", "0.2"] + plan.feeder_options + \
            journal + ["urls"]

    def environment(self, role: str) -> dict[str, str]:
        env = dict(os.environ)
        if role == "uploader" and self.plan.store and not self.sanitized:
            env["LD_PRELOAD"] = str(self.programs.parent / "shim" / "slow_store.so")
            env.update(self.plan.store)
        return env

    def start(self, role: str) -> Process:
        self.started[role] += 1
        name = f"{role}.{self.started[role]}"
        out = {"feeder": "stdout", "origin": "port"}.get(role, "/dev/null")
        with open(self.directory / out, "ab") as stdout, \
             open(self.directory / "logs" / name, "wb") as log:
            popen = subprocess.Popen(
                [self.programs / role] + self.arguments(role), cwd=self.directory,
                env=self.environment(role), stdin=subprocess.DEVNULL, stdout=stdout, stderr=log,
                preexec_fn=die_with_us, start_new_session=True)
        process = Process(role, name, popen)
        self.processes.append(process)
        return process

    def start_origin(self) -> int:
        """Returns its port."""
        origin, deadline = self.start("origin"), time.monotonic() + 10
        while time.monotonic() < deadline and origin.status() is None:
            words = (self.directory / "port").read_text().split()
            if len(words) == 2:
                return int(words[1])
            time.sleep(0.01)
        raise RuntimeError("the origin does not start")

    def alive(self, role: str) -> list[Process]:
        return [p for p in self.processes if p.role == role and p.popen.returncode is None]

    def workers(self) -> list[Process]:
        return self.alive("fetcher") + self.alive("uploader")

    def ended(self) -> list[Process]:
        """Those that have ended since the last call, reaped."""
        gone = [p for p in self.processes if p.status() is not None]
        self.processes = [p for p in self.processes if p not in gone]
        return gone

    def end_all(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process in self.processes:
            process.popen.wait(timeout=10)
        self.processes = []
