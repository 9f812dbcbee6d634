"""Checkpoints: what storage signs, so that nothing it had taken can be changed unseen. Pure.

All that is said of logs goes into one more log, the *log of heads*, of which each leaf is a statement:

    {"day":"2026-11-21","kind":"head","log":"9f…","root":"…","size":1200,"tenant":"","time":"2026-11-21T…Z"}
    {"day":"2026-11-21","kind":"dropped","log":"9f…","reason":"retention","root":"…","size":1200,…}

`head`: at that time the log had so many leaves, and that root (base64). `dropped`: its leaves and records
were deleted together, by retention; nothing of it can be verified any more. The data of a leaf is the
statement's bytes as they were written, UTF-8.

A checkpoint is a signed note over the log of heads (c2sp.org/tlog-checkpoint), so the latest one covers all
that was ever stated, and any two show whether one goes on from the other:

    origin, which is the name of the key
    how many statements
    root, base64
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from infertap.verification.leaves import LogId
from infertap.verification.merkle import HASH_BYTES
from infertap.verification.signed_note import NoteError, PrivateKey, PublicKey, open_note, sign_note

HEAD: Final = "head"
DROPPED: Final = "dropped"
_MOST_SIZE: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of the log of heads."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """As it is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a leaf of the log of heads says; `data` is as it was written."""

    kind: str
    log: LogId
    size: int
    root: bytes
    time_ns: int
    reason: str
    data: bytes


def sign_checkpoint(checkpoint: Checkpoint, keys: Sequence[PrivateKey]) -> str:
    """The signed note."""
    return sign_note(checkpoint.text(), keys)


def open_checkpoint(note: str, keys: Sequence[PublicKey]) -> Checkpoint:
    """The checkpoint in a note that a key of its origin's name signed: another archive's key, trusted or not,
    has nothing to say of this one. Raises NoteError.
    """
    named = note.partition("\n")[0]
    text = open_note(note, [key for key in keys if key.name == named])
    origin, size, root = [*text.split("\n"), "", ""][:3]
    try:
        hashed = base64.b64decode(root, validate=True)
    except (binascii.Error, ValueError):
        hashed = b""
    is_number = size.isascii() and size.isdecimal() and size == str(int(size))
    if not origin or not is_number or int(size) > _MOST_SIZE or len(hashed) != HASH_BYTES:
        raise NoteError("a signed note that is no checkpoint")
    return Checkpoint(origin, int(size), hashed)


def state(kind: str, log: LogId, head: tuple[int, bytes], time_ns: int, reason: str = "") -> Statement:
    """A new statement; `head` is size and root."""
    size, root = head
    time = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said: dict[str, Any] = {"kind": kind, "tenant": log.tenant, "day": log.day, "log": log.log, "size": size}
    said |= {"root": base64.b64encode(root).decode(), "time": time}
    if reason:
        said["reason"] = reason
    data = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return read_statement(data)


def read_statement(data: bytes) -> Statement:
    """The statement in a leaf of the log of heads; raises ValueError."""
    try:
        said = json.loads(data)
        log = LogId(str(said["tenant"]), str(said["day"]), str(said["log"]))
        time = datetime.fromisoformat(said["time"])
        root = base64.b64decode(said["root"], validate=True)
        kind, size, reason = str(said["kind"]), int(said["size"]), str(said.get("reason", ""))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("not a statement about a log") from None
    if len(root) != HASH_BYTES or not 0 <= size <= _MOST_SIZE:
        raise ValueError("not a statement about a log")
    return Statement(kind, log, size, root, int(time.timestamp()) * 1_000_000_000, reason, data)
