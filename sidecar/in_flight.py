"""In flight: the calls that relays have open for long, as far as they have come. In memory only.

Written by the pipeline's thread; read by the API and the forwarder, from any thread, as frozen values.
Touches no clock: `now` is the machine's monotonic clock, nanoseconds, which the relays share. It promises: at
most MOST_CALLS calls and MOST_BYTES bytes, the first come; nothing raw, as what comes in is an encoded record
that was redacted; a call leaves by its record, by its relay's word, by a successor of its relay, or when
whole rounds pass it over. What went with its relay is shown as failed for LOST_NS.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from infertap import v1
from sidecar.handoff import Round

MOST_CALLS: Final = 10_000
MOST_BYTES: Final = 32 << 20
# How long calls that a relay took with it are shown.
LOST_NS: Final = 60_000_000_000
RELAY_LOST: Final = "RELAY_LOST"
# A call that so many rounds of its relay did not mention is over.
_ROUNDS_MISSED: Final = 2

# Slot and call number.
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """One call. Times are monotonic."""

    # 16 bytes.
    call_id: bytes
    started: int
    # An encoded infertap.v1.Record, without what changes while the call goes on.
    record: bytes
    request_bytes: int = 0
    response_bytes: int = 0
    status: int = 0
    # -1 before it came.
    first_response_byte: int = -1
    # When its relay was known to be gone; None while it is in flight.
    lost: int | None = None
    # Rises with each call that appears, or is lost.
    turn: int = 0
    # The round of its relay that mentioned it last.
    round_number: int = 0

    def age_us(self, now: int) -> int:
        """Microseconds since its start, or until it was lost."""
        return max((now if self.lost is None else self.lost) - self.started, 0) // 1000

    def first_byte_us(self) -> int:
        """Microseconds from its start to the first byte of its answer; -1 before that."""
        return -1 if self.first_response_byte < 0 else max(self.first_response_byte - self.started, 0) // 1000

    def shown(self, now: int) -> v1.Record:
        """The call as a record: state INFERENCING, or FAILED with its relay, with what came so far."""
        record = v1.Record.FromString(self.record)
        record.http_status = self.status
        record.timing.duration_us = self.age_us(now)
        record.timing.first_response_byte_us = self.first_byte_us()
        record.request.size_bytes, record.response.size_bytes = self.request_bytes, self.response_bytes
        if self.lost is None:
            record.state = v1.INFERENCING
        else:
            record.state, record.ended_by = v1.FAILED, v1.EndedBy.RELAY
            record.logging_error_codes.append(RELAY_LOST)
        return record


class InFlight:
    """All calls in flight of one sidecar."""

    def __init__(self, most_calls: int = MOST_CALLS, most_bytes: int = MOST_BYTES) -> None:
        """Nothing is in flight."""
        self._most_calls = most_calls
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        # In the order of their turns, the first of which is 1.
        self._open: dict[Key, CallInFlight] = {}
        self._lost: dict[bytes, CallInFlight] = {}
        self._bytes = 0
        self._turn = 0
        self._rounds: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: object) -> bool:
        return key in self._open

    # -- for the pipeline

    @property
    def has_room(self) -> bool:
        """Whether one more call would be taken, if it is small."""
        return len(self._open) < self._most_calls and self._bytes < self._most_bytes

    def add(self, slot: int, call_number: int, call: CallInFlight) -> bool:
        """`call` is in flight; False where there is no room for it."""
        with self._lock:
            if len(self._open) >= self._most_calls or self._bytes + len(call.record) > self._most_bytes:
                return False
            self._turn += 1
            self._remove((slot, call_number))
            self._bytes += len(call.record)
            call = replace(call, turn=self._turn, round_number=self._rounds.get(slot, 0))
            self._open[slot, call_number] = call
            return True

    def progress(self, slot: int, told: Round) -> None:
        """How far calls of that slot have come; what two rounds did not mention is over."""
        with self._lock:
            for row in told.rows:
                if (call := self._open.get((slot, row.call_number))) is not None:
                    self._open[slot, row.call_number] = replace(
                        call,
                        request_bytes=row.request_bytes,
                        response_bytes=row.response_bytes,
                        status=row.status,
                        first_response_byte=row.first_response_byte,
                        round_number=told.number,
                    )
            if told.number != self._rounds.get(slot):
                self._rounds[slot] = told.number
                for key in self._passed_over(slot, told.number - _ROUNDS_MISSED):
                    self._remove(key)

    def end(self, keys: Iterable[Key]) -> None:
        """These calls are over: they have records, or will have none."""
        if self._open:
            with self._lock:
                for key in keys:
                    self._remove(key)

    def lose(self, slot: int, now: int) -> None:
        """The relay of that slot is gone, and all that it had in flight."""
        with self._lock:
            self._forget_lost(now)
            self._rounds.pop(slot, None)
            for key, call in [each for each in self._open.items() if each[0][0] == slot]:
                self._turn += 1
                self._remove(key)
                self._lost[call.call_id] = replace(call, lost=now, turn=self._turn)
            self._bound_lost()

    # -- for the API and the forwarder

    def calls(self, now: int) -> list[CallInFlight]:
        """What is in flight, and what was lost lately."""
        with self._lock:
            self._forget_lost(now)
            return [*self._open.values(), *self._lost.values()]

    def appeared(self, after: int) -> list[CallInFlight]:
        """Calls that appeared, or were lost, after that turn, in that order."""
        if self._turn <= after:
            return []
        with self._lock:
            fresh = [*_later(self._open, after), *_later(self._lost, after)]
        return sorted(fresh, key=lambda call: call.turn)

    def find(self, call_id: bytes, now: int) -> CallInFlight | None:
        """The call of that id, in flight or lost lately."""
        return next((call for call in self.calls(now) if call.call_id == call_id), None)

    # -- under the lock

    def _remove(self, key: Key) -> None:
        if (call := self._open.pop(key, None)) is not None:
            self._bytes -= len(call.record)

    def _passed_over(self, slot: int, round_number: int) -> list[Key]:
        return [
            key for key, call in self._open.items() if key[0] == slot and call.round_number < round_number
        ]

    def _forget_lost(self, now: int) -> None:
        for call_id in [each.call_id for each in self._lost.values() if now - (each.lost or 0) >= LOST_NS]:
            del self._lost[call_id]

    def _bound_lost(self) -> None:
        size = sum(len(call.record) for call in self._lost.values())
        while len(self._lost) > self._most_calls or size > self._most_bytes:
            oldest = next(iter(self._lost))
            size -= len(self._lost.pop(oldest).record)


def _later(
    calls: "dict[Key, CallInFlight] | dict[bytes, CallInFlight]", after: int
) -> Iterator[CallInFlight]:
    """The last of them, back to that turn."""
    for call in reversed(calls.values()):
        if call.turn <= after:
            return
        yield call
