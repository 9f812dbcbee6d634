"""Export: all records that match, oldest first, as they were when the export began; resumable.

Page after page, so that memory is bounded whatever is exported. A call in segments is exported as it was.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc.aio

from infertap import v1
from infertap.query import Order, PageTokens, Query, ReadMask
from storage.archive import Archive, Interrupt, Page, Position
from storage.query.asking import Asking
from storage.query.places import PLACE_BYTES, Place

_PAGE_RECORDS: Final = 1000
_FEEDBACK_BYTES: Final = 384 << 10
_FIELD: Final = "resume_token"
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """One export, checked."""

    query: Query
    mask: ReadMask
    place: Place

    @classmethod
    def of(cls, request: v1.ExportRecordsRequest, tenant: str | None, now_ns: int) -> "Export":
        """What is asked for; raises InvalidArgumentError that names the field."""
        asked = Query.of(request.filter, tenant=tenant)
        query = dataclasses.replace(asked, order=Order("start_time", is_descending=False))
        packed = PageTokens(query, PLACE_BYTES, _FIELD).unpack(request.resume_token)
        place = Place.unpack(packed, now_ns, _FIELD)
        query = dataclasses.replace(query, as_of_ns=place.as_of_ns)
        return cls(query, ReadMask(request.read_mask), place)

    async def run(
        self, archive: Archive, asking: Asking, context: Context
    ) -> AsyncIterator[v1.ExportRecordsResponse]:
        """The answers; ends the call where the archive has none."""
        total: int | None = await asking.answer(
            context, lambda interrupt: archive.count(self.query, interrupt), is_long=True
        )
        place: Place | None = self.place
        while place is not None:
            page = await asking.answer(context, self._reading(archive, place), is_long=True)
            answer = v1.ExportRecordsResponse(records=map(self.mask.apply, page.records), total=total)
            behind = page.after or _last(page.records)
            if behind is not None:
                answer.resume_token = self._tokens.pack(Place(place.as_of_ns, behind).pack())
            yield answer
            total = None
            place = None if page.after is None else Place(place.as_of_ns, page.after)

    @property
    def _tokens(self) -> PageTokens:
        return PageTokens(self.query, PLACE_BYTES, _FIELD)

    def _reading(self, archive: Archive, place: Place) -> Callable[[Interrupt], Page]:
        """What reads the page at `place`, its feedback joined where it is wanted."""

        def read(interrupt: Interrupt) -> Page:
            page = archive.page(self.query, place.after, _PAGE_RECORDS, interrupt)
            if self.mask.wants("feedback") or self.mask.wants("feedback_count"):
                archive.join_feedback(page.records, _FEEDBACK_BYTES, interrupt)
            return page

        return read


def _last(records: Sequence[v1.Record]) -> Position | None:
    """Where the last of the records stands."""
    if not records:
        return None
    start_ns = records[-1].timing.start.ToNanoseconds()
    return Position(start_ns, start_ns, records[-1].spool_id, records[-1].sequence)
