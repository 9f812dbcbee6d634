"""Bodies: each kind is redacted as what it is, and what can't be read is withheld."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import config
from sidecar.recorder.redaction import (
    Ends,
    Findings,
    Policy,
    RedactedBody,
    Redactor,
    Stretch,
    Withheld,
)

MakeRedactor = Callable[..., Redactor]
JSON = "application/json"
SECRET = "ada@example.org"


def body(
    redactor: Redactor, content_type: str, data: bytes | str | dict[str, Any], cut: bool = False
) -> RedactedBody:
    if isinstance(data, dict):
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode()
    return redactor.body(content_type, Stretch(data, Ends(closes=cut)), Findings())


def test_clean_json_stays_as_it_is(redactor: MakeRedactor) -> None:
    """Where nothing is found, every byte stays, white space and all."""
    data = b'{ "inputs" : [1, 2.50],\n"text":"caf\xc3\xa9" }'
    assert body(redactor(), JSON, data) == RedactedBody(data, (json.loads(data),))


def test_json_strings_and_keys(redactor: MakeRedactor) -> None:
    """Values and keys are masked at any depth; the result is JSON of the same shape."""
    redacted = body(redactor(), JSON, {"a": [{"b": f"to {SECRET} now"}], SECRET: 1, "n": 4111111111111111})
    assert json.loads(redacted.data) == {"a": [{"b": "to <email> now"}], "<email>": 1, "n": 0}
    assert redacted.documents == (json.loads(redacted.data),)


def test_json_escapes_hide_nothing(redactor: MakeRedactor) -> None:
    """A value written with escapes is found."""
    assert json.loads(body(redactor(), JSON, rb'{"a":"ada\u0040example.org"}').data) == {"a": "<email>"}
    assert json.loads(body(redactor(), JSON, rb'{"a":"\n4111111111111111"}').data) == {
        "a": "\n<payment_card>"
    }


def test_secret_names(redactor: MakeRedactor) -> None:
    """A member whose name means a secret is masked whatever it holds; one that speaks of tokens is not."""
    redacted = body(
        redactor(), JSON, {"password": "x", "user": {"apiKey": "y"}, "token": "hello", "max_tokens": 5}
    )
    assert json.loads(redacted.data) == {
        "password": "<secret>",
        "user": {"apiKey": "<secret>"},
        "token": "hello",
        "max_tokens": 5,
    }


def test_field_rules(redactor: MakeRedactor) -> None:
    """Fields are masked by type, hashed or dropped, by name at any depth or by path."""
    rules = "$.user.name=hash,$.rows[*].age=mask,secret_note=drop,$.flag=mask,$.list=mask"
    tree = {
        "user": {"name": "Ada", "secret_note": "x"},
        "name": "model",
        "rows": [{"age": 36, "x": 1}, {"age": 40}],
        "flag": True,
        "list": [1],
    }
    made = redactor(redact_fields=rules)
    redacted = json.loads(body(made, JSON, tree).data)
    assert made.policy.key is not None
    assert redacted == {
        "user": {"name": made.policy.key.hash(b"Ada")},
        "name": "model",
        "rows": [{"age": 0, "x": 1}, {"age": 0}],
        "flag": False,
        "list": [],
    }
    without_key = json.loads(body(redactor(None, redact_fields=rules), JSON, tree).data)
    assert without_key["user"] == {"name": "<field>"}


@pytest.mark.parametrize(
    ("content_type", "data", "why"),
    [
        (JSON, b"[" * 100_000, Withheld.TOO_DEEP),
        (JSON, b"[" * 300 + b'"\\n"' + b"]" * 300, Withheld.TOO_DEEP),
        (JSON, b'{"a":"ada\\u0040example.org","a":"x"}', Withheld.MALFORMED),
        (JSON, b'{"password":"x"', Withheld.MALFORMED),
        ("image/png", b"\x89PNG", Withheld.DIGESTED),
        ("application/octet-stream", b"\0\1\2", Withheld.DIGESTED),
        ("text/plain; charset=utf-8", b"\xff\xfe\xfd", Withheld.DIGESTED),
        ("text/plain; charset=klingon", b"abc", Withheld.DIGESTED),
        ("application/grpc", b"\0\0\0\0\5hello", Withheld.DIGESTED),
    ],
)
def test_withheld(redactor: MakeRedactor, content_type: str, data: bytes, why: Withheld) -> None:
    """What can't be read, or in more than one way, is not in the record, and the reason is."""
    redacted = body(redactor(), content_type, data)
    assert (redacted.data, redacted.documents, redacted.withheld) == (b"", (), why)


def test_opaque_rules(redactor: MakeRedactor) -> None:
    """Bodies that no rule can read are kept, digested or dropped, by media type."""
    made = redactor(opaque_bodies="image/*=keep,audio/ogg=drop,digest")
    assert body(made, "image/png", b"\x89PNG").data == b"\x89PNG"
    assert body(made, "audio/ogg", b"\0ogg").withheld is Withheld.DROPPED
    assert made.policy.key is not None
    assert body(made, "video/mp4", b"\0mp4").digest == made.policy.key.hash(b"\0mp4")
    assert body(redactor(None), "video/mp4", b"\0mp4").digest == ""


def test_malformed_json_is_text(redactor: MakeRedactor) -> None:
    """JSON that no parser takes is still redacted as text, unless rules ask for its fields."""
    data = f"{{'mail': {SECRET}}}"
    assert body(redactor(), JSON, data).data == b"{'mail': <email>}"
    assert body(redactor(redact_fields="mail=drop"), JSON, data).withheld is Withheld.MALFORMED


def test_cut_body_loses_its_tail(redactor: MakeRedactor) -> None:
    """Of a cut body the last 4 KiB go: a value may have been cut in two there."""
    data = f"mail {SECRET} " + "x" * 5000 + " ada@exam"
    redacted = body(redactor(), "text/plain", data, cut=True)
    assert redacted.data.startswith(b"mail <email> xxx")
    assert len(redacted.data) < len(data) - 4096
    assert body(redactor(), "text/plain", b"short ada@exam", cut=True).data == b""
    assert (
        body(redactor(redact_fields="a=mask"), JSON, '{"a":"' + "x" * 9000, cut=True).withheld is Withheld.CUT
    )


def test_utf16(redactor: MakeRedactor) -> None:
    """Other charsets are read and kept as UTF-8."""
    for charset in ("utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        redacted = body(redactor(), f"text/plain; charset={charset}", f"né {SECRET}".encode(charset))
        assert redacted.data.decode() == "né <email>"
    assert json.loads(body(redactor(), JSON, json.dumps({"a": SECRET}).encode("utf-16-le")).data) == {
        "a": "<email>"
    }


def test_form(redactor: MakeRedactor) -> None:
    """Form fields are decoded before they are looked at."""
    redacted = body(redactor(), "application/x-www-form-urlencoded", b"mail=ada%40example.org&password=x&n=1")
    assert parse_qs(redacted.data.decode()) == {"mail": ["<email>"], "password": ["<secret>"], "n": ["1"]}


def sse(*payloads: object) -> bytes:
    """Events with these payloads as JSON."""
    return "".join(f"data: {json.dumps(each)}\n\n" for each in payloads).encode() + b"data: [DONE]\n\n"


def delta(text: str, index: int = 0) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "choices": [{"index": index, "delta": {"content": text}}]}


def test_value_spread_over_events(redactor: MakeRedactor) -> None:
    """What begins in one event and ends in a later one is masked; each choice is a text of its own."""
    data = sse(delta("mail ada"), delta("B", 1), delta("@exam"), delta("ob", 1), delta("ple.org now"))
    redacted = body(redactor(), "text/event-stream", data)
    texts = ["", ""]
    for document in redacted.documents:
        choice = document["choices"][0]
        texts[choice["index"]] += choice["delta"]["content"]
    assert texts == ["mail <email> now", "Bob"]
    assert redacted.data.endswith(b"data: [DONE]\n\n")


def test_clean_events_stay_as_they_are(redactor: MakeRedactor) -> None:
    """A stream without findings is kept byte for byte, comments and event names included."""
    data = b": hello\nevent: add\nid: 1\n" + sse(delta("Hel"), delta("lo"))
    assert body(redactor(), "text/event-stream", data).data == data


def test_log_probabilities_repeat_nothing(redactor: MakeRedactor) -> None:
    """Tokens beside the text, and their bytes, don't give back what was masked in the text."""
    tokens = [
        {"token": each, "bytes": list(each.encode())} for each in ("ada", "@", "example", ".org", " now")
    ]
    tree = {"choices": [{"message": {"content": "ada@example.org now"}, "logprobs": {"content": tokens}}]}
    redacted = json.loads(body(redactor(), JSON, tree).data)["choices"][0]
    assert redacted["message"]["content"] == "<email> now"
    assert "".join(each["token"] for each in redacted["logprobs"]["content"]) == "<email> now"
    assert all(each["bytes"] == [] for each in redacted["logprobs"]["content"])


def test_json_lines(redactor: MakeRedactor) -> None:
    """One document on each line, by media type or as it comes."""
    data = b'{"a":"ada@example.org"}\n{"a":"x"}\n'
    for content_type in ("application/x-ndjson", JSON):
        redacted = body(redactor(), content_type, data)
        assert redacted.data == b'{"a":"<email>"}\n{"a":"x"}\n'
        assert redacted.documents == ({"a": "<email>"}, {"a": "x"})


REDACTOR = Redactor(Policy.of(config.read({}), b"key"))
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@given(trees, st.sampled_from([SECRET, "4111 1111 1111 1111", "DE89370400440532013000", "078-05-1120"]))
def test_planted_value_never_survives(tree: Any, secret: str) -> None:
    """Wherever in a tree a value is, however it is escaped, the redacted body is JSON without it."""
    for ascii_only in (True, False):
        data = json.dumps({"tree": tree, "here": [f" {secret} "], f"({secret})": 1}, ensure_ascii=ascii_only)
        redacted = REDACTOR.body(JSON, data.encode("utf-8", "surrogatepass"), Findings())
        assert secret.encode() not in redacted.data
        if redacted.data:
            assert secret not in json.dumps(json.loads(redacted.data), ensure_ascii=False)


@given(st.text(max_size=20), st.integers(1, 14))
def test_split_anywhere_over_events(around: str, place: int) -> None:
    """Wherever a value is cut in two, the joined text of the redacted stream lacks it."""
    parts = [f"{around} {SECRET[:place]}", f"{SECRET[place:]} {around}"]
    redacted = REDACTOR.body("text/event-stream", sse(*map(delta, parts)), Findings())
    joined = "".join(each["choices"][0]["delta"]["content"] for each in redacted.documents)
    assert SECRET not in joined


@given(
    st.binary(max_size=200),
    st.sampled_from([JSON, "text/plain", "text/event-stream", "multipart/form-data"]),
)
def test_any_bytes(data: bytes, content_type: str) -> None:
    """Any bytes under any type give a body or a reason, and redacting the result again changes nothing."""
    redacted = REDACTOR.body(content_type, data, Findings())
    assert redacted.withheld is not Withheld.FAILED
    if redacted.withheld is None:
        again = REDACTOR.body(content_type, redacted.data, Findings())
        assert again.withheld is not None or again.data == redacted.data
