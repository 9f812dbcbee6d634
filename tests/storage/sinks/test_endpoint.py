"""Endpoints that answer as none should: they cost neither a record nor more memory than there is for one."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest

from storage.sinks import SinkError
from storage.sinks.endpoint import Endpoint, EndpointSettings

BOMB_BYTES = 128 << 20
ENOUGH_BYTES = 80 << 20


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[Endpoint]:
    """An endpoint that answers these bytes, whatever is sent, and ends the connection."""

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(answer)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(EndpointSettings(f"http://127.0.0.1:{port}/in", {}, None, None, 20.0))
    try:
        yield endpoint
    finally:
        await endpoint.close()
        server.close()
        await asyncio.wait_for(asyncio.gather(*serving), 20)


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode() + body


def brotli_bomb() -> bytes:
    compressor = brotli.Compressor(quality=1)
    parts = [compressor.process(bytes(1 << 20)) for _ in range(BOMB_BYTES >> 20)]
    return b"".join([*parts, compressor.finish()])


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", lambda: gzip.compress(bytes(BOMB_BYTES), 6)),
        ("deflate", lambda: zlib.compress(bytes(BOMB_BYTES), 6)),
        ("br", brotli_bomb),
        ("identity", lambda: bytes(ENOUGH_BYTES // 2)),
    ],
)
async def test_an_answer_that_bursts(encoding: str, bomb: Callable[[], bytes]) -> None:
    """An answer that is large, or becomes so where it is opened, is given up while it is small yet."""
    body = bomb()
    async with answering(answer(200, f"Content-Encoding: {encoding}", body=body)) as endpoint:
        tracemalloc.start()
        try:
            with pytest.raises(SinkError):
                await endpoint.post(b"{}", {})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < ENOUGH_BYTES


async def test_what_is_wrong_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is not to be had is told by host and port and what the system says, without the rest
    of its URL.
    """
    resolve = socket.getaddrinfo

    def known(host: str, *asked: Any, **more: Any) -> Any:
        if host == "nobody.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *asked, **more)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    for url, said in (
        ("http://127.0.0.1:1/in?key=secret", "127.0.0.1:1: Connection refused"),
        ("http://[::1]:1/in", "[::1]:1: "),
        ("https://nobody.invalid/in", "nobody.invalid:443: no such host: Name or service not known"),
    ):
        endpoint = Endpoint(EndpointSettings(url, {}, None, None, 20.0))
        with pytest.raises(SinkError) as caught:
            await endpoint.post(b"{}", {})
        await endpoint.close()
        assert caught.value.kind.startswith(said)
        assert "secret" not in caught.value.kind


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (b"", "ended the connection without an answer"),
        (b"payload payload\r\n\r\n", "answered what is no HTTP"),
        (answer(200, body=b"payload")[:-1], "broke its answer off, or sent what can't be read"),
        (answer(200, "Content-Encoding: gzip", body=b"payload"), "broke its answer off, or sent what"),
    ],
)
async def test_an_answer_that_is_none(answered: bytes, said: str) -> None:
    """It is told in our own words, and nothing of it is quoted."""
    async with answering(answered) as endpoint:
        with pytest.raises(SinkError, match=said) as caught:
            await endpoint.post(b"{}", {})
    assert caught.value.kind.startswith("127.0.0.1:")
    assert "payload" not in caught.value.kind


async def test_without_tls_on_the_other_side() -> None:
    """https where only http is spoken is told as a fault of TLS."""
    async with answering(answer(400)) as endpoint:
        url = endpoint._settings.url.replace("http:", "https:")
        secure = Endpoint(EndpointSettings(url, {}, None, ssl.create_default_context, 20.0))
        with pytest.raises(SinkError, match="TLS: "):
            await secure.post(b"{}", {})
        await secure.close()


@pytest.mark.parametrize("status", [101, 300])
async def test_only_2xx_means_taken(status: int) -> None:
    """Whatever else is answered, what was sent has not arrived."""
    async with answering(answer(status, "Connection: upgrade", "Upgrade: x")) as endpoint:
        with pytest.raises(SinkError, match=f"^http {status}$"):
            await endpoint.post(b"{}", {})


@pytest.mark.parametrize(
    "date",
    [
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2015 99999999999999999999:28:00 GMT",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +2500",
    ],
)
async def test_a_retry_after_that_is_no_date(date: str) -> None:
    """A date that there can't be asks for no time; it is no fault of the record that was sent."""
    async with answering(answer(503, f"Retry-After: {date}")) as endpoint:
        with pytest.raises(SinkError, match="http 503") as caught:
            await endpoint.post(b"{}", {})
    assert caught.value.retry_after_seconds is None
