"""Entries: leaves with the records that they tell of, as they are checked, and as JSON lines. Pure.

An audit export is a directory:

    checkpoint             the latest checkpoint, a signed note
    heads.jsonl            the log of heads: one statement a line, in order, exactly the bytes that are hashed
    logs.jsonl             every log, one after the other
    said.txt               what storage says of files that it set aside, a line each: signed by nobody

Each line of `logs.jsonl` is an object. A log begins with

    {"log": "9f…", "tenant": "", "day": "2026-11-21"}

and each of its leaves follows, in order (bytes in base64, hashes and ids in hex):

    {"index": 0, "kind": "record", "spool_id": "…", "first": 1, "last": 1, "hash": "…",
     "previous_hash": "…", "salt": "…", "record": "…"}
    {"index": 1, "kind": "record", …, "previous_hash": "…", "deleted": "request", "deleted_ns": …}
    {"index": 2, "kind": "gap", …, "reason": "evicted"}
    {"index": 3, "kind": "deletion", …, "reason": "request"}

The second is a tombstone. A leaf of a record with neither `record` nor `deleted` is one whose record isn't
there. A record without a leaf has no `index`, and stands in a log without a name ("log": "").
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from infertap.verification.leaves import KINDS, RECORD, Leaf, LogId, check_leaf

_NUMBERS: Final = {name: number for number, name in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record as it was sealed in its spool."""

    previous_hash: bytes
    salt: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of a record that was deleted."""

    previous_hash: bytes
    reason: str
    deleted_ns: int


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """A leaf and what is there of its record; `index` None where there is a record, and no leaf for it."""

    index: int | None
    leaf: Leaf
    found: Envelope | Tombstone | None = None
    # When a record without a leaf was stored, as its row says; nanoseconds since the epoch.
    stored_ns: int = 0


def write_log(log: LogId) -> str:
    """The line that begins a log."""
    return json.dumps({"log": log.log, "tenant": log.tenant, "day": log.day}) + "\n"


def write_entry(entry: LoggedEntry) -> str:
    """The line of an entry."""
    leaf, found = entry.leaf, entry.found
    said: dict[str, Any] = {"index": entry.index, "kind": KINDS[leaf.kind], "spool_id": leaf.spool_id.hex()}
    said |= {"first": leaf.first, "last": leaf.last, "hash": leaf.hash.hex()}
    if leaf.reason:
        said["reason"] = leaf.reason
    if isinstance(found, Envelope):
        said |= {"previous_hash": found.previous_hash.hex(), "salt": found.salt.hex()}
        said["record"] = base64.b64encode(found.record).decode()
    elif found is not None:
        said |= {"previous_hash": found.previous_hash.hex(), "deleted": found.reason}
        said["deleted_ns"] = found.deleted_ns
    if entry.index is None:
        said["stored_ns"] = entry.stored_ns
    return json.dumps(said) + "\n"


def read_line(line: str) -> LogId | LoggedEntry:
    """What a line says; raises ValueError."""
    try:
        said = json.loads(line)
        if "log" in said:
            return LogId(str(said["tenant"]), str(said["day"]), str(said["log"]))
        return _read_entry(said)
    except (KeyError, TypeError, ValueError, binascii.Error, RecursionError):
        raise ValueError("not a line of an audit export") from None


def _read_entry(said: dict[str, Any]) -> LoggedEntry:
    leaf = Leaf(
        _NUMBERS[said["kind"]],
        bytes.fromhex(said["spool_id"]),
        int(said["first"]),
        int(said["last"]),
        bytes.fromhex(said["hash"]),
        str(said.get("reason", "")),
    )
    index = None if said["index"] is None else int(said["index"])
    return LoggedEntry(index, check_leaf(leaf), _found(leaf, said), int(said.get("stored_ns", 0)))


def _found(leaf: Leaf, said: dict[str, Any]) -> Envelope | Tombstone | None:
    if leaf.kind != RECORD or "previous_hash" not in said:
        return None
    previous = bytes.fromhex(said["previous_hash"])
    if "record" in said:
        record = base64.b64decode(said["record"], validate=True)
        return Envelope(previous, bytes.fromhex(said["salt"]), record)
    return Tombstone(previous, str(said["deleted"]), int(said["deleted_ns"]))
