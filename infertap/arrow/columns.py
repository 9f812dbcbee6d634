"""Columns: the stable schema of exports, and what fills each of its columns. Pure; needs pyarrow.

Within one SCHEMA_VERSION columns are added at the end and otherwise stay as they are: name, type and meaning
(docs/export.md lists them). The version is in the schema's metadata, "infertap.schema_version".
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from infertap import v1
from infertap.arrow.kinds import (
    CODE,
    CODE_IF_TOLD,
    COUNT,
    COUNT_IF_TOLD,
    COUNTS,
    DATA,
    ENUM,
    FLAG,
    FRACTION,
    HEX,
    NUMBER_IF_TOLD,
    OFFSET,
    PAIRS,
    TEXT,
    TEXTS,
    TIME,
    Kind,
    Part,
    reader,
    struct,
    structs,
)

SCHEMA_VERSION: Final = 1


class UnknownColumnError(Exception):
    """There is no such column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its type, the field of the record that it shows, and what reads that."""

    name: str
    type: pa.DataType
    path: str
    read: Callable[[v1.Record], Any]


def schema(columns: Iterable[Column] | None = None) -> pa.Schema:
    """The schema of `columns`, or of all."""
    fields = [pa.field(column.name, column.type) for column in (COLUMNS if columns is None else columns)]
    return pa.schema(fields, {"infertap.schema_version": str(SCHEMA_VERSION)})


def to_batch(records: Sequence[v1.Record], columns: Sequence[Column] | None = None) -> pa.RecordBatch:
    """A row for each record."""
    chosen = COLUMNS if columns is None else columns
    arrays = [pa.array(map(column.read, records), column.type, size=len(records)) for column in chosen]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(chosen))


def columns_named(names: Iterable[str]) -> tuple[Column, ...]:
    """Those columns, in that order; all where none is named. Raises UnknownColumnError."""
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in _BY_NAME]
    if unknown:
        raise UnknownColumnError(f"no {unknown[0]!r}; there are {', '.join(_BY_NAME)}")
    return tuple(_BY_NAME[name] for name in wanted) or COLUMNS


def _alike(parent: str, kind: Kind, *names: str) -> Iterator[Column]:
    """Fields of `parent` that are columns by their own names."""
    for name in names:
        yield _column(name, kind, f"{parent}.{name}" if parent else name)


def _column(name: str, kind: Kind, path: str = "") -> Column:
    return Column(name, kind.type, path or name, reader(path or name, kind))


_NAMED_VALUES: Final = structs((Part("name", TEXT), Part("value", TEXT)))
_REDACTIONS: Final = structs((Part("class", TEXT), Part("count", COUNT), Part("field", TEXT)))
_PIECES: Final = structs((Part("offset_us", COUNT), Part("size_bytes", COUNT)))
_PHASES: Final = structs((Part("name", TEXT), Part("duration_us", COUNT), Part("description", TEXT)))
_TENSORS: Final = structs((Part("name", TEXT), Part("datatype", TEXT), Part("shape", COUNTS)))
_MEDIA: Final = struct(
    (
        Part("format", TEXT),
        *(Part(name, COUNT) for name in ("width", "height", "channels", "sample_rate", "duration_ms")),
    )
)
_FEEDBACK: Final = structs(
    (
        Part("feedback_id", TEXT),
        Part("call_id", TEXT),
        Part("request_id", TEXT),
        Part("time", TIME),
        Part("received_at", TIME),
        Part("source", TEXT),
        Part("rating", NUMBER_IF_TOLD),
        Part("thumb", ENUM),
        Part("labels", TEXTS),
        Part("comment", TEXT),
        Part("correction", TEXT),
        Part("ground_truth_json", TEXT),
        Part("events", structs((Part("name", TEXT), Part("value", NUMBER_IF_TOLD)))),
        Part("redactions", _REDACTIONS),
        Part("withheld", TEXTS),
    )
)


def _identity() -> Iterator[Column]:
    yield from _alike("", TEXT, "call_id", "request_id", "client_request_id", "model_request_id")
    yield from _alike("", TEXT, "payload_id", "trace_id", "span_id", "tenant")
    yield _column("spool_id", HEX)
    yield _column("sequence", COUNT)


def _outcome() -> Iterator[Column]:
    yield from _alike("", ENUM, "state", "protocol")
    yield from _alike("", TEXT, "method", "path", "query")
    yield _column("http_status", CODE)
    yield _column("grpc_status", CODE_IF_TOLD)
    yield _column("grpc_message", TEXT)
    yield _column("ended_by", ENUM)
    yield _column("close_code", CODE_IF_TOLD)
    yield _column("close_reason", TEXT)
    for name in ("type", "message", "stack_trace"):
        yield _column(f"error_{name}", TEXT, f"error.{name}")


def _timing() -> Iterator[Column]:
    yield from _alike("timing", TIME, "start", "end", "recorded_at")
    yield _column("stored_at", TIME)
    yield from _alike("timing", OFFSET, "duration_us", "upstream_connected_us", "request_complete_us")
    yield from _alike("timing", OFFSET, "first_response_byte_us", "mean_gap_us", "worst_gap_us")
    yield _column("accepted_us", COUNT_IF_TOLD, "timing.accepted_us")
    yield _column("relay_wait_us", COUNT, "timing.relay_wait_us")
    yield _column("grpc_timeout_us", COUNT_IF_TOLD, "timing.grpc_timeout_us")
    yield _column("phases", _PHASES, "timing.phases")


def _model() -> Iterator[Column]:
    yield _column("model", TEXT, "model.name")
    yield _column("model_version", TEXT, "model.version")
    yield from _alike("model", TEXT, "api", "operation", "endpoint", "parameters_json")
    yield _column("finish_reasons", TEXTS, "model.finish_reasons")
    yield from _alike("model", COUNT_IF_TOLD, "input_tokens", "output_tokens")
    yield from _alike("model", COUNT_IF_TOLD, "cached_input_tokens", "reasoning_tokens")
    yield from _alike("model", _TENSORS, "inputs", "outputs")


def _context() -> Iterator[Column]:
    yield from _alike("caller", TEXT, "user", "session", "address")
    yield from _alike("", TEXT, "cohort", "application_version", "intent")
    yield _column("tags", TEXTS)
    yield _column("context", PAIRS)


def _payload(side: str) -> Iterator[Column]:
    kinds = {
        "content_type": TEXT,
        "content_encoding": TEXT,
        "size_bytes": COUNT,
        "captured_bytes": COUNT,
        "truncated": FLAG,
        "tail_offset": COUNT_IF_TOLD,
        "data": DATA,
        "decoded_json": TEXT,
        "sha256": HEX,
        "digest": TEXT,
        "headers": _NAMED_VALUES,
        "trailers": _NAMED_VALUES,
        "redactions": _REDACTIONS,
        "media": _MEDIA,
        "pieces": _PIECES,
        "piece_count": COUNT,
    }
    for name, kind in kinds.items():
        yield _column(f"{side}_{name}", kind, f"{side}.{name}")


def _recording() -> Iterator[Column]:
    yield _column("sampling_fraction", FRACTION, "sampling.fraction")
    yield _column("sampling_reason", ENUM, "sampling.reason")
    yield from _alike("source", TEXT, "pod", "namespace", "node", "container")
    yield from _alike("source", TEXT, "infertap_version", "policy_version")
    yield _column("logging_error_codes", TEXTS)
    yield _column("segment", COUNT)
    yield _column("is_continued", FLAG)
    yield from _alike("", COUNT, "segments_joined", "segments_missing")


def _all() -> Iterator[Column]:
    yield from _identity()
    yield from _outcome()
    yield from _timing()
    yield from _model()
    yield from _context()
    yield from _payload("request")
    yield from _payload("response")
    yield from _recording()
    yield _column("feedback", _FEEDBACK)
    yield _column("feedback_count", COUNT)


COLUMNS: Final = tuple(_all())
_BY_NAME: Final = {column.name: column for column in COLUMNS}
