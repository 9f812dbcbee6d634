"""What is noted of HTTP/2 streams: times, waits, ends, kinds; and what all of one connection weighs."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hpack
import pytest
from h2.events import RequestReceived
from h2.settings import SettingCodes

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import HTTP2_PREFACE
from sidecar.tap import Ledger, SamplingRules
from sidecar.tap.sampling import Sampling
from tests.oracles.http2 import connection, frame

if TYPE_CHECKING:
    from sidecar.tap import Tap
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

SECOND = 1_000_000_000
MIB = 1 << 20
FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/svc/Call"), (b":authority", b"m")]
REQUEST = hpack.Encoder().encode(FIELDS)
GREETING = frame(4, 0, 0, b"")
OK = b"\x88"


def greeted(rig: "Rig", settings: bytes = b"") -> "Tap":
    """A tap that both ends have greeted through."""
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE + GREETING, 1)
    tap.from_model(frame(4, 0, 0, settings) + frame(4, 1, 0, b""), 1)
    tap.from_client(frame(4, 1, 0, b""), 1)
    return tap


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A field with a new name; `first` 0x40 puts it into the table."""
    return bytes((first,)) + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    size = bytearray((min(len(text), 127),))
    if len(text) >= 127:
        rest = len(text) - 127
        while rest >= 128:
            size.append(rest & 127 | 128)
            rest >>= 7
        size.append(rest)
    return bytes(size) + text


def block_frames(stream: int, block: bytes, flags: int) -> bytes:
    """A block in as many frames as it needs."""
    pieces = [block[place : place + 16_384] for place in range(0, len(block), 16_384)]
    if len(pieces) == 1:
        return frame(1, flags | 4, stream, block)
    first, *more, last = pieces
    middle = b"".join(frame(9, 0, stream, piece) for piece in more)
    return frame(1, flags, stream, first) + middle + frame(9, 4, stream, last)


# -- times


def test_call_starts_with_its_first_byte(make_rig: "MakeRig") -> None:
    """A head that comes in pieces began with the first of them; what it was held is the relay's doing."""
    rig = make_rig()
    tap = greeted(rig)
    head, answer = frame(1, 5, 1, REQUEST), frame(1, 5, 1, OK)
    assert tap.from_client(head[:10], 100) == b""
    assert tap.from_client(head[10:20], 130) == b""
    tap.from_client(head[20:], 150)
    assert tap.from_model(answer[:9], 1000) == b""
    tap.from_model(answer[9:], 1007)
    [call] = rig.kept
    assert (call.started, call.started_wall_ns) == (100, 1_000_100)
    assert (call.request_completed, call.first_response_byte, call.ended) == (150, 1000, 1007)
    assert call.relay_wait_ns == 50 + 7


def test_waits_are_of_their_own_streams(make_rig: "MakeRig") -> None:
    """A head that follows a held one in the same read has not waited; nor has one behind a held ping."""
    rig = make_rig()
    tap = greeted(rig)
    held = frame(1, 5, 1, REQUEST)
    tap.from_client(held[:10], 100)
    tap.from_client(held[10:] + frame(1, 5, 3, REQUEST), 150)
    ping = frame(6, 0, 0, bytes(8))
    tap.from_client(ping[:5], 200)
    tap.from_client(ping[5:] + frame(1, 5, 5, REQUEST), 250)
    tap.lost(EndedBy.CLIENT, 300)
    assert [(call.started, call.relay_wait_ns) for call in rig.kept] == [(100, 50), (150, 0), (250, 0)]


def test_trailers_that_waited(make_rig: "MakeRig") -> None:
    """Trailers that come in pieces end their call when they are whole, after the wait."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 100)
    tap.from_model(frame(1, 4, 1, OK), 200)
    trailers = frame(1, 5, 1, literal(b"grpc-status", b"0"))
    tap.from_model(trailers[:12], 300)
    tap.from_model(trailers[12:], 340)
    [call] = rig.kept
    assert (call.first_response_byte, call.ended, call.relay_wait_ns, call.grpc_status) == (200, 340, 40, 0)


@pytest.mark.parametrize("side", ["client", "model"])
def test_since_when_bytes_are_held(make_rig: "MakeRig", side: str) -> None:
    """The oldest byte that is held tells, until its frame is whole; what comes behind it starts anew."""
    tap = greeted(make_rig())
    take = tap.from_client if side == "client" else tap.from_model
    head = frame(1, 4, 1, REQUEST if side == "client" else OK)
    assert tap.held_since == -1
    take(head[:5], 100)
    assert tap.held_since == 100
    take(head[5:9], 200)
    assert tap.held_since == 100
    take(head[9:] + b"\0\0", 300)
    assert tap.held_since == 300
    take(b"\0\6\0\0\0\0\0", 400)
    assert tap.held_since == -1
    assert tap.client_held == tap.model_held == b""


def test_nothing_is_held_for_ever(make_rig: "MakeRig") -> None:
    """What is held of one side when the other can't be followed is to be given up at once, and is whole."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 100)
    answer = frame(1, 5, 1, OK)
    assert tap.from_model(answer[:9], 200) == b""
    assert tap.from_client(b"\0\0\0\x09\0\0\0\0\1", 300) == b"\0\0\0\x09\0\0\0\0\1"
    assert (tap.model_held, tap.held_since) == (answer[:9], 0)
    assert tap.give_up("head_too_slow", 400) == (b"", answer[:9])
    assert tap.held_since == -1
    assert tap.from_model(answer[9:], 500) == answer[9:]
    tap.lost(EndedBy.CLIENT, 600)
    assert [call.flags for call in rig.kept] == [["http2_unreadable"]] * 2
    rig.check_balance()


def test_given_up_by_the_relay(make_rig: "MakeRig") -> None:
    """Where the relay ends the following, what was held goes on and open calls carry its reason."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 100)
    tap.from_client(frame(1, 5, 3, REQUEST)[:12], 150)
    assert tap.give_up("head_too_slow", 400) == (frame(1, 5, 3, REQUEST)[:12], b"")
    assert [(call.ended_by, call.flags) for call in rig.kept] == [(EndedBy.RELAY, ["head_too_slow"])]
    assert tap.client_held == b""
    rig.check_balance()


# -- calls that last


class Told:
    """Stands where the recorder is told of calls in flight."""

    def __init__(self) -> None:
        self.started: list[int] = []

    def begin(self, call: Exchange) -> bool:
        self.started.append(call.started)
        return True

    def go_on(self, call: Exchange) -> None:
        """Of no interest."""

    def end(self, call: Exchange, is_recorded: bool) -> None:
        """Of no interest."""


def test_long_calls_are_told_of(make_rig: "MakeRig") -> None:
    """A tick tells of each call that is open for more than a second, and of no other."""
    rig = make_rig()
    reports = Told()
    rules = Sampling(SamplingRules())
    rig.context.ledger = Ledger(rig.row, rig.budget, rules, lambda _: True, reports=reports)
    told = reports.started
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 100)
    tap.from_client(frame(1, 5, 3, REQUEST), SECOND)
    tap.tick(SECOND + 99)
    assert told == []
    tap.tick(SECOND + 100)
    assert told == [100]
    tap.tick(3 * SECOND)
    assert told == [100, SECOND]


def test_segments(make_rig: "MakeRig") -> None:
    """A call that is open for five minutes goes on as another segment of the same call."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 100)
    tap.from_model(frame(1, 4, 1, OK) + frame(0, 0, 1, b"one"), 200)
    tap.tick(301 * SECOND)
    tap.from_model(frame(0, 0, 1, b"two"), 302 * SECOND)
    tap.tick(303 * SECOND)
    tap.from_model(frame(0, 1, 1, b"end"), 304 * SECOND)
    assert [(call.segment, call.is_continued, call.status) for call in rig.kept] == [
        (0, True, 200),
        (1, False, 200),
    ]
    assert [b"".join(call.response.captured_pieces) for call in rig.kept] == [b"one", b"twoend"]
    assert len({call.call_number for call in rig.kept}) == 1
    rig.check_balance()


# -- ids that can't be added


@pytest.mark.parametrize("flags", [4, 5])
def test_id_that_finds_no_room(make_rig: "MakeRig", flags: int) -> None:
    """Where the receiver takes no larger header list, the call says so, whichever message it is."""
    small = b"\0\6" + (60).to_bytes(4, "big")
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE + frame(4, 0, 0, small), 1)
    tap.from_model(GREETING, 1)
    tap.from_client(frame(1, 5, 1, REQUEST), 2)
    answer = frame(1, flags, 1, OK)
    assert tap.from_model(answer, 3) == answer
    tap.lost(EndedBy.CLIENT, 4)
    assert [call.flags for call in rig.kept] == [["id_not_added"]]
    assert rig.row["id_not_added"] == 1
    rig = make_rig()
    tap = greeted(rig, small)
    asked = frame(1, 5, 1, REQUEST)
    assert tap.from_client(asked, 2) == asked
    tap.from_model(frame(1, 5, 1, OK), 3)
    assert [call.flags for call in rig.kept] == [["id_not_added"]]


# -- kinds of calls


def encoded(*fields: tuple[bytes, bytes]) -> bytes:
    return hpack.Encoder().encode(fields)


@pytest.mark.parametrize(("status", "protocol"), [(b"200", Protocol.WEBSOCKET), (b"403", Protocol.HTTP2)])
def test_websocket_over_a_stream(make_rig: "MakeRig", status: bytes, protocol: Protocol) -> None:
    """Extended CONNECT (RFC 8441) is a call of its target; agreed on, its messages are timed both ways."""
    rig = make_rig()
    tap = greeted(rig)
    fields = (
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":path", b"/chat"),
        (b":authority", b"m"),
    )
    tap.from_client(frame(1, 4, 1, encoded(*fields)), 2)
    tap.from_model(frame(1, 4, 1, encoded((b":status", status))), 3)
    for now in (4, 5):
        tap.from_client(frame(0, 0, 1, b"\x81\1a"), now)
        tap.from_model(frame(0, 0, 1, b"\x81\1b"), now)
    tap.from_client(frame(0, 1, 1, b""), 6)
    tap.from_model(frame(0, 1, 1, b""), 7)
    [call] = rig.kept
    assert (call.protocol, call.method, call.target) == (protocol, b"CONNECT", b"/chat")
    assert call.request.piece_count == (2 if protocol is Protocol.WEBSOCKET else 0)
    assert call.ended_by is EndedBy.MODEL
    rig.check_balance()


def test_connect(make_rig: "MakeRig") -> None:
    """CONNECT without a path (RFC 9113, section 8.5) is a call to its authority."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 4, 1, encoded((b":method", b"CONNECT"), (b":authority", b"host:1"))), 2)
    tap.lost(EndedBy.CLIENT, 3)
    assert [(call.method, call.target) for call in rig.kept] == [(b"CONNECT", b"host:1")]


@pytest.mark.parametrize(
    ("kind", "is_events"),
    [(b"text/event-stream", True), (b"Text/Event-Stream; charset=utf-8", True), (b"text/plain", False)],
)
def test_event_streams(make_rig: "MakeRig", kind: bytes, is_events: bool) -> None:
    """That an answer is a stream of events is noted, as its end tells whether it failed."""
    rig = make_rig()
    tap = greeted(rig)
    tap.from_client(frame(1, 5, 1, REQUEST), 2)
    tap.from_model(frame(1, 5, 1, OK + literal(b"content-type", kind)), 3)
    assert [call.response_is_events for call in rig.kept] == [is_events]


def test_large_frames(make_rig: "MakeRig") -> None:
    """A DATA frame of 16 MiB passes in the pieces it comes in, and is counted whole."""
    rig = make_rig(body_limit_bytes="1MiB")
    tap = greeted(rig, b"\0\5\0\xff\xff\xff")
    tap.from_client(frame(1, 4, 1, REQUEST), 2)
    size = (1 << 24) - 1
    data = frame(0, 1, 1, bytes(size))
    for place in range(0, len(data), MIB):
        piece = data[place : place + MIB]
        assert tap.from_client(piece, 3) == piece
    tap.from_model(frame(1, 5, 1, OK), 4)
    [call] = rig.kept
    assert call.request.size == size
    assert MIB / 2 < call.request.captured <= MIB


# -- weight


def distinct(count: int) -> Callable[[int], bytes]:
    """A request with so many fields that no other has."""
    return lambda stream: (
        b"\x83\x86\x84" + b"".join(literal(b"x%d" % at, b"%07d%02d" % (stream, at)) for at in range(count))
    )


HEAVY: dict[str, tuple[Callable[[int], bytes], Callable[[int], bytes]]] = {
    "all alike": (lambda _: REQUEST, lambda _: OK),
    "a field of its own": (distinct(1), lambda _: OK),
    "many fields of their own": (distinct(50), lambda _: OK),
    "long fields": (lambda stream: b"\x83\x86\x84" + literal(b"x", b"%04d" % stream * 10_000), lambda _: OK),
    "answers of their own": (lambda _: REQUEST, lambda stream: OK + distinct(20)(stream)[3:]),
    "full tables": (
        lambda stream: (
            (b"\x3f\xe1\xff\x03" if stream == 1 else b"")
            + b"\x83\x86\x84"
            + b"".join(literal(b"%02d" % at, b"%04d" % stream, 0x40) for at in range(20))
        ),
        lambda stream: OK + literal(b"%04d" % stream, b"%04d" % stream, 0x40),
    ),
    "blocks to remember": (
        lambda stream: b"\x83\x86\x84" + literal(b"%06d" % stream, b"v" * 800),
        lambda stream: OK + literal(b"%06d" % stream, b"v" * 800),
    ),
}


@pytest.mark.parametrize("name", HEAVY)
def test_state_of_a_connection_is_bounded(make_rig: "MakeRig", name: str) -> None:
    """Whatever it opens and never ends: what is kept of one connection stays below 8 MiB, and is told."""
    request, answer = HEAVY[name]
    rig = make_rig(sample_rate="0", sample_error_rate="0")
    sent = [
        (block_frames(stream, request(stream), 1), block_frames(stream, answer(stream), 0))
        for stream in range(1, 9_000, 2)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tap = greeted(rig, b"\0\1\0\1\0\0")
        rig.made.clear()
        for number, (asked, answered) in enumerate(sent):
            now = (number + 2) * SECOND
            tap.from_client(asked, now)
            tap.from_model(answered, now)
            rig.made.clear()
        tap.from_client(frame(1, 0, 12_001, bytes(200_000))[:190_000], SECOND)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8 * MIB
    assert (after - before) / 2 < tap.weight < 8 * MIB
    assert rig.row["open"] > 50
    tap.lost(EndedBy.CLIENT, SECOND)
    rig.check_balance()


# -- real peers at the edges


class Peers:
    """Two ends of the h2 library and a tap between them."""

    def __init__(self, rig: "Rig") -> None:
        self.tap = rig.tap()
        self.client, self.server = connection(True), connection(False)
        self.heard: dict[str, list[Any]] = {"client": [], "server": []}
        self.talk()

    def talk(self) -> None:
        """Until neither has more to say."""
        while True:
            ours, theirs = self.client.data_to_send(), self.server.data_to_send()
            if not ours and not theirs:
                return
            self.heard["server"] += self.server.receive_data(self.tap.from_client(ours, 1))
            self.heard["client"] += self.client.receive_data(self.tap.from_model(theirs, 2))


def test_real_websocket_over_a_stream(make_rig: "MakeRig") -> None:
    """Extended CONNECT between real peers: both hear what was said, and the id."""
    rig = make_rig()
    peers = Peers(rig)
    peers.server.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    peers.talk()
    asked = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *FIELDS[1:]]
    peers.client.send_headers(1, asked)
    peers.talk()
    peers.server.send_headers(1, [(b":status", b"200")])
    peers.server.send_data(1, b"\x81\1b")
    peers.client.send_data(1, b"\x81\1a", end_stream=True)
    peers.talk()
    peers.server.end_stream(1)
    peers.talk()
    [call] = rig.kept
    [request] = [each for each in peers.heard["server"] if isinstance(each, RequestReceived)]
    assert [tuple(each) for each in request.headers] == [*asked, (b"x-request-id", call.request_id)]
    assert (call.protocol, call.target) == (Protocol.WEBSOCKET, b"/svc/Call")
    assert b"".join(call.request.captured_pieces + call.response.captured_pieces) == b"\x81\1a\x81\1b"


def test_real_frames_of_any_size(make_rig: "MakeRig") -> None:
    """Peers that agreed on frames of 16 MiB: one such frame passes, and header blocks grow by the id only."""
    rig = make_rig(body_limit_bytes="64KiB")
    peers = Peers(rig)
    peers.server.update_settings(
        {SettingCodes.MAX_FRAME_SIZE: (1 << 24) - 1, SettingCodes.INITIAL_WINDOW_SIZE: 1 << 25}
    )
    peers.server.increment_flow_control_window(1 << 25)
    peers.talk()
    peers.client.send_headers(1, [*FIELDS, (b"x-long", b"v" * 30_000)])
    peers.client.send_data(1, bytes((1 << 24) - 1), end_stream=True)
    peers.talk()
    peers.server.send_headers(1, [(b":status", b"200")], end_stream=True)
    peers.talk()
    [call] = rig.kept
    assert (call.request.size, call.status) == ((1 << 24) - 1, 200)
    [request] = [each for each in peers.heard["server"] if isinstance(each, RequestReceived)]
    assert request.headers[-1] == (b"x-request-id", call.request_id)
