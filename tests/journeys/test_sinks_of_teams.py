"""Journey: from a client's call to Kafka, an OTLP receiver and a search engine, while storage is killed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.journeys.conftest import await_true
from tests.journeys.test_into_storage import answer, ask
from tests.storage.sinks.bulk_server import PREFIX, BulkServer
from tests.storage.sinks.mock_brokers import consumed, mock_brokers
from tests.storage.sinks.otlp_receiver import Receiver, record_number, spans_of

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

SINKS = """
[[sink]]
name = "topic"
kind = "kafka"
from = "beginning"
batch_records = 20
brokers = "{brokers}"
topic = "calls"
timeout = "10s"

[[sink]]
name = "spans"
kind = "otlp"
from = "beginning"
batch_records = 20
url = "{otlp}"

[[sink]]
name = "search"
kind = "elasticsearch"
from = "beginning"
batch_records = 20
url = "{search}"
"""


@contextmanager
def serving(app: web.Application) -> Iterator[str]:
    """The application on a port of its own, in a thread; its URL."""
    loop, runner = asyncio.new_event_loop(), web.AppRunner(app)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def receivers() -> Iterator[tuple[BulkServer, Receiver, str, dict[str, str]]]:
    """What the sinks are for: the search engine, the receiver, the brokers; and where they are."""
    bulk, receiver = BulkServer(), Receiver()
    with serving(bulk.app()) as search, serving(receiver.app()) as otlp, mock_brokers() as brokers:
        places = {"search": search + PREFIX, "otlp": otlp, "brokers": brokers.addresses}
        yield bulk, receiver, brokers.addresses, places


def test_every_call_reaches_every_sink(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    receivers: tuple[BulkServer, Receiver, str, dict[str, str]],
    tmp_path: Path,
) -> None:
    """Though storage is killed: each record at least once in the topic and as a span, once in the index."""
    bulk, receiver, brokers, places = receivers
    sinks = tmp_path / "sinks.toml"
    sinks.write_text(SINKS.format(**places))
    archive = tmp_path / "archive"
    storage = start_storage(archive, sinks_file=str(sinks))
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 100)
    await_true(lambda: receiver.traces and bulk.sizes, "something arrives")
    storage.kill()
    ask(sidecar, 100)
    again = start_storage(archive, sinks_file=str(sinks), storage_listen=storage.address)
    every = set(range(1, 201))
    await_true(lambda: len(documents(bulk)) >= 200, "all documents arrive")
    await_true(lambda: every <= set(map(record_number, spans_of(receiver.traces))), "all spans arrive")
    await_true(lambda: every <= numbers(brokers), "all messages arrive")
    assert len(documents(bulk)) == 200
    assert (sidecar.stop(), again.stop()) == (0, 0)


def documents(bulk: BulkServer) -> list[str]:
    return [each for index in bulk.documents.values() for each in index]


def numbers(brokers: str) -> set[int]:
    """The sequences of the records in the topic."""
    found = consumed(brokers, "calls")
    return {int(each["infertap-record"].decode().rpartition("-")[2]) for each in found}
