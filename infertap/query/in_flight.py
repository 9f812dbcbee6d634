"""In flight: how calls that have no record yet are listed, the same wherever they are served. Pure.

They have no sequence. A list shows them before the records, newest first by their call ids, which begin with
their time; a page begins below a call id, so that calls that appear or end meanwhile move no other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from infertap import v1
from infertap.query.filtering import Query

# A page is also full when it weighs so much: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 3 << 20


class Shown(Protocol):
    """A call that can be shown as a record."""

    @property
    def call_id(self) -> bytes:
        """16 bytes."""

    def shown(self, now: int, /) -> v1.Record:
        """The call as it is `now`."""


@dataclass(frozen=True, slots=True)
class InFlightPage:
    """Calls that match. `after` is the call id below which the next page begins; None where none follows."""

    records: list[v1.Record]
    after: bytes | None


def page_in_flight(
    calls: Iterable[Shown], now: int, query: Query, below: bytes | None, size: int
) -> InFlightPage:
    """At most `size` of `calls` that match, newest first, from `below` on."""
    found: list[v1.Record] = []
    weight = 0
    last = b""
    for call in sorted(calls, key=lambda each: each.call_id, reverse=True):
        if below is not None and call.call_id >= below:
            continue
        record = call.shown(now)
        if query.matches(record):
            weight += record.ByteSize()
            if len(found) == size or (found and weight > _PAGE_BYTES):
                return InFlightPage(found, last)
            found.append(record)
            last = call.call_id
    return InFlightPage(found, None)
