"""WebSocket: what a real library writes is read as what was sent, however it is cut."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from sidecar.protocols import (
    Deflate,
    MessageKind,
    WebSocketReader,
    read_close,
    read_deflate,
)

MOST = 1 << 16
FRAMES = (
    Frame(Opcode.TEXT, "grüße".encode()),
    Frame(Opcode.TEXT, b"one, ", fin=False),
    Frame(Opcode.PING, b"ping"),
    Frame(Opcode.CONT, b"two, ", fin=False),
    Frame(Opcode.PONG, b""),
    Frame(Opcode.CONT, b"three"),
    Frame(Opcode.BINARY, bytes(range(256)) * 2),
    Frame(Opcode.TEXT, b""),
    Frame(Opcode.TEXT, b"one, two, three, " * 5000),
    Frame(Opcode.CLOSE, b"\x03\xe8bye"),
)
SAID = [
    (MessageKind.TEXT, "grüße".encode()),
    (MessageKind.PING, b"ping"),
    (MessageKind.PONG, b""),
    (MessageKind.TEXT, b"one, two, three"),
    (MessageKind.BINARY, bytes(range(256)) * 2),
    (MessageKind.TEXT, b""),
    (MessageKind.TEXT, (b"one, two, three, " * 5000)[:MOST]),
    (MessageKind.CLOSE, b"\x03\xe8bye"),
]


def written(masks: bool, deflates: bool = False, forgets: bool = False, bits: int = 15) -> bytes:
    """The frames as the library writes them."""
    extensions = [PerMessageDeflate(forgets, forgets, bits, bits)] if deflates else None
    return b"".join(frame.serialize(mask=masks, extensions=extensions) for frame in FRAMES)


def compressed(payload: bytes) -> bytes:
    """A text frame that says that its payload is."""
    return b"\xc1\x7f" + len(payload).to_bytes(8, "big") + payload


def reader(deflates: bool = False, forgets: bool = False, room: int = 1 << 20) -> WebSocketReader:
    return WebSocketReader(MOST, room, deflates, forgets)


def read(stream: bytes, step: int, **agreed: bool) -> list[tuple[MessageKind, bytes]]:
    one = reader(**agreed)
    messages = [message for at in range(0, len(stream), step) for message in one.feed(stream[at : at + step])]
    assert one.fault == ""
    assert not one.is_cut
    assert one.fed == len(stream)
    return [(message.kind, message.data) for message in messages]


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 1 << 20])
def test_frames(masks: bool, step: int) -> None:
    """Fragments are put together, control frames between them told apart, in pieces of any size."""
    assert read(written(masks), step) == SAID


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("bits", [9, 15])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_compressed(masks: bool, forgets: bool, bits: int, step: int) -> None:
    """The same with compression, with and without context takeover, whatever the window."""
    stream = written(masks, deflates=True, forgets=forgets, bits=bits)
    assert read(stream, step, deflates=True, forgets=forgets) == SAID


@pytest.mark.parametrize("deflates", [True, False])
def test_cut_anywhere(deflates: bool) -> None:
    """Of a stream that is cut the messages before the cut are read; that it is cut is told."""
    stream = written(True, deflates)
    whole = reader(deflates)
    ends = [message.end for message in whole.feed(stream)]
    for cut in (*range(min(700, len(stream))), *range(700, len(stream), 997)):
        one = reader(deflates)
        assert len(one.feed(stream[:cut])) == sum(end <= cut for end in ends)
        assert one.is_cut or cut in {0, *ends}
        assert one.fault == ""


def test_large_messages_are_cut() -> None:
    """Of a message beyond the limit the beginning is kept, and the next one is read."""
    one = WebSocketReader(3, 100)
    messages = one.feed(
        Frame(Opcode.TEXT, b"abcdef").serialize(mask=True) + Frame(Opcode.TEXT, b"g").serialize(mask=True)
    )
    assert [(each.data, each.is_cut) for each in messages] == [(b"abc", True), (b"g", False)]


def test_a_bomb() -> None:
    """What compression makes is bounded; beyond, nothing more is read."""
    engine = zlib.compressobj(wbits=-15)
    bomb = engine.compress(b"\0" * (64 << 20)) + engine.flush(zlib.Z_SYNC_FLUSH)
    one = reader(deflates=True)
    assert one.feed(compressed(bomb[:-4])) == []
    assert one.fault
    assert one.feed(b"\x81\x01a") == []
    assert one.weight == 0


def test_a_last_block_within_a_message() -> None:
    """RFC 7692, section 7.2.3.4: a message may hold a block that says it is the last."""
    # 0xf3 0x48 0xcd 0xc9 0xc9 0x07 0x00 is "Hello" as a last block; 0x00 follows, as section 7.2.3.4 has it.
    payload = bytes.fromhex("f348cdc9c9070000")
    one = reader(deflates=True)
    assert [each.data for each in one.feed(compressed(payload))] == [b"Hello"]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x83\x00",  # an opcode that is none
        b"\x8b\x00",
        b"\xc1\x00",  # compressed, and not agreed on
        b"\xa1\x00",
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x7e",  # a ping that is too long
        b"\x80\x00",  # goes on, and nothing began
        b"\x01\x00\x81\x00",  # begins within another
        b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00",  # a length below zero
    ],
)
def test_no_such_framing(stream: bytes) -> None:
    """What breaks the rules of RFC 6455, section 5, is no message, and ends the reading."""
    one = reader()
    assert [each.data for each in one.feed(b"\x81\x01a")] == [b"a"]
    assert one.feed(stream) == []
    assert one.fault
    assert one.feed(b"\x81\x01b") == []


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 50))
def test_garbage(stream: bytes, deflates: bool, step: int) -> None:
    """Any bytes give messages or a fault, never an error; in pieces they give the same."""
    whole, pieces = reader(deflates), reader(deflates)
    told = whole.feed(stream)
    assert told == [
        each for at in range(0, len(stream), step) for each in pieces.feed(stream[at : at + step])
    ]
    assert (whole.fault, whole.is_cut) == (pieces.fault, pieces.is_cut)


@pytest.mark.parametrize(
    ("header", "agreed"),
    [
        (b"", None),
        (b"x-webkit-deflate-frame", None),
        (b"permessage-deflate", Deflate(False, False)),
        (b"x, Permessage-Deflate; server_no_context_takeover", Deflate(True, False)),
        (b"permessage-deflate; client_no_context_takeover; server_max_window_bits=10", Deflate(False, True)),
    ],
)
def test_what_was_agreed_on(header: bytes, agreed: Deflate | None) -> None:
    """RFC 7692, section 7.1: the parameters that tell how messages are read."""
    assert read_deflate(header) == agreed


def test_close() -> None:
    """RFC 6455, section 5.5.1: a code and a reason, or neither."""
    assert read_close(b"\x03\xe9away") == (1001, b"away")
    assert read_close(b"") == (1005, b"")
