"""The HTTP/2 tap between two real ends of the `h2` library: what passes, what is added, what is recorded."""

import itertools
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import HTTP2_PREFACE, literal_without_indexing

if TYPE_CHECKING:
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

Headers = list[tuple[bytes, bytes]]
REQUEST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/svc/Call"),
    (b":authority", b"model:80"),
]
GRPC: Headers = [*REQUEST, (b"te", b"trailers"), (b"content-type", b"application/grpc")]
ANSWER: Headers = [(b":status", b"200"), (b"content-type", b"application/json")]


def ends() -> tuple[h2.connection.H2Connection, h2.connection.H2Connection]:
    """A client and a server; both check what they are sent."""
    made = [
        h2.connection.H2Connection(h2.config.H2Configuration(client_side=side, header_encoding=None))
        for side in (True, False)
    ]
    for each in made:
        each.initiate_connection()
    return made[0], made[1]


class Wire:
    """Both ends, the tap between them, and what each end heard. `cut` splits what is sent into reads."""

    def __init__(self, rig: "Rig", cut: Callable[[bytes], Iterable[bytes]] = lambda data: [data]) -> None:
        self.rig = rig
        self.tap = rig.tap()
        self.cut = cut
        self.client, self.server = ends()
        self.client_heard: list[Any] = []
        self.server_heard: list[Any] = []
        self.sent = {"client": b"", "server": b""}
        self.passed = {"client": b"", "server": b""}
        self.pump()

    def pump(self) -> None:
        """Until neither end has more to say."""
        while True:
            ours, theirs = self.client.data_to_send(), self.server.data_to_send()
            if not ours and not theirs:
                return
            self.sent["client"] += ours
            for read in self.cut(ours) if ours else ():
                out = self.tap.from_client(read, self.rig.now())
                self.passed["client"] += out
                self.server_heard += self.server.receive_data(out) if out else []
            self.sent["server"] += theirs
            for read in self.cut(theirs) if theirs else ():
                out = self.tap.from_model(read, self.rig.now())
                self.passed["server"] += out
                self.client_heard += self.client.receive_data(out) if out else []

    def heard(self, end: str, kind: type) -> list[Any]:
        return [each for each in getattr(self, f"{end}_heard") if isinstance(each, kind)]

    def request(self, stream: int, headers: Headers = REQUEST, body: bytes = b"", **more: Any) -> None:
        self.client.send_headers(stream, headers, end_stream=not body, **more)
        if body:
            self.client.send_data(stream, body, end_stream=True)
        self.pump()

    def answer(
        self, stream: int, headers: Headers = ANSWER, body: bytes = b"", trailers: Headers | None = None
    ) -> None:
        self.server.send_headers(stream, headers, end_stream=not body and trailers is None)
        if body:
            self.server.send_data(stream, body, end_stream=trailers is None)
        if trailers is not None:
            self.server.send_headers(stream, trailers, end_stream=True)
        self.pump()


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def randomly(data: bytes) -> list[bytes]:
    source = random.Random(len(data))
    places = sorted({0, len(data), *(source.randrange(len(data)) for _ in range(4))})
    return [data[first:last] for first, last in itertools.pairwise(places)]


def less_ids(rig: "Rig", data: bytes) -> int:
    """How many literals were added to `data`, by the ids that the rig made."""
    return sum(data.count(literal_without_indexing(b"x-request-id", made)) for made in rig.made)


@pytest.mark.parametrize("cut", [whole, bytewise, randomly])
def test_call(make_rig: "MakeRig", cut: Callable[[bytes], list[bytes]]) -> None:
    """However it is split: both sides hear what was said and the one id; the record has all of it."""
    rig = make_rig()
    wire = Wire(rig, cut)
    wire.request(
        1, [*REQUEST, (b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01")], b"question"
    )
    wire.answer(1, body=b"answer")
    [call] = rig.kept
    [asked] = wire.heard("server", h2.events.RequestReceived)
    assert asked.headers == [*REQUEST, (b"traceparent", call.traceparent), (b"x-request-id", call.request_id)]
    [answered] = wire.heard("client", h2.events.ResponseReceived)
    assert answered.headers == [*ANSWER, (b"x-request-id", call.request_id)]
    assert (call.protocol, call.method, call.target, call.status) == (
        Protocol.HTTP2,
        b"POST",
        b"/svc/Call",
        200,
    )
    assert b"".join(call.request.captured_pieces) == b"question"
    assert b"".join(call.response.captured_pieces) == b"answer"
    assert (call.ended_by, call.request.size, call.response.size) == (EndedBy.MODEL, 8, 6)
    assert call.request_headers[0] == (b"host", b"model:80")
    rig.check_balance()


def test_bytes_pass_verbatim(make_rig: "MakeRig") -> None:
    """What passes is what came, less the literals, and less their share of the frames' lengths."""
    rig = make_rig()
    wire = Wire(rig)
    for stream in range(1, 40, 2):
        wire.request(stream, body=b"x" * stream)
        wire.answer(stream, body=b"y" * 16_000 if stream < 5 else b"y")
    for side in ("client", "server"):
        added = less_ids(rig, wire.passed[side])
        assert added == 20
        literal = len(literal_without_indexing(b"x-request-id", rig.made[0]))
        assert len(wire.passed[side]) == len(wire.sent[side]) + added * literal


def test_nothing_added_is_the_very_bytes(make_rig: "MakeRig") -> None:
    """A read in which nothing is to be changed is passed on as it is, without a copy."""
    rig = make_rig()
    wire = Wire(rig)
    wire.request(1, body=b"x")
    read = b"\0\0\x05\0\0\0\0\0\x01hello"
    assert wire.tap.from_model(read, rig.now()) is read


def test_tables_stay_as_they_were(make_rig: "MakeRig") -> None:
    """After a thousand requests with ever new headers both ends still understand each other."""
    wire = Wire(make_rig())
    for number in range(1000):
        stream = 2 * number + 1
        fields = [*REQUEST, (b"x-number", b"%d" % number), (b"x-other", b"v" * (number % 50))]
        wire.request(stream, fields)
        wire.answer(stream, [*ANSWER, (b"x-answer", b"%d" % number)])
    asked = wire.heard("server", h2.events.RequestReceived)
    assert [dict(each.headers)[b"x-number"] for each in asked] == [b"%d" % number for number in range(1000)]
    assert len(wire.rig.kept) == 1000


def test_grpc(make_rig: "MakeRig") -> None:
    """gRPC is told by its type; status and message come from the trailers, to which nothing is added."""
    wire = Wire(make_rig())
    wire.request(1, GRPC, b"\0\0\0\0\5hello")
    trailers = [(b"grpc-status", b"3"), (b"grpc-message", b"bad%20input")]
    wire.answer(1, [(b":status", b"200"), (b"content-type", b"application/grpc")], b"\0\0\0\0\0", trailers)
    [call] = wire.rig.kept
    assert (call.protocol, call.grpc_status, call.grpc_message) == (Protocol.GRPC, 3, b"bad%20input")
    assert call.response_trailers == trailers
    assert wire.heard("client", h2.events.TrailersReceived)[0].headers == trailers


def test_trailers_only(make_rig: "MakeRig") -> None:
    """An answer of one header block gets the id, and its status is read."""
    wire = Wire(make_rig())
    wire.request(1, GRPC)
    wire.answer(1, [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"12")])
    [call] = wire.rig.kept
    assert (call.grpc_status, call.ended_by) == (12, EndedBy.MODEL)
    assert wire.heard("client", h2.events.ResponseReceived)[0].headers[-1] == (
        b"x-request-id",
        call.request_id,
    )


def test_informational_responses_are_left_alone(make_rig: "MakeRig") -> None:
    """Nothing is added to 1xx; the final answer gets the id."""
    wire = Wire(make_rig())
    wire.request(1)
    wire.server.send_headers(1, [(b":status", b"103"), (b"link", b"x")])
    wire.answer(1)
    [early] = wire.heard("client", h2.events.InformationalResponseReceived)
    assert early.headers == [(b":status", b"103"), (b"link", b"x")]
    assert wire.rig.kept[0].status == 200


@pytest.mark.parametrize(
    ("sent", "used", "noted"),
    [(b"mine", b"mine", b""), (b"with space", b"", b"with space"), (b"x" * 300, b"", b"x" * 128)],
)
def test_ids_of_the_client(make_rig: "MakeRig", sent: bytes, used: bytes, noted: bytes) -> None:
    """A usable id is the call's; another is left, noted and replaced; nothing is added to the request."""
    wire = Wire(make_rig())
    wire.request(1, [*REQUEST, (b"x-request-id", sent)])
    wire.answer(1)
    [call] = wire.rig.kept
    assert wire.heard("server", h2.events.RequestReceived)[0].headers == [*REQUEST, (b"x-request-id", sent)]
    assert (call.request_id if used else b"", call.client_request_id) == (used, noted)
    assert wire.heard("client", h2.events.ResponseReceived)[0].headers[-1] == (
        b"x-request-id",
        call.request_id,
    )


def test_id_of_the_model(make_rig: "MakeRig") -> None:
    """A model's own id stays, and is noted beside the call's."""
    wire = Wire(make_rig())
    wire.request(1)
    wire.answer(1, [*ANSWER, (b"x-request-id", b"theirs")])
    assert wire.rig.kept[0].model_request_id == b"theirs"
    assert wire.heard("client", h2.events.ResponseReceived)[0].headers == [
        *ANSWER,
        (b"x-request-id", b"theirs"),
    ]


def test_resets(make_rig: "MakeRig") -> None:
    """A reset ends a call by whoever sent it, with its code; after a whole answer it is the model's end."""
    wire = Wire(make_rig())
    for stream in (1, 3, 5):
        wire.client.send_headers(stream, REQUEST)
    wire.pump()
    wire.client.reset_stream(1, 8)
    wire.server.reset_stream(3, 2)
    wire.answer(5)
    wire.server.reset_stream(5, 0)
    wire.pump()
    ended = {call.call_number: (call.ended_by, call.reset_code) for call in wire.rig.kept}
    assert ended == {1: (EndedBy.CLIENT, 8), 2: (EndedBy.MODEL_ABORTED, 2), 3: (EndedBy.MODEL, 0)}
    wire.rig.check_balance()


def test_goaway_ends_what_was_not_taken(make_rig: "MakeRig") -> None:
    """Streams above the model's last one are refused; those below go on."""
    wire = Wire(make_rig())
    for stream in (1, 3):
        wire.client.send_headers(stream, REQUEST, end_stream=True)
    wire.pump()
    wire.server.close_connection(last_stream_id=1)
    for read in wire.cut(wire.server.data_to_send()):
        wire.tap.from_model(read, wire.rig.now())
    assert [(call.ended_by, call.reset_code) for call in wire.rig.kept] == [(EndedBy.MODEL_ABORTED, 7)]
    assert wire.rig.row["open"] == 1


def test_goaway_twice(make_rig: "MakeRig") -> None:
    """A graceful end names all streams first, then those that were taken (section 6.8)."""
    wire = Wire(make_rig())
    for stream in (1, 3, 5, 7):
        wire.client.send_headers(stream, REQUEST, end_stream=True)
    wire.pump()
    for last in ((1 << 31) - 1, 3, 3):
        read = b"\0\0\x08\7\0\0\0\0\0" + last.to_bytes(4, "big") + bytes(4)
        assert wire.tap.from_model(read, wire.rig.now()) is read
    assert {call.call_number for call in wire.rig.kept} == {3, 4}
    wire.answer(1)
    wire.answer(3)
    assert [call.ended_by for call in wire.rig.kept[2:]] == [EndedBy.MODEL, EndedBy.MODEL]
    wire.rig.check_balance()


def test_lost_connection_after_answers(make_rig: "MakeRig") -> None:
    """A call whose answer was whole is the model's end, though its request never ended; the rest are cut."""
    wire = Wire(make_rig())
    for stream in (1, 3, 5):
        wire.client.send_headers(stream, REQUEST)
    wire.pump()
    wire.answer(3, body=b"y")
    wire.tap.lost(EndedBy.CLIENT, wire.rig.now())
    assert [call.ended_by for call in wire.rig.kept] == [EndedBy.CLIENT, EndedBy.MODEL, EndedBy.CLIENT]
    wire.rig.check_balance()


def test_lost_connection(make_rig: "MakeRig") -> None:
    """What is open when the connection goes is settled by who broke it."""
    wire = Wire(make_rig())
    wire.request(1)
    wire.tap.lost(EndedBy.CLIENT, wire.rig.now())
    assert [call.ended_by for call in wire.rig.kept] == [EndedBy.CLIENT]
    wire.rig.check_balance()


def test_padding_and_priority(make_rig: "MakeRig") -> None:
    """The id goes before the padding; padding is no part of a body."""
    wire = Wire(make_rig())
    wire.client.send_headers(1, REQUEST, priority_weight=200, priority_depends_on=0, priority_exclusive=True)
    wire.client.send_data(1, b"body", end_stream=True, pad_length=99)
    wire.pump()
    wire.answer(1, body=b"y")
    [call] = wire.rig.kept
    assert wire.heard("server", h2.events.RequestReceived)[0].headers[-1] == (
        b"x-request-id",
        call.request_id,
    )
    assert call.request.size == 4


def header_frame(stream: int, fragment: bytes, flags: int, kind: int = 1) -> bytes:
    return len(fragment).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + fragment


def padded_header_frame(stream: int, fragment: bytes, flags: int, padding: int) -> bytes:
    return header_frame(stream, bytes((padding,)) + fragment + bytes(padding), flags | 8)


@pytest.mark.parametrize("split", [1, 5, 20])
@pytest.mark.parametrize("cut", [whole, bytewise])
def test_continuations(make_rig: "MakeRig", split: int, cut: Callable[[bytes], list[bytes]]) -> None:
    """A block over several frames gets the id at its very end."""
    wire = Wire(make_rig(), cut)
    block = hpack.Encoder().encode(REQUEST)
    data = header_frame(1, block[:split], 1) + header_frame(1, block[split:], 4, kind=9)
    for read in cut(data):
        out = wire.tap.from_client(read, wire.rig.now())
        wire.server_heard += wire.server.receive_data(out) if out else []
    assert wire.heard("server", h2.events.RequestReceived)[0].headers == [
        *REQUEST,
        (b"x-request-id", wire.rig.made[0]),
    ]


def test_padded_header_block(make_rig: "MakeRig") -> None:
    """Padding of a header block stays behind the id."""
    wire = Wire(make_rig())
    data = padded_header_frame(1, hpack.Encoder().encode(REQUEST), 5, 30)
    wire.server_heard += wire.server.receive_data(wire.tap.from_client(data, wire.rig.now()))
    assert wire.heard("server", h2.events.RequestReceived)[0].headers[-1] == (
        b"x-request-id",
        wire.rig.made[0],
    )


def test_full_frame_gets_a_continuation(make_rig: "MakeRig") -> None:
    """Where the id does not fit the receiver's frames, it follows in a frame of its own."""
    wire = Wire(make_rig())
    base = hpack.Encoder().encode(REQUEST, huffman=False)
    filler = 16_384 - len(base) - 9
    value = b"v" * filler
    block = base + b"\0\x04x-ab" + b"\x7f" + _integer(len(value) - 127) + value
    block = block[:16_384].ljust(16_384, b"v") if len(block) > 16_384 else block
    data = header_frame(1, block, 5)
    out = wire.tap.from_client(data, wire.rig.now())
    wire.server_heard += wire.server.receive_data(out)
    assert wire.heard("server", h2.events.RequestReceived)[0].headers[-1] == (
        b"x-request-id",
        wire.rig.made[0],
    )
    assert max(frame_lengths(out)) <= 16_384


def _integer(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def frame_lengths(data: bytes) -> list[int]:
    lengths = []
    while data:
        lengths.append(int.from_bytes(data[:3], "big"))
        data = data[9 + lengths[-1] :]
    return lengths


def test_small_header_lists_are_respected(make_rig: "MakeRig") -> None:
    """A receiver that takes no larger list is not given a larger one; that is counted."""
    rig = make_rig()
    wire = Wire(rig)
    wire.server.update_settings({h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 200})
    wire.pump()
    wire.request(1)
    wire.answer(1)
    assert wire.heard("server", h2.events.RequestReceived)[0].headers == REQUEST
    assert rig.count()["id_not_added"] == 1
    assert len(rig.kept) == 1


@pytest.mark.parametrize("size", [0, 100, 65_536])
def test_table_sizes_change_in_flight(make_rig: "MakeRig", size: int) -> None:
    """A table that grows, shrinks or vanishes is followed from the acknowledgement on."""
    wire = Wire(make_rig())
    for number in range(30):
        stream = 2 * number + 1
        if number == 10:
            wire.server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        wire.request(stream, [*REQUEST, (b"x-number", b"%d" % number), (b"x-long", b"v" * 90)])
        wire.answer(stream)
    assert len(wire.rig.kept) == 30
    assert wire.rig.count().get("opaque_connections", 0) == 0


def test_skipped_paths(make_rig: "MakeRig") -> None:
    """Calls that are never recorded pass untouched and are counted."""
    wire = Wire(make_rig())
    health = [(name, b"/grpc.health.v1.Health/Check" if name == b":path" else value) for name, value in GRPC]
    wire.request(1, health, b"x")
    wire.answer(1, body=b"y")
    assert wire.heard("server", h2.events.RequestReceived)[0].headers == health
    assert wire.rig.row["skipped"] == 1
    wire.rig.check_balance()


FLAGS = {
    "block without end": "headers_too_large",
    "huge block": "headers_too_large",
    "settings that nobody acknowledges": "settings_flood",
}
BROKEN = {
    "continuation of nothing": header_frame(1, b"", 4, kind=9),
    "data padded beyond its frame": b"\0\0\x02\0\x08\0\0\0\x01\x05x",
    "bad block": header_frame(1, b"\xff\xff\xff\xff\xff\xff", 5),
    "interrupted block": header_frame(1, b"\x82", 1) + b"\0\0\x08\6\0\0\0\0\0" + bytes(8),
    "block without end": header_frame(1, b"\x82", 1) + header_frame(1, b"", 0, kind=9) * 200,
    "huge block": b"\xff\xff\xff\1\4\0\0\0\1",
    "huge settings": b"\x7f\xff\xff\4\0\0\0\0\0",
    "settings of another length": b"\0\0\5\4\0\0\0\0\0" + bytes(5),
    "settings that nobody acknowledges": (b"\0\0\0\4\0\0\0\0\0") * 100,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("cut", [whole, bytewise])
def test_what_cannot_be_followed_passes(
    make_rig: "MakeRig", name: str, cut: Callable[[bytes], list[bytes]]
) -> None:
    """Frames that break the protocol, or a limit, pass as they are; the rest is recorded opaquely."""
    rig = make_rig()
    wire = Wire(rig)
    wire.request(1)
    tail = b"and then more"
    out = b"".join(wire.tap.from_client(read, rig.now()) for read in cut(BROKEN[name] + tail))
    assert out == BROKEN[name] + tail
    assert wire.tap.client_held == b""
    wire.tap.lost(EndedBy.CLIENT, rig.now())
    assert [call.protocol for call in rig.kept] == [Protocol.HTTP2, Protocol.OPAQUE]
    assert all(call.flags == [FLAGS.get(name, "http2_unreadable")] for call in rig.kept)
    assert rig.row["budget_exceeded"] == (name in FLAGS)
    rig.check_balance()


def test_streams_beyond_what_fits_are_shed(make_rig: "MakeRig") -> None:
    """Of thousands of open streams some have no record; the others, and later ones, are followed on."""
    rig = make_rig(capture_budget_bytes="256MiB", sample_error_max_per_second="off")
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE, rig.now())
    block = hpack.Encoder().encode(REQUEST)
    for stream in range(1, 20_001, 2):
        data = header_frame(stream, block, 5)
        assert tap.from_client(data, rig.now())[3 : len(data)] == data[3:]
    row = rig.row
    assert row["seen"] == row["open"] + row["shed_open_streams"] == 10_000
    assert row["open"] > 2000
    for stream in range(1, 20_001, 2):
        tap.from_model(header_frame(stream, b"\x88", 5), rig.now())
    tap.from_client(header_frame(20_001, block, 5), rig.now())
    tap.from_model(header_frame(20_001, b"\x88", 5), rig.now())
    assert tap.is_idle
    assert row["opaque_connections"] == row["open"] == 0
    assert len(rig.kept) == 10_001 - row["shed_open_streams"]
    rig.check_balance()


def test_open_streams_without_a_record_are_bounded(make_rig: "MakeRig") -> None:
    """Even what only has to be remembered of open streams ends the following, some time."""
    rig = make_rig(sample_error_max_per_second="off")
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE, rig.now())
    health = [(name, b"/ready" if name == b":path" else value) for name, value in REQUEST]
    block = hpack.Encoder().encode(health)
    for stream in range(1, 2 * 12_000, 2):
        tap.from_client(header_frame(stream, block, 5), rig.now())
    assert rig.row["skipped"] == 12_000
    assert rig.row["budget_exceeded"] == 0
    data = header_frame(24_001, block, 5)
    assert tap.from_client(data, rig.now()) == data
    assert rig.row["budget_exceeded"] == rig.row["opaque_connections"] == 1
    tap.lost(EndedBy.CLIENT, rig.now())
    assert [call.flags for call in rig.kept] == [["too_many_open_streams"]]
    rig.check_balance()


def long_field_blocks(stream: int, size: int, flags: int, fields: Headers) -> bytes:
    """A header block in frames of 16,000 bytes, with a field of `size` bytes of its own."""
    block = hpack.Encoder().encode(fields) + b"\0\x03x-b\x7f" + _integer(size - 127)
    block += bytes((stream & 127,)) * size
    pieces = [block[place : place + 16_000] for place in range(0, len(block), 16_000)]
    last = len(pieces) - 1
    return b"".join(
        header_frame(stream, piece, (flags if not at else 0) | (4 if at == last else 0), kind=9 if at else 1)
        for at, piece in enumerate(pieces)
    )


@pytest.mark.parametrize("side", ["requests", "request trailers", "answers", "answers' trailers"])
def test_long_header_lists_of_open_streams_are_bounded(make_rig: "MakeRig", side: str) -> None:
    """What open streams keep of header lists is bounded by its bytes too, from either side."""
    rig = make_rig(sample_error_max_per_second="off")
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE, rig.now())
    block = hpack.Encoder().encode(REQUEST)
    for stream in range(1, 401, 2):
        if side == "requests":
            tap.from_client(long_field_blocks(stream, 60_000, 0, REQUEST), rig.now())
            continue
        tap.from_client(header_frame(stream, block, 4), rig.now())
        if side == "request trailers":
            tap.from_client(long_field_blocks(stream, 60_000, 0, []), rig.now())
        elif side == "answers":
            tap.from_model(long_field_blocks(stream, 60_000, 0, ANSWER), rig.now())
        else:
            tap.from_model(header_frame(stream, b"\x88", 4), rig.now())
            tap.from_model(long_field_blocks(stream, 60_000, 1, []), rig.now())
    assert 20 < rig.row["open"] < 140
    assert rig.row["open"] + rig.row["shed_open_streams"] == 200
    assert tap.weight < 8 << 20
    tap.lost(EndedBy.CLIENT, rig.now())
    rig.check_balance()


@given(
    st.lists(
        st.tuples(st.sampled_from(["request", "grpc", "reset", "data"]), st.binary(max_size=300)), max_size=12
    ),
    st.integers(1, 50),
)
def test_conversations(make_rig: "MakeRig", acts: list[tuple[str, bytes]], step: int) -> None:
    """Whatever is said in whatever pieces: both ends hear it all, nothing is counted twice."""
    rig = make_rig()
    wire = Wire(rig, lambda data: [data[place : place + step] for place in range(0, len(data), step)])
    bodies = []
    for number, (act, body) in enumerate(acts):
        stream = 2 * number + 1
        if act == "reset":
            wire.client.send_headers(stream, REQUEST)
            wire.pump()
            wire.client.reset_stream(stream, 8)
            wire.pump()
            continue
        wire.request(stream, GRPC if act == "grpc" else REQUEST, body)
        wire.answer(stream, ANSWER, body, [(b"grpc-status", b"0")] if act == "grpc" else None)
        bodies.append(body)
    kept: list[Exchange] = [call for call in rig.kept if call.ended_by is EndedBy.MODEL]
    assert [b"".join(call.request.captured_pieces) for call in kept] == bodies
    assert [b"".join(call.response.captured_pieces) for call in kept] == bodies
    assert rig.row["seen"] == len(acts)
    rig.check_balance()


def frames_of(data: bytes) -> list[bytes]:
    """The frames of `data`, the last of which may be cut."""
    found = []
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def assert_only_literals_added(sent: bytes, passed: bytes, literals: list[bytes]) -> int:
    """How many frames got one of `literals`, before their padding; every other octet is as it was sent."""
    added = 0
    for frame in frames_of(sent):
        if passed.startswith(frame):
            passed = passed[len(frame) :]
            continue
        size = len(frame) + len(literals[0])
        head, payload = passed[:9], passed[9:size]
        assert head == (size - 9).to_bytes(3, "big") + frame[3:9]
        assert frame[3] in (1, 9)
        padding = frame[9] if frame[3] == 1 and frame[4] & 8 else 0
        place = len(frame) - 9 - padding
        assert payload[:place] + payload[len(payload) - padding :] == frame[9:]
        assert payload[place : len(payload) - padding] in literals
        passed = passed[size:]
        added += 1
    assert passed == b""
    return added


BLOCKS = [
    hpack.Encoder().encode(fields)
    for fields in (REQUEST, GRPC, ANSWER, [(b":status", b"100")], [(b"grpc-status", b"0")], [])
]
any_frame = st.builds(
    lambda kind, flags, stream, payload: header_frame(stream, payload, flags, kind),
    st.integers(0, 10),
    st.integers(0, 255),
    st.integers(0, 5),
    st.binary(max_size=30),
)
block_frame = st.builds(
    lambda stream, block, flags, padding: (
        padded_header_frame(stream, block, flags, padding) if padding else header_frame(stream, block, flags)
    ),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from(BLOCKS),
    st.sampled_from([4, 5]),
    st.sampled_from([0, 0, 1, 40]),
)
spread_block = st.builds(
    lambda stream, block, cut, ends: (
        header_frame(stream, block[:cut], ends) + header_frame(stream, block[cut:], 4, kind=9)
    ),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from(BLOCKS),
    st.integers(0, 9),
    st.integers(0, 1),
)
data_frame = st.builds(
    lambda stream, body, flags: header_frame(stream, body, flags, kind=0),
    st.sampled_from([1, 3, 5, 7]),
    st.binary(max_size=30),
    st.integers(0, 1),
)
frame_lists = st.lists(st.one_of(block_frame, spread_block, data_frame, any_frame), max_size=8).map(b"".join)


@given(st.lists(st.tuples(frame_lists, frame_lists), max_size=4), st.binary(max_size=20), st.integers(1, 60))
def test_byte_law(make_rig: "MakeRig", turns: list[tuple[bytes, bytes]], tail: bytes, step: int) -> None:
    """Whatever frames either side sends, in whatever reads: what passes is what came, less the literals."""
    rig = make_rig()
    tap = rig.tap()
    sent = {"client": HTTP2_PREFACE, "model": b""}
    passed = {"client": tap.from_client(HTTP2_PREFACE, rig.now()), "model": b""}
    for ours, theirs in [*turns, (tail, tail)]:
        for side, said, take in (("client", ours, tap.from_client), ("model", theirs, tap.from_model)):
            sent[side] += said
            for place in range(0, len(said), step):
                passed[side] += take(said[place : place + step], rig.now())
    passed["client"] += tap.client_ended(rig.now())
    passed["model"] += tap.model_ended(rig.now())
    literals = [literal_without_indexing(b"x-request-id", made) for made in rig.made]
    for side, start in (("client", len(HTTP2_PREFACE)), ("model", 0)):
        added = assert_only_literals_added(sent[side][start:], passed[side][start:], literals)
        assert added <= rig.row["seen"]
    tap.lost(EndedBy.CLIENT, rig.now())
    rig.check_balance()


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_pass(make_rig: "MakeRig", data: bytes, step: int) -> None:
    """Any bytes after a preface come out in order, the ids apart, and nothing raises."""
    rig = make_rig()
    tap = rig.tap()
    reads = [data[place : place + step] for place in range(0, len(data), step)]
    out = tap.from_client(HTTP2_PREFACE, rig.now())
    out += b"".join(tap.from_client(read, rig.now()) for read in reads) + tap.client_ended(rig.now())
    literals = [literal_without_indexing(b"x-request-id", made) for made in rig.made]
    assert out.startswith(HTTP2_PREFACE)
    assert_only_literals_added(data, out[len(HTTP2_PREFACE) :], literals)
    tap.lost(EndedBy.CLIENT, rig.now())
    rig.check_balance()


def test_pushed_streams_are_left_alone(make_rig: "MakeRig") -> None:
    """What is pushed is followed for the tables' sake: it gets no id and is no call; calls after it go on."""
    wire = Wire(make_rig())
    wire.client.send_headers(1, REQUEST, end_stream=True)
    wire.pump()
    promised = [(b":method", b"GET"), *REQUEST[1:], (b"x-pushed", b"1")]
    wire.server.push_stream(1, 2, promised)
    wire.server.send_headers(2, [(b":status", b"200"), (b"x-pushed", b"1")], end_stream=True)
    wire.answer(1, [*ANSWER, (b"x-pushed", b"1")])
    [push] = wire.heard("client", h2.events.PushedStreamReceived)
    assert push.headers == promised
    pushed, answered = wire.heard("client", h2.events.ResponseReceived)
    assert (pushed.stream_id, pushed.headers) == (2, [(b":status", b"200"), (b"x-pushed", b"1")])
    assert answered.headers == [*ANSWER, (b"x-pushed", b"1"), (b"x-request-id", wire.rig.made[0])]
    assert [call.target for call in wire.rig.kept] == [b"/svc/Call"]


@pytest.mark.parametrize("reads", [1, 7, 1000])
def test_fault_leaves_what_is_to_be_sent(make_rig: "MakeRig", reads: int) -> None:
    """Where the tap raises, what it held and what just came are all that has not been forwarded."""
    rig = make_rig()

    def fail() -> bytes:
        raise RuntimeError

    rig.context.new_request_id = fail
    tap = rig.tap()
    sent = (
        HTTP2_PREFACE + header_frame(0, b"", 0, kind=4) + header_frame(1, hpack.Encoder().encode(REQUEST), 5)
    )
    out = b""
    for place in range(0, len(sent), reads):
        read = sent[place : place + reads]
        try:
            out += tap.from_client(read, rig.now())
        except RuntimeError:
            assert out + tap.client_held + read == sent[: place + len(read)]
            break
    else:
        pytest.fail("the tap did not raise")
    tap.abandon(rig.now())
    assert rig.row["shed_tap_fault"] == 1
    rig.check_balance()


@pytest.mark.parametrize("room", [0, 1, 49, 50, 51, 52, 53])
def test_ids_never_break_a_frame_limit(make_rig: "MakeRig", room: int) -> None:
    """However much room a frame has left: the receiver reads the id, and no frame goes beyond its limit."""
    wire = Wire(make_rig())
    base = hpack.Encoder().encode(REQUEST)
    value = 16_384 - room - len(base) - 9
    block = base + b"\0\x04x-ab\x7f" + _integer(value - 127) + b"v" * value
    assert len(block) == 16_384 - room
    out = wire.tap.from_client(header_frame(1, block, 5), wire.rig.now())
    wire.server_heard += wire.server.receive_data(out)
    [asked] = wire.heard("server", h2.events.RequestReceived)
    assert asked.headers[-1] == (b"x-request-id", wire.rig.made[0])
    assert max(frame_lengths(out)) <= 16_384
    literal = literal_without_indexing(b"x-request-id", wire.rig.made[0])
    assert len(frame_lengths(out)) == (1 if len(literal) <= room else 2)
