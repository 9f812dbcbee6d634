"""The sidecar's own API over a real spool: orders, exports and figures."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from infertap import v1
from infertap.settings import Address
from sidecar.api import Api
from sidecar.in_flight import InFlight
from sidecar.recorder.call_id import text_of
from sidecar.spool import Spool

WAIT_SECONDS = 20.0
QUOTA_BYTES = 64 << 20
NOW = 1_767_225_600
Dimension = v1.GetStatsRequest.Dimension


@dataclass
class Served:
    """A spool, and a client of its API."""

    spool: Spool
    records: v1.RecordServiceStub

    def append(self, *records: v1.Record) -> None:
        for few in (records[place : place + 500] for place in range(0, len(records), 500)):
            self.spool.append([(uuid.UUID(each.call_id).bytes, each.SerializeToString()) for each in few])

    async def walk(self, order_by: str, size: int, **asked: Any) -> AsyncIterator[list[v1.Record]]:
        """Page after page."""
        token = ""
        while True:
            request = v1.ListRecordsRequest(order_by=order_by, page_size=size, page_token=token, **asked)
            page = await self.records.ListRecords(request, timeout=WAIT_SECONDS)
            yield list(page.records)
            token = page.next_page_token
            if not token:
                return

    async def export(self, **asked: Any) -> list[v1.ExportRecordsResponse]:
        call = self.records.ExportRecords(v1.ExportRecordsRequest(**asked), timeout=WAIT_SECONDS)
        return [answer async for answer in call]


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    spool = Spool.open(tmp_path / "spool", QUOTA_BYTES, ring=True)
    api = Api(spool, InFlight(), Address("127.0.0.1", 0))
    assert await api.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        yield Served(spool, v1.RecordServiceStub(channel))
    await api.stop()
    spool.close()


def record(number: int, **fields: Any) -> v1.Record:
    made = v1.Record(call_id=text_of(number.to_bytes(16, "big")), state=v1.COMPLETED, **fields)
    made.timing.start.seconds = NOW + number
    made.timing.recorded_at.seconds = NOW + number + 1
    made.timing.duration_us = number * 100
    return made


def segment(number: int, part: int, *, last: bool = False) -> v1.Record:
    return record(number, segment=part, is_continued=not last)


def sequences(answers: list[v1.ExportRecordsResponse]) -> list[int]:
    return [each.sequence for answer in answers for each in answer.records]


async def test_earliest_first(served: Served) -> None:
    """In the order of recording, either way; what arrives between pages is on none of them."""
    served.append(*map(record, range(1, 421)))
    found: list[int] = []
    async for page in served.walk("start_time", 100):
        found += [each.sequence for each in page]
        served.append(record(1000 + len(found)))
    assert found == list(range(1, 421))
    whole = [each.sequence async for page in served.walk("start_time desc", 1000) for each in page]
    assert whole == list(range(425, 0, -1))


@pytest.mark.parametrize("order_by", ["", "start_time"])
async def test_calls_in_segments_as_of_then(served: Served, order_by: str) -> None:
    """A call that goes on between two pages is listed once, as it was when the list began."""
    served.append(segment(1, 0), segment(2, 0), record(3), segment(2, 1))
    found: list[tuple[int, int]] = []
    async for page in served.walk(order_by, 1):
        found += [(each.sequence, each.segments_joined) for each in page]
        served.append(segment(1, len(found)), segment(2, len(found) + 1))
    assert sorted(found) == [(1, 1), (3, 0), (4, 2)]


@pytest.mark.parametrize("order_by", ["duration", "total_tokens desc", "model"])
async def test_orders_that_are_not_here(served: Served, order_by: str) -> None:
    """What a sidecar can't order by is refused by its field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.ListRecords(v1.ListRecordsRequest(order_by=order_by))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violation(caught.value) == "order_by"


def violation(error: grpc.aio.AioRpcError) -> str:
    """The field that an error's details name."""
    status = rpc_status.from_call(error)
    assert status is not None
    bad, quota = error_details_pb2.BadRequest(), error_details_pb2.QuotaFailure()
    (detail,) = status.details
    if detail.Unpack(bad):
        return bad.field_violations[0].field
    assert detail.Unpack(quota)
    return quota.violations[0].subject


async def test_a_time_ends_the_walk(served: Served) -> None:
    """What was recorded long before the time that is asked for is not looked at."""
    served.append(*map(record, range(1, 2001)))
    asked = v1.RecordFilter()
    asked.start_time.seconds = NOW + 1990
    (page,) = [page async for page in served.walk("", 1000, filter=asked)]
    assert [each.sequence for each in page] == list(range(2000, 1989, -1))


async def test_export(served: Served) -> None:
    """All that matches, earliest first, resumable behind any answer, masked where asked for."""
    served.append(*(record(number, path=f"/{number % 2}") for number in range(1, 2501)))
    answers = await served.export(filter=v1.RecordFilter(path="/1"))
    assert sequences(answers) == list(range(1, 2501, 2))
    assert len(answers) == 2
    rest = await served.export(filter=v1.RecordFilter(path="/1"), resume_token=answers[0].resume_token)
    assert sequences(rest) == sequences(answers[1:])
    assert (
        sequences(await served.export(filter=v1.RecordFilter(path="/1"), resume_token=rest[-1].resume_token))
        == []
    )
    (masked, *_) = await served.export(read_mask=FieldMask(paths=["sequence"]))
    assert masked.records[0] == v1.Record(sequence=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.export(resume_token=answers[0].resume_token)
    assert violation(caught.value) == "resume_token"


async def test_figures(served: Served) -> None:
    """Counts and quantiles over the spool, weighed by the share that was kept, calls in segments once."""
    served.append(
        *(
            record(number, model=v1.Model(name="m"), sampling=v1.Sampling(fraction=0.1))
            for number in range(1, 101)
        ),
        segment(200, 0),
        segment(200, 1),
    )
    request = v1.GetStatsRequest(group_by=[Dimension.MODEL, Dimension.TIME], bucket=Duration(seconds=3600))
    answer = await served.records.GetStats(request, timeout=WAIT_SECONDS)
    sampled, whole = answer.rows
    assert (list(sampled.group), sampled.records, sampled.calls) == (["m", "2026-01-01T00:00:00Z"], 100, 1000)
    assert (list(whole.group), whole.records, whole.calls) == (["", "2026-01-01T00:00:00Z"], 1, 1)
    assert sampled.duration_us.p50 == pytest.approx(5000, rel=0.006)
    assert sampled.duration_us.max == 10_000


async def test_figures_beyond_bounds(served: Served) -> None:
    """More groups than a sidecar counts are refused as such, by their field."""
    served.append(*(record(number, path=f"/{number}") for number in range(1, 10_102)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.GetStats(v1.GetStatsRequest(group_by=[Dimension.PATH]), timeout=WAIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert violation(caught.value) in ("group_by", "filter.start_time")


async def test_figures_beyond_the_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time is too short for all, the caller is told how far back it sufficed."""
    monkeypatch.setattr("sidecar.api.records._PAGE_SECONDS", 0)
    served.append(*map(record, range(1, 1001)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.GetStats(v1.GetStatsRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert violation(caught.value) == "filter.start_time"
    assert "counted back to 2026-01-01T00:13:21Z" in (caught.value.details() or "")
