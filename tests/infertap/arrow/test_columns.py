"""The columns of exports are stable, documented, and say what the record says."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infertap import v1
from infertap.arrow import COLUMNS, SCHEMA_VERSION, UnknownColumnError, columns_named, schema, to_batch

HERE = Path(__file__).parent
DOCUMENTED = Path(__file__).parents[3] / "docs" / "export.md"


def test_the_schema_is_stable() -> None:
    """Names, types and order are as they were published; a column may only be added, at the end."""
    published = (HERE / f"schema_{SCHEMA_VERSION}.txt").read_text().splitlines()
    now = [f"{field.name}: {field.type}" for field in schema()]
    assert now[: len(published)] == published, "a change of published columns needs another SCHEMA_VERSION"
    assert now == published, f"publish what was added in schema_{SCHEMA_VERSION}.txt"
    assert schema().metadata == {b"infertap.schema_version": str(SCHEMA_VERSION).encode()}


def test_every_column_is_documented() -> None:
    """docs/export.md names each column, and no other."""
    table = DOCUMENTED.read_text().partition("## Columns")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(column.name for column in COLUMNS)


def test_every_column_is_of_a_field_of_the_contract() -> None:
    """Paths are those of a field mask."""
    from infertap.query import ReadMask

    for column in COLUMNS:
        from google.protobuf.field_mask_pb2 import FieldMask

        ReadMask(FieldMask(paths=[column.path]))


def test_every_field_of_a_record_has_its_column() -> None:
    """Nothing that a record says is left out, but for what stands in a column by another name."""
    shown = {column.path for column in COLUMNS}
    for field in v1.Record.DESCRIPTOR.fields:
        if field.message_type is None or field.is_repeated or field.message_type.name == "Timestamp":
            assert field.name in shown, field.name
            continue
        for inner in field.message_type.fields:
            assert f"{field.name}.{inner.name}" in shown, f"{field.name}.{inner.name}"


def row(record: v1.Record) -> dict[str, Any]:
    [made] = to_batch([record]).to_pylist()
    return dict(made)


def test_what_a_record_does_not_say_is_null() -> None:
    """Absent texts, times and figures are null, lists are empty."""
    made = row(v1.Record())
    for name in ("call_id", "state", "start", "http_status", "grpc_status", "input_tokens", "request_media"):
        assert made[name] is None, name
    for name in ("tags", "feedback", "finish_reasons", "request_headers", "context", "phases"):
        assert made[name] == [], name
    assert made["sampling_fraction"] is None
    assert (made["request_truncated"], made["request_size_bytes"]) == (False, 0)


def test_what_a_record_says() -> None:
    """Times are in UTC, enums by name, ids in hex; what did not happen is null, zeros that count are kept."""
    record = v1.Record(
        state=v1.FAILED, spool_id=b"\xab" * 16, sequence=7, tags=["a"], context={"b": "2", "a": "1"}
    )
    record.timing.start.FromNanoseconds(1_767_225_600_123_456_789)
    record.timing.first_response_byte_us = -1
    record.grpc_status = 0
    record.model.input_tokens = 0
    record.request.data = b"\x00\xff"
    record.request.redactions.add(count=2, field="body", **{"class": "email"})
    record.response.media.width = 5
    record.sampling.fraction = 0.25
    record.sampling.reason = v1.Sampling.SLOW
    record.feedback.add(feedback_id="f", thumb=v1.THUMB_DOWN, rating=0.0, events=[v1.FeedbackEvent(name="e")])
    made = row(record)
    assert made["start"] == datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)
    assert (made["state"], made["spool_id"], made["sequence"]) == ("FAILED", "ab" * 16, 7)
    assert made["first_response_byte_us"] is None
    assert (made["grpc_status"], made["input_tokens"], made["request_data"]) == (0, 0, b"\x00\xff")
    assert made["request_redactions"] == [{"class": "email", "count": 2, "field": "body"}]
    assert made["response_media"]["width"] == 5
    assert (made["sampling_fraction"], made["sampling_reason"]) == (0.25, "SLOW")
    assert made["context"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    [given] = made["feedback"]
    assert (given["thumb"], given["rating"]) == ("DOWN", 0.0)
    assert given["events"] == [{"name": "e", "value": None}]


def test_a_newer_sender() -> None:
    """A state without a name here is shown as its number; counts beyond 63 bits as the largest."""
    record = v1.Record()
    record.ParseFromString(bytes([0x50, 99]))
    record.request.size_bytes = (1 << 64) - 1
    made = row(record)
    assert (made["state"], made["request_size_bytes"]) == ("99", (1 << 63) - 1)


def test_some_columns() -> None:
    """Chosen columns come in the order they are named in."""
    chosen = columns_named(["sequence", "call_id"])
    assert to_batch([v1.Record(sequence=1)], chosen).schema.names == ["sequence", "call_id"]
    assert columns_named([]) == COLUMNS
    with pytest.raises(UnknownColumnError, match="'nothing'"):
        columns_named(["nothing"])
    assert pa.Table.from_batches([], schema(chosen)).num_rows == 0
