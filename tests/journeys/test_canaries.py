"""Law 3: nothing raw touches a disk or another host.

Canaries are planted wherever a call can hold text (canary_calls.py has them protocol by protocol); then every
file that any process wrote, every log, every core file, and everything that is served is searched for them.
"""

import base64
import contextlib
import glob
import gzip
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brotli
import grpc
import httpx
import pytest
import zstandard
from google.rpc import error_details_pb2, status_pb2

from infertap import oip, v1
from tests.journeys.canary_calls import ANSWERS, CALLS, STREAMS, WORD, answer_of, mail, pieces, streamed

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

SECONDS = 30
CODINGS: dict[str, "Callable[[bytes], bytes]"] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
# What is allowed to be found, to show that the search finds what is there.
HARMLESS = "harmless-parrot"


def key(place: str) -> str:
    """As an API key begins; the word is within."""
    return f"sk-{WORD}{place}0123456789abcdefghij"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def delta(text: str) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()


def tool_delta(text: str) -> bytes:
    calls = [{"index": 0, "function": {"arguments": text}}]
    return b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}).encode()


def frame(text: str, is_masked: bool = False) -> bytes:
    """A message of a WebSocket (RFC 6455, section 5.2), short; masked by zeros, which change nothing."""
    data = text.encode()
    return bytes((0x81, len(data) | 0x80 * is_masked)) + bytes(4 * is_masked) + data


def encoded(text: str) -> dict[str, str]:
    """`text` in every encoding of a text."""
    raw = text.encode()
    return {
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).decode(),
        "hex": raw.hex(),
        "percent": "".join(f"%{byte:02X}" for byte in raw),
        "escapes": "".join(f"\\u{byte:04x}" for byte in raw),
        "entities": "".join(f"&#{byte};" for byte in raw),
        "quoted": "".join(f"={byte:02X}" for byte in raw),
        "nested": json.dumps({"a": json.dumps({"b": text})}),
        "wide": "".join(chr(byte + 0xFEE0) for byte in raw),
    }


def answer_to(target: str) -> bytes:
    """The response of the model, by target."""
    if target in ANSWERS:
        return answer_of(ANSWERS[target])
    path = target.partition("?")[0]
    json_head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if path == "/v1/chat/completions":
        # The addresses are spread over events, the word within them too.
        said = ["mail ", *pieces(mail("stream")), f" {HARMLESS}"]
        arguments = pieces(json.dumps({"to": mail("arguments")}))
        events = b"".join(map(chunk, (*map(delta, said), *map(tool_delta, arguments))))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        return (
            head
            + events
            + chunk(b"data: [DONE]\n\n")
            + b"0\r\nServer-Timing: "
            + mail("trailer").encode()
            + b"\r\n\r\n"
        )
    if path == "/socket":
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        accept = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        return head + accept + b"".join(map(frame, pieces(mail("socketanswer"))))
    if path == "/packed":
        packed = gzip.compress(json.dumps({"mail": mail("gzip")}).encode())
        return json_head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)
    if path == "/failing":
        body = f"Traceback (most recent call last):\n  KeyError: '{mail('traceback')}'\n".encode()
        head = b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nX-Request-Id: " + mail("modelid").encode()
        return head + b"\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    body = json.dumps({"text": mail("answer"), "said": HARMLESS, "card": 4111111111111111}).encode()
    cookie = b"Set-Cookie: id=" + key("cookie").encode() + b"\r\nServer: " + mail("server").encode() + b"\r\n"
    return json_head + cookie + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class HttpModel:
    """Answers HTTP/1.1 requests, and remembers all that it received."""

    def __init__(self) -> None:
        self.received = b""

    def __call__(self, connection: socket.socket) -> None:
        waiting = b""
        while data := connection.recv(1 << 16):
            self.received += data
            waiting += data
            while b"\r\n\r\n" in waiting:
                head, _, rest = waiting.partition(b"\r\n\r\n")
                lengths = [
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                length = lengths[0] if lengths else 0
                if len(rest) < length:
                    break
                waiting = rest[length:]
                connection.sendall(answer_to(head.split(b" ")[1].decode()))


def infer(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_trailing_metadata((("debug", mail("grpctrailer")),))
    answer = oip.ModelInferResponse(model_name="m", id=mail("grpcid"))
    tensor = answer.outputs.add(name="y", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(mail("grpcanswer").encode())
    return bytes(answer.SerializeToString())


def tensor_of(text: str) -> bytes:
    request = oip.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="BYTES", shape=[1]).contents.bytes_contents.append(text.encode())
    return bytes(request.SerializeToString())


def infer_streamed(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
    """Says what was asked, piece by piece."""
    for request in requests:
        answer = oip.ModelStreamInferResponse()
        asked = oip.ModelInferRequest.FromString(request).inputs[0].contents.bytes_contents
        tensor = answer.infer_response.outputs.add(name="y", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.extend(asked)
        yield bytes(answer.SerializeToString())


def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
    status = status_pb2.Status(code=5, message=mail("detailsmessage"))
    status.details.add().Pack(
        error_details_pb2.DebugInfo(stack_entries=[mail("detailsstack")], detail=mail("details"))
    )
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.NOT_FOUND, f"no user {mail('grpcmessage')}")
    raise AssertionError


@pytest.fixture
def grpc_model() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    unary = grpc.unary_unary_rpc_method_handler
    known = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService",
        {
            "ModelInfer": unary(infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(infer_streamed),
        },
    )
    other = {"Call": unary(lambda request, _: request), "Refuse": unary(refuse)}
    server.add_generic_rpc_handlers([known, grpc.method_handlers_generic_handler("own.Service", other)])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address
    server.stop(0).wait(SECONDS)


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def send_http(address: tuple[str, int]) -> None:
    """Calls over HTTP/1.1, with canaries wherever there is room for one."""
    base = f"http://{address[0]}:{address[1]}"
    headers = {
        "user-agent": f"client of {mail('useragent')}",
        "authorization": f"Bearer {key('authorization')}",
        "x-api-key": key("apikey"),
        "cookie": f"session={key('sessioncookie')}",
        "x-private": mail("private"),
        "x-tier": mail("context"),
        "x-user": mail("user"),
        "traceparent": mail("traceparent"),
        "x-request-id": mail("requestid"),
    }
    body = {
        "messages": [{"role": "user", "content": f"I am {mail('body')}, {HARMLESS}"}],
        mail("fieldname"): 1,
        "escaped": "\\u0040",
        "password": f"{WORD}password",
    }
    escaped = json.dumps(body).replace('"\\\\u0040"', f'"{WORD}.escaped\\u0040example.org"').encode()
    with httpx.Client(timeout=SECONDS, headers=headers) as client:
        json_type = {"content-type": "application/json"}
        client.post(f"{base}/v1/chat/completions", content=escaped, headers=json_type)
        client.post(
            f"{base}/users/{mail('path')}/x", params={"q": mail("query"), "token": key("token")}, json=body
        )
        client.get(f"{base}/twice/{WORD}.twice%2540example.org")
        client.get(f"{base}/packed")
        client.get(f"{base}/failing")
        client.post(f"{base}/form", data={"mail": mail("form"), "password": f"{WORD}formpassword"})
        client.post(
            f"{base}/text", content=f"plain {mail('text')}".encode(), headers={"content-type": "text/plain"}
        )
        for name, text in encoded(f"to {mail('encoded')}").items():
            client.post(f"{base}/encoded/{name}", json={"text": f"see {text} there"})
        for coding, compress in CODINGS.items():
            coded = {"content-encoding": coding} | json_type
            packed = compress(json.dumps({"mail": mail(coding)}).encode())
            client.post(f"{base}/coded", content=packed, headers=coded)
        client.post(f"{base}/parts", files={"a": ("a.txt", f"to {mail('part')}", "text/plain")})
        lines = "".join(json.dumps({"response": piece}) + "\n" for piece in pieces(mail("lines")))
        client.post(f"{base}/lines", content=lines.encode(), headers={"content-type": "application/x-ndjson"})
        client.post(f"{base}/broken", content=b'{"mail": "' + mail("malformed").encode(), headers=json_type)
        client.post(
            f"{base}/image",
            content=b"\x89PNG\0" + mail("image").encode(),
            headers={"content-type": "image/png"},
        )
        client.post(
            f"{base}/utf16",
            content=mail("utf16").encode("utf-16"),
            headers={"content-type": "text/plain; charset=utf-16"},
        )
        wrong = {"content-encoding": "gzip"} | json_type
        client.post(f"{base}/notgzip", content=mail("notgzip").encode(), headers=wrong)


def send_protocols(address: tuple[str, int]) -> None:
    """Each protocol of models, whole and streamed."""
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=SECONDS) as client:
        for call in CALLS:
            headers = {"content-type": call.content_type, **dict(call.headers)}
            assert client.post(call.path, content=call.body, headers=headers).content == call.answer


def send_odd(address: tuple[str, int]) -> None:
    """What is no good HTTP: framing that is ambiguous, a broken upload, and another protocol."""
    ambiguous = b"POST /%b HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n%b"
    upload = b"POST /up HTTP/1.1\r\nHost: m\r\nContent-Length: 9999\r\n\r\n%b"
    for sent in (
        ambiguous % (mail("ambiguous").encode(), mail("ambiguousbody").encode()),
        upload % mail("upload").encode(),
        b"\x16\x03 not http: " + mail("opaque").encode(),
        b"GET /" + b"a" * (70 << 10) + mail("longhead").encode(),
    ):
        with socket.create_connection(address, SECONDS) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass


def send_socket(address: tuple[str, int]) -> None:
    """A WebSocket whose messages are pieces of an address, both ways."""
    asked = (
        b"GET /socket HTTP/1.1\r\nHost: m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answered = b"".join(map(frame, pieces(mail("socketanswer"))))
    with socket.create_connection(address, SECONDS) as connection:
        connection.sendall(asked)
        received = b""
        while not received.endswith(answered) and (data := connection.recv(1 << 16)):
            received += data
        connection.sendall(b"".join(frame(piece, is_masked=True) for piece in pieces(mail("socketsent"))))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def send_grpc(address: tuple[str, int]) -> None:
    """Known and unknown services, metadata, a refusal."""
    request = oip.ModelInferRequest(model_name="m", id=mail("grpcrequestid"))
    request.parameters["note"].string_param = mail("grpcparameter")
    request.inputs.add(name=mail("grpctensor"), datatype="BYTES", shape=[1])
    text = mail("grpcraw").encode()
    request.raw_input_contents.append(struct.pack("<I", len(text)) + text)
    metadata = (
        ("authorization", f"Bearer {key('grpcauthorization')}"),
        ("note-bin", mail("grpcbin").encode()),
    )
    with grpc.insecure_channel(f"{address[0]}:{address[1]}") as channel:
        options: dict[str, Any] = {"metadata": metadata, "timeout": SECONDS}
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            request.SerializeToString(), **options
        )
        channel.unary_unary("/own.Service/Call")(mail("grpcopaque").encode(), **options)
        sent = mail("grpcschemaless").encode()
        channel.unary_unary("/own.Service/Call")(b"\x0a" + bytes((len(sent),)) + sent, **options)
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            tensor_of(mail("grpcgzip")), compression=grpc.Compression.Gzip, **options
        )
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        asked = (tensor_of(piece) for piece in pieces(mail("grpcstream")))
        assert len(list(stream(asked, **options))) == len(pieces(mail("grpcstream")))
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/own.Service/Refuse")(b"", **options)


def die_at_work(sidecar: "Sidecar", address: tuple[str, int], number: int) -> None:
    """Relay and recorder, with canaries in memory: of a call that is half sent, of calls to be redacted."""
    for child in ("relay 0", "recorder"):
        with socket.create_connection(address, SECONDS) as connection:
            asked = b"POST /half HTTP/1.1\r\nHost: m\r\nContent-Length: 99999\r\n\r\n"
            connection.sendall(asked + mail("half").encode())
            send_protocols(address)
            pid = sidecar.pid(child)
            os.kill(pid, number)
            deadline = time.monotonic() + SECONDS
            while sidecar.pid(child) == pid:
                assert time.monotonic() < deadline, f"{child} is started again"
                time.sleep(0.02)


def core_places(pattern: str, here: Path) -> list[str]:
    """Where core files would be (core(5)), as patterns for glob; `here` is where processes work."""
    if pattern.startswith("|"):  # a program has them; these are where the usual ones put them
        return ["/var/lib/systemd/coredump/*", "/var/crash/*", "/var/lib/apport/coredump/*"]
    name = re.sub("%(.)", lambda each: "%" if each[1] == "%" else "*", pattern)
    return [str(here / name) + end for end in ("", ".*")]


def cores(here: Path | None = None) -> set[str]:
    """The core files that there are."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    return {found for place in core_places(pattern, here or Path.cwd()) for found in glob.glob(place)}


def test_core_files_would_be_found(tmp_path: Path) -> None:
    """A process that may leave a core file is seen to, where the machine lets any: so none means none."""
    assert core_places("/var/cores/%e.%%.%p", tmp_path) == ["/var/cores/*.%.*", "/var/cores/*.%.*.*"]
    assert core_places("core", tmp_path) == [str(tmp_path / "core"), str(tmp_path / "core.*")]
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    if most == 0 or Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        pytest.skip("no process may leave a core file here, or a program takes them")
    before = cores(tmp_path)
    ended = subprocess.run(
        ["sh", "-c", f"ulimit -c {'unlimited' if most < 0 else most // 1024}; kill -SEGV $$"],
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == -signal.SIGSEGV
    found = cores(tmp_path) - before
    for path in found:
        Path(path).unlink()
    if not found and not any(tmp_path.iterdir()):
        pytest.skip("this kernel leaves no core files")
    assert found


def files_under(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield str(path.relative_to(directory)), content
            for number, text in enumerate(unpacked(content)):
                yield f"{path.relative_to(directory)} {number}", text


def unpacked(content: bytes) -> Iterator[bytes]:
    """What stands in frames of Zstandard (RFC 8878), as archives have it, as far as it can be read."""
    place = -1
    while (place := content.find(b"\x28\xb5\x2f\xfd", place + 1)) >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[place : place + (4 << 20)])


def shown(records: list[v1.Record]) -> str:
    return "".join(map(str, records))


def test_no_canary_is_found(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    grpc_model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of everything sent and answered, no canary is in any file, log, record or page; harmless text is."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    model = HttpModel()
    storage = start_storage()
    sidecar = start_sidecar(
        "127.0.0.1:1",
        routes=f"127.0.0.1:0={start_model(model).address},127.0.0.1:0={grpc_model}",
        storage=storage.address,
        context_headers="x-tier",
        user_header="x-user",
        record_headers="user-agent,server,authorization,cookie,x-api-key,set-cookie,server-timing,note-bin",
    )
    http_address, grpc_address = (split(address) for address in sidecar.listen)
    send_http(http_address)
    send_protocols(http_address)
    send_odd(http_address)
    send_socket(http_address)
    send_grpc(grpc_address)
    assert sidecar.await_settled()["calls"]["handed_over"] >= 17
    # Children that die in the middle of their work leave nothing behind either.
    before = cores()
    for number in (signal.SIGABRT, signal.SIGSEGV):
        die_at_work(sidecar, http_address, number)
    send_http(http_address)
    sidecar.await_account(lambda each: each["hand_over"]["in_transit"] == 0 and each["spool"]["pending"] == 0)

    at_storage = storage.records()
    served = {
        "the sidecar's API": shown(sidecar.records()),
        "storage's API": shown(at_storage),
        "the table": storage.get("/")[1],
        "the pages": "".join(storage.get(f"/calls/{record.call_id}")[1] for record in at_storage),
    }
    assert [where for where, text in served.items() if HARMLESS not in text] == ["the table"]
    served["numbers"] = sidecar.get("/metrics")[1] + sidecar.get("/account")[1] + storage.get("/metrics")[1]
    assert (sidecar.stop(), storage.stop()) == (0, 0)
    assert cores() == before, "those that died left no image of their memory"

    files = list(files_under(tmp_path))
    assert model.received.count(WORD.encode()) > 60, "the canaries were sent"
    assert any(HARMLESS.encode() in data for _, data in files), "what is in a file is found"
    packed = [data for name, data in files if ".duckdb " in name]
    assert any(HARMLESS.encode() in data for data in packed), "what is packed in an archive is found"
    assert [found for name, data in files if (found := around(name, data))] == []
    logs = [data for name, data in files if name.endswith(".log")]
    assert len(logs) == 2
    assert not any(b"Traceback" in data for data in logs)
    assert [found for where, text in served.items() if (found := around(where, text.encode()))] == []


# The word as encodings leave it; of base64 what does not depend on what stands around it, at each offset.
NEEDLES = (
    *(text.encode() for name, text in encoded(WORD).items() if name not in ("base64", "base64url", "nested")),
    *(
        base64.b64encode(b"-" * n + WORD.encode())[-(-n * 8 // 6) : (n + len(WORD)) * 8 // 6]
        for n in range(3)
    ),
    WORD.encode(),
    WORD.encode("utf-16-le"),
)
# A member as a record's JSON has it, also where it is shown in a text of its own; and texts without a name.
MEMBER = re.compile(rb'\\*"(\w+)\\*": ?\\*"((?:[^"\\]|\\[^"])*)\\*"')
ALONE = re.compile(rb'"([^"]{1,4})"|data: ?([^"{}\\]{1,4})(?:\\n|$)', re.MULTILINE)


def joined(data: bytes) -> Iterator[bytes]:
    """The pieces of streams put together: what stands under each name, that of two texts in turns too."""
    named: dict[bytes, list[bytes]] = {}
    for name, value in MEMBER.findall(data):
        named.setdefault(name, []).append(value)
    alone = [left or right for left, right in ALONE.findall(data)]
    for values in (*named.values(), alone):
        yield from (b"".join(values), b"".join(values[::2]), b"".join(values[1::2]))


def around(where: str, data: bytes) -> tuple[str, bytes] | None:
    """The first canary in `data`, with what stands around it; also one in pieces, or encoded."""
    for text in (data, *joined(data)):
        for needle in NEEDLES:
            at = text.find(needle)
            if at >= 0:
                return where, text[max(at - 60, 0) : at + 60]
    return None


@pytest.mark.parametrize("name", STREAMS)
def test_search_joins_what_streams_spread(name: str) -> None:
    """A canary that were left in the pieces of a stream would be seen, in its body and as it is served."""
    body = streamed(name, f"to {mail('x')}")
    assert WORD.encode() not in body
    assert around("here", body)
    assert around("here", str(v1.Payload(data=body)).encode())
    assert around("here", streamed(name, f"to <email> of a {HARMLESS}")) is None


@pytest.mark.parametrize("name", encoded(""))
def test_search_sees_through_encodings(name: str) -> None:
    """A canary that were left in any encoding, at any offset, or in pieces, would be seen."""
    for before in ("", "a", "ab"):
        assert around("here", encoded(before + mail("x"))[name].encode())
    streamed = b"".join(map(delta, pieces(mail("x"))))
    assert WORD.encode() not in streamed
    assert around("here", streamed)
    assert around("here", f"nothing but a {HARMLESS}".encode()) is None
