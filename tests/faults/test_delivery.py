"""Delivery: records that storage refuses become dead letters, are shown, and resent into their hole."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import v1
from infertap.cli import main
from sidecar.spool import Spool
from tests.faults.settling import settle

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

POISON = (7, 20)


class Refusing(v1.IngestServiceServicer):
    """A storage that will never take some sequences, and takes all others; it says which, or ends the stream
    for whatever batch has one.
    """

    def __init__(self, *, says_which: bool) -> None:
        self._says_which = says_which
        self._kept: list[v1.SequenceRange] = []

    async def Ingest(self, requests: Any, context: Any) -> AsyncIterator[v1.IngestResponse]:  # noqa: N802
        async for request in requests:
            if request.HasField("hello"):
                yield v1.IngestResponse(welcome=v1.Welcome(received=self._kept))
                continue
            sequences = [entry.record.sequence for entry in request.batch.entries]
            if not self._says_which and not set(POISON).isdisjoint(sequences):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not understood")
            taken = [v1.SequenceRange(first=each, last=each) for each in sequences if each not in POISON]
            self._kept += taken
            yield v1.IngestResponse(ack=v1.Ack(ranges=taken))
            for each in sequences:
                if each in POISON:
                    yield v1.IngestResponse(reject=v1.Reject(sequence=each, reason="not understood"))


# By what a dead letter's reason is.
KINDS = {"not understood": True, "INVALID_ARGUMENT: not understood": False}


@pytest.fixture(params=KINDS)
def refusing(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Its address, and the reason that dead letters have."""
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        v1.add_IngestServiceServicer_to_server(Refusing(says_which=KINDS[request.param]), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield f"127.0.0.1:{port}", request.param
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    running.join(30)
    loop.close()


def letters(sidecar: "Sidecar", capsys: pytest.CaptureFixture[str]) -> dict[int, str]:
    """What `infertap spool dead-letters list` prints: reasons by sequence."""
    capsys.readouterr()
    assert main(["spool", "dead-letters", "list", "--json", "--address", sidecar.api]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {int(line["sequence"]): line["reason"] for line in lines}


def test_poison_record_is_set_aside_the_queue_moves_and_resending_fills_the_hole(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    link: "Link",
    refusing: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused by itself or with its batch, listed, shown; a storage that takes it gets it when it is resent,
    and lacks nothing.
    """
    link.storage, reason = refusing
    sidecar = start_sidecar(calls.model, storage=link.address)
    calls.make(sidecar, 40)
    account = sidecar.await_account(lambda each: each["spool"]["acked"] == 38 and each["balanced"])
    assert (account["spool"]["dead_lettered"], account["spool"]["pending"]) == (2, 0)
    assert letters(sidecar, capsys) == dict.fromkeys(POISON, reason)
    assert main(["spool", "dead-letters", "show", "7", "--address", sidecar.api]) == 0
    assert "/v1/x" in capsys.readouterr().out
    storage = start_storage()
    link.cut()
    link.storage = storage.address
    calls.make(sidecar, 10)
    assert len(storage.await_records(48)) == 48, "a storage that lacks them gets all but the dead letters"
    assert main(["spool", "dead-letters", "resend", "7", "--address", sidecar.api]) == 0
    storage.await_records(49)
    assert main(["spool", "dead-letters", "resend", "--all", "--address", sidecar.api]) == 0
    storage.await_records(50)
    assert letters(sidecar, capsys) == {}
    # The page is told of what the API has changed by the next heartbeat.
    sidecar.await_account(lambda each: each["spool"]["dead_lettered"] == 0)
    account = settle(sidecar, storage, calls)
    assert (account["spool"]["acked"], account["spool"]["dead_lettered"]) == (50, 0)


def test_bytes_that_are_no_record_are_refused_again_whenever_they_are_resent(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What no storage will ever take is a dead letter again, and holds up nothing."""
    spool = Spool.open(tmp_path / "poisoned", 64 << 20, ring=False)
    spool.append([(bytes(16), b"\xff no record")])
    spool.close()
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address, spool_dir=str(tmp_path / "poisoned"))
    calls.make(sidecar, 20)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 20)
    assert letters(sidecar, capsys) == {1: "not a record"}
    assert main(["spool", "dead-letters", "resend", "--all", "--address", sidecar.api]) == 0
    calls.make(sidecar, 20)
    account = sidecar.await_account(
        lambda each: (
            each["spool"]["acked"] == 40 and each["spool"]["dead_lettered"] == 1 and each["spool"]["balanced"]
        )
    )
    assert account["spool"]["pending"] == 0
    assert letters(sidecar, capsys) == {1: "not a record"}
    assert len(storage.records()) == 40
