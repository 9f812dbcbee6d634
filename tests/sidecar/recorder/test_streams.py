"""Long streams in records: heads and tails, segments, WebSocket messages, gRPC tails, gRPC-Web."""

import base64
import dataclasses
import gzip
import json
import os
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from infertap import oip, v1
from infertap.query import join_segments
from sidecar import config
from sidecar.counters import RELAY_COUNTERS, Row
from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.handoff import pack_exchange, unpack_exchange
from sidecar.recorder.conversion import FAILED, Conversion
from sidecar.tap import ConnectionFacts, TapContext, TapSettings, sniffing

STARTED = 5_000_000_000
WALL = 1_767_225_600_123_456_789
SECRET = "ada@example.org"
SECOND = 1_000_000_000
PROSE = "so it was told to me by them all "
STREAM_TYPE = b"text/event-stream"


def conversion() -> Conversion:
    return Conversion(config.read({}), b"key", b"r" * 16)


def convert(call: Exchange, by: Conversion | None = None) -> v1.Record:
    record = v1.Record.FromString((by or conversion()).convert(0, call, WALL + 10**9).record)
    assert FAILED not in record.logging_error_codes
    return record


def whole(*pieces: bytes) -> Body:
    times = [(STARTED + 1_000_000 * (number + 1), len(piece)) for number, piece in enumerate(pieces)]
    size = sum(map(len, pieces))
    return Body(list(pieces), size, size, times, len(pieces))


def holed(head: bytes, tail: bytes, missing: int = 10_000) -> Body:
    kept = len(head) + len(tail)
    return Body([head], kept, kept + missing, [], 9, deque([tail]), len(tail))


def call(**fields: Any) -> Exchange:
    given_ = {
        "call_number": 7,
        "route": 0,
        "protocol": Protocol.HTTP1,
        "started": STARTED,
        "started_wall_ns": WALL,
        "ended": STARTED + 9_000_000,
        "ended_by": EndedBy.MODEL,
        "method": b"POST",
        "target": b"/v1/chat/completions",
        "status": 200,
        "request_head": b"POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n",
        "response_head": b"HTTP/1.1 200 OK\r\nContent-Type: " + STREAM_TYPE + b"\r\n\r\n",
        "reason": Reason.RATE,
    }
    return Exchange(**(given_ | fields))


# -- head and tail


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c1", "model": "m", "choices": [choice]}


def sse(events: Iterable[Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def tokens(text: str, size: int = 4) -> list[dict[str, Any]]:
    return [delta(text[at : at + size]) for at in range(0, len(text), size)]


USAGE = {"id": "c1", "model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9999}}


def test_a_long_stream() -> None:
    """Of a stream beyond the cap usage and finish reason are in the record, and where the hole is."""
    head = sse(tokens(PROSE * 30))[:-20]
    tail = sse(tokens(PROSE * 30))[20:] + sse([delta("", "stop"), USAGE]) + b"data: [DONE]\n\n"
    record = convert(call(response=holed(head, tail)))
    assert (record.model.output_tokens, list(record.model.finish_reasons)) == (9999, ["stop"])
    response = record.response
    assert (response.truncated, response.captured_bytes) == (True, len(head) + len(tail))
    assert response.size_bytes == len(head) + len(tail) + 10_000
    assert response.HasField("tail_offset")
    assert response.data[response.tail_offset :].endswith(b"data: [DONE]\n\n")
    assert list(record.logging_error_codes) == ["MAX_RESPONSE_SIZE_EXCEEDED"]
    assert record.state == v1.COMPLETED


def test_a_late_error() -> None:
    """An error that the tail tells makes the call a failed one."""
    tail = b"\n\n" + sse([{"error": {"message": "the model is overloaded"}}])
    record = convert(call(response=holed(sse(tokens(PROSE)), tail)))
    assert record.state == v1.FAILED
    assert b"the model is overloaded" in record.response.data


def test_a_compressed_stream_has_no_tail() -> None:
    """The end of a compressed stream can't be opened, which is said."""
    packed = gzip.compress(sse(tokens(PROSE * 50)))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    body = holed(packed[:-100], packed[-50:], 50)
    record = convert(call(response=body, response_head=head))
    assert "RESPONSE_TAIL_UNREADABLE" in record.logging_error_codes
    assert not record.response.HasField("tail_offset")


@given(st.integers(1, 11), st.integers(1, 9), st.booleans())
def test_no_hole_shows_half_a_value(at: int, size: int, as_lines: bool) -> None:
    """An address that a hole, or the edge of a segment, cuts in two is in the record on neither side."""
    write = (
        (lambda events: b"".join(json.dumps(each).encode() + b"\n" for each in events)) if as_lines else sse
    )
    kind = b"application/x-ndjson" if as_lines else STREAM_TYPE
    head = write(tokens(PROSE + SECRET[:at], size))
    tail = b"\n\n" + write(tokens(SECRET[at:] + " " + PROSE * 2, size))
    response_head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n"
    hole = convert(call(response=holed(head, tail), response_head=response_head))
    first = convert(call(response=whole(head), response_head=response_head, is_continued=True))
    second = convert(call(response=whole(tail), response_head=response_head, segment=1))
    for record in (hole, first, second):
        said = spoken(record.response.data)
        assert at < 4 or SECRET[at - 4 : at] not in said
        assert SECRET[at : at + 4] not in said
        assert "told to me" in said


def spoken(data: bytes) -> str:
    """What the events, or lines, of a stream say."""
    parts = [part.removeprefix("data: ") for part in data.decode().splitlines()]
    events = [json.loads(part) for part in parts if part.startswith("{")]
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def test_edges_of_segments() -> None:
    """What is apart from the edges of a segment is in it; it says which one it is, and that it goes on."""
    text = sse(tokens(PROSE * 4))
    record = convert(call(response=whole(text), segment=1, is_continued=True, ended_by=EndedBy.OPEN))
    assert (record.segment, record.is_continued, record.state) == (1, True, v1.INFERENCING)
    assert spoken(record.response.data).count("told to me") == 4


def test_segments_have_one_id() -> None:
    """All segments of a call have its id."""
    by = conversion()
    ids = {by.convert(0, call(segment=number), WALL).call_id for number in range(3)}
    assert len(ids) == 1


@pytest.mark.parametrize("kind", [STREAM_TYPE, b"application/x-ndjson"])
def test_no_event_is_lost_between_segments(kind: bytes) -> None:
    """An event that is cut in two by the end of a segment is in the next one, whole."""
    events = [{"n": number} for number in range(9)]
    write = sse if kind == STREAM_TYPE else (lambda listed: b"".join(map(as_line, listed)))
    stream = write(events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n"
    for at in range(0, len(stream), 5):
        by = conversion()
        first = convert(call(response=whole(stream[:at]), response_head=head, is_continued=True), by)
        second = convert(call(response=whole(stream[at:]), response_head=head, segment=1), by)
        assert first.response.data + second.response.data == stream


def as_line(event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_what_was_asked_goes_with_every_segment() -> None:
    """Model and parameters, which the first segment's request tells, are in the others too."""
    by = conversion()
    asked = whole(b'{"model": "m", "temperature": 0.5}')
    for segment in range(3):
        made = call(request=asked, request_completed=STARTED + 1, segment=segment, is_continued=segment < 2)
        record = convert(made, by)
        assert (record.model.name, record.model.parameters_json) == ("m", '{"temperature":0.5}')
        asked = whole()


def test_from_the_tap_to_one_row() -> None:
    """What a tap hands over of a call that lasts are segments that make up the whole stream when joined."""
    taken: list[bytes] = []
    row = Row(memoryview(bytearray(8 * len(RELAY_COUNTERS))).cast("q"), RELAY_COUNTERS)
    after = dataclasses.replace(TapSettings.of(config.read({})), segment_after_ns=SECOND)
    context = TapContext.make(after, row, lambda made: not taken.append(pack_exchange(made)), os.urandom)
    tap = sniffing(context, ConnectionFacts(0, "192.0.2.1:5", 0, 0))
    tap.from_client(b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{}", 1)
    stream = sse([{"n": number} for number in range(40)])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + STREAM_TYPE + b"\r\nContent-Length: %d\r\n\r\n"
    tap.from_model(head % len(stream), 2)
    for number, at in enumerate(range(0, len(stream), 100)):
        tap.tick(number * SECOND)
        tap.from_model(stream[at : at + 100], number * SECOND + 5)
    by = conversion()
    records = [convert(unpack_exchange(packed), by) for packed in taken]
    assert len(records) == row["seen"] == row["handed_over"] == row["segments"] + 1 > 4
    joined = join_segments(records)
    assert joined is not None
    assert (joined.response.data, joined.request.data) == (stream, b"{}")
    assert (joined.segments_joined, joined.segments_missing) == (len(records), 0)
    assert (joined.state, joined.response.size_bytes) == (v1.COMPLETED, len(stream))


# -- WebSocket

UPGRADE = b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
PLAIN = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
DEFLATED = PLAIN[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
NORMAL = Frame(Opcode.CLOSE, b"\x03\xe8bye")


class Peer:
    """One end of a connection, as the library writes it."""

    def __init__(self, masks: bool, deflates: bool = False) -> None:
        self._masks = masks
        self._extensions = [PerMessageDeflate(False, False, 15, 15)] if deflates else None

    def says(self, *frames: Frame | Any) -> list[bytes]:
        return [
            (frame if isinstance(frame, Frame) else Frame(Opcode.TEXT, json.dumps(frame).encode())).serialize(
                mask=self._masks, extensions=self._extensions
            )
            for frame in frames
        ]


def websocket(request: Body, response: Body, deflates: bool = False, **fields: Any) -> Exchange:
    given_ = {
        "protocol": Protocol.WEBSOCKET,
        "method": b"GET",
        "target": b"/v1/realtime",
        "status": 101,
        "request_head": UPGRADE,
        "response_head": DEFLATED if deflates else PLAIN,
        "request": request,
        "response": response,
    }
    return call(**(given_ | fields))


def messages(payload: v1.Payload) -> list[dict[str, Any]]:
    return json.loads(payload.decoded_json) if payload.decoded_json else []


@pytest.mark.parametrize("deflates", [False, True])
def test_messages(deflates: bool) -> None:
    """Both directions are lists of messages: who, what kind, when, what; redacted, also over fragments."""
    asked = Peer(True, deflates).says(
        {"type": "ask", "mail": SECRET},
        Frame(Opcode.TEXT, b"call ada@exa", fin=False),
        Frame(Opcode.PING, b"x"),
        Frame(Opcode.CONT, b"mple.org"),
        NORMAL,
    )
    told = Peer(False, deflates).says({"type": "tell", "n": 1}, Frame(Opcode.BINARY, b"\0\1"), NORMAL)
    record = convert(websocket(whole(*asked), whole(*told), deflates))
    assert messages(record.request) == [
        {"from": "client", "type": "text", "at_us": 1000, "data": {"type": "ask", "mail": "<email>"}},
        {"from": "client", "type": "text", "at_us": 4000, "data": "call <email>"},
        {"from": "client", "type": "close", "at_us": 5000, "code": 1000},
    ]
    first, second, _ = messages(record.response)
    assert first == {"from": "model", "type": "text", "at_us": 1000, "data": {"type": "tell", "n": 1}}
    assert (second["type"], second["size"], second["digest"][:5]) == ("binary", 2, "hmac:")
    assert (record.protocol, record.state) == (v1.WEBSOCKET, v1.COMPLETED)
    assert (record.close_code, record.close_reason) == (1000, "bye")
    assert (record.request.data, list(record.logging_error_codes)) == (b"", [])


@pytest.mark.parametrize(
    ("close", "by", "state"),
    [
        (b"\x03\xe8", EndedBy.CLIENT, v1.COMPLETED),
        (b"\x03\xe9", EndedBy.MODEL, v1.COMPLETED),
        (b"", EndedBy.MODEL, v1.COMPLETED),
        (b"\x03\xf3" + SECRET.encode(), EndedBy.CLIENT, v1.FAILED),
        (None, EndedBy.CLIENT, v1.CANCELLED),
        (None, EndedBy.MODEL_ABORTED, v1.FAILED),
        (None, EndedBy.RELAY, v1.FAILED),
    ],
)
def test_how_it_was_closed(close: bytes | None, by: EndedBy, state: int) -> None:
    """The close frame says how the connection ended; without one, who broke it off."""
    told = Peer(False).says(*([] if close is None else [Frame(Opcode.CLOSE, close)]))
    record = convert(websocket(whole(), whole(*told), ended_by=by))
    assert record.state == state
    assert SECRET not in record.close_reason
    assert record.HasField("close_code") == (close is not None)


def test_a_value_over_messages() -> None:
    """What a model says in pieces is one text, whatever its messages are."""
    told = Peer(False).says(*tokens("mail " + SECRET + " now", 5))
    record = convert(websocket(whole(), whole(*told)))
    said = "".join(each["data"]["choices"][0]["delta"]["content"] for each in messages(record.response))
    assert said == "mail <email> now"


@pytest.mark.parametrize("deflates", [False, True])
def test_segments_go_on_where_they_ended(deflates: bool) -> None:
    """A segment that begins within a frame, or a compressed stream, is read with what came before it."""
    peer = Peer(True, deflates)
    stream = b"".join(peer.says(*({"n": number, "text": PROSE * 2} for number in range(20)), NORMAL))
    by = conversion()
    found: list[dict[str, Any]] = []
    step = len(stream) // 3 + 1
    for segment in range(3):
        piece = stream[segment * step : (segment + 1) * step]
        made = websocket(whole(piece), whole(), deflates, segment=segment, is_continued=segment < 2)
        found += messages(convert(made, by).request)
    assert [each["data"]["n"] for each in found if each["type"] == "text"] == list(range(20))
    assert all("told to me" in each["data"]["text"] for each in found if each["type"] == "text")


@pytest.mark.parametrize("lost", ["segment", "cut", "everything"])
def test_a_segment_without_its_predecessor(lost: str) -> None:
    """Where what came before is not known, a segment can't be read, and is withheld."""
    stream = b"".join(Peer(True).says({"mail": SECRET}, {"mail": SECRET}))
    by = conversion()
    first = websocket(whole(stream[:30]), whole(), is_continued=True)
    if lost == "cut":
        first.request.size += 1
    if lost != "everything":
        convert(first, by)
    second = websocket(whole(stream[30:]), whole(), segment=2 if lost == "segment" else 1)
    record = convert(second, by)
    assert record.request.decoded_json == ""
    assert list(record.logging_error_codes) == ["REQUEST_BODY_UNREADABLE"]


def test_a_cut_connection() -> None:
    """Of a connection beyond the cap the first messages are shown, and that its end can't be read is said."""
    frames = Peer(False).says(*({"n": number} for number in range(50)))
    head = b"".join(frames[:30])
    record = convert(websocket(whole(), holed(head[:-3], b"".join(frames[45:]))))
    assert [each["data"]["n"] for each in messages(record.response)] == list(range(29))
    assert "RESPONSE_TAIL_UNREADABLE" in record.logging_error_codes
    assert record.response.truncated


def test_very_many_messages() -> None:
    """Of very many messages the first and the last are shown, with the hole between them marked."""
    frames = Peer(False).says(*({"n": number} for number in range(6000)))
    record = convert(websocket(whole(), whole(b"".join(frames))))
    numbers = [each["data"]["n"] for each in messages(record.response)]
    assert (numbers[0], numbers[-1], len(numbers)) == (0, 5999, 4096)
    assert numbers[record.response.tail_offset] - numbers[record.response.tail_offset - 1] > 1
    assert "RESPONSE_VIEW_CUT" in record.logging_error_codes


def test_no_websocket_at_all() -> None:
    """Bytes that are no frames are withheld, and harm nothing."""
    record = convert(websocket(whole(b"\xff" * 50), whole(b"\x81\x05hello\xff\xff")))
    assert "REQUEST_BODY_UNREADABLE" in record.logging_error_codes
    assert [each["data"] for each in messages(record.response)] == ["hello"]
    assert "RESPONSE_VIEW_CUT" in record.logging_error_codes


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes(asked: bytes, told: bytes, deflates: bool, goes_on: bool) -> None:
    """Whatever passed, there is a record."""
    by = conversion()
    convert(websocket(whole(asked), whole(told), deflates, is_continued=goes_on), by)
    convert(websocket(whole(told), whole(asked), deflates, segment=1), by)


# -- gRPC


def framed(*parts: Any) -> bytes:
    encoded = [part.SerializeToString() for part in parts]
    return b"".join(struct.pack(">BI", 0, len(each)) + each for each in encoded)


def answers(numbers: Sequence[int], error: str = "") -> list[Any]:
    listed = []
    for number in numbers:
        answer = oip.ModelStreamInferResponse()
        answer.infer_response.model_name = "m"
        answer.infer_response.id = f"r{number}"
        output = answer.infer_response.outputs.add(name="text", datatype="FP32", shape=[8])
        output.contents.fp32_contents.extend([0.0] * 8)
        listed.append(answer)
    if error:
        listed.append(oip.ModelStreamInferResponse(error_message=error))
    return listed


GRPC = {
    "protocol": Protocol.GRPC,
    "target": b"/inference.GRPCInferenceService/ModelStreamInfer",
    "request_head": b"",
    "response_head": b"",
    "grpc_status": 0,
}


@pytest.mark.parametrize("cut", [1, 3, 5, 20, 40])
def test_a_long_grpc_stream(cut: int) -> None:
    """The messages that a stream ends with are read, from the second that can be told on."""
    late = framed(*answers(range(900, 905), "out of memory"))
    record = convert(call(response=holed(framed(*answers(range(5))) + b"\0", late[cut:]), **GRPC))
    shown = json.loads(record.response.decoded_json)
    assert [each.get("id") for each in shown[:5]] == [f"r{number}" for number in range(5)]
    assert shown[-1] == {"error_message": "out of memory"}
    assert [each["id"] for each in shown[record.response.tail_offset : -1]][-2:] == ["r903", "r904"]
    assert record.state == v1.FAILED


def test_no_message_is_lost_between_segments() -> None:
    """A message of gRPC that is cut in two by the end of a segment is in the next one, whole."""
    stream = framed(*answers(range(9)))
    for at in range(0, len(stream), 7):
        by, found = conversion(), []
        for number, piece in enumerate((stream[:at], stream[at:])):
            made = call(response=whole(piece), segment=number, is_continued=number == 0, **GRPC)
            shown = convert(made, by).response.decoded_json
            documents = json.loads(shown) if shown else []
            found += documents if isinstance(documents, list) else [documents]
        assert [each["id"] for each in found] == [f"r{number}" for number in range(9)]


def test_a_tail_of_nothing() -> None:
    """Where no message can be told in the end of a stream, that is said."""
    record = convert(call(response=holed(framed(*answers(range(5))), b"\xff" * 100), **GRPC))
    assert "RESPONSE_TAIL_UNREADABLE" in record.logging_error_codes
    assert len(json.loads(record.response.decoded_json)) == 5


@pytest.mark.parametrize("as_text", [False, True])
def test_grpc_web(as_text: bool) -> None:
    """gRPC-Web is recorded as what it is: messages decoded, status and details from the frame of trailers."""
    status = status_pb2.Status(code=3)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="MODEL_GONE"))
    details = base64.b64encode(status.SerializeToString())
    trailers = b"grpc-status: 3\r\ngrpc-message: no%20such%20model\r\n"
    trailers += b"grpc-status-details-bin: " + details + b"\r\n"
    parts = [framed(*answers([1])), b"\x80" + len(trailers).to_bytes(4, "big") + trailers]
    kind = b"application/grpc-web" + (b"-text" if as_text else b"+proto")
    sent = [base64.b64encode(part) if as_text else part for part in parts]
    record = convert(
        call(
            target=b"/inference.GRPCInferenceService/ModelStreamInfer",
            request_head=b"POST / HTTP/1.1\r\nContent-Type: " + kind + b"\r\nGrpc-Timeout: 250m\r\n\r\n",
            response_head=b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n",
            response=whole(*sent),
        )
    )
    assert (record.protocol, record.grpc_status, record.grpc_message) == (v1.GRPC_WEB, 3, "no such model")
    assert json.loads(record.response.decoded_json)["id"] == "r1"
    assert (record.state, record.error.type) == (v1.FAILED, "MODEL_GONE")
    assert record.timing.grpc_timeout_us == 250_000


# -- timings


def test_timings() -> None:
    """What came before the call is told as before; the wait in the relay holds that for the connection."""
    made = call(accepted=STARTED - 4_000_000, upstream_connected=STARTED + 2_000_000, relay_wait_ns=500_000)
    timing = convert(made).timing
    assert (timing.accepted_us, timing.upstream_connected_us, timing.relay_wait_us) == (-4000, 2000, 2500)
    assert not timing.HasField("grpc_timeout_us")
    assert not convert(call()).timing.HasField("accepted_us")


# -- law 3, over all edges


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 4000), max_size=6), st.integers(1, 12), st.sampled_from(["sse", "lines", "ws"])
)
def test_segments_anywhere_show_no_value(cuts: list[int], size: int, kind: str) -> None:
    """Wherever a stream is cut into segments, neither they nor what joins them show half a value."""
    events = tokens((PROSE + SECRET + ", ") * 5 + PROSE, size)
    if kind == "ws":
        stream = b"".join(Peer(False).says(*events))
    else:
        stream = sse(events) if kind == "sse" else b"".join(map(as_line, events))
    media = STREAM_TYPE if kind == "sse" else b"application/x-ndjson"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + media + b"\r\n\r\n"
    by, records = conversion(), []
    edges = sorted({0, len(stream), *(cut * len(stream) // 4000 for cut in cuts)})
    for number, (start, end) in enumerate(pairwise(edges)):
        fields: dict[str, Any] = {"segment": number, "is_continued": end < len(stream)}
        piece = whole(stream[start:end])
        if kind == "ws":
            records.append(convert(websocket(whole(), piece, **fields), by))
        else:
            records.append(convert(call(response=piece, response_head=head, **fields), by))
    joined = join_segments(records)
    assert joined is not None
    if kind == "ws":
        said = "".join(each["data"]["choices"][0]["delta"]["content"] for each in messages(joined.response))
    else:
        said = spoken(joined.response.data)
    for half in ("ada@", "@exam", "example", "ple.org"):
        assert half not in said
    assert said.count("told to me") >= 6 - 2 * len(edges)
