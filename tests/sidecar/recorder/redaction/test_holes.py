"""Holes: what stands beside a hole is withheld, for it may be half of a value; what is apart is kept."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import config
from sidecar.recorder.redaction import Ends, Findings, Policy, Redactor, Stretch, Withheld
from sidecar.recorder.redaction.holes import EDGE, WITHHELD, less_edges

SSE = "text/event-stream"
LINES = "application/x-ndjson"
REDACTOR = Redactor(Policy.of(config.read({}), b"key"))
OPENS, CLOSES, BOTH = Ends(opens=True), Ends(closes=True), Ends(True, True)
CARD = "4111 1111 1111 1111"
KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 40
    + "-----END RSA PRIVATE KEY-----"
)
VALUES = (
    "ada.lovelace@example.org",
    CARD,
    "DE89 3704 0044 0532 0130 00",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
    "password: hunter2hunter2",
    "+49 30 1234567",
    KEY,
)
PROSE = "so it was told to me by them all "


def delta(text: str) -> dict[str, Any]:
    return {
        "id": "c1",
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def spoken(documents: tuple[Any, ...]) -> str:
    return "".join(each["choices"][0]["delta"]["content"] for each in documents if each.get("choices"))


def tokens(text: str, size: int = 4) -> list[dict[str, Any]]:
    return [delta(text[at : at + size]) for at in range(0, len(text), size)]


LATE = {
    "id": "c1",
    "choices": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 99},
    "error": {"message": "the model is overloaded"},
}
FINISH = {
    "id": "c1",
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize(("content_type", "write"), [(SSE, sse), (LINES, lines)])
def test_the_tail_is_read(content_type: str, write: Any) -> None:
    """Behind the hole reading begins at the next event: finish reason, usage and a late error are there."""
    head = write(*tokens(PROSE * 20))[:-7]
    tail = write(*tokens(PROSE * 20))[11:] + write(FINISH, LATE)
    body = REDACTOR.body(content_type, Stretch(head, CLOSES, tail), Findings())
    assert body.withheld is None
    assert body.documents[-2:] == (FINISH, LATE)
    assert body.tail_offset is not None
    assert body.data[body.tail_offset :].endswith(
        write(FINISH, LATE).replace(b": ", b":").replace(b", ", b",")[-20:]
    )
    behind = REDACTOR.body(content_type, body.data[body.tail_offset :], Findings())
    assert spoken(behind.documents).startswith(WITHHELD)
    assert PROSE * 3 in spoken(behind.documents)


@pytest.mark.parametrize("size", [1, 4, 11, 5000])
@pytest.mark.parametrize("value", VALUES)
def test_half_a_value(value: str, size: int) -> None:
    """Wherever a hole cuts a value in two, no half of it is in the record; what is far from it is."""
    for at in range(1, len(value), max(len(value) // 12, 1)):
        head = sse(*tokens("First " + PROSE * 3 + value[:at], size))
        tail = b"cut off\n\n" + sse(*tokens(value[at:] + " " + PROSE * 3 + "last", size))
        body = REDACTOR.body(SSE, Stretch(head, CLOSES, tail), Findings())
        text = spoken(body.documents)
        longest = [value[max(at - 6, 0) : at], value[at : at + 6]]
        assert all(len(half.strip()) < 3 or half not in text for half in longest), (at, text)
        assert text.startswith("First so it was told")
        assert text.endswith(PROSE + "last")


@given(st.integers(1, 60), st.integers(0, 40), st.sampled_from(VALUES[:-1]))
def test_no_hole_lets_a_value_through(size: int, shift: int, value: str) -> None:
    """A whole value beside a hole is found, be it spread over events, and none is joined over the hole."""
    head = sse(*tokens("x" * shift + " " + PROSE + value + " " + PROSE, size))
    tail = b"\n\n" + sse(*tokens(PROSE + value + " " + PROSE, size))
    body = REDACTOR.body(SSE, Stretch(head, CLOSES, tail), Findings())
    assert value not in spoken(body.documents)
    assert value.encode() not in body.data


def test_plain_text_at_a_hole() -> None:
    """Of other text a fixed stretch beside the hole is withheld, and what reaches into it is masked."""
    text = "a " * 3000 + CARD + " " + "b " * 3000
    at = text.index(CARD) + 9
    body = REDACTOR.body("text/plain", Stretch(text[: at + EDGE].encode(), CLOSES), Findings())
    assert body.data.endswith(b" a <payment_card>")
    body = REDACTOR.body("text/plain", Stretch(text[at - EDGE :].encode(), OPENS), Findings())
    assert b"1111" not in body.data
    head, tail = text[: at + EDGE].encode(), text[at - EDGE :].encode()
    both = REDACTOR.body("text/plain", Stretch(head, CLOSES, tail), Findings())
    assert both.tail_offset is not None
    assert both.data[both.tail_offset :] == body.data


@pytest.mark.parametrize("content_type", [SSE, "text/plain"])
def test_nothing_is_withheld_where_nothing_is_looked_for(content_type: str) -> None:
    """Without redaction a hole costs the event that it cuts, and no text."""
    redactor = Redactor(Policy.of(config.read({"INFERTAP_REDACT": "none"}), None))
    head = sse(delta("9")) * 3
    body = redactor.body(content_type, Stretch(head, CLOSES), Findings())
    assert body.data == head


def test_a_document_has_no_tail() -> None:
    """The end of one JSON document can't be read without its beginning: only the head is kept."""
    head = b'{"text": "' + PROSE.encode() * 200
    body = REDACTOR.body("application/json", Stretch(head, CLOSES, b'ada@example.org"}'), Findings())
    assert body.tail_offset is None
    assert b"told to me" in body.data
    assert b"ada@" not in body.data


def test_a_head_that_is_withheld() -> None:
    """Where the head can't be kept, nothing is."""
    redactor = Redactor(Policy.of(config.read({"INFERTAP_REDACT_FIELDS": "a=mask"}), None))
    body = redactor.body(SSE, Stretch(b"\xff\xfe\0\0\xff", CLOSES, sse(FINISH)), Findings())
    assert body.withheld is Withheld.DIGESTED
    assert body.data == b""


def test_cut_within_a_character() -> None:
    """A hole that begins within a character costs that character only."""
    text = (PROSE + "né ") * 3
    for at in range(len(sse(delta("")))):
        data = "".join(f"data: {text}\n\n" for _ in range(9)).encode()
        body = REDACTOR.body(SSE, Stretch(data[: 400 - at], CLOSES, data[400 - at :]), Findings())
        assert body.withheld is None
        assert body.tail_offset is not None


@given(st.lists(st.text(max_size=30), max_size=20), st.booleans(), st.booleans())
def test_less_edges_makes_nothing_up(parts: list[str], opens: bool, closes: bool) -> None:
    """As many parts come out; without the marks they hold what the text holds, less its edges."""
    kept = less_edges(parts, Ends(opens, closes))
    assert len(kept) == len(parts)
    if WITHHELD not in "".join(parts):
        assert "".join(kept).replace(WITHHELD, "") in "".join(parts)
    if not (opens or closes):
        assert kept == parts
