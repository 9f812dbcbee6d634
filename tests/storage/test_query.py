"""RecordService of storage over a real connection: what journeys do not ask."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from infertap import v1
from infertap.query import PageTokens, Query
from storage.archive import Position, open_archive
from storage.live import Live
from storage.numbers import Numbers
from storage.query import POSITION_BYTES, Records

if TYPE_CHECKING:
    from tests.storage.conftest import Making

NOW = 1_767_225_600_000_000_000


@pytest.fixture
async def records(tmp_path: Path, making: "Making") -> AsyncIterator[v1.RecordServiceStub]:
    """A service over three records."""
    archive = open_archive(str(tmp_path / "archive"), 256 << 20)
    archive.append([making.entry(sequence) for sequence in (1, 2, 3)], NOW)
    server = grpc.aio.server()
    v1.add_RecordServiceServicer_to_server(Records(archive, Live(), Numbers()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield v1.RecordServiceStub(channel)
    await server.stop(0)
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
    forged = PageTokens(Query(), POSITION_BYTES).pack(Position((1 << 64) - 1, b"s" * 16, 1).pack())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await records.ListRecords(v1.ListRecordsRequest(page_token=forged))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("page_token: ")
