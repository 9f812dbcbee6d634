"""The admin endpoint: answers by path, and no client can hurt it."""

import asyncio
import contextlib
import socket

import pytest

from sidecar.parent.admin import Admin, Answer, answer, json_answer

PAGES = {"/healthz": lambda: Answer(200, "alive\n"), "/readyz": lambda: Answer(503, "draining\n")}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /healthz?verbose HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", 200),
        (b"GET /readyz HTTP/1.1\r\n\r\n", 503),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_requests_get_their_status(head: bytes, status: int) -> None:
    """Each request head gets the status that HTTP has for it."""
    assert answer(head, PAGES).status == status


def test_json_answer_is_a_document() -> None:
    """A value becomes a JSON document with its media type."""
    assert json_answer(200, {"a": 1}) == Answer(200, '{\n "a": 1\n}\n', "application/json")


async def ask(port: int, request: bytes) -> bytes:
    """What comes back until the connection ends, in order or not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        async with asyncio.timeout(20):
            received = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return received


async def test_answers_on_the_wire() -> None:
    """A response has status line, length and body; HEAD has no body; the connection then ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = await Admin(listening, PAGES).serve()
    got = await ask(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 6\r\n" in got
    assert got.endswith(b"\r\n\r\nalive\n")
    assert (await ask(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
    server.close()


async def test_hostile_clients_do_not_hurt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless heads, silence and too many clients end their own connections only."""
    monkeypatch.setattr("sidecar.parent.admin.REQUEST_SECONDS", 0.2)
    monkeypatch.setattr("sidecar.parent.admin.MAX_CLIENTS", 3)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = await Admin(listening, PAGES).serve()
    assert await ask(port, b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 5000) == b""
    assert await asyncio.gather(*(ask(port, b"GET /h") for _ in range(10))) == [b""] * 10
    assert (await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    server.close()
