"""Records as Elasticsearch's documents."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infertap import v1
from infertap.arrow import COLUMNS
from storage.sinks.elasticsearch_documents import index_of, to_document

TEMPLATE = Path(__file__).parents[3] / "docs/examples/elasticsearch-template.json"
# Beside the columns of exports.
OWN = {"@timestamp", "request_text", "request_text_cut", "response_text", "response_text_cut"}


def full() -> v1.Record:
    """A record with something in every field."""
    record = v1.Record()
    fill(record)
    record.spool_id = b"s" * 16
    return record


def fill(message: Any) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.name == "feedback" or (field.message_type and field.message_type.GetOptions().map_entry):
            continue
        if field.message_type:
            target = getattr(message, field.name)
            fill(target.add() if field.is_repeated else target)
            continue
        value = {9: "text", 12: b"text", 8: True, 1: 0.5}.get(field.type, 1)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def test_fields_are_called_as_the_columns_of_exports() -> None:
    """Every field but a few has the name of a column, and its value where that is a plain one."""
    document = to_document(full(), 100)
    columns = {column.name: column for column in COLUMNS}
    assert set(document) - OWN <= set(columns)
    for name, value in document.items():
        column = columns.get(name)
        told = column.read(full()) if column else None
        is_time = column and pa.types.is_timestamp(column.type)
        if isinstance(told, str | int | float) and not is_time:
            assert value == told, name
    assert json.loads(json.dumps(document)) == document


def test_the_template_has_every_field() -> None:
    """Nothing is left to guessing, by which one day's first document would decide the type of all."""
    mapped = json.loads(TEMPLATE.read_text())["template"]["mappings"]
    assert mapped["dynamic"] is False
    record = full()
    record.context["shop"] = "eu"
    document = to_document(record, 100)
    assert set(document) <= set(mapped["properties"])
    for name, value in document.items():
        kind = mapped["properties"][name].get("type", "object")
        first = value[0] if isinstance(value, list) else value
        expected = {bool: {"boolean"}, int: {"long"}, float: {"double"}, dict: {"object"}}
        assert kind in expected.get(type(first), {"keyword", "text", "date", "wildcard"}), name


def test_what_is_not_said_is_left_out(served) -> None:
    """No empty texts, no offsets of what did not happen, and a zero that was measured stays."""
    record = served(1)
    record.timing.first_response_byte_us = -1
    record.model.output_tokens = 0
    document = to_document(record)
    assert "first_response_byte_us" not in document
    assert "grpc_status" not in document
    assert "error_type" not in document
    assert document["output_tokens"] == 0
    assert document["@timestamp"] == "2026-01-01T00:00:01Z"


def test_times_that_are_none(served) -> None:
    """A time that no calendar has is left out, and storage's own stands for it."""
    record = served(1)
    record.timing.start.seconds = 1 << 60
    record.stored_at.FromJsonString("2026-01-02T00:00:00Z")
    document = to_document(record)
    assert document["@timestamp"] == "2026-01-02T00:00:00Z"
    assert "start" not in document


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-01-31T23:59:59Z", "i-2026.01.31"),
        ("2025-12-31T00:00:00Z", "i-2025.12.31"),
        ("1999-01-01T00:00:00Z", "i-2026.01.31"),
        ("9999-01-01T00:00:00Z", "i-2026.01.31"),
    ],
)
def test_claims_make_no_indexes(served, start: str, expected: str) -> None:
    """A start that is far from when the record was stored decides nothing."""
    record = served(1)
    record.timing.start.FromJsonString(start)
    record.stored_at.FromJsonString("2026-01-31T23:59:59Z")
    assert index_of(record, "i-{day}") == expected


@pytest.mark.parametrize(
    ("tenant", "index"),
    [
        ("", "none-2026.01"),
        ("A", "a-2026.01"),
        ("_a", "t_a-2026.01"),
        (".", "t.-2026.01"),
        ("x/y", "x_y-2026.01"),
    ],
)
def test_an_index_of_a_tenant(served, tenant: str, index: str) -> None:
    """Whatever a tenant is called, there can be an index of that name."""
    record = served(1)
    record.tenant = tenant
    assert index_of(record, "{tenant}-{month}") == index
