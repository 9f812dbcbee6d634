"""In flight: what one stream to storage is told of calls in flight: each once in full, then what changed.

Pure. Storage keeps what a stream told until the stream says otherwise; so a new stream begins with
everything. Bounded: a message has at most MOST_CALLS new calls, of about MOST_BYTES, the rest being told of
in the next; and some 50 bytes for each of the others, of which there are as many as the table holds.
"""

from collections.abc import Iterable
from typing import Final

from infertap import v1
from sidecar.in_flight import CallInFlight

MOST_CALLS: Final = 2_000
MOST_BYTES: Final = 1 << 20

# What changes while a call is in flight.
_Came = tuple[int, int, int, int]


class Snapshots:
    """The messages of one stream, each about what the ones before did not say."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        # By call id: how far it had come, and whether it was lost.
        self._told: dict[bytes, tuple[_Came, bool]] = {}

    @property
    def is_empty(self) -> bool:
        """The stream knows of no call."""
        return not self._told

    def next(self, calls: Iterable[CallInFlight], now: int) -> v1.InFlight | None:
        """What to tell of `calls`, which are all that are in flight or were lost lately; None for nothing."""
        message = v1.InFlight()
        there: set[bytes] = set()
        weight = 0
        for call in calls:
            there.add(call.call_id)
            told, fact = self._told.get(call.call_id), (_came(call), call.lost is not None)
            if told is None or told[1] != fact[1]:
                if len(message.calls) < MOST_CALLS and weight < MOST_BYTES:
                    weight += len(call.record)
                    message.calls.append(call.shown(now))
                    self._told[call.call_id] = fact
            elif told != fact:
                message.progress.append(_progress(call, now))
                self._told[call.call_id] = fact
        message.ended.extend(call_id for call_id in self._told if call_id not in there)
        for call_id in message.ended:
            del self._told[call_id]
        return message if message.calls or message.progress or message.ended else None


def _came(call: CallInFlight) -> _Came:
    return call.request_bytes, call.response_bytes, call.status, call.first_response_byte


def _progress(call: CallInFlight, now: int) -> v1.Progress:
    return v1.Progress(
        call_id=call.call_id,
        age_us=call.age_us(now),
        first_response_byte_us=call.first_byte_us(),
        http_status=call.status,
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
    )
