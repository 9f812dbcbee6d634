"""Streams: which streams of sidecars there are, who makes way for whom, and whose time is up. Pure; for one
event loop. Times are monotonic, seconds.

Each stream may hold a message that has come in part, which nobody can see and which takes memory; so their
number is bounded, in all and of one identity. Where there is no room for one more, the newest stream of who
has the most ends for it, as long as that one keeps more than the newcomer has: identities against each other,
and within an identity the addresses that it calls from. It promises: whoever has few streams keeps them, and
gets one, however many others open; a stream counts until its last answer is taken or its connection is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# Sidecars send heartbeats every ten seconds: who has sent nothing whole for so long is stuck in the middle.
SILENT_SECONDS: Final = 60.0
# And who does not take an answer for so long reads none.
UNREAD_SECONDS: Final = 60.0


# The part of its streams that who has most loses at a time where memory is short: one of so many.
_RELIEVED: Final = 4


class Ending(StrEnum):
    """Why storage ends a stream, or does not begin it: for counts, logs and the sidecar."""

    FULL = "full"
    DISPLACED = "displaced"
    SILENT = "silent"
    UNREAD = "unread"
    MEMORY = "memory"


class TooManyStreamsError(Exception):
    """There is no room for one more; try again later."""


@dataclass(eq=False, slots=True)
class Stream:
    """One stream."""

    identity: str
    # Where it comes from, without the port.
    address: str
    # Ends it; returns at once. It then `leave`s when it is over.
    end: Callable[[Ending], None]
    is_ending: bool = False
    # Since when it is waited for: for its next message, or for it to take an answer.
    reading_since: float | None = None
    answering_since: float | None = None


@dataclass(slots=True)
class _Caller:
    """An identity's streams, by address, in the order of their coming."""

    count: int = 0
    by_address: dict[str, list[Stream]] = field(default_factory=dict)

    @property
    def richest(self) -> list[Stream]:
        """Those of the address that has most."""
        return max(self.by_address.values(), key=len, default=[])


class Streams:
    """All streams of one storage process."""

    def __init__(self, most: int, most_of_identity: int | None = None) -> None:
        """At most so many in all, and of one identity; None: as many."""
        self._most = most
        self._most_of_identity = most if most_of_identity is None else most_of_identity
        self._callers: dict[str, _Caller] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, identity: str, address: str, end: Callable[[Ending], None]) -> Stream:
        """One more; another may have to end for it. Raises TooManyStreamsError."""
        caller = self._callers.get(identity) or _Caller()
        if caller.count >= self._most_of_identity:
            _make_way(caller, address)
        elif self._count >= self._most:
            richest = max(self._callers.values(), key=lambda each: each.count)
            if richest.count > caller.count + 1:
                _displace(richest.richest)
            else:
                _make_way(caller, address)
        stream = Stream(identity, address, end)
        self._callers[identity] = caller
        caller.by_address.setdefault(address, []).append(stream)
        caller.count += 1
        self._count += 1
        return stream

    def leave(self, stream: Stream) -> None:
        """It is over."""
        caller = self._callers[stream.identity]
        streams = caller.by_address[stream.address]
        streams.remove(stream)
        if not streams:
            del caller.by_address[stream.address]
        caller.count -= 1
        self._count -= 1
        if not caller.count:
            del self._callers[stream.identity]

    def relieve(self) -> None:
        """Memory is short: of who has most streams, end some that may be in the middle of a message, those
        that are waited for longest. Idle ones lose nothing by it: their sidecars come back.
        """
        richest = max(self._callers.values(), key=lambda each: each.count, default=_Caller())
        streams = list(richest.richest)
        if len(streams) == 1:
            streams = [each for of_one in richest.by_address.values() for each in of_one]
        waited_for = [
            (each.reading_since, number)
            for number, each in enumerate(streams)
            if each.reading_since is not None and not each.is_ending
        ]
        for _, number in sorted(waited_for)[: -(-len(waited_for) // _RELIEVED)]:
            _end(streams[number], Ending.MEMORY)

    def sweep(self, now: float) -> None:
        """About once a second: end those that are waited for in vain."""
        for caller in list(self._callers.values()):
            for streams in list(caller.by_address.values()):
                for stream in list(streams):
                    if (why := _in_vain(stream, now)) is not None:
                        _end(stream, why)


def _make_way(caller: _Caller, address: str) -> None:
    """End one of the caller's for one at `address`, where that is fair. Raises TooManyStreamsError."""
    if len(caller.richest) <= len(caller.by_address.get(address, ())) + 1:
        raise TooManyStreamsError
    _displace(caller.richest)


def _displace(streams: list[Stream]) -> None:
    """End the newest of these. Raises TooManyStreamsError where all are ending already."""
    victim = next((each for each in reversed(streams) if not each.is_ending), None)
    if victim is None:
        raise TooManyStreamsError
    _end(victim, Ending.DISPLACED)


def _in_vain(stream: Stream, now: float) -> Ending | None:
    if stream.is_ending:
        return None
    if stream.answering_since is not None and now - stream.answering_since > UNREAD_SECONDS:
        return Ending.UNREAD
    if stream.reading_since is not None and now - stream.reading_since > SILENT_SECONDS:
        return Ending.SILENT
    return None


def _end(stream: Stream, why: Ending) -> None:
    stream.is_ending = True
    stream.end(why)
