"""A tap that refuses: what may go on goes on, the client gets its answer, then both sides end in order."""

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import lingering
from sidecar.tap import Refused

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench, ScriptedTap

ANSWER = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def refuses_on(word: bytes, onward: bytes = b"", answer: bytes = ANSWER) -> "object":
    def prepare(tap: "ScriptedTap") -> None:
        tap.refuse_on = word
        tap.refusal = Refused(onward, answer)

    return prepare


async def test_client_gets_the_answer_and_an_orderly_end(bench: "Bench") -> None:
    """What the refusal lets through reaches the model, the answer the client, and both see an end."""
    bench.prepare = refuses_on(b"bad", onward=b"good")
    client, model = await bench.joined()
    await client.send(b"good bad")
    assert await client.receive_all() == ANSWER
    assert await model.receive_all() == b"good"
    client.close()
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.row["connections_refused"] == 1
    assert bench.row["tap_faults"] == 0
    assert bench.taps[0].told == [], "it has settled its calls itself"


async def test_refusal_of_what_the_model_said(bench: "Bench") -> None:
    """A refusal in the other direction: the client gets what may still go on, and the answer behind it."""
    bench.prepare = refuses_on(b"bad", onward=b"good, ")
    client, model = await bench.joined()
    await model.send(b"good, bad")
    assert await client.receive_all() == b"good, " + ANSWER
    assert await model.receive_all() == b""


async def test_refusal_when_the_model_has_ended(bench: "Bench") -> None:
    """A model that has ended leaves no way for an answer: both sides end all the same, without a fault."""
    bench.prepare = refuses_on(b"bad", onward=b"good")
    client, model = await bench.joined()
    model.end()
    assert await client.receive_all() == b""
    await client.send(b"good bad")
    assert await model.receive_all() == b"good"
    client.close()
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.row["connections_refused"] == 1
    assert bench.row["tap_faults"] == 0


async def test_refusal_of_the_model_when_the_client_has_ended(bench: "Bench") -> None:
    """What the model says too late is refused like anything else: nothing more goes to the model."""
    bench.prepare = refuses_on(b"bad")
    client, model = await bench.joined()
    client.end()
    assert await model.receive_all() == b""
    await model.send(b"bad")
    assert await client.receive_all() == ANSWER
    await bench.until(lambda: bench.row["connections_open"] == 0)


async def test_client_that_goes_on_sending_gets_the_answer(bench: "Bench") -> None:
    """A client in the middle of a big body still gets the answer: no reset destroys it."""
    bench.prepare = refuses_on(b"bad")
    client, _ = await bench.joined()
    sending = asyncio.create_task(client.send(b"bad" + bytes(32 << 20)))
    assert await client.receive_all() == ANSWER
    await sending
    client.end()
    await bench.until(lambda: bench.row["connections_open"] == 0)


async def test_client_that_never_ends_is_left(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that neither ends nor stops is read for a while only."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.2)
    bench.prepare = refuses_on(b"bad")
    client, _ = await bench.joined()
    await client.send(b"bad")
    assert await client.receive_all() == ANSWER
    await bench.until(lambda: bench.row["connections_open"] == 0)
    await client.send(b"more")
    await bench.until(lambda: client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)


async def test_refusal_without_an_answer(bench: "Bench") -> None:
    """Where there is nothing to say, both sides simply end."""
    bench.prepare = refuses_on(b"bad", answer=b"")
    client, model = await bench.joined()
    await client.send(b"bad")
    assert await client.receive_all() == b""
    assert await model.receive_all() == b""


async def test_refusal_at_the_end_of_input(bench: "Bench") -> None:
    """A tap may refuse when a side ends, too."""

    def prepare(tap: "ScriptedTap") -> None:
        def refuse(now: int) -> bytes:
            raise Refused(answer=ANSWER)

        tap.client_ended = refuse  # type: ignore[method-assign]

    bench.prepare = prepare
    client, _ = await bench.joined()
    await client.send(b"half")
    client.end()
    assert await client.receive_all() == ANSWER
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.row["connections_refused"] == 1


async def test_both_refuse_once(bench: "Bench") -> None:
    """After a refusal the tap is asked nothing more, whatever either side sends."""
    bench.prepare = refuses_on(b"bad")
    client, model = await bench.joined()
    await client.send(b"bad")
    assert await client.receive_all() == ANSWER
    with contextlib.suppress(ConnectionError):
        await model.send(b"bad")
        await client.send(b"bad")
    client.close()
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert bench.row["connections_refused"] == 1


@pytest.mark.parametrize("when", ["opening", "reading"])
async def test_fault_ends_the_connection_where_all_must_be_on_record(bench: "Bench", when: str) -> None:
    """With nothing to be relayed unrecorded, a tap that fails ends its connection: both sides are reset."""
    bench.traffic.refuses_unrecordable = True

    def prepare(tap: "ScriptedTap") -> None:
        tap.fail_on = b"boom"
        if when == "opening":
            raise LookupError

    bench.prepare = prepare
    client, model = await bench.joined()
    if when == "reading":
        await client.send(b"boom")
    for peer in (client, model):
        with pytest.raises(ConnectionResetError):
            await peer.receive(1)
    await bench.until(lambda: bench.row["connections_open"] == 0)
    assert (bench.row["tap_faults"], bench.row["connections_refused"]) == (1, 1)
