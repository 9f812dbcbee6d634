"""The relay's outbox against a real socket pair: bounded, in order, never waiting."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from sidecar.exchange import Body, Exchange, Protocol
from sidecar.handoff import MAX_PACKET_BYTES, Arrived, Inbox, Lost, Outbox, wire


class Budget:
    """Counts what comes back."""

    def __init__(self) -> None:
        self.returned = 0

    def give_back(self, size: int, /) -> None:
        self.returned += size


class CountingSocket(socket.socket):
    """Counts what it is asked to send."""

    sends = 0

    def send(self, data: bytes, flags: int = 0, /) -> int:
        self.sends += 1
        return super().send(data, flags)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def call(number: int, size: int = 100) -> Exchange:
    return Exchange(number, 0, Protocol.HTTP1, 0, request=Body([b"x" * size], size, size, [], 1))


async def receive(end: socket.socket, inbox: Inbox, until: int) -> list[Arrived | Lost]:
    """All that is told until number `until` is settled."""
    loop = asyncio.get_running_loop()
    said: list[Arrived | Lost] = []
    async with asyncio.timeout(20):
        while inbox.last_number < until:
            packet = await loop.sock_recv(end, MAX_PACKET_BYTES + 1)
            assert len(packet) <= MAX_PACKET_BYTES
            said += inbox.take(packet)
    return said


async def test_first_packet_marks_where_the_slot_stands(pair: tuple[socket.socket, socket.socket]) -> None:
    """A new relay first tells its predecessor's last number, so that what died with it shows as lost."""
    outbox = Outbox(pair[0], Budget(), 12, 1 << 20)
    assert await receive(pair[1], Inbox(0, 10), 12) == [Lost(0, 11, 12)]
    outbox.close()


async def test_calls_of_all_sizes_arrive_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    """Small calls in batches and big ones in parts arrive as they were, in order, and free the budget."""
    budget = Budget()
    outbox = Outbox(pair[0], budget, 0, 64 << 20)
    sizes = [100, 40_000, 40_000, 1_000_000, 0, 65_000, 3_000_000] * 10
    for number, size in enumerate(sizes, 1):
        assert outbox.hand_over(call(number, size))
    draining = asyncio.create_task(outbox.drain())
    said = await receive(pair[1], Inbox(0, 0), len(sizes))
    await draining
    assert [(each.number, each.exchange.request.size) for each in said if isinstance(each, Arrived)] == list(
        enumerate(sizes, 1)
    )
    assert budget.returned == sum(sizes)
    outbox.close()


async def test_recorder_that_takes_nothing_costs_only_calls(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """With a full socket the queue fills to its bound, then refuses; it resumes when there is room."""
    budget = Budget()
    outbox = Outbox(pair[0], budget, 0, max_bytes=2 << 20)
    taken = 0
    for number in range(1, 200):
        taken += outbox.hand_over(call(number, 50_000))
        await asyncio.sleep(0)
    assert taken < 199
    assert outbox.last_number == taken
    assert budget.returned >= (199 - taken) * 50_000
    draining = asyncio.create_task(outbox.drain())
    said = await receive(pair[1], Inbox(0, 0), taken)
    await draining
    assert len(said) == taken
    assert budget.returned == 199 * 50_000
    assert outbox.hand_over(call(taken + 1)), "room again"
    outbox.close()


async def test_entries_are_bounded_too(pair: tuple[socket.socket, socket.socket]) -> None:
    """Calls without bodies are refused beyond the number of entries."""
    outbox = Outbox(pair[0], Budget(), 0, max_bytes=1 << 30, max_entries=3)
    assert [outbox.hand_over(call(number, 0)) for number in range(1, 6)] == [True, True, True, False, False]
    outbox.close()


async def test_full_socket_does_not_spin_the_loop(pair: tuple[socket.socket, socket.socket]) -> None:
    """While the recorder takes nothing, the outbox schedules no work."""
    counting = CountingSocket(fileno=pair[0].detach())
    outbox = Outbox(counting, Budget(), 0, max_bytes=64 << 20)
    for number in range(1, 100):
        assert outbox.hand_over(call(number, 60_000))
    draining = asyncio.create_task(outbox.drain())
    for _ in range(2_000):
        await asyncio.sleep(0)
    assert 0 < counting.sends < 200
    draining.cancel()
    outbox.close()
    counting.close()


async def test_closed_outbox_takes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """After close a call is refused, and its bytes go back."""
    budget = Budget()
    outbox = Outbox(pair[0], budget, 0, 1 << 20)
    outbox.close()
    assert not outbox.hand_over(call(1))
    assert budget.returned == 100


async def test_marks_follow_an_idle_queue(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle outbox repeats its last number, so that a recorder that lost the latest packets finds out."""
    monkeypatch.setattr("sidecar.handoff.outbox.MARK_SECONDS", 0.01)
    outbox = Outbox(pair[0], Budget(), 5, 1 << 20)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        packets = [await loop.sock_recv(pair[1], MAX_PACKET_BYTES) for _ in range(3)]
    assert packets == [wire.mark_packet(5)] * 3
    outbox.close()
