"""Floods of HTTP/2: which of them end the following of a connection, and what heavy use does not."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import hpack
import pytest

from sidecar.exchange import EndedBy, Protocol
from sidecar.protocols import HTTP2_PREFACE, literal_without_indexing
from sidecar.tap import Refused
from tests.oracles.http2 import frame

if TYPE_CHECKING:
    from sidecar.tap import Tap
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

SECOND = 1_000_000_000
REQUEST = hpack.Encoder().encode(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/svc/Call"), (b":authority", b"m")]
)
OK = b"\x88"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK = END_STREAM = 1
END_HEADERS = 4


class Connection:
    """A tap that both ends have greeted through, and a clock that stands until it is moved."""

    def __init__(self, make_rig: "MakeRig", **settings: str) -> None:
        self.rig = make_rig(sample_error_max_per_second="off", **settings)
        self.tap: Tap = self.rig.tap()
        self.now = SECOND
        self.streams = iter(range(1, 1 << 31, 2))
        self.client(HTTP2_PREFACE + frame(SETTINGS, 0, 0, b""))
        self.model(frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b""))
        self.client(frame(SETTINGS, ACK, 0, b""))

    def client(self, data: bytes) -> bytes:
        return self.tap.from_client(data, self.now)

    def model(self, data: bytes) -> bytes:
        return self.tap.from_model(data, self.now)

    def open(self, flags: int = END_HEADERS | END_STREAM) -> int:
        stream = next(self.streams)
        self.client(frame(HEADERS, flags, stream, REQUEST))
        return stream

    def answer(self, stream: int) -> None:
        self.model(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK))

    @property
    def is_followed(self) -> bool:
        return self.rig.row["opaque_connections"] == 0


def less_ids(rig: "Rig", data: bytes) -> bytes:
    for made in rig.made:
        data = data.replace(literal_without_indexing(b"x-request-id", made), b"")
    return data


# One unit of each flood, for its stream: who sends it, the flag.
FLOODS: dict[str, tuple[str, Callable[[int], bytes], str]] = {
    "PING": ("client", lambda _: frame(PING, 0, 0, bytes(8)), "ping_flood"),
    "PING of the model": ("model", lambda _: frame(PING, 0, 0, bytes(8)), "ping_flood"),
    "PING ACK": ("client", lambda _: frame(PING, ACK, 0, bytes(8)), "ping_flood"),
    "SETTINGS ACK": ("client", lambda _: frame(SETTINGS, ACK, 0, b""), "settings_flood"),
    "PRIORITY": ("client", lambda _: frame(PRIORITY, 0, 1, bytes(5)), "priority_flood"),
    "WINDOW_UPDATE": ("client", lambda _: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), "window_update_flood"),
    "WINDOW_UPDATE of zero": ("model", lambda _: frame(WINDOW_UPDATE, 0, 1, bytes(4)), "window_update_flood"),
    "GOAWAY": ("client", lambda _: frame(GOAWAY, 0, 0, bytes(8)), "goaway_flood"),
    "unknown kinds": ("client", lambda _: frame(0xFA, 0, 0, b"x"), "unknown_frame_flood"),
    "RST_STREAM of nothing": ("client", lambda _: frame(RST_STREAM, 0, 1, bytes(4)), "reset_flood"),
    "empty DATA": ("client", lambda _: frame(DATA, 0, 1, b""), "empty_data_flood"),
    "DATA of padding": ("client", lambda _: frame(DATA, 8, 1, b"\3" + bytes(3)), "empty_data_flood"),
    "empty DATA of the model": ("model", lambda _: frame(DATA, 0, 1, b""), "empty_data_flood"),
    "empty HEADERS": ("client", lambda _: frame(HEADERS, END_HEADERS, 2, b""), "headers_flood"),
    "HEADERS of no stream": ("model", lambda _: frame(HEADERS, END_HEADERS, 8, OK), "headers_flood"),
    "empty CONTINUATION": (
        "client",
        lambda _: (
            frame(HEADERS, 0, 2, b"")
            + frame(CONTINUATION, 0, 2, b"") * 50
            + frame(CONTINUATION, END_HEADERS, 2, b"")
        ),
        "continuation_flood",
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_ends_the_following(make_rig: "MakeRig", name: str) -> None:
    """Each flood passes as it came, and is counted; what follows is relayed unfollowed."""
    side, unit, flag = FLOODS[name]
    wire = Connection(make_rig)
    take = wire.client if side == "client" else wire.model
    sent = passed = b""
    for number in range(4000):
        if not wire.is_followed:
            break
        data = unit(number)
        sent += data
        passed += take(data)
        wire.now += 1000
    assert passed == sent
    assert not wire.is_followed
    assert wire.rig.row["budget_exceeded"] == 1
    assert wire.client(b"any") + wire.model(b"thing") == b"anything"
    wire.tap.lost(EndedBy.CLIENT, wire.now)
    assert wire.rig.kept[-1].protocol is Protocol.OPAQUE
    assert {tuple(call.flags) for call in wire.rig.kept} == {(flag,)}
    wire.rig.check_balance()


@pytest.mark.parametrize("code", [0, 8])
def test_rapid_reset(make_rig: "MakeRig", code: int) -> None:
    """A client that cancels all it opens is followed no longer after some thousand calls."""
    wire = Connection(make_rig)
    sent = passed = b""
    while wire.is_followed and len(wire.rig.kept) < 4000:
        stream = next(wire.streams)
        data = frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST) + frame(
            RST_STREAM, 0, stream, code.to_bytes(4, "big")
        )
        sent += data
        passed += wire.client(data)
        wire.now += 10_000
    assert not wire.is_followed
    assert 1000 < len(wire.rig.kept) < 3000
    wire.tap.lost(EndedBy.CLIENT, wire.now)
    assert {call.ended_by for call in wire.rig.kept[:-1]} == {EndedBy.CLIENT}
    assert wire.rig.kept[-1].flags == ["reset_flood"]
    assert len(less_ids(wire.rig, passed)) == len(sent)
    wire.rig.check_balance()


def test_made_you_reset(make_rig: "MakeRig") -> None:
    """A model that is made to reset every stream before it answers is no longer followed either."""
    wire = Connection(make_rig)
    for _ in range(4000):
        if not wire.is_followed:
            break
        stream = wire.open()
        wire.model(frame(RST_STREAM, 0, stream, b"\0\0\0\1"))
        wire.now += 10_000
    assert not wire.is_followed
    assert wire.rig.row["budget_exceeded"] == 1


def test_open_calls_of_a_flood_are_cut(make_rig: "MakeRig") -> None:
    """Calls that are open when the budget is spent are settled as cut by the relay, with the flag."""
    wire = Connection(make_rig)
    for _ in range(3):
        wire.open()
    wire.client(frame(PING, 0, 0, bytes(8)) * 3000)
    assert [(call.ended_by, call.flags) for call in wire.rig.kept] == [(EndedBy.RELAY, ["ping_flood"])] * 3
    wire.rig.check_balance()


def test_large_block_in_crumbs(make_rig: "MakeRig") -> None:
    """A header block of 200 KiB that comes in crumbs costs each read more: it passes, unfollowed at last."""
    wire = Connection(make_rig)
    data = frame(HEADERS, END_STREAM, 1, b"") + frame(CONTINUATION, 0, 1, bytes(200_000))
    passed = b"".join(wire.client(data[place : place + 20]) for place in range(0, len(data), 20))
    assert passed == data
    assert wire.rig.row["budget_exceeded"] == 1
    wire.tap.lost(EndedBy.CLIENT, wire.now)
    assert wire.rig.kept[-1].flags == ["continuation_flood"]


def test_large_block_in_packets(make_rig: "MakeRig") -> None:
    """A header block of 60 KiB in packets of a slow link is followed."""
    wire = Connection(make_rig)
    block = REQUEST + b"\0\1x\x7f\xe1\xd3\x03" + b"v" * 60_000
    data = frame(HEADERS, END_STREAM, 1, block[:16_000])
    pieces = [block[place : place + 16_000] for place in range(16_000, len(block), 16_000)]
    data += b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces) + frame(CONTINUATION, 4, 1, b"")
    for place in range(0, len(data), 500):
        wire.client(data[place : place + 500])
    assert wire.is_followed
    assert wire.rig.row["open"] == 1


HEADERS_TOO_LARGE = {
    "fields": b"\x82" * 1001,
    "bytes": b"\0\1x\x7f" + b"\x81\xff\x0f" + b"v" * 300_000,
}


@pytest.mark.parametrize("name", HEADERS_TOO_LARGE)
def test_headers_too_large(make_rig: "MakeRig", name: str) -> None:
    """A block with more fields or bytes than servers take ends the following, and passes."""
    wire = Connection(make_rig)
    block = HEADERS_TOO_LARGE[name]
    pieces = [block[place : place + 16_384] for place in range(0, len(block), 16_384)]
    data = frame(HEADERS, END_STREAM, 1, pieces[0])
    data += b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:])
    data += frame(CONTINUATION, END_HEADERS, 1, b"")
    assert wire.client(data) == data
    assert wire.rig.row["budget_exceeded"] == 1
    wire.tap.lost(EndedBy.CLIENT, wire.now)
    assert wire.rig.kept[-1].flags == ["headers_too_large"]


def test_expansion_by_the_table(make_rig: "MakeRig") -> None:
    """A bomb: an entry of the table that a block asks for again and again."""
    wire = Connection(make_rig)
    entry = b"\x40\1x\x7f" + b"\xa1\x1e" + b"v" * 4000
    wire.client(frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST + entry))
    assert wire.rig.row["open"] == 1
    bomb = frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x83\x86\x84" + b"\xbe" * 20)
    assert wire.client(bomb) == bomb
    assert [call.flags for call in wire.rig.kept] == [["headers_too_large"]]
    assert wire.rig.row["budget_exceeded"] == 1


# -- heavy use


def test_ten_thousand_streams_at_once(make_rig: "MakeRig") -> None:
    """Thousands of streams open at a time, acknowledged and updated as peers do, are followed."""
    wire = Connection(make_rig)
    streams = [wire.open(END_HEADERS) for _ in range(10_000)]
    for stream in streams:
        wire.client(frame(DATA, END_STREAM, stream, b"x" * 100))
        wire.model(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x64"))
    for stream in streams:
        wire.answer(stream)
    assert wire.is_followed
    assert wire.tap.is_idle
    assert wire.rig.row["seen"] == 10_000


def test_keepalive(make_rig: "MakeRig") -> None:
    """A ping every ten seconds for a month does not add up."""
    wire = Connection(make_rig)
    for _ in range(260_000 // 10):
        wire.client(frame(PING, 0, 0, bytes(8)))
        wire.model(frame(PING, ACK, 0, bytes(8)))
        wire.now += 10 * SECOND
    assert wire.is_followed


def test_settings_in_flight(make_rig: "MakeRig") -> None:
    """64 SETTINGS may wait for their acknowledgement; one more may not."""
    wire = Connection(make_rig)
    for _ in range(10):
        wire.model(frame(SETTINGS, 0, 0, b"") * 64)
        wire.client(frame(SETTINGS, ACK, 0, b"") * 64)
    assert wire.is_followed
    wire.model(frame(SETTINGS, 0, 0, b"") * 65)
    assert not wire.is_followed


@pytest.mark.parametrize("cancelled", [3, 5])
def test_clients_that_cancel(make_rig: "MakeRig", cancelled: int) -> None:
    """A client may cancel three of ten calls, or five as who hedges, at any pace, one by one or at once."""
    wire = Connection(make_rig)
    for _ in range(2000):
        streams = [wire.open() for _ in range(10)]
        for stream in streams[:cancelled]:
            wire.client(frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        for stream in streams[cancelled:]:
            wire.answer(stream)
        wire.now += 100_000
    streams = [wire.open() for _ in range(2000)]
    for stream in streams[: cancelled * 200]:
        wire.client(frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
    assert wire.is_followed


def test_pings_that_measure(make_rig: "MakeRig") -> None:
    """A ping with each message of a long stream (gRPC measures its bandwidth so) comes with work."""
    wire = Connection(make_rig)
    stream = wire.open(END_HEADERS)
    for _ in range(20_000):
        wire.model(frame(DATA, 0, stream, b"token") + frame(PING, 0, 0, bytes(8)))
        wire.client(frame(PING, ACK, 0, bytes(8)) + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\5"))
        wire.now += 100_000
    assert wire.is_followed


def test_updates_of_uploads(make_rig: "MakeRig") -> None:
    """Each piece of many large uploads may be answered by two WINDOW_UPDATEs."""
    wire = Connection(make_rig)
    for _ in range(100):
        stream = wire.open(END_HEADERS)
        for _ in range(64):
            wire.client(frame(DATA, 0, stream, bytes(16_384)))
            wire.model(
                frame(WINDOW_UPDATE, 0, 0, b"\0\0\x40\0") + frame(WINDOW_UPDATE, 0, stream, b"\0\0\x40\0")
            )
        wire.client(frame(DATA, END_STREAM, stream, b""))
        wire.answer(stream)
    assert wire.is_followed


def test_updates_of_what_is_not_recorded(make_rig: "MakeRig") -> None:
    """Downloads that are never recorded earn their WINDOW_UPDATEs too."""
    wire = Connection(make_rig, skip_paths="/svc/Call")
    stream = wire.open()
    wire.model(frame(HEADERS, END_HEADERS, stream, OK))
    for _ in range(5000):
        wire.model(frame(DATA, 0, stream, bytes(1000)))
        wire.client(frame(WINDOW_UPDATE, 0, 0, b"\0\0\x03\xe8") * 2)
    assert wire.is_followed


def test_model_that_reads_no_uploads(make_rig: "MakeRig") -> None:
    """A model that resets each stream after its whole answer, to read no further, is followed."""
    wire = Connection(make_rig)
    for _ in range(5000):
        stream = wire.open(END_HEADERS)
        wire.answer(stream)
        wire.model(frame(RST_STREAM, 0, stream, bytes(4)))
        wire.now += 10_000
    assert wire.is_followed
    assert {call.ended_by for call in wire.rig.kept} == {EndedBy.MODEL}


# -- where what can't be recorded is refused


def goaway(last: int, code: int) -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def test_floods_are_refused(make_rig: "MakeRig") -> None:
    """With the setting, the client is told to calm down, and open calls are settled with both flags."""
    wire = Connection(make_rig, unrecordable="refuse")
    wire.open()
    with pytest.raises(Refused) as caught:
        wire.client(frame(PING, 0, 0, bytes(8)) * 3000)
    assert (caught.value.onward, caught.value.answer) == (b"", goaway(1, 11))
    assert [(call.protocol, call.flags) for call in wire.rig.kept] == [
        (Protocol.HTTP2, ["ping_flood", "refused"]),
        (Protocol.OPAQUE, ["ping_flood", "refused"]),
    ]
    assert wire.rig.row["open"] == 0
    wire.rig.check_balance()


def test_broken_frames_are_refused(make_rig: "MakeRig") -> None:
    """What breaks the protocol is answered with its error."""
    wire = Connection(make_rig, unrecordable="refuse")
    with pytest.raises(Refused) as caught:
        wire.client(frame(CONTINUATION, 0, 1, b""))
    assert caught.value.answer == goaway(0, 1)


def test_streams_that_would_be_shed_are_refused(make_rig: "MakeRig") -> None:
    """Who must have every call on record has no call shed for the weight of its connection's open calls."""
    wire = Connection(make_rig, unrecordable="refuse")
    blocks = b"".join(frame(HEADERS, END_HEADERS, stream, REQUEST) for stream in range(1, 24_000, 2))
    with pytest.raises(Refused):
        wire.client(blocks)
    assert wire.rig.row["shed_open_streams"] == wire.rig.row["open"] == 0


@pytest.mark.parametrize("begun", [False, True])
def test_no_answer_where_the_model_fails_within_a_frame(make_rig: "MakeRig", begun: bool) -> None:
    """The end of a frame that was not sent on is no boundary; the beginning of one that was held is."""
    wire = Connection(make_rig, unrecordable="refuse")
    stream = wire.open()
    data = frame(DATA, 0, stream, b"y" * 100)
    broken = frame(CONTINUATION, 0, 1, b"")
    if begun:
        assert wire.model(data + broken[:5]) == data
        rest = broken[5:]
    else:
        assert wire.model(data[:50]) == data[:50]
        rest = data[50:] + broken
    with pytest.raises(Refused) as caught:
        wire.model(rest)
    assert caught.value.answer == (goaway(stream, 1) if begun else b"")


def test_no_answer_within_a_frame(make_rig: "MakeRig") -> None:
    """Where the model is within a frame nothing is said to the client; before its SETTINGS, SETTINGS are."""
    wire = Connection(make_rig, unrecordable="refuse")
    stream = wire.open()
    wire.model(frame(DATA, 0, stream, b"y" * 100)[:50])
    with pytest.raises(Refused) as caught:
        wire.client(frame(CONTINUATION, 0, 1, b""))
    assert caught.value.answer == b""
    silent = make_rig(unrecordable="refuse")
    with pytest.raises(Refused) as caught:
        silent.tap().from_client(HTTP2_PREFACE + frame(CONTINUATION, 0, 1, b""), 1)
    assert caught.value.answer == frame(SETTINGS, 0, 0, b"") + goaway(0, 1)
