"""Journey 2, what HTTP/1 peers do more seldom: 1.0, proxies, tunnels, upgrades, hints, large heads."""

import base64
import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from websockets.sync.client import connect as connect_websocket
from websockets.sync.server import serve as serve_websocket

from infertap import v1

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

SECONDS = 30


class Old(http.server.BaseHTTPRequestHandler):
    """A server of HTTP/1.0, whose answers end with the connection, and of HTTP/1.1 in a subclass."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(f"{self.command} {self.path} {self.headers['x-request-id']}".encode())

    def log_message(self, *_: object) -> None:
        """Silence."""


class Plain(Old):
    """The same, kept alive."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.command} {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()


@contextlib.contextmanager
def serving(handler: type[Old], family: int = socket.AF_INET) -> Iterator[str]:
    """Address of a server of Python's own."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = family
        daemon_threads = True

    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with Server((host, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
        server.shutdown()
        thread.join(SECONDS)


def url_of(sidecar: "Sidecar", path: str = "/", listen: int = 0) -> str:
    return f"http://{sidecar.listen[listen]}{path}"


def run_curl(*arguments: str) -> str:
    command = ["curl", "-sS", "--max-time", str(SECONDS), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_http10_and_a_body_until_the_end(start_sidecar: "StartSidecar") -> None:
    """A client and a server of HTTP/1.0: the id is added, and the end of the connection is the body's."""
    with serving(Old) as address:
        sidecar = start_sidecar(address)
        answer = run_curl("--http1.0", url_of(sidecar, "/old"))
        [record] = sidecar.await_records(1)
    assert answer == f"GET /old {record.request_id}"
    assert (record.state, record.http_status) == (v1.COMPLETED, 200)
    assert record.response.data == answer.encode()


def test_pipelining_and_answers_without_a_body(start_sidecar: "StartSidecar") -> None:
    """Requests in one write to a server of Python's own; a 204 between them ends with its head."""
    with serving(Plain) as address:
        sidecar = start_sidecar(address)
        with sidecar.connect() as client:
            client.sendall(
                b"GET /a HTTP/1.1\r\nHost: m\r\n\r\nDELETE /b HTTP/1.1\r\nHost: m\r\n\r\n"
                b"GET /c HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
            )
            read = b"".join(iter(lambda: client.recv(1 << 16), b""))
        records = sorted(sidecar.await_records(3), key=lambda each: each.path)
    assert read.count(b"x-request-id: ") == 3
    assert read.index(b"GET /a") < read.index(b"204 No Content") < read.index(b"GET /c")
    told = [(each.method, each.path, each.http_status, each.response.data) for each in records]
    assert told == [("GET", "/a", 200, b"GET /a"), ("DELETE", "/b", 204, b""), ("GET", "/c", 200, b"GET /c")]


def test_target_in_absolute_form(start_sidecar: "StartSidecar") -> None:
    """A client that takes the sidecar for its proxy: the target passes as it is, and is understood."""
    with serving(Plain) as address:
        sidecar = start_sidecar(address)
        answer = run_curl("-x", url_of(sidecar), "http://model.test/v1/x?a=1")
        run_curl("-x", url_of(sidecar), "http://model.test/healthz")
        [record] = sidecar.await_records(1)
    assert answer == "GET http://model.test/v1/x?a=1"
    assert (record.path, record.query) == ("/v1/x", "a=1")
    assert sidecar.await_settled()["calls"]["skipped"] == 1


def test_early_hints(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """100 and 103 pass without an id and are not the answer; the answer after them is."""

    def answer(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not request.endswith(b"question"):
            request += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer")

    sidecar = start_sidecar(start_model(answer).address)
    printed = run_curl("-i", "-H", "Expect: 100-continue", "-d", "question", url_of(sidecar))
    hints, _, final = printed.partition("103 Early Hints")[2].partition("HTTP/1.1 200 OK")
    assert "x-request-id" not in hints.lower()
    assert "x-request-id" in final.lower()
    assert final.endswith("answer")
    [record] = sidecar.await_records(1)
    assert (record.http_status, record.response.data) == (200, b"answer")


# -- tunnels and upgrades


def proxy(connection: socket.socket) -> None:
    """A proxy that knows CONNECT."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    host, _, port = head.split(b" ")[1].decode().rpartition(":")
    with socket.create_connection((host, int(port))) as onward:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        forward = threading.Thread(target=copy, args=(connection, onward))
        forward.start()
        copy(onward, connection)
        forward.join(SECONDS)


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_connect(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A tunnel by CONNECT: the call, and then one record of what nobody looks into."""
    with serving(Old) as inner:
        sidecar = start_sidecar(start_model(proxy).address)
        assert run_curl("--proxytunnel", "-x", url_of(sidecar), f"http://{inner}/in") == "GET /in None"
        records = {record.protocol: record for record in sidecar.await_records(2)}
    assert (records[v1.HTTP1].method, records[v1.HTTP1].http_status) == ("CONNECT", 200)
    assert records[v1.OPAQUE].request.size_bytes > 0


def http2_after_upgrade(connection: socket.socket) -> None:
    """A server that is asked in HTTP/1.1 and answers in HTTP/2, as RFC 7540 had it (section 3.2)."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    fields = dict(line.lower().split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
    settings = fields[b"http2-settings"]
    original = head[head.lower().index(b"http2-settings: ") + 16 :].split(b"\r\n")[0]
    assert len(settings) == len(original)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    model = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    model.initiate_upgrade_connection(base64.urlsafe_b64encode(base64.urlsafe_b64decode(original + b"==")))
    model.send_headers(1, [(":status", "200"), ("content-type", "text/plain")])
    model.send_data(1, b"in HTTP/2", end_stream=True)
    connection.sendall(model.data_to_send())
    while data := connection.recv(1 << 16):
        model.receive_data(data)
        connection.sendall(model.data_to_send())


def test_upgrade_to_http2(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """curl asks for HTTP/2 by an upgrade, and gets it; what follows the 101 is relayed as it is."""
    sidecar = start_sidecar(start_model(http2_after_upgrade).address)
    printed = run_curl("--http2", "-w", "\n%{http_version}", url_of(sidecar, "/up"))
    assert printed == "in HTTP/2\n2"
    records = {record.protocol: record for record in sidecar.await_records(2)}
    assert (records[v1.HTTP1].path, records[v1.HTTP1].http_status) == ("/up", 101)
    assert sidecar.await_settled()["calls"]["seen"] == 2


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websocket(start_sidecar: "StartSidecar", compression: str | None) -> None:
    """A conversation of real peers: text, binary, fragments, a ping, compressed or not; it is read."""

    def echo(peer: "ServerConnection") -> None:
        for message in peer:
            peer.send(message)

    with serve_websocket(echo, "127.0.0.1", 0, compression=compression) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        sidecar = start_sidecar(f"127.0.0.1:{server.socket.getsockname()[1]}")
        host, port = sidecar.address
        with connect_websocket(f"ws://{host}:{port}/chat", compression=compression) as client:
            assert client.response is not None
            assert client.response.headers["x-request-id"]
            for message in ("to ada@example.org", bytes(70_000), ["in ", "three ", "parts"]):
                client.send(message)
                expected = "".join(message) if isinstance(message, list) else message
                assert client.recv(SECONDS) == expected
            assert client.ping().wait(SECONDS)
        server.shutdown()
        thread.join(SECONDS)
        records = {record.protocol: record for record in sidecar.await_records(2)}
    assert records[v1.HTTP1].http_status == 101
    talk = records[v1.WEBSOCKET]
    assert talk.close_code == 1000
    for side in (talk.request, talk.response):
        told = [each for each in json.loads(side.decoded_json) if each["type"] in ("text", "binary")]
        assert [each.get("data", each.get("size")) for each in told] == [
            "to <email>",
            70_000,
            "in three parts",
        ]


# -- heads of any size


def greet(connection: socket.socket) -> None:
    """Answers each head, whatever its size."""
    head = b""
    while piece := connection.recv(1 << 16):
        head += piece
        if head.endswith(b"\r\n\r\n"):
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(len(head))), len(head))
            )
            head = b""


@pytest.mark.parametrize(("size", "is_followed"), [(60_000, True), (100_000, False)])
def test_large_heads(
    start_model: "StartModel", start_sidecar: "StartSidecar", size: int, is_followed: bool
) -> None:
    """A head of up to 64 KiB is followed; a larger one arrives all the same, as does what comes after it."""
    sidecar = start_sidecar(start_model(greet).address)
    client = http.client.HTTPConnection(*sidecar.address, timeout=SECONDS)
    large = {f"x-{number}": "v" * 1000 for number in range(size // 1010)}
    sizes = []
    for headers in (large, {}):
        client.request("GET", "/large", headers=headers)
        answer = client.getresponse()
        sizes.append(int(answer.read()))
        assert (answer.headers["x-request-id"] is not None) == is_followed
    client.close()
    assert sizes[0] > 0.95 * size
    if is_followed:
        assert sorted(record.path for record in sidecar.await_records(2)) == ["/large", "/large"]
    else:
        assert "infertap_relay_heads_too_large_total" in sidecar.get("/metrics")[1]
        assert sidecar.await_settled()["calls"]["handed_over"] == 0


def test_ipv6_and_several_routes_over_two_workers(start_sidecar: "StartSidecar") -> None:
    """Two models behind one sidecar, one of them on IPv6 on both sides: each route leads to its own."""
    with serving(Old) as one, serving(Plain, socket.AF_INET6) as other:
        sidecar = start_sidecar("off", routes=f"127.0.0.1:0={one},[::1]:0={other}", workers="2")
        with httpx.Client(timeout=SECONDS) as client:
            for _ in range(4):
                answers: list[Any] = [client.get(url_of(sidecar, "/", listen)).text for listen in (0, 1)]
                assert answers[0].startswith("GET / ")
                assert answers[1] == "GET /"
        endpoints = {record.model.endpoint for record in sidecar.await_records(8)}
    assert len(endpoints) == 2
