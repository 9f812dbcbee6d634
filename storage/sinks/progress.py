"""Progress: how far a sink came, and what it refused: kept in the archive, so that any storage goes on there.

In the archive's notes (storage.audit.AuditArchive; both engines):

    kind "sink"              key NAME      how far it came, as JSON (see Progress)
    kind "sink resend"       key NAME      somebody asked that what was refused be sent again
    kind "sink NAME refused" key arrival   what was set aside: id, call_id, reason, refused_ns; no payload
    kind "sink NAME lost"    key random    how many records went from the archive before they went on, decimal
    kind "sink NAME dropped" key random    how many that were set aside were given up by command

It promises: what was refused is kept before the place moves behind it.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from storage.archive import Arrival
from storage.audit import AuditArchive

_PROGRESS: Final = "sink"
_RESEND: Final = "sink resend"
_PAGE: Final = 1000
# Beyond which nothing more is sent until somebody has looked: so many records are no poison, the sink is ill.
MOST_SET_ASIDE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sink came. Each record up to `at` was delivered, passed over by the filter, or set aside."""

    at: Arrival
    # Of the next batch.
    number: int = 1
    # Where the batch under way ends, of kinds that repeat exactly; None while none is.
    until: Arrival | None = None
    delivered: int = 0
    passed_over: int = 0
    # What went wrong last, and when; empty once something was delivered after it.
    error: str = ""
    error_ns: int = 0

    def pack(self) -> bytes:
        """As a note."""
        places = {"at": self.at.pack().hex(), "until": self.until.pack().hex() if self.until else ""}
        return json.dumps({**asdict(self), **places}).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> "Progress":
        """The inverse; what a later version added is passed over."""
        read: dict[str, Any] = json.loads(packed)
        known = {name: read[name] for name in cls.__slots__ if name in read}
        at, until = bytes.fromhex(read["at"]), bytes.fromhex(read.get("until", ""))
        return cls(**{**known, "at": Arrival.unpack(at), "until": Arrival.unpack(until) if until else None})


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that a sink refused: where it is, and why."""

    arrival: Arrival
    record_id: str
    call_id: str
    reason: str
    refused_ns: int

    def pack(self) -> bytes:
        """As a note."""
        told = {"id": self.record_id, "call_id": self.call_id, "reason": self.reason}
        return json.dumps({**told, "refused_ns": self.refused_ns}).encode()

    @classmethod
    def unpack(cls, key: bytes, packed: bytes) -> "SetAside":
        """The inverse."""
        read = json.loads(packed)
        return cls(Arrival.unpack(key), read["id"], read["call_id"], read["reason"], read["refused_ns"])


class SinkNotes:
    """What is kept of one sink. Blocks; safe from any thread; all raise ArchiveError."""

    def __init__(self, notes: AuditArchive, name: str) -> None:
        self._notes = notes
        self._key = name.encode()
        self._refused = f"sink {name} refused"
        self._lost = f"sink {name} lost"
        self._dropped = f"sink {name} dropped"

    def progress(self) -> Progress | None:
        """How far it came; None where it is new."""
        found = self._note(_PROGRESS)
        return None if found is None else Progress.unpack(found)

    def keep(self, progress: Progress) -> None:
        """It came so far; durable on return."""
        self._notes.put(_PROGRESS, {self._key: progress.pack()})

    # -- what was refused

    def set_aside(self, refused: Sequence[SetAside]) -> None:
        """Keep these; durable on return."""
        if refused:
            self._notes.put(self._refused, {each.arrival.pack(): each.pack() for each in refused})

    def aside(self, after: Arrival | None, most: int) -> list[SetAside]:
        """At most so many of those, in order of storing, beyond `after`."""
        found = self._notes.notes(self._refused, after.pack() if after else b"", most)
        return [SetAside.unpack(key, value) for key, value in found]

    def count_aside(self) -> int:
        """How many there are."""
        return len(self._notes.notes(self._refused, b"", 2 * MOST_SET_ASIDE))

    def forget(self, refused: Sequence[SetAside]) -> None:
        """These are no longer set aside."""
        if refused:
            self._notes.put(self._refused, {each.arrival.pack(): b"" for each in refused})

    def ask_to_resend(self, now_ns: int) -> None:
        """Whoever runs the sink is to send again what is set aside."""
        self._notes.put(_RESEND, {self._key: str(now_ns).encode()})

    @property
    def is_asked_to_resend(self) -> bool:
        """Whether somebody did, and it has not been done."""
        return self._note(_RESEND) is not None

    def end_resending(self) -> None:
        """It has been done."""
        self._notes.put(_RESEND, {self._key: b""})

    # -- what was lost

    def lose(self, records: int) -> None:
        """So many records are about to go before they went on."""
        self._notes.put(self._lost, {secrets.token_bytes(8): str(records).encode()})

    def lost(self) -> int:
        """How many went."""
        return self._sum(self._lost)

    def drop_aside(self) -> int:
        """Give up what is set aside; how many records that was."""
        aside = self.aside(None, 2 * MOST_SET_ASIDE)
        if aside:
            self._notes.put(self._dropped, {secrets.token_bytes(8): str(len(aside)).encode()})
            self.forget(aside)
        return len(aside)

    def dropped(self) -> int:
        """How many were given up."""
        return self._sum(self._dropped)

    def _sum(self, kind: str) -> int:
        return sum(int(value) for value in self._all(kind).values())

    def _note(self, kind: str) -> bytes | None:
        return self._all(kind).get(self._key)

    def _all(self, kind: str) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        after = b""
        while page := self._notes.notes(kind, after, _PAGE):
            found.update(page)
            after = page[-1][0]
            if len(page) < _PAGE:
                break
        return found


def failed(progress: Progress, error: str, now_ns: int) -> Progress:
    """The same, with what went wrong."""
    return replace(progress, error=error, error_ns=now_ns)
