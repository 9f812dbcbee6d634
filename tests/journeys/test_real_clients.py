"""Journey 2: clients that people use, over HTTP/1.1: they notice nothing, and every call is on record."""

import asyncio
import gzip
import hashlib
import http.server
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from infertap import v1
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

EXAMPLES = Path(__file__).parents[2] / "examples"
FLOWER = {"name": "features", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}
SECONDS = 30


# -- the example model server, which knows nothing of infertap


@pytest.fixture(scope="module")
def example() -> Iterator[str]:
    """Address of the example model server's HTTP side."""
    http_address, grpc_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    arguments = ["--http", http_address, "--grpc", grpc_address, "--gap-ms", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "model_server", *arguments],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
        stdin=subprocess.DEVNULL,
    )
    try:
        await_live(process, f"http://{http_address}/v2/health/live")
        yield http_address
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0


def await_live(process: "subprocess.Popen[bytes]", url: str) -> None:
    for _ in range(600):
        assert process.poll() is None, "the model server ended"
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the model server does not answer")


def url_of(sidecar: "Sidecar", path: str = "") -> str:
    host, port = sidecar.address
    return f"http://{host}:{port}{path}"


def test_httpx_calls_an_inference_server(example: str, start_sidecar: "StartSidecar") -> None:
    """Good calls and bad ones over one kept connection; each finds its record by the id it was given."""
    sidecar = start_sidecar(example)
    calls: list[tuple[str, Any]] = [
        ("/v2/models/iris/infer", {"id": "mine-1", "inputs": [FLOWER]}),
        ("/v2/models/iris/infer", {"inputs": [FLOWER | {"shape": [1, 3]}]}),
        ("/v2/models/nobody/infer", {"inputs": [FLOWER]}),
        ("/v2/models/iris/infer", {"inputs": "flowers"}),
    ]
    with httpx.Client(timeout=SECONDS) as client:
        answers = [client.post(url_of(sidecar, path), json=body) for path, body in calls]
    records = {record.request_id: record for record in sidecar.await_records(len(calls))}
    for (path, body), answer in zip(calls, answers, strict=True):
        record = records[answer.headers["x-request-id"]]
        assert (record.method, record.path, record.http_status) == ("POST", path, answer.status_code)
        assert record.state == (v1.COMPLETED if answer.status_code == 200 else v1.FAILED)
        assert json.loads(record.request.data) == body
        assert record.response.data == answer.content
        assert 0 < record.timing.first_response_byte_us <= record.timing.duration_us
    good = records[answers[0].headers["x-request-id"]]
    assert (good.model.name, good.payload_id, good.model.version) == (
        "iris",
        "mine-1",
        answers[0].json()["model_version"],
    )
    assert [each.datatype for each in good.model.outputs] == ["BYTES", "FP64"]
    assert {record.sampling.reason for record in records.values()} == {v1.Sampling.RATE, v1.Sampling.ERROR}
    assert sidecar.await_settled()["calls"]["seen"] == len(calls)


async def test_httpx_calls_in_parallel(example: str, start_sidecar: "StartSidecar") -> None:
    """Sixty calls on up to ten connections at a time: each answer is its own call's, as is each record."""
    sidecar = start_sidecar(example)

    async with httpx.AsyncClient(timeout=SECONDS, limits=httpx.Limits(max_connections=10)) as client:

        async def call(number: int) -> str:
            body = {"id": f"call-{number}", "inputs": [FLOWER]}
            headers = {"x-request-id": f"request-{number}"}
            answer = await client.post(url_of(sidecar, "/v2/models/iris/infer"), json=body, headers=headers)
            assert answer.headers["x-request-id"] == f"request-{number}"
            return str(answer.json()["id"])

        assert await asyncio.gather(*map(call, range(60))) == [f"call-{number}" for number in range(60)]
    records = await asyncio.to_thread(sidecar.await_records, 60)
    assert {(record.request_id, record.payload_id) for record in records} == {
        (f"request-{number}", f"call-{number}") for number in range(60)
    }
    assert len({record.call_id for record in records}) == 60


def test_httpx_streams_a_chat(example: str, start_sidecar: "StartSidecar") -> None:
    """A generated answer: the client's events are the record's, with their times, and the whole message."""
    sidecar = start_sidecar(example)
    body = {
        "model": "alice-markov",
        "stream": True,
        "seed": 7,
        "max_tokens": 30,
        "temperature": 0.5,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Write to ada@example.org"}],
    }
    received = b""
    with (
        httpx.Client(timeout=SECONDS) as client,
        client.stream("POST", url_of(sidecar, "/v1/chat/completions"), json=body) as answer,
    ):
        received = b"".join(answer.iter_raw())
    events = [json.loads(line[6:]) for line in received.decode().splitlines() if line.startswith("data: {")]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])
    usage = events[-1]["usage"]

    [record] = sidecar.await_records(1)
    assert record.response.data == received
    view = json.loads(record.response.decoded_json)
    assert view["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert (record.model.input_tokens, record.model.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert list(record.model.finish_reasons) == [view["choices"][0]["finish_reason"]]
    assert json.loads(record.model.parameters_json)["seed"] == 7
    assert sum(piece.size_bytes for piece in record.response.pieces) == len(received)
    offsets = [piece.offset_us for piece in record.response.pieces]
    assert offsets == sorted(offsets)
    assert record.response.piece_count >= usage["completion_tokens"] / 2
    assert 0 < record.timing.mean_gap_us <= record.timing.worst_gap_us
    assert b"ada@" not in record.request.data


# -- events one by one


class OneByOne:
    """A model that sends each event only when the client says that it has the one before."""

    def __init__(self, count: int) -> None:
        self.events = [b'data: {"number": %d}\n\n' % number for number in range(count)]
        self.next = threading.Semaphore(0)
        self.received = b""

    def __call__(self, connection: socket.socket) -> None:
        while not self.received.endswith(b"\r\n\r\n"):
            self.received += connection.recv(1 << 16)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for event in self.events:
            assert self.next.acquire(timeout=SECONDS)
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
        assert self.next.acquire(timeout=SECONDS)
        connection.sendall(b"0\r\n\r\n")


def check_one_by_one(sidecar: "Sidecar", model: OneByOne) -> None:
    [record] = sidecar.await_records(1)
    assert record.state == v1.COMPLETED
    assert record.response.data == b"".join(model.events)
    assert [piece.size_bytes for piece in record.response.pieces] == list(map(len, model.events))
    offsets = [piece.offset_us for piece in record.response.pieces]
    assert offsets == sorted(set(offsets)), "each event has a time of its own"
    assert offsets[-1] <= record.timing.duration_us


def test_events_arrive_as_they_leave(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Each event reaches an SSE reader before the model sends the next; the record has all their times."""
    model = OneByOne(25)
    sidecar = start_sidecar(start_model(model).address)
    with (
        httpx.Client(timeout=SECONDS) as client,
        client.stream("GET", url_of(sidecar, "/events")) as answer,
    ):
        lines = answer.iter_lines()
        for event in model.events:
            model.next.release()
            assert [next(lines), next(lines)] == event.decode().split("\n")[:2]
        model.next.release()
        assert list(lines) == []
    check_one_by_one(sidecar, model)


def test_curl_reads_events_as_they_leave(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """The same with `curl -N`, which prints each event when it comes."""
    model = OneByOne(10)
    sidecar = start_sidecar(start_model(model).address)
    curl = subprocess.Popen(
        ["curl", "-sS", "-N", "--max-time", str(SECONDS), url_of(sidecar, "/events")], stdout=subprocess.PIPE
    )
    assert curl.stdout is not None
    with curl.stdout:
        for event in model.events:
            model.next.release()
            assert curl.stdout.readline() + curl.stdout.readline() == event
        model.next.release()
        assert curl.stdout.read() == b""
    assert curl.wait(SECONDS) == 0
    check_one_by_one(sidecar, model)


# -- curl and httpx in front of Python's own server


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers by path: what came, packed, or nothing."""

    protocol_version = "HTTP/1.1"
    received: "queue.Queue[tuple[str, bytes]]"

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.received.put((self.path, body))
        self._answer(200, b"%s\n" % hashlib.sha256(body).hexdigest().encode(), {"content-type": "text/plain"})

    def do_GET(self) -> None:
        if self.path.startswith("/packed?"):
            packed = gzip.compress(b'{"mail": "ada@example.org", "n": 1}')
            self._answer(200, packed, {"content-type": "application/json", "content-encoding": "gzip"})
        elif self.path == "/unchanged":
            self._answer(304, None, {"etag": '"1"'})
        else:
            self._answer(404, b"no such path", {"content-type": "text/plain"})

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "4711")
        self.end_headers()

    def _answer(self, status: int, body: bytes | None, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def echo() -> Iterator[http.server.ThreadingHTTPServer]:
    Echo.received = queue.Queue()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(SECONDS)
    server.server_close()


def address_of(server: http.server.ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def run_curl(*arguments: str) -> bytes:
    command = ["curl", "-sS", "--max-time", str(SECONDS), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_curl_uploads_a_large_file(
    echo: http.server.ThreadingHTTPServer, start_sidecar: "StartSidecar", tmp_path: Path
) -> None:
    """`Expect: 100-continue` works through the sidecar; the record holds head and tail, and says so."""
    sidecar = start_sidecar(address_of(echo), body_limit_bytes="64KiB")
    body = b"all work and no play\n" * 150_000
    (tmp_path / "upload").write_bytes(body)
    printed = run_curl(
        "-H",
        "Expect: 100-continue",
        "-H",
        "Content-Type: text/plain",
        "--data-binary",
        f"@{tmp_path / 'upload'}",
        url_of(sidecar, "/upload"),
    )
    assert printed.decode().strip() == hashlib.sha256(body).hexdigest()
    assert Echo.received.get(timeout=SECONDS) == ("/upload", body)
    [record] = sidecar.await_records(1)
    request = record.request
    assert (request.size_bytes, request.truncated) == (len(body), True)
    assert 48 << 10 < request.captured_bytes <= 64 << 10
    assert body.startswith(request.data[: request.tail_offset])
    assert body.endswith(request.data[request.tail_offset :])
    assert len(request.data) > 48_000
    assert list(record.logging_error_codes) == ["MAX_REQUEST_SIZE_EXCEEDED"]
    assert record.http_status == 200


def test_curl_unpacks_an_answer(echo: http.server.ThreadingHTTPServer, start_sidecar: "StartSidecar") -> None:
    """A gzip answer reaches the client as it is; the record has it opened and redacted."""
    sidecar = start_sidecar(address_of(echo))
    assert json.loads(run_curl("--compressed", url_of(sidecar, "/packed?user=ada%40example.org"))) == {
        "mail": "ada@example.org",
        "n": 1,
    }
    [record] = sidecar.await_records(1)
    assert json.loads(record.response.data) == {"mail": "<email>", "n": 1}
    assert (record.response.content_encoding, record.path) == ("gzip", "/packed")
    assert "ada" not in record.query


def test_answers_without_bodies(echo: http.server.ThreadingHTTPServer, start_sidecar: "StartSidecar") -> None:
    """HEAD, 304 and an error over one connection: none waits for a body that is not there."""
    sidecar = start_sidecar(address_of(echo))
    with httpx.Client(timeout=SECONDS) as client:
        assert client.head(url_of(sidecar, "/weights")).headers["content-length"] == "4711"
        assert client.get(url_of(sidecar, "/unchanged")).status_code == 304
        assert client.get(url_of(sidecar, "/nothing")).text == "no such path"
    records = sidecar.await_records(3)
    assert [
        (record.method, record.http_status, record.response.size_bytes) for record in reversed(records)
    ] == [
        ("HEAD", 200, 0),
        ("GET", 304, 0),
        ("GET", 404, 12),
    ]


def test_httpx_sends_in_chunks(echo: http.server.ThreadingHTTPServer, start_sidecar: "StartSidecar") -> None:
    """A request of unknown length: the record holds the body without its framing."""
    sidecar = start_sidecar(address_of(echo))
    parts = [b'{"inputs": [', b"1, 2, 3", b"]}"]
    with httpx.Client(timeout=SECONDS) as client:
        answer = client.post(
            url_of(sidecar, "/chunks"), content=iter(parts), headers={"content-type": "application/json"}
        )
    assert answer.text.strip() == hashlib.sha256(b"".join(parts)).hexdigest()
    [record] = sidecar.await_records(1)
    assert (record.request.data, record.request.size_bytes) == (b"".join(parts), 21)
    assert Echo.received.get(timeout=SECONDS) == ("/chunks", b"".join(parts))
