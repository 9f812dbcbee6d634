"""Both clients ask again where nobody answers, and go on where an export breaks off."""

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import AsyncClient, Client, v1
from infertap.client import InvalidRequestError, UnreachableError

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def numbered(count: int) -> list[v1.Record]:
    return [v1.Record(call_id=f"call-{number}", sequence=number) for number in range(1, count + 1)]


def test_reads_are_asked_again(server: "RecordsServer") -> None:
    """A server that is back after two attempts is no failure, for any question."""
    server.records = numbered(3)
    with Client(server.address) as client:
        asked: list[Any] = [
            lambda: client.get("call-1"),
            lambda: list(client.list()),
            lambda: next(client.tail(backlog=1)),
            client.stats,
            lambda: client.feedback(call_id="call-1", rating=1),
            lambda: list(client.export()),
        ]
        for ask in asked:
            server.requests.clear()
            server.failures = 2
            ask()
            assert len(server.requests) == 3


def test_feedback_has_an_id_before_it_is_sent(server: "RecordsServer") -> None:
    """So what was given twice, for an answer was lost, is kept once."""
    server.failures = 1
    with Client(server.address) as client:
        client.attach_feedback([v1.Feedback(call_id="call-1", rating=1), v1.Feedback(feedback_id="mine")])
    first, second = ([each.feedback_id for each in asked.feedback] for asked in server.requests)
    assert first == second
    assert first[1] == "mine"
    assert first[0]


def test_one_attempt_is_one(server: "RecordsServer") -> None:
    """Who wants no second attempt has none."""
    server.failures = 1
    with Client(server.address, attempts=1) as client, pytest.raises(UnreachableError, match="not yet"):
        client.get("x")
    assert len(server.requests) == 1


def test_an_export_goes_on_behind_what_came(server: "RecordsServer") -> None:
    """A connection that breaks costs nothing, and nothing comes twice."""
    server.records = numbered(95)
    server.breaks_after = 40
    with Client(server.address) as client:
        batches = list(client.export(model="iris", fields=["call_id"]))
    assert [record.sequence for batch in batches for record in batch.records] == list(range(1, 96))
    assert [request.resume_token for request in server.requests] == ["", "40"]
    assert {request.filter.model for request in server.requests} == {"iris"}
    assert batches[0].total == 95


def test_an_export_is_given_up(server: "RecordsServer") -> None:
    """Where nobody comes back, the error says so, after what had come."""
    server.records = numbered(30)
    server.breaks_after = 20
    with Client(server.address, attempts=2) as client:
        batches = client.export()
        assert len([next(batches), next(batches)]) == 2
        server.fails_with = (grpc.StatusCode.UNAVAILABLE, "gone for good")
        with pytest.raises(UnreachableError, match="gone for good"):
            next(batches)


def test_async_client_does_all_the_same(server: "RecordsServer") -> None:
    """Every question of the one is one of the other, with the same answers."""
    server.records = numbered(45)

    async def ask() -> None:
        async with AsyncClient(server.address) as client:
            server.failures = 2
            assert (await client.get("call-2")).sequence == 2
            assert [record.sequence async for record in client.list(limit=3)] == [45, 44, 43]
            server.breaks_after = 20
            batches = [batch async for batch in client.export()]
            assert sum(len(batch.records) for batch in batches) == 45
            async for record in client.tail(backlog=1):
                assert record.sequence == 45
                break
            assert await client.stats(by=["model"]) == server.stats
            assert (await client.feedback(call_id="call-1", rating=2)).feedback_id
            assert [given.rating async for given in client.list_feedback(limit=1)] == [2]
            assert (await client.to_arrow(columns=["sequence"], limit=15)).num_rows == 15
            assert len(await client.to_pandas(columns=["sequence"])) == 45
            with pytest.raises(InvalidRequestError, match="modle"):
                await client.stats(modle="x")
            server.fails_with = (grpc.StatusCode.UNAVAILABLE, "gone")
            with pytest.raises(UnreachableError):
                await client.get("call-2")

    asyncio.run(ask())


def test_both_clients_have_the_same_methods() -> None:
    """What one can be asked, the other can, with the same arguments."""
    import inspect

    def methods(of: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(each).parameters)
            for name, each in vars(of).items()
            if inspect.isfunction(each) and not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    assert list(inspect.signature(Client).parameters) == list(inspect.signature(AsyncClient).parameters)


def test_tables(server: "RecordsServer") -> None:
    """Only what the columns show is fetched; a column that there is not is named."""
    server.records = numbered(12)
    with Client(server.address) as client:
        table = client.to_arrow(columns=["sequence", "request_data", "model"], limit=11)
        assert list(server.requests[-1].read_mask.paths) == ["model.name", "request.data", "sequence"]
        assert table.column("sequence").to_pylist() == list(range(1, 12))
        assert table.column_names == ["sequence", "request_data", "model"]
        with pytest.raises(InvalidRequestError, match="columns: no 'modle'; there are call_id, request_id"):
            client.to_arrow(columns=["modle"])
        assert len(client.to_pandas()) == 12
        # All columns are more paths than a mask may have.
        assert list(server.requests[-1].read_mask.paths) == []
        server.records = []
        assert client.to_arrow().num_rows == 0


def test_tables_need_an_extra(server: "RecordsServer", monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says what to install."""
    import importlib.util

    from infertap.client import MissingExtraError

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with Client(server.address) as client:
        with pytest.raises(MissingExtraError, match=r"pyarrow: pip install 'infertap\[export\]'"):
            client.to_arrow()
        assert server.requests == []
