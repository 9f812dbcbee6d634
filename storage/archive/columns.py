"""Columns: what every engine keeps of a record beside its bytes, to find it by. Pure.

One list for all engines: its name, its kind, and how it is read. The bytes in `record` are the
truth; everything else can be read from them and from the entry again, which is how an older archive is
brought to a newer version.

Version 1 had spool_id to caller, previous_hash to record. Version 2 adds tenant and all from protocol to
record_bytes.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeAlias

from infertap import v1
from infertap.query import is_segment
from storage.archive.entries import RecordEntry

# Of the columns. A newer one is refused, an older one is brought forward.
SCHEMA_VERSION: Final = 2
# Of the embedded engine's files: 3 has the columns of 2, and records packed (duckdb_packing).
FILE_VERSION: Final = 3

Value: TypeAlias = str | int | float | bool | bytes | list[str] | None


class Kind(enum.Enum):
    """What a column holds; each engine says it in its own words."""

    TEXT = "text"
    TEXTS = "list of texts"
    SMALL = "32-bit integer"
    INTEGER = "64-bit integer"
    SEQUENCE = "64-bit unsigned integer"
    REAL = "double"
    BOOLEAN = "boolean"
    BYTES = "bytes"


class Part(enum.Enum):
    """What a column is read from. A record's parts are taken out of it once for all their columns: to take
    one out costs several times what it costs to read a field of it.
    """

    ENTRY = "the entry"
    STORED = "when it was stored: nanoseconds since the epoch, as all times here"
    RECORD = "what its record says"
    TIMING = "timing"
    START = "timing.start"
    MODEL = "model"
    CALLER = "caller"
    SAMPLING = "sampling"
    SOURCE = "source"
    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `read` is given the entry's `part`."""

    name: str
    kind: Kind
    part: Part
    read: Callable[[Any], Value]
    is_nullable: bool = False


def _same(name: str, kind: Kind, part: Part) -> Column:
    """A column that has its field's name."""
    return Column(name, kind, part, attrgetter(name))


def _optional(name: str, kind: Kind, part: Part) -> Column:
    """A column that has its field's name, and no value where that has none."""
    return Column(
        name, kind, part, lambda read: getattr(read, name) if read.HasField(name) else None, is_nullable=True
    )


def _first_byte_us(timing: v1.Timing) -> int | None:
    first = timing.first_response_byte_us
    return first if first >= 0 else None


def _redaction_classes(record: v1.Record) -> list[str]:
    """What was redacted on either side, each once, sorted."""
    asked, answered = record.request.redactions, record.response.redactions
    if not asked and not answered:
        return []
    return sorted({getattr(each, "class") for each in (*asked, *answered)})


def _size_bytes(payload: v1.Payload) -> int:
    """Sizes are unsigned on the wire, and anybody may write one; a column holds 63 bits."""
    return min(payload.size_bytes, (1 << 63) - 1)


# In the order in which engines keep them.
RECORD_COLUMNS: Final = (
    _same("spool_id", Kind.BYTES, Part.ENTRY),
    _same("sequence", Kind.SEQUENCE, Part.ENTRY),
    _same("call_id", Kind.TEXT, Part.RECORD),
    Column("start_ns", Kind.INTEGER, Part.START, lambda start: start.seconds * 1_000_000_000 + start.nanos),
    _same("duration_us", Kind.INTEGER, Part.TIMING),
    _same("state", Kind.SMALL, Part.RECORD),
    _same("http_status", Kind.SMALL, Part.RECORD),
    _optional("grpc_status", Kind.SMALL, Part.RECORD),
    _same("method", Kind.TEXT, Part.RECORD),
    _same("path", Kind.TEXT, Part.RECORD),
    Column("model", Kind.TEXT, Part.MODEL, attrgetter("name")),
    Column("model_version", Kind.TEXT, Part.MODEL, attrgetter("version")),
    _same("request_id", Kind.TEXT, Part.RECORD),
    Column("caller", Kind.TEXT, Part.CALLER, attrgetter("user")),
    _same("tenant", Kind.TEXT, Part.ENTRY),
    _same("protocol", Kind.SMALL, Part.RECORD),
    # Null where no byte of a response came.
    Column("first_byte_us", Kind.INTEGER, Part.TIMING, _first_byte_us, is_nullable=True),
    # As reported.
    _optional("input_tokens", Kind.INTEGER, Part.MODEL),
    _optional("output_tokens", Kind.INTEGER, Part.MODEL),
    Column("sampling_fraction", Kind.REAL, Part.SAMPLING, attrgetter("fraction")),
    Column("sampling_reason", Kind.SMALL, Part.SAMPLING, attrgetter("reason")),
    _same("cohort", Kind.TEXT, Part.RECORD),
    _same("application_version", Kind.TEXT, Part.RECORD),
    _same("session", Kind.TEXT, Part.CALLER),
    _same("pod", Kind.TEXT, Part.SOURCE),
    _same("namespace", Kind.TEXT, Part.SOURCE),
    Column("error_type", Kind.TEXT, Part.RECORD, attrgetter("error.type")),
    Column("tags", Kind.TEXTS, Part.RECORD, lambda record: list(record.tags)),
    Column("finish_reasons", Kind.TEXTS, Part.MODEL, lambda model: list(model.finish_reasons)),
    Column("redaction_classes", Kind.TEXTS, Part.RECORD, _redaction_classes),
    Column("is_segment", Kind.BOOLEAN, Part.RECORD, is_segment),
    Column("request_bytes", Kind.INTEGER, Part.REQUEST, _size_bytes),
    Column("response_bytes", Kind.INTEGER, Part.RESPONSE, _size_bytes),
    # Of the encoded record, so that retention need not read any.
    Column("record_bytes", Kind.INTEGER, Part.ENTRY, lambda entry: len(entry.record)),
    _same("previous_hash", Kind.BYTES, Part.ENTRY),
    _same("hash", Kind.BYTES, Part.ENTRY),
    _same("salt", Kind.BYTES, Part.ENTRY),
    Column("stored_ns", Kind.INTEGER, Part.STORED, int),
    _same("record", Kind.BYTES, Part.ENTRY),
)


def record_columns(entries: Sequence[RecordEntry], stored_ns: int) -> list[list[Value]]:
    """What RECORD_COLUMNS hold of these entries: a list for each column."""
    parts = _parts(entries, stored_ns)
    return [list(map(column.read, parts[column.part])) for column in RECORD_COLUMNS]


def record_rows(entries: Sequence[RecordEntry], stored_ns: int) -> list[tuple[Value, ...]]:
    """The same, a row for each entry."""
    return list(zip(*record_columns(entries, stored_ns), strict=True))


def _parts(entries: Sequence[RecordEntry], stored_ns: int) -> dict[Part, Sequence[Any]]:
    records = [entry.parsed for entry in entries]
    timings = [record.timing for record in records]
    return {
        Part.ENTRY: entries,
        Part.STORED: [stored_ns] * len(entries),
        Part.RECORD: records,
        Part.TIMING: timings,
        Part.START: [timing.start for timing in timings],
        Part.MODEL: [record.model for record in records],
        Part.CALLER: [record.caller for record in records],
        Part.SAMPLING: [record.sampling for record in records],
        Part.SOURCE: [record.source for record in records],
        Part.REQUEST: [record.request for record in records],
        Part.RESPONSE: [record.response for record in records],
    }
