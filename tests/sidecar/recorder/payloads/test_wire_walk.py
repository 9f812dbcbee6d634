"""Messages without a schema: taken apart, shown by field numbers, and written again with what was masked."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar import config
from sidecar.recorder.payloads import walk_messages
from sidecar.recorder.redaction import Findings, Policy, Redactor

EMAIL = "ada@example.org"
CARD = "4111111111111111"
REDACTOR = Redactor(Policy.of(config.read({}), b"key"))


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def held(number: int, data: bytes | str) -> bytes:
    """A field of bytes."""
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def shown(*messages: bytes) -> tuple[Any, ...] | None:
    walk = walk_messages(messages)
    return None if walk is None else walk.documents()


def redacted(*messages: bytes, keeps_binary: bool = False, **environ: str) -> tuple[Any, list[bytes] | None]:
    """The documents and messages after redaction, as the recorder has them; None for messages not kept."""
    named = {f"INFERTAP_{name.upper()}": value for name, value in environ.items()}
    redactor = Redactor(Policy.of(config.read(named), b"key")) if environ else REDACTOR
    walk = walk_messages(messages)
    if walk is None:
        return None, None
    documents = redactor.documents(walk.documents(), Findings())
    assert documents is not None
    written = walk.write(documents, keeps_binary)
    doubts = Findings()
    for text in written.second_readings:
        redactor.text(text, "body", doubts)
    return (None, None) if doubts.total else (documents, written.messages)


def test_scalars() -> None:
    """Integers, floats and fixed integers show as what they most likely are."""
    message = b"\x08\x96\x01" + b"\x10" + varint((1 << 64) - 5)
    message += b"\x19" + struct.pack("<d", 0.5) + b"\x25" + struct.pack("<f", -2.0)
    message += b"\x29" + struct.pack("<q", 4111111111111111) + b"\x35" + struct.pack("<I", 7)
    assert shown(message) == ({"1": 150, "2": -5, "3": 0.5, "4": -2.0, "5": 4111111111111111, "6": 7},)


def test_texts_messages_and_lists() -> None:
    """Texts are texts, nested messages are trees, what comes again is a list."""
    message = held(1, "hello") + held(2, held(1, "in") + b"\x10\x01") + held(3, "a") + held(3, "b")
    assert shown(message) == ({"1": "hello", "2": {"1": "in", "2": 1}, "3": ["a", "b"]},)
    assert shown(b"", held(1, "")) == ({}, {"1": ""})


def test_a_message_that_looks_like_a_text() -> None:
    """Lengths from 32 on are letters; where they lead to all there is, it is a message."""
    inner = held(1, "Say what an octopus does at night, please")
    assert inner.decode().isprintable() or b"\n" in inner
    assert shown(held(4, inner)) == ({"4": {"1": "Say what an octopus does at night, please"}},)


def test_one_place_of_a_stream_is_read_in_one_way() -> None:
    """Of tokens one may look like a message by chance; all of that place are texts."""
    tokens = ["He", "\n\t- item a", "llo"]
    assert shown(*(held(1, token) for token in tokens)) == tuple({"1": token} for token in tokens)


def test_binary_is_not_kept() -> None:
    """What is neither text nor message shows by its size; its message is kept only where settings say so."""
    message = held(1, b"\xff\xfe\x00\x01") + held(2, "text")
    assert shown(message) == ({"1": "<binary 4 bytes>", "2": "text"},)
    assert redacted(message)[1] is None
    assert redacted(message, keeps_binary=True)[1] == [message]


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"\x08", b"\x0a\x05abc", b"\x0b\x0c", b"\x09abc", b"\xff" * 11, b"\x08" + b"\xff" * 10],
    ids=["number 0", "no value", "cut", "group", "cut number", "no end", "beyond 64 bits"],
)
def test_no_messages(data: bytes) -> None:
    """Bytes that are no message are not read."""
    assert shown(data) is None


def test_too_many_fields() -> None:
    """A message of more fields than anybody reads is given up, nested ones included."""
    assert shown(b"\x08\x01" * 200_000) is None
    assert shown(held(1, b"\x08\x00" * 60_000), held(1, b"\x08\x00" * 60_000)) is None


def test_deep_nesting() -> None:
    """Beyond 32 messages in each other nothing is told apart, and nothing of it is kept."""
    message = held(1, b"\x08\x01")
    for _ in range(60):
        message = held(1, message)
    documents, kept = redacted(message)
    assert documents is not None
    assert kept is None


def test_masked_with_lengths_that_fit() -> None:
    """What was found is masked in the bytes too, however deep, and the message can be read as before."""
    message = held(1, f"mail {EMAIL} now") + held(2, held(7, held(1, EMAIL)) + b"\x10\x01") + b"\x18\x2a"
    documents, kept = redacted(message)
    assert documents == ({"1": "mail <email> now", "2": {"7": {"1": "<email>"}, "2": 1}, "3": 42},)
    assert kept == [
        held(1, "mail <email> now") + held(2, held(7, held(1, "<email>")) + b"\x10\x01") + b"\x18\x2a"
    ]


def test_numbers_that_are_card_numbers() -> None:
    """A card number sent as an integer becomes 0."""
    message = b"\x08" + varint(int(CARD)) + b"\x11" + struct.pack("<q", int(CARD))
    assert redacted(message) == (({"1": 0, "2": 0},), [b"\x08\x00\x11" + bytes(8)])


def test_spread_over_a_stream() -> None:
    """A value in the tokens of several messages is masked in all of them."""
    tokens = ["mail ", "ada", "@exam", "ple.org", " now"]
    documents, kept = redacted(*(held(1, held(2, token) + b"\x08\x01") for token in tokens))
    assert "".join(document["1"]["2"] for document in documents) == "mail <email> now"
    assert kept is not None
    assert b"exam" not in b"".join(kept)


def test_fields_by_number() -> None:
    """Rules on fields name field numbers: masked, dropped, hashed, in bytes as in the document."""
    message = held(1, "secret name") + held(2, held(3, "other") + b"\x20\x07") + held(5, "x") + held(5, "y")
    documents, kept = redacted(message, redact_fields="$.1=mask,$.2.4=mask,$.2.3=drop,$.5=drop")
    assert documents == ({"1": "<field>", "2": {"4": 0}},)
    assert kept == [held(1, "<field>") + held(2, b"\x20\x00")]
    documents, kept = redacted(held(3, EMAIL) + message, redact_fields="$.2=hash")
    assert documents[0]["2"].startswith("hmac:")
    assert (documents[0]["3"], kept) == ("<email>", None)
    assert redacted(message, redact_fields="$.5[0]=drop")[1] is None


def test_the_other_reading_hides_nothing() -> None:
    """A length that is a digit before a card number, or a value over what may be two fields, is withheld."""
    inner = held(1, f"{CARD} is the number of the card, see".ljust(49))
    assert inner[1:2] == b"1"
    for message in (held(4, inner), held(4, inner) + held(4, "just a text")):
        documents, kept = redacted(message)
        assert CARD not in f"{documents}{kept}"
    assert redacted(b"\n\x12\t\x00\x00ada@example.org") == (None, None)


NAMES = st.sampled_from([EMAIL, f"card {CARD}", "DE89 3704 0044 0532 0130 00"])
CANARIES = ("ada@", CARD[4:], "0044 0532")
TEXTS = st.one_of(NAMES, st.text(max_size=60), st.builds("{} {} {}".format, st.text(), NAMES, st.text()))
NUMBERS = st.integers(1, 40)
FIELDS = st.recursive(
    st.one_of(
        st.builds(held, NUMBERS, TEXTS),
        st.builds(held, NUMBERS, st.binary(max_size=40)),
        st.builds(
            lambda number, before, name: held(number, before + name.encode()),
            NUMBERS,
            st.binary(max_size=4),
            NAMES,
        ),
        st.builds(lambda n, v: varint(n << 3) + varint(v), NUMBERS, st.integers(0, (1 << 64) - 1)),
        st.builds(lambda n, v: varint(n << 3 | 1) + struct.pack("<d", v), NUMBERS, st.floats()),
        st.builds(lambda n, v: varint(n << 3 | 5) + struct.pack("<f", v), NUMBERS, st.floats(width=32)),
    ),
    lambda inner: st.builds(lambda n, parts: held(n, b"".join(parts)), NUMBERS, st.lists(inner, max_size=4)),
    max_leaves=12,
)
MESSAGES = st.lists(FIELDS, max_size=5).map(b"".join)


def shape(node: Any) -> Any:
    """A tree without its leaves."""
    if isinstance(node, dict):
        return {key: shape(member) for key, member in node.items()}
    return [shape(member) for member in node] if isinstance(node, list) else None


def leaves(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list | tuple):
        for member in node.values() if isinstance(node, dict) else node:
            yield from leaves(member)
    else:
        yield str(node)


@settings(max_examples=300)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4))
@example(messages=[b"\n\x12\t\x00\x00ada@example.org"])
@example(messages=[held(1, held(1, f"{CARD} and so on and on and on.".ljust(49)))])
@example(messages=[held(1, b"\t\x00\x00ada@example.org")])
def test_no_canary_survives(messages: list[bytes]) -> None:
    """Whatever the messages, nothing that is kept or shown holds a value, and what is kept can be read."""
    documents, kept = redacted(*messages)
    text = " ".join(leaves(documents or ()))
    for canary in CANARIES:
        assert canary not in text
        assert kept is None or canary.encode() not in b"".join(kept)
    if kept is not None:
        assert len(kept) == len(messages)
        assert walk_messages(kept) is not None


@settings(max_examples=300)
@given(data=st.lists(st.binary(max_size=80), min_size=1, max_size=3))
def test_arbitrary_bytes(data: list[bytes]) -> None:
    """Bytes that nothing is found in are written as they were read, or not at all."""
    walk = walk_messages(data)
    if walk is None:
        return
    before = walk.documents()
    written = walk.write(walk.documents(), keeps_binary=True)
    assert written.messages is not None
    again = walk_messages(written.messages)
    assert again is not None
    assert repr(again.documents()) == repr(before)
