"""Columns: what every engine keeps of a record beside its bytes, to find it by. Pure.

One list for all engines: its name, its kind, and how it is read from an entry. The bytes in `record` are the
truth; everything else can be read from them and from the entry again, which is how an older archive is
brought to a newer version.

Version 1 had spool_id to caller, previous_hash to record. Version 2 adds tenant and all from protocol to
record_bytes.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `read` is given the entry, what its record says, and when it was stored."""

    name: str
    kind: Kind
    read: Callable[[RecordEntry, v1.Record, int], Value]
    is_nullable: bool = False


def _input_tokens(model: v1.Model) -> int | None:
    """As reported; None where it was not."""
    return model.input_tokens if model.HasField("input_tokens") else None


def _output_tokens(model: v1.Model) -> int | None:
    """As reported; None where it was not."""
    return model.output_tokens if model.HasField("output_tokens") else None


def _first_byte_us(record: v1.Record) -> int | None:
    first = record.timing.first_response_byte_us
    return first if first >= 0 else None


def _redaction_classes(record: v1.Record) -> list[str]:
    """What was redacted on either side, each once, sorted."""
    if not record.request.redactions and not record.response.redactions:
        return []
    both = (*record.request.redactions, *record.response.redactions)
    return sorted({getattr(each, "class") for each in both})


# In the order in which engines keep them.
RECORD_COLUMNS: Final = (
    Column("spool_id", Kind.BYTES, lambda entry, _, __: entry.spool_id),
    Column("sequence", Kind.SEQUENCE, lambda entry, _, __: entry.sequence),
    Column("call_id", Kind.TEXT, lambda _, record, __: record.call_id),
    # Nanoseconds since the epoch, as all times here.
    Column("start_ns", Kind.INTEGER, lambda _, record, __: record.timing.start.ToNanoseconds()),
    Column("duration_us", Kind.INTEGER, lambda _, record, __: record.timing.duration_us),
    Column("state", Kind.SMALL, lambda _, record, __: record.state),
    Column("http_status", Kind.SMALL, lambda _, record, __: record.http_status),
    Column(
        "grpc_status",
        Kind.SMALL,
        lambda _, record, __: record.grpc_status if record.HasField("grpc_status") else None,
        is_nullable=True,
    ),
    Column("method", Kind.TEXT, lambda _, record, __: record.method),
    Column("path", Kind.TEXT, lambda _, record, __: record.path),
    Column("model", Kind.TEXT, lambda _, record, __: record.model.name),
    Column("model_version", Kind.TEXT, lambda _, record, __: record.model.version),
    Column("request_id", Kind.TEXT, lambda _, record, __: record.request_id),
    Column("caller", Kind.TEXT, lambda _, record, __: record.caller.user),
    Column("tenant", Kind.TEXT, lambda entry, _, __: entry.tenant),
    Column("protocol", Kind.SMALL, lambda _, record, __: record.protocol),
    # Null where no byte of a response came.
    Column("first_byte_us", Kind.INTEGER, lambda _, record, __: _first_byte_us(record), is_nullable=True),
    Column(
        "input_tokens",
        Kind.INTEGER,
        lambda _, record, __: _input_tokens(record.model),
        is_nullable=True,
    ),
    Column(
        "output_tokens",
        Kind.INTEGER,
        lambda _, record, __: _output_tokens(record.model),
        is_nullable=True,
    ),
    Column("sampling_fraction", Kind.REAL, lambda _, record, __: record.sampling.fraction),
    Column("sampling_reason", Kind.SMALL, lambda _, record, __: record.sampling.reason),
    Column("cohort", Kind.TEXT, lambda _, record, __: record.cohort),
    Column("application_version", Kind.TEXT, lambda _, record, __: record.application_version),
    Column("session", Kind.TEXT, lambda _, record, __: record.caller.session),
    Column("pod", Kind.TEXT, lambda _, record, __: record.source.pod),
    Column("namespace", Kind.TEXT, lambda _, record, __: record.source.namespace),
    Column("error_type", Kind.TEXT, lambda _, record, __: record.error.type),
    Column("tags", Kind.TEXTS, lambda _, record, __: list(record.tags)),
    Column("finish_reasons", Kind.TEXTS, lambda _, record, __: list(record.model.finish_reasons)),
    Column("redaction_classes", Kind.TEXTS, lambda _, record, __: _redaction_classes(record)),
    Column("is_segment", Kind.BOOLEAN, lambda _, record, __: is_segment(record)),
    Column("request_bytes", Kind.INTEGER, lambda _, record, __: _signed(record.request.size_bytes)),
    Column("response_bytes", Kind.INTEGER, lambda _, record, __: _signed(record.response.size_bytes)),
    # Of the encoded record, so that retention need not read any.
    Column("record_bytes", Kind.INTEGER, lambda entry, _, __: len(entry.record)),
    Column("previous_hash", Kind.BYTES, lambda entry, _, __: entry.previous_hash),
    Column("hash", Kind.BYTES, lambda entry, _, __: entry.hash),
    Column("salt", Kind.BYTES, lambda entry, _, __: entry.salt),
    Column("stored_ns", Kind.INTEGER, lambda _, __, stored_ns: stored_ns),
    Column("record", Kind.BYTES, lambda entry, _, __: entry.record),
)


def record_values(entry: RecordEntry, stored_ns: int) -> list[Value]:
    """A row of RECORD_COLUMNS."""
    record = entry.parsed
    return [column.read(entry, record, stored_ns) for column in RECORD_COLUMNS]


def record_columns(entries: Sequence[RecordEntry], stored_ns: int) -> list[list[Value]]:
    """The same of many, a list for each column: four times faster than row by row."""
    both = [(entry, entry.parsed) for entry in entries]
    return [
        [read(entry, record, stored_ns) for entry, record in both]
        for read in (column.read for column in RECORD_COLUMNS)
    ]


def _signed(size: int) -> int:
    """Sizes are unsigned on the wire, and anybody may write one; a column holds 63 bits."""
    return min(size, (1 << 63) - 1)
