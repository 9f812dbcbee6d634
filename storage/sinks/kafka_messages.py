"""Kafka messages: what a record is as a message of a topic. Pure.

    key      text that `key` names, so that what belongs together stays in order in one partition
    value    the record, by proto3's mapping to JSON with the contract's names, or as protobuf
    headers  content-type           application/json, or application/protobuf
             infertap-record        its id for ever: consumers drop repeats by it
             infertap-call-id, -request-id, -tenant, -model, -state     where it has them

As CloudEvents the headers are those of CloudEvents' Kafka binding in binary mode (version 1.0.2, section
3.2) instead: content-type, and each attribute as `ce_NAME`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from infertap import v1
from infertap.names import name_of
from storage.sinks.events import event_attributes, json_record
from storage.sinks.interface import record_id

KEYS: Final[dict[str, Callable[[v1.Record], str]]] = {
    "call_id": lambda record: record.call_id,
    "model": lambda record: record.model.name,
    "session": lambda record: record.caller.session,
    "user": lambda record: record.caller.user,
    "tenant": lambda record: record.tenant,
}
_MESSAGE: Final = "infertap.v1.Record"


@dataclass(frozen=True, slots=True)
class Form:
    """How records are written: `key` is one of KEYS, `source` that of CloudEvents; empty: they are none."""

    key: str = "call_id"
    is_protobuf: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as clients of Kafka take it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def to_message(record: v1.Record, form: Form) -> Message:
    """The record as a message. Where it lacks what the key is made of, the key is its call's id."""
    key = KEYS[form.key](record) or record.call_id
    headers = _events_headers(record, form.source) if form.source else _headers(record)
    told = (("content-type", _content_type(form)), *headers)
    return Message(key.encode(), _value(record, form), tuple((name, text.encode()) for name, text in told))


def _content_type(form: Form) -> str:
    return f"application/protobuf; messageType={_MESSAGE}" if form.is_protobuf else "application/json"


def _value(record: v1.Record, form: Form) -> bytes:
    if form.is_protobuf:
        return record.SerializeToString()
    return json_record(record)


def _headers(record: v1.Record) -> Iterator[tuple[str, str]]:
    yield "infertap-record", record_id(record)
    told = {
        "infertap-call-id": record.call_id,
        "infertap-request-id": record.request_id,
        "infertap-tenant": record.tenant,
        "infertap-model": record.model.name,
        "infertap-state": name_of(v1.State, record.state),
    }
    yield from ((name, text) for name, text in told.items() if text)


def _events_headers(record: v1.Record, source: str) -> Iterator[tuple[str, str]]:
    # The content type, which is no attribute here, is a header of its own (section 3.2.1).
    yield from ((f"ce_{name}", text) for name, text in event_attributes(record, source).items())
