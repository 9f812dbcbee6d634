"""What a relay keeps of connections that are over: nothing, however they ended."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import Connection

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench, Peer

Ending = Callable[["Peer", "Peer"], Awaitable[None]]


async def both_end(client: "Peer", model: "Peer") -> None:
    client.end()
    assert await model.receive_all() == b""
    model.end()
    assert await client.receive_all() == b""


async def client_resets(client: "Peer", model: "Peer") -> None:
    await client.send(b"half a request")
    client.reset()


async def model_resets(client: "Peer", model: "Peer") -> None:
    await model.send(b"half an answer")
    model.reset()


async def nobody_reads(client: "Peer", model: "Peer") -> None:
    """A buffer full of bytes that are never asked for."""
    sending = asyncio.create_task(model.send(bytes(32 << 20)))
    await client.receive(1000)
    client.reset()
    with pytest.raises(ConnectionError):
        await sending


async def client_ends_and_model_resets(client: "Peer", model: "Peer") -> None:
    await client.send(b"question")
    client.end()
    assert await model.receive_all() == b"question"
    model.reset()


ENDINGS: list[Ending] = [both_end, client_resets, model_resets, nobody_reads, client_ends_and_model_resets]


async def test_nothing_is_left(bench: "Bench") -> None:
    """After connections of every end: tasks, descriptors and connection objects are as many as before."""
    client, model = await bench.joined()
    await both_end(client, model)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    close_peers(bench)
    await bench.until(lambda: held()[2] == 0)
    before = held()

    for _ in range(8):
        for end in ENDINGS:
            client, model = await bench.joined()
            await end(client, model)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    close_peers(bench)
    await bench.until(lambda: held() <= before)
    assert held() == before
    assert not bench.traffic.connections


def close_peers(bench: "Bench") -> None:
    for peer in bench.peers:
        peer.close()
    bench.peers.clear()
    bench.taps.clear()


def held() -> tuple[int, int, int]:
    """Tasks, descriptors, and connections that the interpreter still holds."""
    gc.collect()
    connections = sum(isinstance(each, Connection) for each in gc.get_objects())
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), connections
