"""The messages of docs/protocol.md: made as a feeder or a fetcher does, and an uploader's read as
strictly as the document allows."""
from typing import Any

import msgpack
import xxhash

TEXT_MOST = 2**16
LIST_MOST = 2**20

EVERY = {"v": int, "kind": str, "run": bytes, "from": int, "to": int}
FACTS = {"response_code": int, "time_us": int, "url_effective": str}
MUST = {
    "beat": {"role": str, "host": str, "pid": int, "inbox": str, "intake": str, "dest": str,
             "oldest": int},
    "stored": {"o": int},
    "failed": {"o": int},
    "stored item": {"d": int, "task": int, "key": str, "bytes": int},
    "failed item": {"d": int, "task": int, "class": str},
    "read item": {"from": int, "n": int},
}
MAY = {
    "beat": {"read": list, "held": list, "held_tasks": list, "open": list, "leaving": bool,
             "empty": bool, "reading": bool, "join": bool, "over": bool, "objects": int,
             "bytes": int, "dropped": int},
    "stored": {"items": list},
    "failed": {"items": list},
    "stored item": {"digest": str, "existing": bool, "fetcher": int, "content_type": str, **FACTS},
    "failed item": {"detail": str, "retry": bool, "retry_after_ms": int, **FACTS},
    "read item": {},
}


class Wrong(Exception):
    """What an uploader did that the document forbids, or did not do that it asks for."""


def pack(message: dict) -> bytes:
    return msgpack.packb(message, unicode_errors="surrogateescape")


def chunk_sum(body: bytes) -> int:
    return xxhash.xxh3_64_intdigest(body)


def check_type(what: str, value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise Wrong(f"{what} is {value!r}, not {kind.__name__}")
    if kind is int and not 0 <= value < 2**64:
        raise Wrong(f"{what} is {value}: numbers are unsigned, of 64 bits")
    if kind is str and len(value.encode(errors="surrogateescape")) > TEXT_MOST:
        raise Wrong(f"{what}: a text over 64 KiB")
    if kind is list and len(value) > LIST_MOST:
        raise Wrong(f"{what}: a list over 2^20 elements")


def check_fields(what: str, given: Any, must: dict, may: dict) -> None:
    if not isinstance(given, dict):
        raise Wrong(f"{what} is {given!r}, not a map")
    if lacking := must.keys() - given.keys():
        raise Wrong(f"{what} has no {', '.join(sorted(lacking))}")
    for name, kind in {**must, **may}.items():
        if name in given:
            check_type(f"{what}: `{name}`", given[name], kind)


def check_map(what: str, given: Any) -> None:
    """Checks a map's fields, and fills in those that may be missing."""
    check_fields(what, given, MUST[what], MAY[what])
    for name, kind in MAY[what].items():
        given.setdefault(name, kind())


def parse(frame: bytes) -> dict:
    """An uploader's message, with all that may be missing filled in. Wrong: it is none."""
    try:
        message = msgpack.unpackb(frame, unicode_errors="surrogateescape")
    except Exception as e:
        raise Wrong(f"a frame that is not one MessagePack map: {e}: {frame[:80]!r}") from e
    check_fields("a message", message, EVERY, {})
    kind = message["kind"]
    if message["v"] != 1 or kind not in ("beat", "stored", "failed"):
        raise Wrong(f"a message of kind {kind!r}, version {message['v']}")
    if len(message["run"]) != 16:
        raise Wrong(f"`run` has {len(message['run'])} bytes")
    check_map(kind, message)
    if kind == "beat":
        check_beat(message)
    for item in message.get("items", []):
        check_map(f"{kind} item", item)
    return message


def check_beat(beat: dict) -> None:
    if beat["role"] != "uploader":
        raise Wrong(f"`role` is {beat['role']!r}")
    for mark in beat["read"]:
        check_map("read item", mark)
    for name in ("held", "held_tasks", "open"):
        for number in beat[name]:
            check_type(f"beat: element of `{name}`", number, int)
    if len(beat["held"]) != len(beat["held_tasks"]):
        raise Wrong(f"{len(beat['held'])} d's in `held`, {len(beat['held_tasks'])} in `held_tasks`")
    if set(beat["held"]) & set(beat["open"]):
        raise Wrong("a d is in `held` and in `open`")
