"""From exchange to record: complete, redacted everywhere, and never failing."""

import gzip
import json
import struct
import zlib
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from infertap import oip, v1
from sidecar import config
from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.recorder.conversion import FAILED, Conversion
from sidecar.recorder.shrinking import RECORD_BYTES, TOO_LARGE

SECRET = "ada@example.org"
STARTED = 5_000_000_000
WALL = 1_767_225_600_123_456_789  # 2026-01-01T00:00:00.123456789Z


def conversion(**settings: str) -> Conversion:
    environ = {f"INFERTAP_{name.upper()}": value for name, value in settings.items()}
    return Conversion(config.read(environ), b"key", b"r" * 16)


def convert(call: Exchange, **settings: str) -> v1.Record:
    return v1.Record.FromString(conversion(**settings).convert(0, call, WALL + 10**9).record)


def body_of(data: bytes, pieces: int = 1) -> Body:
    step = max(-(-len(data) // pieces), 1)
    cut = [data[start : start + step] for start in range(0, len(data), step)]
    times = [(STARTED + 1_000_000 * (number + 1), len(piece)) for number, piece in enumerate(cut)]
    return Body(cut, len(data), len(data), times, len(cut))


def http_call(
    request: bytes | Body = b"{}",
    response: bytes | Body = b"{}",
    *,
    target: bytes = b"/v1/predict",
    request_type: bytes = b"application/json",
    response_type: bytes = b"application/json",
    **fields: Any,
) -> Exchange:
    given = {
        "call_number": 7,
        "route": 0,
        "protocol": Protocol.HTTP1,
        "started": STARTED,
        "started_wall_ns": WALL,
        "upstream_connected": STARTED - 10_000,
        "request_completed": STARTED + 500_000,
        "first_response_byte": STARTED + 2_000_000,
        "ended": STARTED + 3_000_999,
        "ended_by": EndedBy.MODEL,
        "client_address": "192.0.2.7:5555",
        "request_id": b"req-1",
        "method": b"POST",
        "target": target,
        "status": 200,
        "request_head": b"POST / HTTP/1.1\r\nHost: model\r\nContent-Type: " + request_type + b"\r\n\r\n",
        "response_head": b"HTTP/1.1 200 OK\r\nContent-Type: " + response_type + b"\r\nServer: x\r\n\r\n",
        "request": body_of(request) if isinstance(request, bytes) else request,
        "response": body_of(response) if isinstance(response, bytes) else response,
        "reason": Reason.RATE,
        "sampling_fraction": 0.5,
    }
    return Exchange(**(given | fields))


def test_plain_call() -> None:
    """Identity, times, status, bodies and where from are all there."""
    record = convert(
        http_call(b'{"a": 1}', b'{"b": 2}', traceparent=b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"),
        source_pod="pod-1",
        model_name="iris",
        routes="9000=127.0.0.1:8000",
    )
    assert record.call_id[14] == "7"
    assert (record.request_id, record.trace_id, record.span_id) == ("req-1", "ab" * 16, "cd" * 8)
    assert (record.state, record.protocol, record.ended_by) == (v1.COMPLETED, v1.HTTP1, v1.EndedBy.MODEL)
    assert (record.method, record.path, record.http_status) == ("POST", "/v1/predict", 200)
    assert record.timing.start.ToNanoseconds() == WALL
    assert record.timing.end.ToNanoseconds() == WALL + 3_000_999
    assert record.timing.duration_us == 3000
    assert record.timing.first_response_byte_us == 2000
    assert record.timing.upstream_connected_us == 0
    assert (record.request.data, record.response.data) == (b'{"a": 1}', b'{"b": 2}')
    assert {header.name: header.value for header in record.response.headers} == {
        "content-type": "application/json",
        "server": "x",
    }
    assert (record.sampling.reason, record.sampling.fraction) == (v1.Sampling.RATE, 0.5)
    assert (record.source.pod, record.model.name, record.model.endpoint) == (
        "pod-1",
        "iris",
        "9000=127.0.0.1:8000",
    )
    assert list(record.logging_error_codes) == []


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": 404}, v1.FAILED),
        ({"status": 500}, v1.FAILED),
        ({"status": 302}, v1.COMPLETED),
        ({"ended_by": EndedBy.CLIENT}, v1.CANCELLED),
        ({"ended_by": EndedBy.MODEL_ABORTED}, v1.FAILED),
        ({"ended_by": EndedBy.RELAY}, v1.FAILED),
        ({"reset_code": 2}, v1.FAILED),
        ({"protocol": Protocol.GRPC, "grpc_status": 0}, v1.COMPLETED),
        ({"protocol": Protocol.GRPC, "grpc_status": 3}, v1.FAILED),
        ({"protocol": Protocol.GRPC, "grpc_status": 1}, v1.CANCELLED),
        ({"protocol": Protocol.GRPC}, v1.FAILED),
        ({"protocol": Protocol.OPAQUE, "status": 0}, v1.COMPLETED),
        ({"protocol": Protocol.OPAQUE, "ended_by": EndedBy.RELAY, "status": 0}, v1.COMPLETED),
        ({"protocol": Protocol.OPAQUE, "ended_by": EndedBy.RELAY, "flags": ["refused"]}, v1.FAILED),
        ({"protocol": Protocol.OPAQUE, "ended_by": EndedBy.CLIENT, "status": 0}, v1.CANCELLED),
        ({"protocol": Protocol.OPAQUE, "ended_by": EndedBy.MODEL_ABORTED, "status": 0}, v1.FAILED),
    ],
)
def test_states(fields: dict[str, Any], state: int) -> None:
    """Who ended the call, and its status, tell its state."""
    assert convert(http_call(**fields)).state == state


def test_stream_is_put_together() -> None:
    """An SSE answer is kept as it came, with the times of its pieces, and shown as the whole message."""
    events = b"".join(
        b"data: " + json.dumps({"id": "c1", "model": "m", "choices": [choice]}).encode() + b"\n\n"
        for choice in (
            {"index": 0, "delta": {"role": "assistant", "content": "Hel"}},
            {"index": 0, "delta": {"content": "lo"}},
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        )
    )
    events += b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    events += b"data: [DONE]\n\n"
    call = http_call(
        b'{"model": "m", "temperature": 0.2, "stream": true}',
        target=b"/v1/chat/completions",
        response_type=b"text/event-stream",
        response=body_of(events, 4),
    )
    record = convert(call)
    assert record.response.data == events
    assert json.loads(record.response.decoded_json)["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ]
    assert (record.model.name, list(record.model.finish_reasons)) == ("m", ["stop"])
    assert (record.model.input_tokens, record.model.output_tokens) == (3, 2)
    assert json.loads(record.model.parameters_json) == {"temperature": 0.2, "stream": True}
    assert [piece.offset_us for piece in record.response.pieces] == [1000, 2000, 3000, 4000]
    assert (record.timing.mean_gap_us, record.timing.worst_gap_us) == (1000, 1000)


def test_error_in_a_stream_fails_the_call() -> None:
    """A stream that ends with an error event has failed, whatever its status said at the start."""
    call = http_call(
        response=b'data: {"error": {"message": "out of memory"}}\n\n',
        target=b"/v1/chat/completions",
        response_type=b"text/event-stream",
    )
    assert convert(call).state == v1.FAILED


def test_open_inference_rest() -> None:
    """Model and version from the path, tensors and id from the bodies."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}
    answer = {
        "model_name": "iris",
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [0]}],
    }
    call = http_call(
        json.dumps({"id": "i-1", "inputs": [tensor]}).encode(),
        json.dumps(answer).encode(),
        target=b"/v2/models/iris/versions/3/infer?x=1",
    )
    record = convert(call)
    assert (record.model.name, record.model.version, record.payload_id) == ("iris", "3", "i-1")
    assert (record.path, record.query) == ("/v2/models/iris/versions/3/infer", "x=1")
    [inputs], [outputs] = record.model.inputs, record.model.outputs
    assert (inputs.name, inputs.datatype, list(inputs.shape)) == ("x", "FP32", [1, 4])
    assert (outputs.name, list(outputs.shape)) == ("y", [1])


def framed(*messages: Message) -> bytes:
    parts = [message.SerializeToString() for message in messages]
    return b"".join(struct.pack(">BI", 0, len(part)) + part for part in parts)


def grpc_call(request: bytes, response: bytes = b"", **fields: Any) -> Exchange:
    return http_call(
        request,
        response,
        **(
            {
                "protocol": Protocol.GRPC,
                "target": b"/inference.GRPCInferenceService/ModelInfer",
                "request_head": b"",
                "response_head": b"",
                "request_headers": [
                    (b"content-type", b"application/grpc"),
                    (b"authorization", b"Bearer x1y2z3w4"),
                ],
                "response_headers": [(b"content-type", b"application/grpc")],
                "grpc_status": 0,
            }
            | fields
        ),
    )


def infer_request(**fields: Any) -> oip.ModelInferRequest:
    tensor = oip.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 2])
    return oip.ModelInferRequest(model_name="iris", id="i-1", inputs=[tensor], **fields)


def test_open_inference_grpc() -> None:
    """Messages are decoded, raw tensors too; their bytes are kept, as nothing in them had to be masked."""
    request = framed(infer_request(raw_input_contents=[struct.pack("<2f", 1.5, 2.5)]))
    record = convert(grpc_call(request))
    view = json.loads(record.request.decoded_json)
    assert view["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]}]
    assert (record.model.name, record.payload_id, record.request.data) == ("iris", "i-1", request)
    assert record.grpc_status == 0
    assert [header.name for header in record.request.headers] == ["content-type"]


def test_personal_data_in_grpc() -> None:
    """Where something in a message is masked, its view is kept and its bytes are not."""
    request = infer_request()
    request.inputs[0].datatype = "BYTES"
    request.inputs[0].contents.bytes_contents.append(SECRET.encode())
    record = convert(grpc_call(framed(request)))
    assert record.request.data == b""
    assert json.loads(record.request.decoded_json)["inputs"][0]["data"] == ["<email>"]
    assert list(record.logging_error_codes) == ["REQUEST_BODY_VIEW_ONLY"]
    assert [(each.field, each.count) for each in record.request.redactions] == [("body", 1)]


def test_grpc_without_a_schema() -> None:
    """A message of an unknown service is shown by field numbers, and kept with what was masked in it."""
    request = infer_request()
    request.inputs[0].name = SECRET
    record = convert(grpc_call(framed(request), target=b"/my.Service/Call"))
    assert json.loads(record.request.decoded_json) == {
        "1": "iris",
        "3": "i-1",
        "5": {"1": "<email>", "2": "FP32", "3": "<binary 2 bytes>"},
    }
    assert (record.request.data, list(record.logging_error_codes)) == (b"", ["REQUEST_BODY_VIEW_ONLY"])
    request.inputs[0].ClearField("shape")
    record = convert(grpc_call(framed(request), target=b"/my.Service/Call"))
    request.inputs[0].name = "<email>"
    assert (record.request.data, list(record.logging_error_codes)) == (framed(request), [])
    assert [(each.field, each.count) for each in record.request.redactions] == [("body", 1)]


def test_unreadable_grpc_is_a_digest() -> None:
    """What is no message of protobuf is not in the record."""
    record = convert(grpc_call(b"\0\0\0\0\2\xff\xff", target=b"/my.Service/Call"))
    assert (record.request.data, record.request.digest[:5]) == (b"", "hmac:")
    assert list(record.logging_error_codes) == ["REQUEST_BODY_DIGESTED"]


def test_compressed_body_is_opened() -> None:
    """A gzip body is kept as what it says."""
    call = http_call(
        gzip.compress(b'{"mail": "ada@example.org"}'),
        request_head=b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n",
    )
    record = convert(call)
    assert (record.request.data, record.request.content_encoding) == (b'{"mail":"<email>"}', "gzip")


def test_bomb_is_withheld() -> None:
    """A body that a content encoding makes a thousand times as long is withheld, with the reason."""
    call = http_call(
        gzip.compress(b"x" * (64 << 20)),
        request_head=b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n",
    )
    record = convert(call)
    assert not record.request.data
    assert "REQUEST_BODY_UNREADABLE" in record.logging_error_codes


def test_long_encoded_body_is_cut() -> None:
    """What a content encoding becomes is capped, and the cut is marked."""
    call = http_call(
        gzip.compress(b"".join(b"%x " % (n * n * n) for n in range(700_000)), compresslevel=1),
        request_head=b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n",
    )
    record = convert(call)
    assert record.request.truncated
    assert "MAX_REQUEST_SIZE_EXCEEDED" in record.logging_error_codes


def test_compressed_stream_that_is_broken_off() -> None:
    """The part that was seen is opened as far as it goes, and kept."""
    engine = zlib.compressobj(wbits=31)
    seen = engine.compress(b"data: one\n\n") + engine.flush(zlib.Z_SYNC_FLUSH)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    record = convert(http_call(response=seen, response_head=head, ended_by=EndedBy.CLIENT))
    assert (record.response.data, record.response.truncated) == (b"data: one\n\n", False)


def test_cut_bodies_are_marked() -> None:
    """The true size is kept, and what was cut says so."""
    call = http_call(request_type=b"text/plain", request=Body([b"x" * 9000], 9000, 50_000))
    record = convert(call)
    assert (record.request.size_bytes, record.request.captured_bytes, record.request.truncated) == (
        50_000,
        9000,
        True,
    )
    assert list(record.logging_error_codes) == ["MAX_REQUEST_SIZE_EXCEEDED"]


def test_who_called() -> None:
    """User, session and address are keyed hashes; context comes from the headers that were named."""
    head = b"POST / HTTP/1.1\r\nX-User: ada\r\nX-Session: s1\r\nX-Tier: gold\r\nCookie: a=b\r\n\r\n"
    record = convert(
        http_call(request_head=head),
        user_header="x-user",
        session_header="X-Session",
        context_headers="X-Tier,Cookie",
    )
    assert all(
        each.startswith("hmac:")
        for each in (record.caller.user, record.caller.session, record.caller.address)
    )
    assert dict(record.context) == {"x-tier": "gold", "cookie": "<credential>"}


def test_large_record_is_cut() -> None:
    """A record never exceeds what the spool takes; what was cut off says so."""
    settings = {"body_limit_bytes": "64MiB"}
    call = http_call(
        b"x" * (5 << 20), b"y" * (5 << 20), request_type=b"text/plain", response_type=b"text/plain"
    )
    converted = conversion(**settings).convert(0, call, WALL)
    assert len(converted.record) <= RECORD_BYTES
    record = v1.Record.FromString(converted.record)
    assert TOO_LARGE in record.logging_error_codes
    assert record.request.truncated
    assert len(record.request.data) == 1 << 20


def test_call_ids() -> None:
    """A call has one id for ever; others have others, later calls greater ones."""
    made = conversion()
    one = made.convert(0, http_call(), WALL)
    assert one.call_id == made.convert(0, http_call(), WALL + 1).call_id
    others = [
        made.convert(1, http_call(), WALL),
        made.convert(0, http_call(call_number=8), WALL),
        made.convert(0, http_call(started_wall_ns=WALL + 1000), WALL),
    ]
    assert len({each.call_id for each in [one, *others]}) == 4
    assert others[2].call_id > one.call_id


texts = st.binary(max_size=30)
pairs = st.lists(
    st.tuples(st.sampled_from([b"content-type", b"content-encoding", b"host"]) | texts, texts), max_size=4
)
bodies = st.builds(
    lambda pieces, more: Body(pieces, sum(map(len, pieces)), sum(map(len, pieces)) + more, [], len(pieces)),
    st.lists(texts, max_size=3),
    st.integers(0, 10),
)


@given(
    st.builds(
        Exchange,
        call_number=st.integers(0, 1 << 62),
        route=st.integers(-1, 3),
        protocol=st.sampled_from(Protocol),
        started=st.integers(0, 1 << 62),
        started_wall_ns=st.integers(0, 1 << 60),
        first_response_byte=st.integers(-1, 1 << 62),
        ended=st.integers(-1, 1 << 62),
        ended_by=st.sampled_from(EndedBy),
        request_id=texts,
        target=texts | st.sampled_from([b"/v1/chat/completions", b"/v2/models/m/infer"]),
        status=st.integers(0, 999),
        grpc_status=st.integers(-1, 20),
        grpc_message=texts,
        request_headers=pairs,
        response_headers=pairs,
        request_head=texts,
        response_head=texts,
        request=bodies,
        response=bodies,
        request_trailers=pairs,
        response_trailers=pairs,
        reset_code=st.integers(-1, 1 << 31),
        reason=st.sampled_from(Reason),
    )
)
def test_any_exchange_becomes_a_record(call: Exchange) -> None:
    """Whatever an exchange holds, the whole record is made: no step fails on it."""
    record = convert(call)
    assert FAILED not in record.logging_error_codes
    assert record.call_id


def test_numbers_that_no_record_can_hold() -> None:
    """A call whose numbers are impossible has a record of its identity, and nothing else."""
    converted = conversion().convert(0, http_call(SECRET.encode(), status=1 << 40), WALL)
    record = v1.Record.FromString(converted.record)
    assert (record.call_id[14], list(record.logging_error_codes)) == ("7", [FAILED])
    assert b"ada" not in converted.record


@pytest.mark.parametrize(
    ("response", "media_type", "state"),
    [
        (b'data: {"error": "out of memory"}\n\n', b"text/event-stream; charset=utf-8", v1.FAILED),
        (b"event: error\ndata: gone\n\n", b"text/event-stream", v1.FAILED),
        (b'{"text": "a"}\n{"error": {"code": 5}}\n', b"application/x-ndjson", v1.FAILED),
        (b'data: {"type": "x", "response": {"error": {"code": 5}}}\n\n', b"text/event-stream", v1.FAILED),
        (b'data: {"error": null}\n\nevent: errors\ndata: x\n\n', b"text/event-stream", v1.COMPLETED),
        (b'{"error": "not found in the text"}', b"application/json", v1.COMPLETED),
    ],
)
def test_streams_tell_their_failure(response: bytes, media_type: bytes, state: int) -> None:
    """An event that says error fails a stream of any kind; an answer at once has its status for that."""
    assert convert(http_call(response=response, response_type=media_type)).state == state


def test_binary_tensors_over_rest() -> None:
    """A body with the binary tensor extension is kept as the JSON that says the same, redacted."""
    tensors = [
        {"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": "s", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 19}},
    ]
    head = json.dumps({"inputs": tensors}).encode()
    raw = struct.pack("<f", 1.5) + struct.pack("<I", 15) + SECRET.encode()
    fields = b"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n" % len(head)
    call = http_call(
        head + raw,
        target=b"/v2/models/iris/infer",
        request_head=b"POST / HTTP/1.1\r\n" + fields + b"\r\n",
    )
    record = convert(call)
    assert [each["data"] for each in json.loads(record.request.data)["inputs"]] == [[1.5], ["<email>"]]
    assert [each.datatype for each in record.model.inputs] == ["FP32", "BYTES"]
    assert list(record.logging_error_codes) == []


def test_stream_of_messages() -> None:
    """Each message of a stream is in the view; an error message among the answers fails the call."""
    good = oip.ModelStreamInferResponse(infer_response=oip.ModelInferResponse(model_name="iris", id="1"))
    bad = oip.ModelStreamInferResponse(error_message="no such shape")
    target = b"/inference.GRPCInferenceService/ModelStreamInfer"
    record = convert(grpc_call(framed(infer_request(), infer_request()), framed(good, bad), target=target))
    assert len(json.loads(record.request.decoded_json)) == 2
    assert json.loads(record.response.decoded_json)[1] == {"error_message": "no such shape"}
    assert (record.state, record.model.name) == (v1.FAILED, "iris")


def test_stream_that_ends_within_a_message() -> None:
    """Whole messages before a break are in the record, which says that there was more."""
    whole = framed(infer_request())
    record = convert(grpc_call(whole + whole[:-3], ended_by=EndedBy.CLIENT))
    assert json.loads(record.request.decoded_json)["model_name"] == "iris"
    assert (record.request.data, record.state) == (whole, v1.CANCELLED)
    assert list(record.logging_error_codes) == ["REQUEST_VIEW_CUT"]


def test_compressed_messages() -> None:
    """gRPC messages that are compressed each are opened; a bomb among them is not."""
    message = infer_request().SerializeToString()
    bomb = infer_request(raw_input_contents=[b"\0" * (64 << 20)]).SerializeToString()
    packed = [struct.pack(">BI", 1, len(each)) + each for each in map(gzip.compress, (message, bomb))]
    headers = [(b"content-type", b"application/grpc"), (b"grpc-encoding", b"gzip")]
    record = convert(grpc_call(b"".join(packed), request_headers=headers))
    assert record.request.data == framed(infer_request())
    assert list(record.logging_error_codes) == ["REQUEST_VIEW_CUT"]


numbers = st.integers(-(1 << 70), 1 << 70)


@given(
    st.builds(
        Exchange,
        call_number=numbers,
        route=numbers,
        protocol=st.sampled_from(Protocol),
        started=numbers,
        started_wall_ns=numbers,
        ended=numbers,
        status=numbers,
        grpc_status=numbers,
        reset_code=numbers,
        sampling_fraction=st.floats(),
        flags=st.lists(st.text(max_size=9), max_size=3),
        response=st.builds(
            Body,
            st.lists(texts, max_size=2),
            numbers,
            numbers,
            st.lists(st.tuples(numbers, numbers)),
            numbers,
        ),
    ),
    numbers,
)
def test_any_number_at_all(call: Exchange, recorded_at_ns: int) -> None:
    """Even numbers that no relay would send end in a record that can be read, with the call's id."""
    converted = conversion().convert(0, call, recorded_at_ns)
    assert len(converted.call_id) == 16
    assert v1.Record.FromString(converted.record).call_id


def test_failing_step_keeps_nothing_of_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step fails, a record is made of numbers alone."""
    made = conversion()

    def fail(*_: object) -> None:
        raise MemoryError(SECRET)

    monkeypatch.setattr(made._redaction, "redact", fail)
    converted = made.convert(0, http_call(SECRET.encode(), request_id=SECRET.encode()), WALL)
    record = v1.Record.FromString(converted.record)
    assert list(record.logging_error_codes) == [FAILED]
    assert b"ada" not in converted.record
    assert record.http_status == 200
