"""A connection between raw sockets: bytes, ends, resets, pressure, and a tap that fails."""

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import Connection, resets
from sidecar.tap import ConnectionFacts

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench, ScriptedTap

MIB = 1 << 20


@pytest.mark.parametrize("size", [1, 1000, 300_000, 16 * MIB])
async def test_bytes_pass_both_ways_unchanged(bench: "Bench", size: int) -> None:
    """What one side sends the other receives, both ways at once, and bytes are counted."""
    client, model = await bench.joined()
    up, down = os.urandom(size), os.urandom(size)
    received_up, received_down, _, _ = await asyncio.gather(
        model.receive(size), client.receive(size), client.send(up), model.send(down)
    )
    assert received_up == up
    assert received_down == down
    assert (bench.row["bytes_from_client"], bench.row["bytes_from_model"]) == (size, size)


async def test_tap_is_told_of_its_connection(bench: "Bench") -> None:
    """The tap learns route, client address and times of its connection."""
    client, _ = await bench.joined()
    await bench.until(lambda: bool(bench.facts))
    facts = bench.facts[0]
    host, port = client.sock.getsockname()
    assert facts.route == 0
    assert facts.client_address == f"{host}:{port}"
    assert 0 < facts.accepted <= facts.upstream_connected


async def test_model_that_speaks_first_is_heard(bench: "Bench") -> None:
    """Bytes and end of a model that answers before the client says anything reach the client."""
    client, model = await bench.joined()
    await model.send(b"220 ready")
    model.end()
    assert await client.receive_all() == b"220 ready"
    assert bench.row["bytes_from_model"] == 9


async def test_half_close_by_the_client_is_passed_on(bench: "Bench") -> None:
    """The model sees the client's end after its bytes, and may still answer."""
    client, model = await bench.joined()
    await client.send(b"question")
    client.end()
    assert await model.receive_all() == b"question"
    await model.send(b"answer")
    assert await client.receive(6) == b"answer"
    model.close()
    assert await client.receive_all() == b""
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.taps[0].told == ["client ended", "model ended", "lost by RELAY"]


async def test_half_close_by_the_model_is_passed_on(bench: "Bench") -> None:
    """The client sees the model's end and may still send."""
    client, model = await bench.joined()
    await model.send(b"bye")
    model.end()
    assert await client.receive_all() == b"bye"
    await client.send(b"late words")
    assert await model.receive(10) == b"late words"
    assert bench.row["connections_open"] == 1


async def test_end_follows_a_big_body_that_waits(bench: "Bench") -> None:
    """An end is passed on only after all bytes before it, though the other side reads late."""
    client, model = await bench.joined()
    body = os.urandom(8 * MIB)
    sending = asyncio.create_task(client.send(body))
    await bench.until(lambda: bench.row["bytes_from_client"] > 0)
    received = asyncio.create_task(model.receive_all())
    await sending
    client.end()
    assert await received == body


async def test_reset_by_the_client_reaches_the_model(bench: "Bench") -> None:
    """A client that breaks off breaks the model's connection off, and the tap knows who did it."""
    client, model = await bench.joined()
    await client.send(b"half a request")
    assert await model.receive(14) == b"half a request"
    client.reset()
    with pytest.raises(ConnectionResetError):
        await model.receive(1)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.taps[0].told == ["lost by CLIENT"]


async def test_reset_by_the_model_reaches_the_client(bench: "Bench") -> None:
    """A model that breaks off is seen as a reset, never as an orderly end."""
    client, model = await bench.joined()
    await client.send(b"q")
    assert await model.receive(1) == b"q"
    await model.send(b"half an answer")
    assert await client.receive(14) == b"half an answer"
    model.reset()
    with pytest.raises(ConnectionResetError):
        await client.receive(1)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.taps[0].told == ["lost by MODEL_ABORTED"]


async def test_refused_model_gives_a_reset(bench: "Bench") -> None:
    """Without a model the client's connection is reset and counted; with one, the next works."""
    host, port = bench.model_socket.getsockname()
    bench.model_socket.close()
    client = await bench.client()
    with pytest.raises(ConnectionResetError):
        await client.receive(1)
    assert bench.row["upstream_refused"] == 1
    assert bench.row["connections_open"] == 0
    bench.model_socket = socket.create_server((host, port))
    bench.model_socket.setblocking(False)
    client, model = await bench.joined()
    await client.send(b"x")
    assert await model.receive(1) == b"x"


@pytest.mark.parametrize("stalled", ["client", "model"])
async def test_peer_that_does_not_read_stops_the_other(bench: "Bench", stalled: str) -> None:
    """A side that does not read makes the other side wait, with a bounded number of bytes inside."""
    client, model = await bench.joined()
    sender, reader = (model, client) if stalled == "client" else (client, model)
    counter = "bytes_from_model" if stalled == "client" else "bytes_from_client"
    total = 64 * MIB
    sending = asyncio.create_task(sender.send(bytes(total)))
    passed = -1
    while passed != bench.row[counter]:
        passed = bench.row[counter]
        await asyncio.sleep(0.2)
    assert passed < total / 2, "the relay took in what nobody reads"
    side = next(iter(bench.traffic.connections))
    transport = (side.client if stalled == "client" else side.model).transport
    assert transport.get_write_buffer_size() <= 512 << 10
    assert len(await reader.receive(total)) == total
    await sending


def fails_on(word: bytes, hold_on: bytes | None = None) -> "object":
    def prepare(tap: "ScriptedTap") -> None:
        tap.fail_on = word
        tap.hold_on = hold_on

    return prepare


async def test_fault_of_the_tap_loses_no_byte(bench: "Bench", capfd: pytest.CaptureFixture[str]) -> None:
    """When the tap raises, what it held in both directions and the new bytes go on, in order, for good."""
    bench.prepare = fails_on(b"boom", hold_on=b"<")
    client, model = await bench.joined()
    await client.send(b"one<")
    await model.send(b"two<")
    assert await model.receive(3) == b"one"
    assert await client.receive(3) == b"two"
    await client.send(b"boom, secret")
    assert await model.receive(13) == b"<boom, secret"
    assert await client.receive(1) == b"<"
    await client.send(b"boom again<")
    assert await model.receive(11) == b"boom again<"
    assert bench.row["tap_faults"] == 1
    assert bench.taps[0].told == ["abandoned"]
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["fault"] == "LookupError"
    assert "secret" not in lines[0]


async def test_successor_of_the_tap_follows_on(bench: "Bench") -> None:
    """A tap that leaves the rest to another is asked no more; a fault, or an end, is then the other's."""
    bench.prepare = fails_on(b"never", hold_on=b"<")
    client, model = await bench.joined()
    await client.send(b"one")
    assert await model.receive(3) == b"one"
    first = bench.taps[0]
    second = first.successor = type(first)()
    second.fail_on, second.hold_on = b"boom", b"<"
    await client.send(b"two")
    assert await model.receive(3) == b"two"
    await client.send(b"three<")
    assert await model.receive(5) == b"three"
    assert (first.client_held, second.client_held) == (b"", b"<")
    await client.send(b"boom")
    assert await model.receive(5) == b"<boom"
    assert (first.told, second.told) == ([], ["abandoned"])


async def test_fault_of_the_tap_at_an_end_passes_the_end_on(bench: "Bench") -> None:
    """When the tap raises at the client's end, what it held and the end itself still reach the model."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.hold_on = b"<"
        tap.fail_at_end = True

    bench.prepare = prepare
    client, model = await bench.joined()
    await client.send(b"a<")
    client.end()
    assert await model.receive_all() == b"a<"


async def test_tap_that_can_not_be_made_is_done_without(bench: "Bench") -> None:
    """When opening the tap raises, the connection is relayed all the same, and the fault counted."""

    def refuse(tap: "ScriptedTap") -> None:
        raise LookupError

    bench.prepare = refuse
    client, model = await bench.joined()
    await client.send(b"hello")
    assert await model.receive(5) == b"hello"
    assert bench.row["tap_faults"] == 1
    assert (bench.row["seen"], bench.row["opaque"]) == (1, 1)
    (connection,) = bench.traffic.connections
    assert not connection.is_idle_since(1 << 62), "nobody knows what passes"


async def test_held_bytes_go_out_at_the_end(bench: "Bench") -> None:
    """What a tap still held when its side ended goes on before the end."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.hold_on = b"<"

    bench.prepare = prepare
    client, model = await bench.joined()
    await client.send(b"a<")
    client.end()
    assert await model.receive_all() == b"a<"


async def test_answer_before_a_reset_is_delivered_first(bench: "Bench") -> None:
    """Bytes of a model that then breaks off reach a slow client whole, before the reset."""
    client, model = await bench.joined()
    await client.send(b"q")
    assert await model.receive(1) == b"q"
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:  # until all buffers on the way are full
            sent += model.sock.send(bytes(1 << 16))
            await asyncio.sleep(0.01)
    model.reset()
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := await client.receive(1 << 16):
            received += len(piece)
    assert received // (1 << 16) == bench.row["bytes_from_model"] // (1 << 16) > 0


async def test_reset_of_the_model_ends_a_client_that_is_gone(bench: "Bench") -> None:
    """A client that closed while its answer came gets no patience: the reset is passed on at once."""
    client, model = await bench.joined()
    client.close()
    assert await model.receive_all() == b""
    await model.send(b"too late")  # the client's kernel answers that nobody is there
    await bench.until(lambda: bench.row["bytes_from_model"] == len(b"too late"))
    model.reset()
    async with asyncio.timeout(5):
        await bench.until(lambda: bench.row["connections_open"] == 0)


class Written:
    """A transport that only remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.is_reading = True

    def write(self, data: bytes) -> None:
        assert "close" not in self.done
        self.done.append(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.done.append("end")

    def close(self) -> None:
        self.done.append("close")

    def is_closing(self) -> bool:
        return "close" in self.done

    def set_write_buffer_limits(self, high: int, low: int) -> None: ...

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


async def test_ends_of_both_sides_before_joining_are_passed_on(bench: "Bench") -> None:
    """What both sides said, and that they ended, before the connection was joined still crosses over."""
    connection = Connection(bench.traffic)
    client, model = Written(), Written()
    connection.model.connection_made(model)
    connection.model.data_received(b"banner")
    connection.model.eof_received()
    connection.client.connection_made(client)
    connection.client.data_received(b"hello")
    connection.client.eof_received()
    connection.join(ConnectionFacts(0, "", 1, 2))
    assert client.done == [b"banner", "end", "close"]
    assert model.done == [b"hello", "end", "close"]
    assert bench.taps[0].told == ["client ended", "model ended", "lost by RELAY"]


class NeverTaken(Written):
    """A transport whose peer takes nothing."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def write(self, data: bytes) -> None:
        super().write(data)
        self._connection.model.pause_writing()


async def test_first_bytes_that_nobody_takes_stop_the_reading(bench: "Bench") -> None:
    """A model that takes not even what came before the connection was joined stops its client at once."""
    connection = Connection(bench.traffic)
    client, model = Written(), NeverTaken(connection)
    connection.model.connection_made(model)
    connection.client.connection_made(client)
    connection.client.data_received(b"hello")
    connection.join(ConnectionFacts(0, "", 1, 2))
    assert not client.is_reading
    connection.model.resume_writing()
    assert client.is_reading


async def test_model_that_breaks_off_while_the_client_is_joined(bench: "Bench") -> None:
    """A model connection lost before the client is joined counts the connection as closed once."""
    client = await bench.client()
    model = await bench.model()
    model.reset()
    with pytest.raises(ConnectionResetError):
        await client.receive(1)
    await bench.until(lambda: bench.row["connections_open"] == 0)


async def test_settling_that_fails_is_counted(bench: "Bench") -> None:
    """A tap that raises when the connection is lost is abandoned, so that its calls are accounted for."""

    def prepare(tap: "ScriptedTap") -> None:
        def fail(by: object, now: int) -> None:
            raise LookupError

        tap.lost = fail  # type: ignore[method-assign]

    bench.prepare = prepare
    client, _ = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    client.reset()
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.taps[0].told == ["abandoned"]
    assert bench.row["tap_faults"] == 1


async def test_reset_of_what_is_closed_already(bench: "Bench") -> None:
    """A side that closed while its reset waited is left alone: no fault."""
    await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    [connection] = bench.traffic.connections
    transport = connection.client.transport
    connection.reset()
    await bench.until(lambda: bench.row["connections_open"] == 0)
    for _ in range(2):
        resets.reset_when_delivered(transport)
        resets.reset_transport(transport)
        await asyncio.sleep(0)
