"""Bodies of many documents: what is broken, said twice, or spread over plain text."""

import json
from collections.abc import Callable

import pytest

from sidecar.recorder.redaction import Findings, Redactor

SSE = "text/event-stream"
LINES = "application/x-ndjson"


@pytest.mark.parametrize(("media_type", "begin", "end"), [(SSE, b"data: ", b"\n\n"), (LINES, b"", b"\n")])
def test_a_member_said_twice_shows_only_what_was_redacted(
    redactor: Callable[..., Redactor], media_type: str, begin: bytes, end: bytes
) -> None:
    """Of two members of one name the one that the tree does not show is not in the bytes either."""
    data = begin + b'{"a":"ada@x.org","a":"ok"}' + end + begin + b'{"b":1}' + end
    body = redactor().body(media_type, data, Findings())
    assert b"ada" not in body.data
    assert b'{"a":"ok"}' in body.data


@pytest.mark.parametrize(("media_type", "begin", "end"), [(SSE, b"data: ", b"\n\n"), (LINES, b"", b"\n")])
@pytest.mark.parametrize(
    ("broken", "rules"),
    [
        (b'{"name":"Ada Love', {"redact_fields": "name=mask"}),
        (b'[{"name":"Ada Love', {"redact_fields": "name=mask"}),
        (b'{"name":"Ada\\u0040x.org"', {}),
        (b'{"secret":"Ada', {}),
    ],
)
def test_a_broken_document_is_left_out_where_its_text_can_hide_something(
    redactor: Callable[..., Redactor],
    media_type: str,
    begin: bytes,
    end: bytes,
    broken: bytes,
    rules: dict[str, str],
) -> None:
    """Rules on fields, secret names and escapes need a document that can be parsed; the others stay."""
    data = begin + b'{"b":1}' + end + begin + broken
    body = redactor(**rules).body(media_type, data, Findings())
    assert b"Ada" not in body.data
    assert body.data.endswith(b"<malformed>")
    assert body.documents == ({"b": 1},)


def test_the_last_event_of_a_stream_is_not_taken_for_broken(redactor: Callable[..., Redactor]) -> None:
    """`[DONE]` is no document and stays, also where there are rules on fields."""
    data = b'data: {"b":1}\n\ndata: [DONE]\n\n'
    assert redactor(redact_fields="name=mask").body(SSE, data, Findings()).data == data


def test_plain_text_spread_over_events_is_masked(redactor: Callable[..., Redactor]) -> None:
    """Tokens that come as plain text are read as one text too."""
    body = redactor().body(SSE, b"data: ada\n\ndata: @\n\ndata: x.org\n\n", Findings())
    assert body.data == b"data: <email>\n\ndata: \n\ndata: \n\n"


def test_a_stream_that_is_sent_as_one_document_is_read_as_one_text(redactor: Callable[..., Redactor]) -> None:
    """A value spread over the objects of a JSON array is masked; other arrays stay as they are."""
    pieces = [{"parts": [{"text": piece}]} for piece in ("mail ad", "a@exam", "ple.org", " now")]
    body = redactor().body("application/json", json.dumps(pieces).encode(), Findings())
    texts = [piece["parts"][0]["text"] for piece in json.loads(body.data)]
    assert texts == ["mail <email>", "", "", " now"]
    assert body.documents[0] == json.loads(body.data)
    clean = json.dumps([{"text": "one "}, {"text": "two"}, {"number": 3}]).encode()
    assert redactor().body("application/json", clean, Findings()).data == clean
