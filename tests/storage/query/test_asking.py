"""Questions end in the engine when their time is up or nobody waits for them; few wait."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import duckdb
import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from infertap import v1
from infertap.identity import Identity, set_caller
from storage.archive import Archive, ArchiveError, Interrupt
from storage.feedback import Attaching, Feedback
from storage.live import InFlight, Live
from storage.numbers import Numbers
from storage.query.asking import (
    MOST_OF_CALLER,
    MOST_WAITING,
    QUICK_THREADS,
    Asking,
    TookTooLongError,
    TooManyQuestionsError,
)
from storage.query.records import Records

WAIT_SECONDS = 20.0
CALL_ID = "01a1fcbe-4eff-7330-8f2b-fad13864be60"


class Slow:
    """An archive whose every answer is hours of the engine's work away."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self.has_begun = threading.Event()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def read(*arguments: Any, **named: Any) -> Any:
            given = [*arguments, *named.values()]
            self.work(next(each for each in given if isinstance(each, Interrupt)))

        return read

    def work(self, interrupt: Interrupt) -> None:
        """As the engine does it; returns only by being interrupted."""
        with self._connection.cursor() as cursor:
            interrupt.during(cursor.interrupt)
            self.has_begun.set()
            try:
                cursor.execute("SELECT sum(sqrt(i)) FROM range(1000000000000) t(i)").fetchall()
            except duckdb.InterruptException:
                raise ArchiveError("the query was ended") from None
            finally:
                interrupt.during(None)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.close()


@pytest.fixture
def asking() -> Iterator[Asking]:
    made = Asking()
    yield made
    made.close()


async def becomes_free(asking: Asking) -> None:
    """Returns once no thread is in the engine."""
    async with asyncio.timeout(WAIT_SECONDS):
        while asking.under_way:  # noqa: ASYNC110  (threads set no event)
            await asyncio.sleep(0.01)


async def test_an_answer(asking: Asking) -> None:
    """What is found out is returned; what goes wrong is raised."""
    assert await asking.ask(lambda _: 5) == 5
    with pytest.raises(ArchiveError, match="no disk"):
        await asking.ask(lambda _: fail("no disk"))
    assert asking.under_way == 0


def fail(why: str) -> None:
    raise ArchiveError(why)


@pytest.mark.parametrize("is_long", [False, True])
async def test_time_is_up(asking: Asking, slow: Slow, is_long: bool) -> None:
    """A question that takes too long ends in the engine, and the asker is told what to do."""
    with pytest.raises(TookTooLongError, match="ask for less"):
        await asking.ask(slow.work, seconds=0.05, is_long=is_long)
    await becomes_free(asking)


async def test_nobody_waits_any_more(asking: Asking, slow: Slow) -> None:
    """A question whose asker is gone ends in the engine."""
    asked = asyncio.create_task(asking.ask(slow.work))
    await asyncio.to_thread(slow.has_begun.wait, WAIT_SECONDS)
    assert asking.under_way == 1
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    await becomes_free(asking)


async def test_interrupted_between_statements(asking: Asking, slow: Slow) -> None:
    """A question that is interrupted while the engine has nothing to do for it ends at its next statement."""
    pause = threading.Event()

    def read(interrupt: Interrupt) -> None:
        while not interrupt.is_set:
            pause.wait(0.001)
        slow.work(interrupt)

    with pytest.raises(TookTooLongError):
        await asking.ask(read, seconds=0.01)
    await becomes_free(asking)


async def test_too_many(asking: Asking, slow: Slow) -> None:
    """So many wait and no more; the next is told so at once, and the other kind is still answered."""
    most = QUICK_THREADS + MOST_WAITING
    asked = [asyncio.create_task(asking.ask(slow.work)) for _ in range(most)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQuestionsError):
        await asking.ask(lambda _: 5)
    assert await asking.ask(lambda _: 5, is_long=True) == 5
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await becomes_free(asking)
    assert await asking.ask(lambda _: 5) == 5


async def test_close(slow: Slow) -> None:
    """Closing ends what is under way, and what waits is never begun."""
    asking = Asking(quick=1)
    asked = [asyncio.create_task(asking.ask(slow.work)) for _ in range(3)]
    await asyncio.to_thread(slow.has_begun.wait, WAIT_SECONDS)
    await asyncio.to_thread(asking.close)
    assert asking.under_way == 0
    assert len(await asyncio.gather(*asked, return_exceptions=True)) == 3


@pytest.fixture
async def channel(slow: Slow, asking: Asking) -> AsyncIterator[grpc.aio.Channel]:
    """Storage's services over an archive that never answers."""
    archive: Archive = slow  # type: ignore[assignment]
    numbers = Numbers()
    server = grpc.aio.server()
    records = Records(archive, Live(), numbers, InFlight(), asking)
    v1.add_RecordServiceServicer_to_server(records, server)
    attaching = Attaching(archive, numbers, None)
    v1.add_FeedbackServiceServicer_to_server(Feedback(archive, attaching, numbers, asking), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as made:
        yield made
    await server.stop(0)


REQUESTS: dict[str, Any] = {
    "GetRecord": v1.GetRecordRequest(call_id=CALL_ID),
    "ListRecords": v1.ListRecordsRequest(),
    "TailRecords": v1.TailRecordsRequest(backlog=5),
    "ExportRecords": v1.ExportRecordsRequest(),
    "GetStats": v1.GetStatsRequest(),
    "ListFeedback": v1.ListFeedbackRequest(call_id=CALL_ID),
}


def call(channel: grpc.aio.Channel, method: str, timeout: float | None) -> Any:
    stub: Any = v1.FeedbackServiceStub if method == "ListFeedback" else v1.RecordServiceStub
    return getattr(stub(channel), method)(REQUESTS[method], timeout=timeout)


async def finish(made: Any) -> None:
    if isinstance(made, grpc.aio.UnaryStreamCall):
        async for _ in made:
            pass
    else:
        await made


@pytest.mark.parametrize("method", REQUESTS)
async def test_deadlines_reach_the_engine(
    channel: grpc.aio.Channel, asking: Asking, slow: Slow, method: str
) -> None:
    """Whatever is asked for, the engine is free soon after the caller's deadline."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await finish(call(channel, method, timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert slow.has_begun.is_set()
    await becomes_free(asking)


@pytest.mark.parametrize("method", REQUESTS)
async def test_cancelling_reaches_the_engine(
    channel: grpc.aio.Channel, asking: Asking, slow: Slow, method: str
) -> None:
    """Whatever is asked for, the engine is free soon after the caller has cancelled."""
    made = call(channel, method, timeout=None)
    waiting = asyncio.ensure_future(finish(made))
    await asyncio.to_thread(slow.has_begun.wait, WAIT_SECONDS)
    assert asking.under_way == 1
    made.cancel()
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await waiting
    await becomes_free(asking)


async def test_too_many_callers(channel: grpc.aio.Channel, asking: Asking, slow: Slow) -> None:
    """A caller beyond the bound hears RESOURCE_EXHAUSTED, with what there is too much of."""
    calls = [call(channel, "GetRecord", None) for _ in range(QUICK_THREADS + MOST_WAITING)]
    waiting = [asyncio.ensure_future(finish(made)) for made in calls]
    async with asyncio.timeout(WAIT_SECONDS):
        while asking.under_way < len(calls):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, "GetRecord", None)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(caught.value)
    quota = error_details_pb2.QuotaFailure()
    assert status is not None
    assert status.details[0].Unpack(quota)
    assert quota.violations[0].subject == "queries"
    for made in calls:
        made.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await becomes_free(asking)


async def test_one_caller_leaves_questions_to_others(asking: Asking) -> None:
    """Whoever asks very much at a time is refused; another's question waits behind some of it, and is
    answered.
    """
    is_answered = threading.Event()

    async def ask(name: str) -> bool:
        set_caller(Identity(name, None, frozenset()))
        return await asking.ask(lambda _: is_answered.wait(WAIT_SECONDS))

    tasks = [asyncio.create_task(ask("red")) for _ in range(MOST_OF_CALLER)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQuestionsError):
        await asyncio.create_task(ask("red"))
    other = asyncio.create_task(ask("blue"))
    await asyncio.sleep(0)
    assert asking.under_way == MOST_OF_CALLER + 1
    is_answered.set()
    assert all(await asyncio.gather(*tasks, other))
    assert await asyncio.create_task(ask("red"))
