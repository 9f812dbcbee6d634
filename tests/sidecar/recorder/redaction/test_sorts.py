"""Streams that are called something else, and arrays that were cut: pieces are joined all the same."""

import json
from typing import Any

import pytest

from sidecar import config
from sidecar.recorder.redaction import Ends, Findings, Policy, Redactor, Stretch, Withheld

REDACTOR = Redactor(Policy.of(config.read({}), b"key"))
CLOSES = Ends(closes=True)
PROSE = "so it was told to me by them all "
TEXTS = ["my card is ", "4111 11", "11 1111", " 1111 or so ", *[PROSE] * 40]
DELTAS = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in TEXTS]
EVENTS = "".join(f"data: {json.dumps(delta)}\n\n" for delta in DELTAS)
LINES = "".join(f"{json.dumps(delta)}\n" for delta in DELTAS)
TYPES = ["text/plain", "application/json", "", "application/octet-stream", "text/event-stream"]


def said(documents: tuple[Any, ...]) -> str:
    return "".join(each["choices"][0]["delta"]["content"] for each in documents)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize(
    "text",
    [
        EVENTS,
        f": hello\n\nevent: x\nid: 1\n{EVENTS}",
        EVENTS.replace("\n", "\r\n"),
        LINES,
        f"{LINES}[DONE]\n",
    ],
    ids=["events", "fields", "CRLF", "lines", "done"],
)
def test_whole_stream(content_type: str, text: str) -> None:
    """Whatever a stream is called it is read as one text."""
    body = REDACTOR.body(content_type, text.encode(), Findings())
    assert said(body.documents) == f"my card is <payment_card> or so {PROSE * 40}"
    assert b"4111 11" not in body.data


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("text", [EVENTS, LINES], ids=["events", "lines"])
def test_cut_stream(content_type: str, text: str) -> None:
    """A stream that was cut is one text as far as it can be read, and so is its end where that was kept."""
    body = REDACTOR.body(content_type, Stretch(text[:-80].encode(), CLOSES, text[9:].encode()), Findings())
    assert said(body.documents).startswith("my card is <payment_card> or so ")
    assert b"4111 11" not in body.data


@pytest.mark.parametrize("between", [",", ",\r\n", " ,\n "])
def test_cut_array(between: str) -> None:
    """Of an array of pieces that was cut what can be read is one text."""
    text = f"[{between.join(map(json.dumps, DELTAS))}]"
    for end in (-1, -40, len(text) // 2):
        body = REDACTOR.body("application/json", Stretch(text[:end].encode(), CLOSES), Findings())
        assert said(body.documents).startswith("my card is <payment_card> or so ")
        assert json.loads(body.data) == list(body.documents)


def test_broken_array() -> None:
    """So is one that breaks off for another reason; what can't be read is left out."""
    text = f"[{','.join(map(json.dumps, DELTAS))},{{oops 4111 1111 1111 1111"
    body = REDACTOR.body("application/json", text.encode(), Findings())
    assert said(body.documents).startswith("my card is <payment_card> or so ")
    assert b"oops" not in body.data


def test_end_of_json() -> None:
    """What is there of a JSON document's end alone tells not what it is, and is withheld."""
    body = REDACTOR.body(
        "text/json", Stretch(b'4111 11"},{"a":"11 1111 1111"}]', Ends(opens=True)), Findings()
    )
    assert body.withheld is Withheld.CUT


def test_text_that_begins_like_events() -> None:
    """Text of which one line is no field is text: what spans its lines is found."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
    body = REDACTOR.body("text/plain", f"data: this\n\n{key}\n".encode(), Findings())
    assert body.data == b"data: this\n\n<private_key>\n"
