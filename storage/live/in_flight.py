"""In flight: the calls that sidecars say they have open, as far as they have come. In memory only.

On one event loop; what it gives out is frozen. Touches no clock: `now` is monotonic, nanoseconds. It
promises: at most SPOOL_CALLS calls of a spool, MOST_CALLS and MOST_BYTES in all, the first come; where there
is no room, the latest calls of the tenant that has the most leave for those of one that has less; what is no
such call is passed over and counted, as it is no reason to end a stream of records. A call leaves by its
record, by its sidecar's word, or when its stream has been gone for GRACE_NS: then it counts as lost with its
relay, unless a new stream tells of it. Lost calls are shown for LOST_NS.
"""

import itertools
import uuid
from dataclasses import dataclass, field, replace
from typing import Final

from infertap import v1

SPOOL_CALLS: Final = 10_000
MOST_CALLS: Final = 100_000
MOST_BYTES: Final = 128 << 20
CALL_BYTES: Final = 32 << 10
GRACE_NS: Final = 10_000_000_000
LOST_NS: Final = 60_000_000_000
RELAY_LOST: Final = "RELAY_LOST"
_STATES: Final = (v1.INFERENCING, v1.FAILED)
_LAST_SECOND: Final = 1 << 33
_MOST_US: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """One call, as it was told of."""

    # 16 bytes each.
    call_id: bytes
    spool_id: bytes
    # An encoded infertap.v1.Record, with its age at `told`.
    record: bytes
    told: int
    # Which stream told of it last.
    stream: int
    # When it was known to be lost; None while it is in flight.
    lost: int | None = None
    progress: v1.Progress | None = None

    def shown(self, now: int) -> v1.Record:
        """The call as a record: state INFERENCING with its age, or FAILED."""
        record = v1.Record.FromString(self.record)
        record.spool_id = self.spool_id
        if self.progress is not None:
            _set_progress(record, self.progress)
        if record.state == v1.INFERENCING:
            record.timing.duration_us += max((now if self.lost is None else self.lost) - self.told, 0) // 1000
            if self.lost is not None:
                record.state, record.ended_by = v1.FAILED, v1.EndedBy.RELAY
                record.logging_error_codes.append(RELAY_LOST)
        return record


@dataclass(slots=True)
class _Spool:
    calls: dict[bytes, CallInFlight] = field(default_factory=dict)
    # Whose calls they are.
    tenant: str = ""
    # The stream that it has now, and since when it has it, or has none.
    stream: int | None = None
    since: int = 0


@dataclass(slots=True)
class _Tenant:
    """What a tenant's calls take."""

    # The calls, by spool and id, in the order of their coming.
    calls: dict[tuple[bytes, bytes], None] = field(default_factory=dict)
    bytes: int = 0


class InFlight:
    """All calls in flight of all spools."""

    def __init__(self, most_calls: int = MOST_CALLS, most_bytes: int = MOST_BYTES) -> None:
        self._most_calls = most_calls
        self._most_bytes = most_bytes
        self._spools: dict[bytes, _Spool] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._streams = itertools.count(1)
        self._count = 0
        self._bytes = 0
        # Calls that were told of and not kept.
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    # -- for the streams

    def begin(self, spool_id: bytes, now: int, tenant: str = "") -> int:
        """A spool has a new stream, which is the one that counts from now on; returns its number. What it
        tells is `tenant`'s.
        """
        spool = self._spools.setdefault(spool_id, _Spool())
        if spool.tenant != tenant:
            for call_id in list(spool.calls):
                self._remove(spool, call_id)
        spool.tenant = tenant
        spool.stream, spool.since = next(self._streams), now
        return spool.stream

    def end(self, spool_id: bytes, stream: int, now: int) -> None:
        """A stream is gone."""
        spool = self._spools.get(spool_id)
        if spool is not None and spool.stream == stream:
            spool.stream, spool.since = None, now

    def take(self, spool_id: bytes, stream: int, told: v1.InFlight, now: int) -> list[CallInFlight]:
        """What a stream tells; returns the calls that are news."""
        spool = self._spools.get(spool_id)
        if spool is None or spool.stream != stream:
            return []
        for call_id in told.ended:
            self._remove(spool, call_id)
        for progress in told.progress:
            if (call := spool.calls.get(progress.call_id)) is not None:
                spool.calls[call.call_id] = replace(call, progress=_alone(progress), told=now, stream=stream)
        news = [self._add(spool, spool_id, record, now) for record in told.calls]
        return [call for call in news if call is not None]

    def recorded(self, spool_id: bytes, record: v1.Record) -> None:
        """This record is durable: its call is in flight no more, but where it is continued."""
        spool = self._spools.get(spool_id)
        if spool is not None and spool.calls and not record.is_continued:
            self._remove(spool, _read_id(record.call_id) or b"")

    def sweep(self, now: int) -> list[CallInFlight]:
        """About once a second: forget what has been quiet for long; returns the calls that are lost now."""
        lost: list[CallInFlight] = []
        for spool_id, spool in list(self._spools.items()):
            lost += self._sweep(spool, now)
            if not spool.calls and spool.stream is None:
                del self._spools[spool_id]
        return lost

    # -- for queries

    def calls(self) -> list[CallInFlight]:
        """What is in flight, and what was lost lately."""
        return [call for spool in self._spools.values() for call in spool.calls.values()]

    def find(self, call_id: bytes, tenant: str | None) -> CallInFlight | None:
        """The call of that id, of that tenant; None: of any. Ids are what sidecars say: two tenants may have
        the same.
        """
        spools = (spool for spool in self._spools.values() if tenant in (None, spool.tenant))
        return next((call for spool in spools if (call := spool.calls.get(call_id)) is not None), None)

    def _add(self, spool: _Spool, spool_id: bytes, record: v1.Record, now: int) -> CallInFlight | None:
        """Keep a call; returns it where it is news."""
        call_id = _read_id(record.call_id) if _is_sound(record) else None
        known = None if call_id is None else spool.calls.get(call_id)
        if known is not None:
            self._remove(spool, known.call_id)
        if call_id is None or not self._make_room(spool, record.ByteSize()):
            self.dropped += 1
            return None
        record.tenant = spool.tenant  # whatever the sidecar says
        record.ClearField("sequence")  # only a record has one, and a time of storage
        record.ClearField("stored_at")
        record.ClearField("feedback")
        record.ClearField("feedback_count")
        call = CallInFlight(
            call_id,
            spool_id,
            record.SerializeToString(),
            told=now,
            stream=spool.stream or 0,
            lost=now if record.state == v1.FAILED else None,
        )
        spool.calls[call_id] = call
        self._count += 1
        self._bytes += len(call.record)
        tenant = self._tenants.setdefault(spool.tenant, _Tenant())
        tenant.calls[spool_id, call_id] = None
        tenant.bytes += len(call.record)
        return call if known is None or (known.lost is None) != (call.lost is None) else None

    def _make_room(self, spool: _Spool, size: int) -> bool:
        """Whether there is room for one more call, or is now."""
        if size > CALL_BYTES or len(spool.calls) >= SPOOL_CALLS:
            return False
        while self._count >= self._most_calls or self._bytes + size > self._most_bytes:
            if not self._displace(self._tenants.get(spool.tenant) or _Tenant(), size):
                return False
        return True

    def _displace(self, tenant: _Tenant, size: int) -> bool:
        """Drop the latest call of the tenant that has most, for one of `tenant`, where that is fair."""
        if self._count >= self._most_calls:
            richest = max(self._tenants.values(), key=lambda each: len(each.calls), default=tenant)
            is_fair = len(richest.calls) > len(tenant.calls) + 1
        else:
            richest = max(self._tenants.values(), key=lambda each: each.bytes, default=tenant)
            is_fair = richest.bytes > tenant.bytes + size
        if richest is tenant or not is_fair:
            return False
        spool_id, call_id = next(reversed(richest.calls))
        self._remove(self._spools[spool_id], call_id)
        self.dropped += 1
        return True

    def _remove(self, spool: _Spool, call_id: bytes) -> None:
        if (call := spool.calls.pop(call_id, None)) is not None:
            self._count -= 1
            self._bytes -= len(call.record)
            tenant = self._tenants[spool.tenant]
            del tenant.calls[call.spool_id, call_id]
            tenant.bytes -= len(call.record)
            if not tenant.calls:
                del self._tenants[spool.tenant]

    def _sweep(self, spool: _Spool, now: int) -> list[CallInFlight]:
        lost = []
        for call in list(spool.calls.values()):
            if call.lost is not None:
                if now - call.lost >= LOST_NS:
                    self._remove(spool, call.call_id)
            elif call.stream != spool.stream and now - spool.since >= GRACE_NS:
                if spool.stream is None:
                    spool.calls[call.call_id] = replace(call, lost=spool.since)
                    lost.append(spool.calls[call.call_id])
                else:  # the new stream does not know of it: it ended in between
                    self._remove(spool, call.call_id)
        return lost


def _is_sound(record: v1.Record) -> bool:
    start = record.timing.start
    return (
        record.state in _STATES
        and 0 <= start.seconds < _LAST_SECOND
        and 0 <= start.nanos < 1_000_000_000
        and 0 <= record.timing.duration_us <= _MOST_US
        and record.ByteSize() <= CALL_BYTES
    )


def _read_id(call_id: str) -> bytes | None:
    try:
        return uuid.UUID(call_id).bytes
    except ValueError:
        return None


def _alone(progress: v1.Progress) -> v1.Progress:
    """The same, without the message that it came in, all of whose memory each part of it holds, and without
    fields that nobody has named.
    """
    return v1.Progress(**{field.name: value for field, value in progress.ListFields()})


def _set_progress(record: v1.Record, progress: v1.Progress) -> None:
    record.timing.duration_us = min(max(progress.age_us, 0), _MOST_US)
    record.timing.first_response_byte_us = progress.first_response_byte_us
    record.http_status = progress.http_status
    record.request.size_bytes = progress.request_bytes
    record.response.size_bytes = progress.response_bytes
