"""Exports and figures over a real connection."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from infertap import v1
from storage.archive import Archive, open_archive
from storage.live import InFlight, Live
from storage.numbers import Numbers
from storage.query.asking import Asking
from storage.query.records import Records

if TYPE_CHECKING:
    from tests.storage.conftest import Making

NOW = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
WAIT_SECONDS = 30.0
Dimension = v1.GetStatsRequest.Dimension


@dataclass
class Served:
    """A service over an archive, whose clock a test sets."""

    archive: Archive
    now: int = NOW
    records: v1.RecordServiceStub = field(init=False)

    async def export(self, **asked: Any) -> list[v1.ExportRecordsResponse]:
        call = self.records.ExportRecords(v1.ExportRecordsRequest(**asked), timeout=WAIT_SECONDS)
        return [answer async for answer in call]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    archive = open_archive(str(tmp_path / "archive"), 256 << 20)
    made, asking = Served(archive), Asking()
    server = grpc.aio.server()
    service = Records(archive, Live(), Numbers(), InFlight(), asking, now=lambda: made.now)
    v1.add_RecordServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        made.records = v1.RecordServiceStub(channel)
        yield made
    await server.stop(0)
    asking.close()
    archive.close()


def sequences(answers: list[v1.ExportRecordsResponse]) -> list[int]:
    return [record.sequence for answer in answers for record in answer.records]


def violation(error: grpc.aio.AioRpcError) -> str:
    """The field that an error's details name."""
    status = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    assert status is not None
    assert status.details[0].Unpack(bad)
    return bad.field_violations[0].field


async def test_all_that_matches(served: Served, making: "Making") -> None:
    """Earliest first, each once, how many there are in the first answer, with their feedback."""
    served.archive.append([making.entry(number) for number in range(1, 2501)], NOW)
    served.archive.attach([v1.Feedback(feedback_id="f", request_id="r-2", rating=3)])
    answers = await served.export(filter=v1.RecordFilter(path="/v1/2*"))
    matching = [number for number in range(1, 2501) if str(number).startswith("2")]
    assert sequences(answers) == matching
    assert answers[0].total == len(matching)
    assert not any(answer.HasField("total") for answer in answers[1:])
    assert answers[0].records[0].feedback[0].rating == 3


async def test_resumed(served: Served, making: "Making") -> None:
    """Whatever answer came last, the next export goes on behind it; behind the last one nothing is left."""
    served.archive.append([making.entry(number) for number in range(1, 2301)], NOW)
    answers = await served.export()
    assert [len(answer.records) for answer in answers] == [1000, 1000, 300]
    for place, answer in enumerate(answers, 1):
        rest = await served.export(resume_token=answer.resume_token)
        assert sequences(rest) == sequences(answers[place:])
        assert rest[0].total == 2300


async def test_as_it_was_when_it_began(served: Served, making: "Making") -> None:
    """What is stored after an export began is not in it, nor in what is resumed later."""
    served.archive.append([making.entry(number) for number in range(1, 1201)], NOW)
    answers = aiter(served.records.ExportRecords(v1.ExportRecordsRequest(), timeout=WAIT_SECONDS))
    first = await anext(answers)
    served.now = NOW + SECOND
    served.archive.append([making.entry(number) for number in range(1201, 1301)], NOW + 1)
    rest = [answer async for answer in answers]
    assert sequences([first, *rest]) == list(range(1, 1201))
    assert sequences(await served.export(resume_token=first.resume_token)) == sequences(rest)
    assert len(sequences(await served.export())) == 1300


async def test_answers_of_heavy_records_are_bounded(served: Served, making: "Making") -> None:
    """An answer holds what clients take by default, however heavy the records are."""
    for number in range(1, 13):
        served.archive.append([making.entry(number, request__data=b"x" * 1_000_000)], NOW)
    answers = await served.export()
    assert sequences(answers) == list(range(1, 13))
    assert max(answer.ByteSize() for answer in answers) < 4 << 20


async def test_only_some_fields(served: Served, making: "Making") -> None:
    """A mask leaves what is asked for."""
    served.archive.append([making.entry(1)], NOW)
    (answer,) = await served.export(read_mask=FieldMask(paths=["path"]))
    assert list(answer.records) == [v1.Record(path="/v1/1")]


async def test_nothing_to_export(served: Served) -> None:
    """An empty export says that it is."""
    (answer,) = await served.export()
    assert (answer.total, answer.HasField("total"), len(answer.records)) == (0, True, 0)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"resume_token": "junk"}, "resume_token"),
        ({"filter": v1.RecordFilter(grpc_statuses=[99])}, "filter.grpc_statuses"),
        ({"read_mask": FieldMask(paths=["nothing"])}, "read_mask"),
    ],
)
async def test_refused_exports(served: Served, asked: dict[str, Any], named: str) -> None:
    """What can't be meant is refused by its field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.export(**asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violation(caught.value) == named


async def test_token_of_another_export(served: Served, making: "Making") -> None:
    """A token goes on with the filter that it was made for, and is none for a list."""
    served.archive.append([making.entry(1)], NOW)
    (answer,) = await served.export()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.export(resume_token=answer.resume_token, filter=v1.RecordFilter(model="m"))
    assert violation(caught.value) == "resume_token"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.ListRecords(v1.ListRecordsRequest(page_token=answer.resume_token))
    assert violation(caught.value) == "page_token"


async def test_pages_of_any_order(served: Served, making: "Making") -> None:
    """A list in another order, page by page, while records arrive; its token is no other order's."""
    served.archive.append(
        [making.entry(number, timing__duration_us=number * 37 % 101) for number in range(1, 31)], NOW
    )
    request = v1.ListRecordsRequest(order_by="duration desc", page_size=7)
    found: list[int] = []
    while True:
        page = await served.records.ListRecords(request)
        found += [record.timing.duration_us for record in page.records]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
        served.archive.append([making.entry(100 + len(found), timing__duration_us=50)], NOW + 1)
        token = page.next_page_token
    assert found == sorted((number * 37 % 101 for number in range(1, 31)), reverse=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.ListRecords(v1.ListRecordsRequest(order_by="duration", page_token=token))
    assert violation(caught.value) == "page_token"


async def test_figures(served: Served, making: "Making") -> None:
    """Grouped, weighed, the group with the most calls first."""
    served.archive.append(
        [making.entry(number, sampling__fraction=0.5, model__name="iris") for number in range(1, 4)]
        + [making.entry(4, state=v1.FAILED)],
        NOW,
    )
    request = v1.GetStatsRequest(group_by=[Dimension.MODEL, Dimension.TIME], bucket=Duration(seconds=60))
    answer = await served.records.GetStats(request)
    first, second = answer.rows
    assert (list(first.group), first.records, first.calls) == (["iris", "2026-01-01T00:00:00Z"], 3, 6)
    assert (second.calls, second.error_share, second.duration_us.max) == (1, 1, 4)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (v1.GetStatsRequest(group_by=[Dimension.TIME]), "bucket"),
        (v1.GetStatsRequest(bucket=Duration(seconds=60)), "bucket"),
        (v1.GetStatsRequest(group_by=[Dimension.TIME], bucket=Duration(nanos=5)), "bucket"),
        (v1.GetStatsRequest(group_by=[Dimension.TIME], bucket=Duration(seconds=1 << 40)), "bucket"),
        (v1.GetStatsRequest(group_by=[Dimension.MODEL, Dimension.MODEL]), "group_by"),
        (v1.GetStatsRequest(group_by=[0]), "group_by"),
        (v1.GetStatsRequest(group_by=[99]), "group_by"),
        (v1.GetStatsRequest(filter=v1.RecordFilter(text="x")), "filter.text"),
        (v1.GetStatsRequest(filter=v1.RecordFilter(path="x" * 2000)), "filter.path"),
    ],
)
async def test_refused_figures(served: Served, asked: v1.GetStatsRequest, named: str) -> None:
    """What can't be meant is refused by its field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.GetStats(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violation(caught.value) == named


async def test_figures_fit_clients(served: Served, making: "Making") -> None:
    """An answer of long names is cut to what clients take by default, and says so."""
    served.archive.append([making.entry(n, path=f"/{n}/" + "x" * 3000) for n in range(1, 2001)], NOW)
    answer = await served.records.GetStats(v1.GetStatsRequest(group_by=[Dimension.PATH]))
    assert answer.is_cut
    assert 0 < answer.ByteSize() < 4 << 20
