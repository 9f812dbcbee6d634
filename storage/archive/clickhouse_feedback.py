"""Feedback in the ClickHouse engine: in a table of its own, by the call or the request that it is about.

Each piece has a number, which is when it was received (microseconds × 1024) and its place in its request: so
storages that know nothing of each other number alike. Pieces that two of them received in one microsecond may
have one number; a page ends between numbers, never within one.
"""

import threading
from collections.abc import Sequence
from typing import Any, Final

from infertap import v1
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import FEEDBACK
from storage.archive.entries import FeedbackPage
from storage.archive.interface import Interrupt

_MOST_NUMBER: Final = (1 << 64) - 1
_PLACES: Final = 1024
# Of one call or request, joined to a record at most.
_MOST_JOINED: Final = 100
# Bytes in one answer: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 3 << 20
_KNOWN: Final = """
SELECT tenant, feedback_id FROM {database}.feedback WHERE feedback_id IN {{ids:Array(String)}}
"""
# (tenant, subject) of what is joined; of each the latest, and how many there are.
_LATEST: Final = """
SELECT tenant, subject, number, feedback_id, size_bytes, count() OVER (PARTITION BY tenant, subject) AS there
FROM {database}.feedback FINAL
WHERE (subject, tenant) IN {{subjects:Array(Tuple(String, String))}}
ORDER BY number DESC, feedback_id LIMIT {{most:UInt32}} BY tenant, subject
"""
_PIECES: Final = """
SELECT tenant, feedback_id, feedback FROM {database}.feedback FINAL
WHERE (subject, tenant) IN {{subjects:Array(Tuple(String, String))}}
    AND number IN {{numbers:Array(UInt64)}}
"""
_PAGE: Final = """
SELECT number, tenant, subject, feedback_id, size_bytes FROM {database}.feedback FINAL
WHERE number < {{below:UInt64}}
    AND (empty({{subjects:Array(String)}}) OR subject IN {{subjects:Array(String)}})
    AND ({{tenant:Nullable(String)}} IS NULL OR tenant = {{tenant:Nullable(String)}})
ORDER BY number DESC LIMIT {{most:UInt32}} WITH TIES
"""


class FeedbackTable:
    """All feedback of an archive. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database
        self._attaching = threading.Lock()

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """See Archive. Of an id that two storages receive at once both say that it was new; one stands."""
        with self._attaching:
            ids = sorted({each.feedback_id for each in given})
            rows = self._connection.rows(_KNOWN.format(database=self._database), {"ids": ids})
            taken = {(tenant, feedback_id) for tenant, feedback_id in rows}
            is_new: list[bool] = []
            fresh: list[tuple[Any, ...]] = []
            for place, each in enumerate(given):
                key = (each.tenant, each.feedback_id)
                is_new.append(key not in taken)
                if key not in taken:
                    taken.add(key)
                    fresh.append(_row(each, min(place, _PLACES - 1)))
            self._connection.insert("feedback", FEEDBACK, fresh)
            return is_new

    def page(
        self,
        subjects: Sequence[str],
        below: int | None,
        size: int,
        tenant: str | None,
        interrupt: Interrupt | None,
    ) -> FeedbackPage:
        """See Archive.feedback; `subjects` as `subject_of_call` and `subject_of_request` give them."""
        values = {
            "below": _MOST_NUMBER if below is None else below,
            "subjects": list(subjects),
            "tenant": tenant,
            "most": size + 1,
        }
        rows = self._connection.rows(_PAGE.format(database=self._database), values, interrupt)
        chosen: list[tuple[Any, ...]] = []
        left = _PAGE_BYTES
        for row in rows:
            left -= row[4]
            is_tied = bool(chosen) and row[0] == chosen[-1][0]
            if not is_tied and (len(chosen) >= size or (chosen and left < 0)):
                break
            chosen.append(row)
        pieces = self._pieces({(row[2], row[1]) for row in chosen}, {row[0] for row in chosen}, interrupt)
        found = [pieces[row[1], row[3]] for row in chosen if (row[1], row[3]) in pieces]
        return FeedbackPage(found, chosen[-1][0] if len(chosen) < len(rows) else None)

    def join(self, records: Sequence[v1.Record], most_bytes: int, interrupt: Interrupt | None) -> None:
        """See Archive.join_feedback."""
        for record in records:
            record.ClearField("feedback")
            record.ClearField("feedback_count")
        subjects = {(subject, record.tenant) for record in records for subject in _subjects(record)}
        if not subjects:
            return
        rows = self._connection.rows(
            _LATEST.format(database=self._database),
            {"subjects": sorted(subjects), "most": _MOST_JOINED},
            interrupt,
        )
        there: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        for row in rows:
            there.setdefault((row[1], row[0]), []).append(row)
        wanted = _within(records, there, most_bytes)
        pieces = self._pieces(
            {(row[1], row[0]) for of_record in wanted for row in of_record},
            {row[2] for of_record in wanted for row in of_record},
            interrupt,
        )
        for record, of_record in zip(records, wanted, strict=True):
            found = [there[key][0] for key in _keys(record) if key in there]
            record.feedback_count = sum(row[5] for row in found)
            record.feedback.extend(pieces[row[0], row[3]] for row in of_record if (row[0], row[3]) in pieces)

    def _pieces(
        self, subjects: set[tuple[str, str]], numbers: set[int], interrupt: Interrupt | None
    ) -> dict[tuple[str, str], v1.Feedback]:
        if not subjects:
            return {}
        rows = self._connection.rows(
            _PIECES.format(database=self._database),
            {"subjects": sorted(subjects), "numbers": sorted(numbers)},
            interrupt,
        )
        return {
            (tenant, feedback_id): v1.Feedback.FromString(encoded) for tenant, feedback_id, encoded in rows
        }


def subject_of_call(call_id: str) -> str:
    """What feedback to that call is about."""
    return f"call:{call_id}"


def subject_of_request(request_id: str) -> str:
    """What feedback to that request is about."""
    return f"request:{request_id}"


def _row(given: v1.Feedback, place: int) -> tuple[Any, ...]:
    encoded = given.SerializeToString()
    number = given.received_at.ToNanoseconds() // 1000 * _PLACES + place
    is_call = bool(given.call_id)
    return (
        given.tenant,
        subject_of_call(given.call_id) if is_call else subject_of_request(given.request_id),
        given.feedback_id,
        number,
        _MOST_NUMBER - number,
        given.call_id,
        given.request_id,
        given.rating if given.HasField("rating") else None,
        given.thumb,
        list(given.labels),
        len(encoded),
        encoded,
    )


def _subjects(record: v1.Record) -> list[str]:
    of_request = [subject_of_request(record.request_id)] if record.request_id else []
    return [subject_of_call(record.call_id), *of_request]


def _keys(record: v1.Record) -> list[tuple[str, str]]:
    return [(subject, record.tenant) for subject in _subjects(record)]


def _within(
    records: Sequence[v1.Record], there: dict[tuple[str, str], list[tuple[Any, ...]]], most_bytes: int
) -> list[list[tuple[Any, ...]]]:
    """Of each record's feedback the latest, as much as fits into `most_bytes` in all."""
    left = most_bytes
    chosen: list[list[tuple[Any, ...]]] = []
    for record in records:
        rows = sorted((row for key in _keys(record) for row in there.get(key, ())), key=lambda r: -r[2])
        chosen.append([])
        for row in rows:
            left -= row[4]
            if left < 0:
                return chosen + [[] for _ in records[len(chosen) :]]
            chosen[-1].append(row)
    return chosen
