"""What a stranger can send to a gRPC server of ours, byte by byte: it serves on."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from infertap.identity import make_server

WAIT_SECONDS = 20


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = make_server([], [("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    listening = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield listening
    await server.stop(0)


async def status_of(port: int, path: bytes) -> str:
    """The gRPC status of a call to that path."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    wire = h2.connection.H2Connection(config)
    wire.initiate_connection()
    told = {b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"x"}
    told |= {b"content-type": b"application/grpc", b"te": b"trailers"}
    wire.send_headers(1, list(told.items()))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                writer.write(wire.data_to_send())
                data = await reader.read(65_536)
                assert data, "the connection ended without an answer"
                for event in wire.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                        found = {bytes(name): bytes(value) for name, value in event.headers or ()}
                        if b"grpc-status" in found:
                            return found[b"grpc-status"].decode()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "path", [b"/\xff\xfe", b"/infertap.v1.NoService/NoMethod", b"/\xc3", b"/" + b"x" * 4000]
)
async def test_unknown_methods(port: int, path: bytes) -> None:
    """A method that is not there is told to be unknown, whatever its name; others are served on."""
    for _ in range(3):
        assert await status_of(port, path) == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=WAIT_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
