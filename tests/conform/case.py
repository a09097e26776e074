"""A case is a function of a stage: its name names it, its docstring says it, its rules are
sentences of docs/protocol.md, word for word."""
from dataclasses import dataclass
from typing import Callable

from stage import Stage


class Skip(Exception):
    """A case that says nothing of this uploader, and why."""


@dataclass
class Case:
    play: Callable[[Stage], None]
    rules: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.play.__name__.replace("_", "-")

    @property
    def title(self) -> str:
        return " ".join((self.play.__doc__ or "").split()).rstrip(".")


CASES: list[Case] = []


def case(*rules: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def add(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        CASES.append(Case(play, rules))
        return play
    return add


def body_of(size: int, seed: int = 1) -> bytes:
    """Bytes that differ everywhere, so that a piece at a wrong place shows."""
    return b"".join((seed << 32 | i).to_bytes(8, "big") for i in range(size // 8 + 1))[:size]
