"""The sidecar's own API over a real spool and a real channel: found, listed, tailed, refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from infertap import v1
from infertap.settings import Address
from sidecar.api import Api, CannotServeError
from sidecar.in_flight import CallInFlight, InFlight
from sidecar.recorder.call_id import text_of
from sidecar.spool import Spool

WAIT_SECONDS = 10.0
QUOTA_BYTES = 16 << 20


def key_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def record(number: int, model: str = "iris", body: bytes = b"") -> tuple[bytes, bytes]:
    """What the pipeline appends for call `number`."""
    made = v1.Record(
        call_id=text_of(key_of(number)), model=v1.Model(name=model), request=v1.Payload(data=body)
    )
    return key_of(number), made.SerializeToString()


@dataclass
class Served:
    """A spool, its API, and a client's end of it."""

    spool: Spool
    api: Api
    channel: grpc.aio.Channel
    in_flight: InFlight

    def __post_init__(self) -> None:
        self.records = v1.RecordServiceStub(self.channel)

    def begin(self, number: int, path: str = "/v1/slow") -> None:
        """Call `number` is in flight."""
        made = v1.Record(call_id=text_of(key_of(number)), path=path)
        assert self.in_flight.add(
            0, number, CallInFlight(key_of(number), time.monotonic_ns(), made.SerializeToString())
        )

    def append(self, *records: tuple[bytes, bytes]) -> None:
        """As the pipeline does it."""
        self.spool.append(records)
        self.api.wake()

    async def ask(self, asked: Any) -> object:
        """The answer to any request, or the first part of it."""
        if isinstance(asked, v1.TailRecordsRequest):
            return await self.records.TailRecords(asked).read()
        if isinstance(asked, v1.GetRecordRequest):
            return await self.records.GetRecord(asked)
        return await self.records.ListRecords(asked)

    async def page(self, **asked: Any) -> v1.ListRecordsResponse:
        return await self.records.ListRecords(v1.ListRecordsRequest(**asked), timeout=WAIT_SECONDS)

    async def list_all(self, **asked: Any) -> list[int]:
        """The sequences of all pages."""
        found: list[int] = []
        while True:
            page = await self.page(**asked)
            found += [each.sequence for each in page.records]
            if not page.next_page_token:
                return found
            asked["page_token"] = page.next_page_token


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """An API over an empty ring."""
    spool = Spool.open(tmp_path / "spool", QUOTA_BYTES, ring=True)
    in_flight = InFlight()
    api = Api(spool, in_flight, Address("127.0.0.1", 0))
    assert await api.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        yield Served(spool, api, channel, in_flight)
    await api.stop()
    spool.close()


async def test_get(served: Served) -> None:
    """A record is found by its call id, with its sequence and spool, in any spelling of the id."""
    served.append(record(1), record(2))
    for call_id in (text_of(key_of(2)), text_of(key_of(2)).upper(), key_of(2).hex()):
        found = await served.records.GetRecord(v1.GetRecordRequest(call_id=call_id))
        assert (found.call_id, found.sequence) == (text_of(key_of(2)), 2)
        assert found.spool_id == served.spool.spool_id


async def test_get_masked(served: Served) -> None:
    """A mask leaves what is asked for, the server's own fields too."""
    served.append(record(1))
    asked = v1.GetRecordRequest(
        call_id=text_of(key_of(1)), read_mask=FieldMask(paths=["model.name", "sequence"])
    )
    assert await served.records.GetRecord(asked) == v1.Record(model=v1.Model(name="iris"), sequence=1)


async def test_not_found(served: Served) -> None:
    """A call that is not here is NOT_FOUND."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.records.GetRecord(v1.GetRecordRequest(call_id=text_of(key_of(1))))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_list_of_nothing(served: Served) -> None:
    """An empty spool is an empty last page."""
    assert await served.page() == v1.ListRecordsResponse()


async def test_newest_first(served: Served) -> None:
    """Pages hold the newest first, fifty unless asked for otherwise, and each record once."""
    served.append(*(record(number) for number in range(1, 121)))
    first = await served.page()
    assert [each.sequence for each in first.records] == list(range(120, 70, -1))
    assert await served.list_all(page_size=7) == list(range(120, 0, -1))


async def test_filtered(served: Served) -> None:
    """Only what matches is listed, across more records than are looked at in one step."""
    served.append(*(record(number, "iris" if number % 50 else "wine") for number in range(1, 701)))
    wine = v1.RecordFilter(model="wine")
    assert await served.list_all(filter=wine, page_size=5) == list(range(700, 0, -50))
    assert await served.list_all(filter=v1.RecordFilter(model="none")) == []


async def test_pages_stay_right_while_records_arrive(served: Served) -> None:
    """Records that arrive between two pages move nothing, and are on none of them."""
    served.append(*(record(number) for number in range(1, 31)))
    first = await served.page(page_size=10)
    served.append(*(record(number) for number in range(31, 41)))
    second = await served.page(page_size=10, page_token=first.next_page_token)
    assert [each.sequence for each in (*first.records, *second.records)] == list(range(30, 10, -1))


async def test_pages_stay_right_while_records_leave(served: Served) -> None:
    """Records that made room between two pages are missing from the end, and nothing is told twice."""
    body = b"x" * 100_000
    served.append(*(record(number, body=body) for number in range(1, 41)))
    first = await served.page(page_size=10)
    for number in range(41, 131):
        served.append(record(number, body=body))
    (oldest,) = served.spool.oldest_first(0, 1)
    assert 1 < oldest.sequence < 31
    rest = await served.list_all(page_size=10, page_token=first.next_page_token)
    assert rest == list(range(30, oldest.sequence - 1, -1))


async def test_pages_fit_clients(served: Served) -> None:
    """A page of heavy records is cut to what clients take by default; a mask makes it light again."""
    body = b"x" * 1_000_000
    for number in range(1, 9):
        served.append(record(number, body=body))
    page = await served.page(page_size=8)
    assert 0 < len(page.records) < 8
    assert page.ByteSize() < 4 << 20
    assert await served.list_all(page_size=8) == list(range(8, 0, -1))
    light = await served.page(page_size=8, read_mask=FieldMask(paths=["sequence"]))
    assert [each.sequence for each in light.records] == list(range(8, 0, -1))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (v1.ListRecordsRequest(page_size=-1), "page_size"),
        (v1.ListRecordsRequest(page_token="junk"), "page_token"),
        (v1.ListRecordsRequest(read_mask=FieldMask(paths=["nothing"])), "read_mask"),
        (
            v1.ListRecordsRequest(filter=v1.RecordFilter(start_time=Timestamp(seconds=1 << 50))),
            "filter.start_time",
        ),
        (v1.TailRecordsRequest(backlog=-1), "backlog"),
        (v1.TailRecordsRequest(filter=v1.RecordFilter(grpc_statuses=[17])), "filter.grpc_statuses"),
        (v1.GetRecordRequest(call_id="x"), "call_id"),
    ],
)
async def test_refused(served: Served, asked: Any, field: str) -> None:
    """What can't be served is INVALID_ARGUMENT, with the field in words and as BadRequest."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.ask(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{field}: ")
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    told = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(told)
    assert [violation.field for violation in told.field_violations] == [field]


async def test_token_of_another_list(served: Served) -> None:
    """A token is refused with another filter."""
    served.append(record(1), record(2))
    token = (await served.page(page_size=1)).next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.page(page_token=token, filter=v1.RecordFilter(model="iris"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def take(stream: Any, count: int) -> list[int]:
    """The sequences of the next `count` records of a tail."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [(await stream.read()).sequence for _ in range(count)]


async def test_tail(served: Served) -> None:
    """The latest that match, oldest first, then each as it arrives; what does not match is left out."""
    served.append(*(record(number, "wine" if number % 2 else "iris") for number in range(1, 401)))
    tail = served.records.TailRecords(
        v1.TailRecordsRequest(filter=v1.RecordFilter(model="iris"), backlog=150)
    )
    assert await take(tail, 150) == list(range(102, 401, 2))
    served.append(record(401), record(402, "wine"), record(403))
    assert await take(tail, 2) == [401, 403]
    served.append(record(404))
    assert await take(tail, 1) == [404]
    tail.cancel()


async def test_tail_without_backlog(served: Served) -> None:
    """Without a backlog only what comes is told."""
    served.append(record(1))
    tail = served.records.TailRecords(v1.TailRecordsRequest())
    reading = asyncio.ensure_future(take(tail, 1))
    while not reading.done():  # the tail begins when the server has looked, which nothing shows
        served.append(record(2))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.05)
    assert (await reading)[0] >= 2
    tail.cancel()


async def test_spool_that_can_not_be_read(served: Served) -> None:
    """A spool that fails is UNAVAILABLE, so that clients try again."""
    served.spool.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.page()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_and_reflection(served: Served) -> None:
    """The server says that it is healthy, and which services it has."""
    health = health_pb2_grpc.HealthStub(served.channel)
    for service in ("", "infertap.v1.RecordService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = await call.read()
    names = {each.name for each in listed.list_services_response.service}
    assert {"infertap.v1.RecordService", "grpc.health.v1.Health"} <= names
    await call.done_writing()


async def test_taken_port(served: Served) -> None:
    """An address that somebody else has is no error of the process: it can be tried again."""
    other = Api(served.spool, served.in_flight, Address("127.0.0.1", served.api.port))
    with pytest.raises(CannotServeError, match="can't listen on"):
        await other.start()
    await other.stop()
    await served.api.stop()
    await other.start()
    await other.stop()


async def test_request_too_large(served: Served) -> None:
    """A request beyond the limit is refused before it is read."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.page(filter=v1.RecordFilter(text="x" * 100_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


INFERENCING = v1.RecordFilter(states=[v1.INFERENCING])


def ids(records: Any) -> list[str]:
    return [each.call_id for each in records]


async def test_in_flight_by_its_id(served: Served) -> None:
    """A call in flight is found, until its record is."""
    served.begin(1)
    asked = v1.GetRecordRequest(call_id=text_of(key_of(1)))
    found = await served.records.GetRecord(asked)
    assert (found.state, found.sequence, found.spool_id) == (v1.INFERENCING, 0, served.spool.spool_id)
    assert found.timing.duration_us >= 0
    served.append(record(1))
    assert (await served.records.GetRecord(asked)).sequence == 1


async def test_lists_of_calls_in_flight(served: Served) -> None:
    """They are listed where their state is asked for, newest first, and stand in no other list."""
    served.append(record(1))
    for number in (5, 3, 4):
        served.begin(number)
    listed = await served.page(filter=INFERENCING)
    assert ids(listed.records) == [text_of(key_of(number)) for number in (5, 4, 3)]
    assert not listed.next_page_token
    assert await served.list_all() == [1]
    assert ids((await served.page(filter=v1.RecordFilter(states=[v1.COMPLETED]))).records) == []


async def test_pages_of_calls_in_flight(served: Served) -> None:
    """Pages go on below the last call shown, whatever begins or ends meanwhile, and records come after."""
    made = v1.Record(call_id=text_of(key_of(1)), state=v1.COMPLETED)
    served.append((key_of(1), made.SerializeToString()))
    for number in range(2, 7):
        served.begin(number)
    both = v1.RecordFilter(states=[v1.INFERENCING, v1.COMPLETED])
    found: list[str] = []
    token = ""
    for _ in range(10):
        page = await served.page(filter=both, page_size=2, page_token=token)
        found += ids(page.records)
        if not (token := page.next_page_token):
            break
        served.begin(100 + len(found))
        served.in_flight.end([(0, 4)])
    assert found == [text_of(key_of(number)) for number in (6, 5, 3, 2, 1)]


async def test_conditions_hold_for_calls_in_flight(served: Served) -> None:
    """Whatever else is asked for must hold as well; a mask leaves what is asked for."""
    served.begin(1, "/v1/slow")
    served.begin(2, "/v2/slow")
    asked = v1.RecordFilter(states=[v1.INFERENCING], path="/v2/*")
    page = await served.page(filter=asked, read_mask=FieldMask(paths=["path"]))
    assert list(page.records) == [v1.Record(path="/v2/slow")]


async def test_calls_that_went_with_their_relay(served: Served) -> None:
    """They are among the failed, with the reason, for a minute."""
    served.begin(1)
    served.in_flight.lose(0, time.monotonic_ns())
    failed = v1.RecordFilter(states=[v1.FAILED])
    (lost,) = (await served.page(filter=failed)).records
    assert (lost.state, list(lost.logging_error_codes)) == (v1.FAILED, ["RELAY_LOST"])
    assert not (await served.page(filter=INFERENCING)).records


async def test_tail_tells_of_calls_in_flight(served: Served) -> None:
    """A tail tells of a call when it appears, and again by its record; or that its relay took it along."""
    served.begin(1)
    tail = served.records.TailRecords(v1.TailRecordsRequest())

    async def next_two() -> tuple[str, int]:
        async with asyncio.timeout(WAIT_SECONDS):
            told = await tail.read()
        return told.call_id, told.state

    assert await next_two() == (text_of(key_of(1)), v1.INFERENCING)
    served.begin(2)
    assert await next_two() == (text_of(key_of(2)), v1.INFERENCING)
    served.append(record(1))
    served.in_flight.end([(0, 1)])
    assert await next_two() == (text_of(key_of(1)), 0)
    served.in_flight.lose(0, time.monotonic_ns())
    assert await next_two() == (text_of(key_of(2)), v1.FAILED)
    tail.cancel()


async def test_tail_of_other_states(served: Served) -> None:
    """A tail of completed calls is not told of those in flight."""
    served.begin(1)
    tail = served.records.TailRecords(
        v1.TailRecordsRequest(filter=v1.RecordFilter(states=[v1.COMPLETED]), backlog=1)
    )
    made = v1.Record(call_id=text_of(key_of(2)), state=v1.COMPLETED)
    served.append((key_of(2), made.SerializeToString()))
    assert (await take(tail, 1)) == [1]
    tail.cancel()


def segment(number: int, part: int, *, last: bool = False) -> tuple[bytes, bytes]:
    """A segment of call `number`."""
    made = v1.Record(
        call_id=text_of(key_of(number)),
        segment=part,
        is_continued=not last,
        state=v1.COMPLETED if last else v1.INFERENCING,
        response=v1.Payload(data=b"part %d " % part, size_bytes=10),
    )
    return key_of(number), made.SerializeToString()


async def test_segments_are_one_row(served: Served) -> None:
    """A call in segments is listed once, at its latest, with all of them in it; so it is fetched."""
    served.append(segment(1, 0), record(2), segment(1, 1), record(3))
    assert await served.list_all() == [4, 3, 2]
    served.append(segment(1, 2, last=True))
    for size in (1, 50):
        assert await served.list_all(page_size=size) == [5, 4, 2]
    page = await served.page()
    got = await served.records.GetRecord(v1.GetRecordRequest(call_id=text_of(key_of(1))))
    assert page.records[0] == got
    assert (got.response.data, got.response.size_bytes) == (b"part 0 part 1 part 2 ", 30)
    assert (got.segments_joined, got.segments_missing, got.state) == (3, 0, v1.COMPLETED)
    found = await served.page(filter=v1.RecordFilter(text="part 0"))
    assert [each.sequence for each in found.records] == [5]


async def test_a_call_in_flight_is_one_row(served: Served) -> None:
    """A call that goes on is listed by its latest segment, or, where asked for, as in flight."""
    served.append(segment(1, 0))
    served.begin(1)
    assert await served.list_all() == [1]
    both = v1.RecordFilter(states=[v1.INFERENCING, v1.COMPLETED])
    assert await served.list_all(filter=both) == [0]
    got = await served.records.GetRecord(v1.GetRecordRequest(call_id=text_of(key_of(1))))
    assert got.response.data == b"part 0 "


async def test_segments_in_a_tail(served: Served) -> None:
    """A tail tells of a call in segments when it is over, and of all of it."""
    served.append(segment(1, 0))
    tail = served.records.TailRecords(v1.TailRecordsRequest(backlog=10))
    heard = asyncio.ensure_future(tail.read())
    served.append(segment(1, 1), segment(1, 2, last=True))
    told = await asyncio.wait_for(heard, WAIT_SECONDS)
    assert (told.segments_joined, told.response.data) == (3, b"part 0 part 1 part 2 ")
    tail.cancel()


async def test_token_of_another_spool(served: Served, tmp_path: Path) -> None:
    """A token goes with the spool whose sequences it tells: after a new one was begun it is refused."""
    served.append(record(1), record(2))
    token = (await served.page(page_size=1)).next_page_token
    other = Spool.open(tmp_path / "other", QUOTA_BYTES, ring=True)
    api = Api(other, InFlight(), Address("127.0.0.1", 0))
    await api.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        request = v1.ListRecordsRequest(page_size=1, page_token=token)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await v1.RecordServiceStub(channel).ListRecords(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await api.stop()
    other.close()
