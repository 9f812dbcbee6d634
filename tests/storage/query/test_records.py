"""RecordService of storage over a real connection: what journeys do not ask."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from infertap import v1
from infertap.query import PageTokens, Query
from storage.archive import Position, open_archive
from storage.live import InFlight
from storage.live.live import MOST_LISTENERS, Live
from storage.numbers import Numbers
from storage.query.asking import Asking
from storage.query.places import PLACE_BYTES, Place
from storage.query.records import Records

if TYPE_CHECKING:
    from tests.storage.conftest import Making

NOW = 1_767_225_600_000_000_000


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


@pytest.fixture
def live() -> Live:
    return Live()


@pytest.fixture
async def records(
    tmp_path: Path, making: "Making", in_flight: InFlight, live: Live
) -> AsyncIterator[v1.RecordServiceStub]:
    """A service over three records."""
    archive = open_archive(str(tmp_path / "archive"), 256 << 20)
    archive.append([making.entry(sequence) for sequence in (1, 2, 3)], NOW)
    asking = Asking()
    server = grpc.aio.server()
    v1.add_RecordServiceServicer_to_server(Records(archive, live, Numbers(), in_flight, asking), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield v1.RecordServiceStub(channel)
    await server.stop(0)
    asking.close()
    archive.close()


async def test_any_spelling_of_a_call_id(records: v1.RecordServiceStub, making: "Making") -> None:
    """Upper case and missing dashes name the same call."""
    call_id = making.record(2).call_id
    for spelt in (call_id, call_id.upper(), call_id.replace("-", "")):
        assert (await records.GetRecord(v1.GetRecordRequest(call_id=spelt))).sequence == 2


async def test_pages(records: v1.RecordServiceStub) -> None:
    """Page after page, until there is no token."""
    first = await records.ListRecords(v1.ListRecordsRequest(page_size=2))
    rest = await records.ListRecords(v1.ListRecordsRequest(page_size=2, page_token=first.next_page_token))
    assert [record.sequence for record in (*first.records, *rest.records)] == [3, 2, 1]
    assert rest.next_page_token == ""


async def test_forged_token(records: v1.RecordServiceStub) -> None:
    """A token of the right shape that says what no record can is refused by its field."""
    forged = PageTokens(Query(), PLACE_BYTES).pack(
        Place(NOW, Position(1, 1, b"s" * 16, (1 << 64) - 1)).pack()
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await records.ListRecords(v1.ListRecordsRequest(page_token=forged))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("page_token: ")


def begin(table: InFlight, making: "Making", *sequences: int) -> None:
    """Calls in flight, which will have these sequences."""
    stream = table.begin(b"s" * 16, 0)
    calls = [making.record(sequence, state=v1.INFERENCING) for sequence in sequences]
    table.take(b"s" * 16, stream, v1.InFlight(calls=calls), 0)


async def test_in_flight_by_its_id(
    records: v1.RecordServiceStub, making: "Making", in_flight: InFlight
) -> None:
    """A call in flight is found by its id; where there is a record, that is."""
    begin(in_flight, making, 3, 4)
    for sequence, state in ((3, v1.COMPLETED), (4, v1.INFERENCING)):
        asked = v1.GetRecordRequest(call_id=making.record(sequence).call_id)
        assert (await records.GetRecord(asked)).state == state


async def test_lists_of_calls_in_flight(
    records: v1.RecordServiceStub, making: "Making", in_flight: InFlight
) -> None:
    """They stand in lists that name their state, before the records, page by page; and in no others."""
    begin(in_flight, making, 4, 5, 6)
    assert [each.sequence for each in (await records.ListRecords(v1.ListRecordsRequest())).records] == [
        3,
        2,
        1,
    ]
    both = v1.RecordFilter(states=[v1.INFERENCING, v1.COMPLETED])
    found: list[str] = []
    request = v1.ListRecordsRequest(filter=both, page_size=2)
    for _ in range(10):
        page = await records.ListRecords(request)
        found += [each.path for each in page.records]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == [f"/v1/{sequence}" for sequence in (6, 5, 4, 3, 2, 1)]
    only = await records.ListRecords(v1.ListRecordsRequest(filter=v1.RecordFilter(states=[v1.INFERENCING])))
    assert [each.path for each in only.records] == ["/v1/6", "/v1/5", "/v1/4"]
    assert not only.next_page_token


async def test_tail_tells_of_calls_in_flight(
    records: v1.RecordServiceStub, making: "Making", in_flight: InFlight, live: Live
) -> None:
    """A tail begins with what is in flight, and tells of what appears; not one of other states."""
    begin(in_flight, making, 4)
    tail = records.TailRecords(v1.TailRecordsRequest(backlog=1))
    completed = v1.TailRecordsRequest(backlog=1, filter=v1.RecordFilter(states=[v1.COMPLETED]))
    other = records.TailRecords(completed)
    assert [(await tail.read()).path for _ in range(2)] == ["/v1/3", "/v1/4"]
    assert (await other.read()).path == "/v1/3"
    stream = in_flight.begin(b"t" * 16, 0)
    appeared = v1.InFlight(calls=[making.record(5, state=v1.INFERENCING)])
    live.tell_in_flight(in_flight.take(b"t" * 16, stream, appeared, 0), 0)
    assert (await tail.read()).path == "/v1/5"
    live.tell([making.record(6)])
    assert (await other.read()).path == "/v1/6"
    tail.cancel()
    other.cancel()


async def test_tails_are_bounded(records: v1.RecordServiceStub) -> None:
    """So many tails and no more; the next is told so, and one that ends makes room."""
    tails = []
    for _ in range(MOST_LISTENERS):
        tails.append(records.TailRecords(v1.TailRecordsRequest(backlog=1)))
        assert (await tails[-1].read()).sequence == 3
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await records.TailRecords(v1.TailRecordsRequest(backlog=1)).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "tails: " in (caught.value.details() or "")
    tails[0].cancel()
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert (await records.TailRecords(v1.TailRecordsRequest(backlog=1)).read()).sequence == 3
                break
    for tail in tails:
        tail.cancel()
