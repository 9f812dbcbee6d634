"""Segments: a call that lasted is recorded in several; this is what makes one record of them.

Pure. Numbers are summed up, bodies put one behind the other as far as BODY_BYTES allow, and everything else
is what the latest segment says, or the first that says it. What is missing is counted.
"""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from infertap import v1

# What is joined of each side's data, and of its decoded view; the latest segment's always is.
BODY_BYTES: Final = 512 << 10
_MOST_PIECES: Final = 1024
CUT: Final = "SEGMENTS_CUT"


def is_segment(record: v1.Record) -> bool:
    """Whether `record` is a part of a call, so that others may belong to it."""
    return record.is_continued or record.segment > 0


def join_segments(records: Iterable[v1.Record]) -> v1.Record | None:
    """One record of the segments of one call, given in order; None of none. They are changed on the way.

    Of two with one number the later one counts.
    """
    join: _Join | None = None
    for record in records:
        if join is None:
            join = _Join(record)
        else:
            join.add(record)
    return None if join is None else join.whole()


class _Join:
    """Takes one segment after the other; holds no more than the record it makes, and the latest segment."""

    def __init__(self, first: v1.Record) -> None:
        self._latest = first
        self._numbers = {first.segment}
        self._sides = (_SideJoin(), _SideJoin())
        self._model = v1.Model()
        self._payload_id = ""
        self._codes: set[str] = set()
        self._worst_gap_us = 0

    def add(self, record: v1.Record) -> None:
        """The next one."""
        latest = self._latest
        if record.segment != latest.segment:
            self._take(latest)
        self._numbers.add(record.segment)
        self._latest = record

    def _take(self, record: v1.Record) -> None:
        for side, payload in zip(self._sides, (record.request, record.response), strict=True):
            side.take(payload)
        _merge(self._model, record.model)
        self._payload_id = self._payload_id or record.payload_id
        self._codes.update(record.logging_error_codes)
        self._worst_gap_us = max(self._worst_gap_us, record.timing.worst_gap_us)

    def whole(self) -> v1.Record:
        """The record of all."""
        record = self._latest
        missing = record.segment + 1 - len(self._numbers)
        is_cut = False
        for side, payload in zip(self._sides, (record.request, record.response), strict=True):
            is_cut = side.finish(payload, missing > 0) or is_cut
        _merge(self._model, record.model)
        record.model.CopyFrom(self._model)
        record.payload_id = record.payload_id or self._payload_id
        codes = self._codes.union(record.logging_error_codes, [CUT] if is_cut else [])
        record.logging_error_codes[:] = sorted(codes)
        record.timing.worst_gap_us = max(record.timing.worst_gap_us, self._worst_gap_us)
        record.segments_joined = len(self._numbers)
        record.segments_missing = missing
        return record


class _SideJoin:
    """One direction of all segments but the latest."""

    def __init__(self) -> None:
        self._sum = v1.Payload()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._views: list[str] = []
        self._view_bytes = 0
        self._is_cut = False

    def take(self, payload: v1.Payload) -> None:
        """The next segment's."""
        _add_numbers(self._sum, payload)
        self._data_bytes += len(payload.data)
        self._view_bytes += len(payload.decoded_json)
        if max(self._data_bytes, self._view_bytes) > BODY_BYTES:
            self._is_cut = True
        if self._is_cut:  # nothing behind a hole but the latest
            return
        if payload.HasField("tail_offset") and not self._sum.HasField("tail_offset"):
            self._sum.tail_offset = self._data_bytes - len(payload.data) + payload.tail_offset
        if payload.data:
            self._data.append(payload.data)
        if payload.decoded_json:
            self._views.append(payload.decoded_json)

    def finish(self, payload: v1.Payload, is_missing: bool) -> bool:
        """Make the latest segment's `payload` the whole call's; whether something had to be left out."""
        before = sum(map(len, self._data))
        if self._is_cut:
            payload.tail_offset = before
        elif self._sum.HasField("tail_offset"):
            payload.tail_offset = self._sum.tail_offset
        elif payload.HasField("tail_offset"):
            payload.tail_offset += before
        if self._data:
            payload.data = b"".join((*self._data, payload.data))
            payload.sha256 = sha256(payload.data).digest()
        if self._views:
            payload.decoded_json = _joined_views([*self._views, payload.decoded_json])
        _add_numbers(payload, self._sum)
        payload.truncated = payload.truncated or self._is_cut or is_missing
        return self._is_cut


def _add_numbers(total: v1.Payload, more: v1.Payload) -> None:
    total.size_bytes += more.size_bytes
    total.captured_bytes += more.captured_bytes
    total.piece_count += more.piece_count
    total.truncated = total.truncated or more.truncated
    pieces = sorted((*total.pieces, *more.pieces), key=lambda piece: piece.offset_us)[:_MOST_PIECES]
    total.ClearField("pieces")
    total.pieces.extend(pieces)
    counts = {(getattr(each, "class"), each.field): each.count for each in total.redactions}
    for each in more.redactions:
        place = (getattr(each, "class"), each.field)
        counts[place] = counts.get(place, 0) + each.count
    total.ClearField("redactions")
    for (kind, field), count in counts.items():
        total.redactions.add(count=count, field=field, **{"class": kind})


def _merge(model: v1.Model, later: v1.Model) -> None:
    """What was asked is in the first segment, how it ended in the latest."""
    for name in ("name", "version", "endpoint", "parameters_json"):
        if not getattr(model, name):
            setattr(model, name, getattr(later, name))
    if later.HasField("input_tokens"):
        model.input_tokens = later.input_tokens
    if later.HasField("output_tokens"):
        model.output_tokens = later.output_tokens
    if not model.inputs:
        model.inputs.extend(later.inputs)
    for name in ("finish_reasons", "outputs"):
        if getattr(later, name):
            del getattr(model, name)[:]
            getattr(model, name).extend(getattr(later, name))


def _joined_views(views: list[str]) -> str:
    """Lists of messages as one list; of other views a list of them, one for each segment."""
    documents: list[object] = []
    for view in views:
        if view:
            document = json.loads(view)
            documents += document if isinstance(document, list) else [document]
    return json.dumps(documents, ensure_ascii=False, separators=(",", ":"))
