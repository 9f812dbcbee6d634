"""Where values may hide: each place that a review found, with a value of several classes in it."""

import base64
import gzip
import json
import zlib

import pytest

from sidecar import config
from sidecar.recorder.redaction import Findings, Policy, Redactor

REDACTOR = Redactor(Policy.of(config.read({}), b"key"))
VALUES = [
    "ada.lovelace@example.org",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "123-45-6789",
    "192.168.1.17",
    "sk-proj-abcdefghij0123456789ABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
]


def kept(document: object) -> object:
    body = REDACTOR.body("application/json", json.dumps(document).encode(), Findings())
    assert body.withheld is None
    return json.loads(body.data)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "packed",
    [
        lambda text: gzip.compress(text.encode()),
        lambda text: zlib.compress(text.encode()),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
    ],
    ids=["gzip", "zlib", "UTF-16LE", "UTF-16BE"],
)
def test_packed_text_in_base64(value: str, packed: object) -> None:
    """Base64 that holds packed text, or text of two bytes a character, is masked where a value is in it."""
    assert callable(packed)
    blob = base64.b64encode(packed(f"this is {value}, as said")).decode()
    clean = base64.b64encode(packed("there is nothing in here")).decode()
    text = kept({"a": f"see {blob} there", "b": clean})
    assert isinstance(text, dict)
    assert text["a"].startswith("see <")
    assert text["a"].endswith("> there")
    assert text["b"] == clean


def test_bomb_in_base64() -> None:
    """What is packed a thousand times closer than text is looked at in part, and takes no time."""
    bomb = base64.b64encode(zlib.compress(b"a" * (1 << 24))).decode()
    assert kept({"a": bomb}) == {"a": bomb}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("mark", list("\u00ad\u034f\u061c\u180e\u200b\u202e\u2066\ufe0f\U000e0020\U000e0101"))
def test_marks_that_do_not_show(value: str, mark: str) -> None:
    """Characters that do not show, between all of a value's, hide nothing."""
    text = mark.join(value)
    found = kept({"a": text})
    assert found != {"a": text}
    assert all(part not in str(found) for part in (text, value))


@pytest.mark.parametrize("value", VALUES)
def test_tokens(value: str) -> None:
    """A value in pieces is found in lists of tokens, as TGI and tokenizers give them."""
    pieces = [value[at : at + 2] for at in range(0, len(value), 2)]
    for document in (
        {"details": {"tokens": [{"id": 1, "text": piece, "logprob": -2.5} for piece in pieces]}},
        {"details": {"prefill": [{"id": 1, "text": piece} for piece in pieces]}},
        {"tokens": pieces},
    ):
        found = json.dumps(kept(document))
        assert pieces[-2] not in found
        assert "<" in found


@pytest.mark.parametrize(
    "text",
    [
        "user_sk-proj-abcdefghij0123456789ABCDEF_x",
        "_AKIAIOSFODNN7EXAMPLE_",
        "t_eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
        "mac:00:1b:44:11:3a:b7",
        "ip:2001:db8::8a2e:370:7334",
    ],
)
def test_words_joined_to_a_value(text: str) -> None:
    """An underscore or a colon joins no word to a value."""
    assert "<" in REDACTOR.text(text, "body", Findings())
