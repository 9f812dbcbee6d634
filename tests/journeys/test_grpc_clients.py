"""Journey 2 for gRPC: clients of grpcio notice nothing, and every call is on record with its messages."""

import json
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import oip, v1
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

    StartSidecar = Callable[..., Sidecar]

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 30
SERVICE = "test.Echo"
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo:
    """A server of its own schema: bytes in, bytes out, one method for each kind of call."""

    def __init__(self) -> None:
        self.metadata: queue.Queue[dict[str, Any]] = queue.Queue()
        self.go_on = threading.Event()
        self.was_cancelled = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(80), options=LARGE)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, self._handlers())]
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        return {
            "One": grpc.unary_unary_rpc_method_handler(self.one),
            "Join": grpc.stream_unary_rpc_method_handler(lambda parts, _: b"+".join(parts)),
            "Split": grpc.unary_stream_rpc_method_handler(lambda whole, _: iter(whole.split(b"+"))),
            "Chat": grpc.stream_stream_rpc_method_handler(lambda parts, _: (b"re " + part for part in parts)),
            "Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
            "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
        }

    def one(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata.put(dict(context.invocation_metadata()))
        context.send_initial_metadata((("from-model", "1"), ("answer-bin", b"\x00\xff")))
        context.set_trailing_metadata((("at-the-end", "2"),))
        return request[::-1]

    def refuse(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such user: ada@example.org, 100 % \u00fc")
        raise AssertionError

    def wait(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Says `request` three times, and then nothing until the test allows it or the client leaves."""
        context.add_callback(lambda: (self.was_cancelled.set(), self.go_on.set()))
        yield from (request, request, request)
        self.go_on.wait(SECONDS)

    def stop(self) -> None:
        self.go_on.set()
        self._server.stop(0).wait(SECONDS)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


@pytest.fixture
def open_channel() -> Iterator[Callable[..., grpc.Channel]]:
    channels: list[grpc.Channel] = []

    def start(sidecar: "Sidecar", **options: Any) -> grpc.Channel:
        host, port = sidecar.address
        channels.append(grpc.insecure_channel(f"{host}:{port}", options=LARGE, **options))
        return channels[-1]

    yield start
    for channel in channels:
        channel.close()


OpenChannel = Callable[..., grpc.Channel]


def unary(channel: grpc.Channel, method: str) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{method}")


def test_all_kinds_of_calls(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """Unary, client, server and bidirectional streams arrive, and are recorded with their sizes."""
    sidecar = start_sidecar(echo.address)
    channel = open_channel(sidecar)
    assert unary(channel, "One")(b"abc", timeout=SECONDS) == b"cba"
    assert channel.stream_unary(f"/{SERVICE}/Join")(iter([b"a", b"b", b"c"]), timeout=SECONDS) == b"a+b+c"
    assert list(channel.unary_stream(f"/{SERVICE}/Split")(b"a+b", timeout=SECONDS)) == [b"a", b"b"]
    chat = channel.stream_stream(f"/{SERVICE}/Chat")(iter([b"x", b"y"]), timeout=SECONDS)
    assert list(chat) == [b"re x", b"re y"]
    records = {record.path: record for record in sidecar.await_records(4)}
    for method, sent, answered in [("One", 8, 8), ("Join", 18, 10), ("Split", 8, 12), ("Chat", 12, 18)]:
        record = records[f"/{SERVICE}/{method}"]
        assert (record.protocol, record.method) == (v1.GRPC, "POST")
        assert (record.state, record.http_status, record.grpc_status) == (v1.COMPLETED, 200, 0)
        assert (record.request.size_bytes, record.response.size_bytes) == (sent, answered)
        assert record.request.content_type == "application/grpc"
    assert sidecar.await_settled()["calls"]["seen"] == 4


def test_metadata(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """Metadata passes both ways as it is, binary too; the request id is added to both sides."""
    sidecar = start_sidecar(echo.address)
    sent = (("to-model", "hello"), ("data-bin", b"\x00\x01\xfe"), ("authorization", "Bearer s3cr3t-t0ken"))
    answer, call = unary(open_channel(sidecar), "One").with_call(b"abc", metadata=sent, timeout=SECONDS)
    assert answer == b"cba"
    arrived = echo.metadata.get(timeout=SECONDS)
    assert dict(sent).items() <= arrived.items()
    initial = dict(call.initial_metadata())
    assert (initial["from-model"], initial["answer-bin"]) == ("1", b"\x00\xff")
    assert dict(call.trailing_metadata())["at-the-end"] == "2"
    [record] = sidecar.await_records(1)
    assert record.request_id == arrived["x-request-id"] == initial["x-request-id"]
    assert "s3cr3t" not in str(record)


def test_callers_id(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """A caller's own request id and trace are the call's."""
    sidecar = start_sidecar(echo.address)
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    metadata = (("x-request-id", "mine"), ("traceparent", trace))
    _, call = unary(open_channel(sidecar), "One").with_call(b"", metadata=metadata, timeout=SECONDS)
    assert dict(call.initial_metadata())["x-request-id"] == "mine"
    [record] = sidecar.await_records(1)
    assert (record.request_id, record.trace_id, record.span_id) == ("mine", "ab" * 16, "cd" * 8)


def test_each_message_passes_at_once(
    echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel
) -> None:
    """Each message of a bidirectional stream is answered before the next is sent; all times are on record."""
    sidecar = start_sidecar(echo.address)
    outgoing: queue.Queue[bytes | None] = queue.Queue()
    chat = open_channel(sidecar).stream_stream(f"/{SERVICE}/Chat")(iter(outgoing.get, None), timeout=SECONDS)
    for number in range(20):
        outgoing.put(b"%d" % number)
        assert next(chat) == b"re %d" % number
    outgoing.put(None)
    assert list(chat) == []
    [record] = sidecar.await_records(1)
    assert record.response.piece_count == 20
    offsets = [piece.offset_us for piece in record.response.pieces]
    assert offsets == sorted(set(offsets))


def test_refusal(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """A status and its message reach the client as they are; the record has the message redacted."""
    sidecar = start_sidecar(echo.address)
    with pytest.raises(grpc.RpcError) as refused:
        unary(open_channel(sidecar), "Refuse")(b"", timeout=SECONDS)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "no such user: ada@example.org, 100 % \u00fc"
    [record] = sidecar.await_records(1)
    assert (record.state, record.grpc_status) == (v1.FAILED, 3)
    assert record.grpc_message == "no such user: <email>, 100 % \u00fc"
    assert record.sampling.reason == v1.Sampling.ERROR


def test_deadline(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """A deadline that passes ends the call for everybody; it is not recorded as a good one."""
    sidecar = start_sidecar(echo.address)
    stream = open_channel(sidecar).unary_stream(f"/{SERVICE}/Wait")(b"so far", timeout=1)
    assert [next(stream) for _ in range(3)] == [b"so far"] * 3
    with pytest.raises(grpc.RpcError) as ended:
        next(stream)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.was_cancelled.wait(SECONDS)
    [record] = sidecar.await_records(1)
    # Client and model both watch the deadline: either may be the first to end the call.
    assert record.state in (v1.CANCELLED, v1.FAILED)
    assert record.response.size_bytes == 3 * (5 + 6)
    assert "grpc-timeout" in {header.name for header in record.request.headers}


def test_cancellation(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """A client that cancels reaches the model; what it had seen is on record, the connection goes on."""
    sidecar = start_sidecar(echo.address)
    channel = open_channel(sidecar)
    stream = channel.unary_stream(f"/{SERVICE}/Wait")(b"so far", timeout=SECONDS)
    assert [next(stream) for _ in range(3)] == [b"so far"] * 3
    stream.cancel()
    assert echo.was_cancelled.wait(SECONDS)
    assert unary(channel, "One")(b"abc", timeout=SECONDS) == b"cba"
    good, cancelled = sidecar.await_records(2)
    assert (cancelled.state, cancelled.ended_by) == (v1.CANCELLED, v1.EndedBy.CLIENT)
    assert (cancelled.http_status, cancelled.response.size_bytes) == (200, 3 * (5 + 6))
    assert (good.state, good.path) == (v1.COMPLETED, f"/{SERVICE}/One")


def test_large_messages(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """Messages far beyond the flow control windows arrive whole; the record holds the first part."""
    sidecar = start_sidecar(echo.address, opaque_bodies="keep")
    body = os.urandom(6 << 20)
    assert unary(open_channel(sidecar), "One")(body, timeout=SECONDS) == body[::-1]
    [record] = sidecar.await_records(1)
    assert (record.request.size_bytes, record.response.size_bytes) == (len(body) + 5, len(body) + 5)
    assert 3 << 18 < record.request.captured_bytes <= 1 << 20
    assert set(record.logging_error_codes) >= {"MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"}


def test_many_calls_at_a_time(echo: Echo, start_sidecar: "StartSidecar", open_channel: OpenChannel) -> None:
    """Three hundred calls, sixty at a time on one connection: each gets its own answer and its own record."""
    sidecar = start_sidecar(echo.address)
    one = unary(open_channel(sidecar), "One")

    def call(number: int) -> bytes:
        metadata = (("x-request-id", f"call-{number}"), ("number", str(number)))
        return bytes(one(b"%d" % number, metadata=metadata, timeout=SECONDS))

    with futures.ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(call, range(300)))
    assert answers == [
        b"%d" % number[::-1] if isinstance(number, bytes) else str(number)[::-1].encode()
        for number in range(300)
    ]
    records = sidecar.await_records(300)
    assert {record.request_id for record in records} == {f"call-{number}" for number in range(300)}
    assert sidecar.await_settled()["calls"]["seen"] == 300


# -- the example's inference server


@pytest.fixture(scope="module")
def example() -> Iterator[str]:
    """Address of the example model server's gRPC side."""
    http_address, grpc_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    process = subprocess.Popen(
        [sys.executable, "-m", "model_server", "--http", http_address, "--grpc", grpc_address],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
        stdin=subprocess.DEVNULL,
    )
    try:
        with grpc.insecure_channel(grpc_address) as channel:
            live = oip.GRPCInferenceServiceStub(channel).ServerLive
            assert live(oip.ServerLiveRequest(), timeout=60, wait_for_ready=True).live
        yield grpc_address
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0


def flower(**fields: Any) -> oip.ModelInferRequest:
    tensor = oip.ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=[1, 4])
    raw = struct.pack("<4f", 5.0, 3.5, 1.5, 0.25)
    return oip.ModelInferRequest(
        **({"model_name": "iris", "id": "mine", "inputs": [tensor], "raw_input_contents": [raw]} | fields)
    )


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_inference(
    example: str, start_sidecar: "StartSidecar", open_channel: OpenChannel, compression: grpc.Compression
) -> None:
    """Inference over gRPC is read as inference: model, id, tensors and their values, errors too."""
    sidecar = start_sidecar(example)
    stub = oip.GRPCInferenceServiceStub(open_channel(sidecar, compression=compression))
    answer = stub.ModelInfer(flower(), timeout=SECONDS)
    assert answer.outputs[0].contents.bytes_contents[0] == b"setosa"
    with pytest.raises(grpc.RpcError) as unknown:
        stub.ModelInfer(flower(model_name="nobody"), timeout=SECONDS)
    with pytest.raises(grpc.RpcError) as wrong:
        stub.ModelInfer(flower(raw_input_contents=[b"\0" * 4]), timeout=SECONDS)
    wrong_record, unknown_record, record = sidecar.await_records(3)
    assert [unknown_record.grpc_status, wrong_record.grpc_status] == [
        unknown.value.code().value[0],
        wrong.value.code().value[0],
    ]
    assert unknown_record.grpc_message == unknown.value.details()
    assert (record.model.name, record.model.version, record.payload_id) == (
        "iris",
        answer.model_version,
        "mine",
    )
    assert [(each.name, list(each.shape)) for each in record.model.inputs] == [("features", [1, 4])]
    asked, said = json.loads(record.request.decoded_json), json.loads(record.response.decoded_json)
    assert asked["inputs"][0]["data"] == [5.0, 3.5, 1.5, 0.25]
    assert said["outputs"][0]["data"] == ["setosa"]
    assert record.response.data[5:] == answer.SerializeToString()
    assert list(record.logging_error_codes) == []
