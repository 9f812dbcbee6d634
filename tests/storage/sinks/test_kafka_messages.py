"""Records as Kafka's messages."""

import json

import pytest

from infertap import v1
from storage.sinks.kafka_messages import Form, to_message


def test_a_record_is_json_under_its_calls_id(served) -> None:
    """Key, value and headers tell the record, its id for ever, and whose it is."""
    record = served(7, model__name="iris")
    message = to_message(record, Form())
    assert message.key.decode() == record.call_id
    told = json.loads(message.value)
    assert (told["call_id"], told["path"], told["sequence"]) == (record.call_id, "/v1/7", "7")
    headers = dict(message.headers)
    assert headers["content-type"] == b"application/json"
    assert headers["infertap-record"] == record.spool_id.hex().encode() + b"-7"
    assert headers["infertap-tenant"] == b"acme"
    assert headers["infertap-model"] == b"iris"
    assert headers["infertap-state"] == b"completed"


def test_a_record_can_be_protobuf(served) -> None:
    """The value is the contract's message, and the content type says so."""
    record = served(7)
    message = to_message(record, Form(is_protobuf=True))
    assert v1.Record.FromString(message.value) == record
    assert dict(message.headers)["content-type"].startswith(b"application/protobuf")


@pytest.mark.parametrize(
    ("key", "expected"),
    [("model", b"iris"), ("session", b"hmac:1:aa"), ("tenant", b"acme"), ("user", None)],
)
def test_the_key_is_what_was_asked_for(served, key: str, expected: bytes | None) -> None:
    """What belongs together has one key; where there is nothing of it, the call's id."""
    record = served(7, model__name="iris", caller__session="hmac:1:aa")
    assert to_message(record, Form(key)).key == (expected or record.call_id.encode())


def test_cloudevents_have_their_attributes_as_headers(served) -> None:
    """Binary mode: ce_ before each attribute, and the content type as a header of its own."""
    record = served(7)
    headers = dict(to_message(record, Form(source="//models")).headers)
    assert headers["content-type"] == b"application/json"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_source"] == b"//models"
    assert headers["ce_id"] == record.spool_id.hex().encode() + b"-7"
    assert headers["ce_subject"] == record.call_id.encode()
    assert "ce_datacontenttype" not in headers


def test_text_beyond_ascii_stays(served) -> None:
    """Nothing is escaped away, and lone surrogates can't come up in protobuf's texts."""
    record = served(1, model__name="modèle")
    message = to_message(record, Form("model"))
    assert message.key.decode() == "modèle"
    assert json.loads(message.value)["model"]["name"] == "modèle"
