"""Peers that do not read: what waits for them is bounded, for one connection and for very many."""

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import traffic as traffic_module
from sidecar.relay.flow_control import SCARCE_BYTES

if TYPE_CHECKING:
    from sidecar.relay.side import Side
    from tests.sidecar.relay.conftest import Bench

MIB = 1 << 20


async def settled(bench: "Bench", counter: str) -> None:
    """Until nothing more comes in."""
    passed = -1
    while passed != bench.row[counter]:
        passed = bench.row[counter]
        await asyncio.sleep(0.2)


def sides(bench: "Bench") -> "list[Side]":
    return [side for each in bench.traffic.connections for side in (each.client, each.model)]


@pytest.mark.parametrize("stalled", ["client", "model"])
async def test_scarce_room_is_shared_by_small_reads(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch, stalled: str
) -> None:
    """Once too many peers stall the others are read in small pieces: little waits, and no byte is lost."""
    monkeypatch.setattr(traffic_module, "STALLED_MAX", 1)
    pairs = [await bench.joined() for _ in range(3)]
    body = os.urandom(24 * MIB)
    counter = "bytes_from_model" if stalled == "client" else "bytes_from_client"
    senders = [(model if stalled == "client" else client) for client, model in pairs]
    readers = [(client if stalled == "client" else model) for client, model in pairs]
    sending = [asyncio.create_task(senders[0].send(body))]
    await settled(bench, counter)
    assert bench.traffic.is_scarce
    assert all(side.reads_little for side in sides(bench))
    sending += [asyncio.create_task(each.send(body)) for each in senders[1:]]
    pairs.append(await bench.joined())
    await bench.until(lambda: len(bench.taps) == 4)
    assert all(side.reads_little for side in sides(bench)), "new ones too"
    await settled(bench, counter)
    waiting = sorted(side.transport.get_write_buffer_size() for side in sides(bench))
    assert waiting[-1] <= 512 << 10
    assert waiting[-2] <= 2 * SCARCE_BYTES + (16 << 10)
    for reader in readers:
        assert await reader.receive(len(body)) == body
    await asyncio.gather(*sending)


async def test_room_that_is_free_again(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """When the stalled peers have read, connections are read freely again, and bytes pass as before."""
    monkeypatch.setattr(traffic_module, "STALLED_MAX", 1)
    client, model = await bench.joined()
    body = os.urandom(24 * MIB)
    sending = asyncio.create_task(client.send(body))
    await settled(bench, "bytes_from_client")
    assert bench.traffic.is_scarce
    assert await model.receive(len(body)) == body
    await sending
    assert bench.traffic.stalled == 0
    monkeypatch.setattr(traffic_module, "STALLED_MAX", 100)
    bench.traffic.relax()
    (connection,) = bench.traffic.connections
    connection.read_in_pieces(small=bench.traffic.is_scarce)
    assert not any(side.reads_little for side in sides(bench))
    _, received = await asyncio.gather(model.send(body), client.receive(len(body)))
    assert received == body
    client.end()
    assert await model.receive_all() == b""


async def test_client_that_breaks_off_while_it_waits(bench: "Bench") -> None:
    """A client that is not read, as the model does not read, is noticed to break off; the model is told."""
    client, model = await bench.joined()
    sending = asyncio.create_task(client.send(bytes(24 * MIB)))
    await settled(bench, "bytes_from_client")
    (connection,) = bench.traffic.connections
    connection.tick(1)
    assert bench.traffic.stalled == 1
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    client.reset()
    connection.tick(2)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.traffic.stalled == 0
    with pytest.raises(ConnectionResetError):
        await model.receive(1 << 40)
    assert "lost by CLIENT" in bench.taps[0].told
