"""Encodings that hide values, and the way back from what they hide to where it stands."""

import base64
import json
import quopri
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction import Findings, Redactor
from sidecar.recorder.redaction.classes import shapes_of
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.lenses import blobs, escapes, quoted, widths
from sidecar.recorder.redaction.scanner import Scanner

ADDRESS = "ada@example.org"
CARD = "4111 1111 1111 1111"


def percent(text: str) -> str:
    """Every byte percent-encoded."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def backslash(text: str) -> str:
    """Every character as a JSON escape."""
    return "".join(f"\\u{ord(character):04x}" for character in text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json escapes": backslash,
    "escapes of escapes": lambda text: json.dumps(json.dumps(backslash(text)))[1:-1],
    "hex escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "percent": percent,
    "percent twice": lambda text: quote(percent(text)),
    "url": quote,
    "decimal entities": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(f"?>~{text}".encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes((text + " and more" * 12).encode()).decode(),
    "base64 in a path": lambda text: f"users/{base64.b64encode(text.encode()).decode()}/photo",
    "base64 of json": lambda text: base64.b64encode(json.dumps({"to": text}).encode()).decode(),
    "base64 of escapes": lambda text: base64.b64encode(backslash(text).encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "quoted-printable": lambda text: quopri.encodestring(text.replace("@", "@é").encode()).decode(),
    "full width": lambda text: "".join(
        chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text
    ),
    "mathematical": lambda text: "".join(
        chr(0x1D7CE + int(each)) if each.isdigit() else each for each in text
    ),
    "arabic digits": lambda text: "".join(
        chr(0x660 + int(each)) if each.isdigit() else each for each in text
    ),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["email", "payment_card"])
def test_encodings_hide_nothing(redactor: Callable[..., Redactor], encoding: str, kind: str) -> None:
    """A value is found in each encoding, in text and in JSON, and what stood for it is gone."""
    value = ENCODINGS[encoding]({"email": ADDRESS, "payment_card": CARD}[kind])
    for content_type, body in [
        ("text/plain", f"so: {value} it is"),
        ("application/json", json.dumps({"a": f"so: {value} it is"})),
        ("application/json", json.dumps({"a": json.dumps({"b": value})})),
    ]:
        findings = Findings()
        redacted = redactor().body(content_type, body.encode(), findings)
        assert f"<{kind}>" in redacted.data.decode(), body
        assert value not in redacted.data.decode()
        assert findings.total == 1


@pytest.mark.parametrize(
    "text",
    [
        "temperature, sepal_length, internationalization",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "50% of 100%25, a &amp; b &lt; c, x=12, C:\\\\temp\\new, \\u00e9",
        "VGhpcyBpcyBub3RoaW5nIG9mIGludGVyZXN0",
        "src/recorder/redaction/lenses.py CamelCaseNamesOfClasses",
        "m² ½ … ™ ①",
        "def a(): ...\\n@pytest.mark.parametrize\\n@b.c.de",
    ],
)
def test_what_hides_nothing_stays(redactor: Callable[..., Redactor], text: str) -> None:
    """Encoded text without values, hashes, ids and long words stay byte for byte."""
    for content_type, body in [("text/plain", text), ("application/json", json.dumps({"a": text}))]:
        findings = Findings()
        assert redactor().body(content_type, body.encode(), findings).data == body.encode()
        assert findings.total == 0


def test_only_the_value_is_masked(redactor: Callable[..., Redactor]) -> None:
    """What stands beside a hidden value is left as it is; a blob goes as a whole."""
    made = redactor()
    assert made.raw(b"a%20b/ada%40example.org?c=%2F", "path", Findings()) == "a%20b/<email>?c=%2F"
    assert made.raw(b"x YWRhQGV4YW1wbGUub3JnIHk= z", "path", Findings()) == "x <email> z"


@given(st.binary(max_size=200))
def test_views_lead_back(data: bytes) -> None:
    """Whatever the text, each byte of a view comes from bytes in the text, in order and without overlap."""
    for lens in (escapes, quoted, blobs, widths):
        view = lens(data)
        if view is None:
            continue
        ends = 0
        for place in range(len(view.data)):
            start, end = view.origin(place, place + 1)
            assert 0 <= start < end <= len(data)
            assert end >= ends
            ends = end
        if view.data:
            whole = view.origin(0, len(view.data))
            assert whole[0] == view.origin(0, 1)[0]
            assert whole[1] == ends


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(ENCODINGS)))
def test_values_are_found_wherever_they_stand(before: str, after: str, encoding: str) -> None:
    """An address apart from other text is found in every encoding, whatever stands around it."""
    finder = Finder(Scanner(shapes_of({"email"})))
    value = ENCODINGS[encoding](ADDRESS).encode()
    data = before.encode("utf-8", "replace") + b" \n" + value + b"\n " + after.encode("utf-8", "replace")
    assert finder.may_hold(data)
    spans = finder.spans(data)
    assert any(span.start < data.index(value) + len(value) and span.end > data.index(value) for span in spans)
    assert all(first.end <= second.start for first, second in pairwise(spans))
