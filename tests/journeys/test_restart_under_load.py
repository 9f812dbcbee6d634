"""A sidecar is ended under load and another takes its port: no call fails that did not have to, none is lost.

The clients are real ones, each trying again only where no connection could be made: anything else that goes
wrong with a call fails the test.
"""

import asyncio
import contextlib
import random
import socket
import string
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import grpc
import httpx
import pytest

from tests.journeys.conftest import await_true, receive_until
from tests.journeys.test_http2_clients import Http2Model, echo
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

SECONDS = 30
PATH = "/v1/predict"
# Between two calls of a client: a machine with two cores shall have time for the rest.
PAUSE = 0.02


def http1_model(connection: socket.socket) -> None:
    """Answers each request of a keep-alive connection, which it never ends."""
    with contextlib.suppress(AssertionError):
        while True:
            head = receive_until(connection, b"ping")
            assert head.startswith(b"POST ")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong")


def new_id() -> str:
    """No digits: a record would not show what may be somebody's number."""
    return "".join(random.choices(string.ascii_lowercase, k=24))


class GrpcModel:
    """Answers bytes with the same bytes."""

    def __init__(self) -> None:
        handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("test.Echo", {"One": handler})]
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait(SECONDS)


@pytest.fixture
def grpc_model() -> Iterator[GrpcModel]:
    model = GrpcModel()
    yield model
    model.stop()


class Hammer:
    """Clients that call until they are told to stop; `answered` has the ids of calls that were."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, client: Callable[["Hammer"], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(client,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, client: Callable[["Hammer"], None]) -> None:
        try:
            client(self)
        except BaseException as fault:
            self.faults.append(f"{client}: {fault!r}")

    def goes_on(self) -> bool:
        return not self._stop.wait(PAUSE)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)


def by_httpx(port: int, **options: bool) -> Callable[[Hammer], None]:
    """httpx with a pool of connections; a new pool only where nobody listens."""

    def client(hammer: Hammer) -> None:
        with httpx.Client(timeout=SECONDS, **options) as pool:
            while hammer.goes_on():
                request_id = new_id()
                with contextlib.suppress(httpx.ConnectError):
                    answer = pool.post(
                        f"http://127.0.0.1:{port}{PATH}",
                        content=b"ping",
                        headers={"x-request-id": request_id},
                    )
                    assert (answer.status_code, len(answer.content)) == (200, 4)
                    hammer.answered.append(request_id)

    return client


def by_aiohttp(port: int) -> Callable[[Hammer], None]:
    """aiohttp, eight tasks over one pool."""

    async def one(session: aiohttp.ClientSession, hammer: Hammer) -> None:
        while await asyncio.to_thread(hammer.goes_on):
            request_id = new_id()
            with contextlib.suppress(aiohttp.ClientConnectorError):
                url = f"http://127.0.0.1:{port}{PATH}"
                async with session.post(url, data=b"ping", headers={"x-request-id": request_id}) as answer:
                    assert (answer.status, await answer.read()) == (200, b"pong")
                hammer.answered.append(request_id)

    async def all_tasks(hammer: Hammer) -> None:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(one(session, hammer))

    return lambda hammer: asyncio.run(all_tasks(hammer))


def by_new_connections(port: int) -> Callable[[Hammer], None]:
    """A connection for each call."""

    def client(hammer: Hammer) -> None:
        while hammer.goes_on():
            request_id = new_id()
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
            except ConnectionRefusedError:
                continue
            with connection:
                connection.sendall(
                    f"POST {PATH} HTTP/1.1\r\nHost: m\r\nX-Request-Id: {request_id}\r\n"
                    "Content-Length: 4\r\n\r\nping".encode()
                )
                assert receive_until(connection, b"pong").startswith(b"HTTP/1.1 200")
            hammer.answered.append(request_id)

    return client


def by_grpc(port: int) -> Callable[[Hammer], None]:
    """A grpcio channel; a call that can't be sent yet waits."""

    def client(hammer: Hammer) -> None:
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = channel.unary_unary("/test.Echo/One")
            while hammer.goes_on():
                request_id = new_id()
                metadata = (("x-request-id", request_id),)
                assert call(b"ping", metadata=metadata, timeout=SECONDS, wait_for_ready=True) == b"ping"
                hammer.answered.append(request_id)

    return client


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_call_fails_and_none_is_lost(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    grpc_model: GrpcModel,
    tmp_path: Path,
    workers: str,
) -> None:
    """While clients hammer, the sidecar ends and another takes its ports: each answered call is on record."""
    web, web2, rpc = free_port(), free_port(), free_port()
    chosen = {
        "routes": f"127.0.0.1:{web}={start_model(http1_model).address},"
        f"127.0.0.1:{web2}={start_model(Http2Model(echo)).address},127.0.0.1:{rpc}={grpc_model.address}",
        "workers": workers,
        "drain_delay_seconds": "0.3",
        "drain_seconds": "10",
    }
    spools = [str(tmp_path / "first"), str(tmp_path / "second")]
    apis = [f"127.0.0.1:{free_port()}" for _ in range(4)]
    first = start_sidecar("off", spool_dir=spools[0], api_listen=apis[0], **chosen)
    hammer = Hammer()
    clients = (
        by_httpx(web),
        by_httpx(web2, http1=False, http2=True),
        by_httpx(web),
        by_aiohttp(web),
        by_new_connections(web),
        by_grpc(rpc),
        by_grpc(rpc),
    )
    for client in clients:
        hammer.start(client)
    await_true(lambda: len(hammer.answered) > 200, "calls pass")
    first.process.terminate()
    await_true(lambda: first.events("draining: nobody listens"), "the door is closed")
    second = start_sidecar("off", spool_dir=spools[1], api_listen=apis[1], **chosen)
    assert first.process.wait(SECONDS) == 0
    after = len(hammer.answered)
    await_true(lambda: len(hammer.answered) > after + 200, "calls pass again")
    hammer.stop()
    assert hammer.faults == []
    assert second.stop() == 0

    recorded: set[str] = set()
    for sidecar, spool, api in zip((first, second), spools, apis[2:], strict=True):
        (ended,) = sidecar.events("sidecar ended")
        assert (ended["balanced"], ended["calls_not_spooled"]) == (True, 0)
        assert sidecar.events("drain time is up") == []
        reader = start_sidecar("127.0.0.1:1", spool_dir=spool, api_listen=api)
        recorded.update(record.request_id for record in reader.records())
    assert recorded == set(hammer.answered)
