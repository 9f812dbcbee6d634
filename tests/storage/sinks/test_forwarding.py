"""A sink's task over a real archive: what is delivered, kept, set aside and counted."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.query import Query
from storage.archive import BY_REQUEST, Archive, Interrupt, ModelRule, Retention
from storage.sinks import SinkError, Sinks, forwarding
from storage.sinks.sinks_file import Limits

if TYPE_CHECKING:
    from tests.storage.conftest import Making
    from tests.storage.sinks.conftest import Running, ScriptedSink

SECOND = 1_000_000_000
NOW = 1_767_225_600 * SECOND
SPOOL = (b"s" * 16).hex()


def ids(*sequences: int) -> list[str]:
    return [f"{SPOOL}-{sequence}" for sequence in sequences]


async def stands(sinks: Sinks) -> v1.Sink:
    (made,) = await asyncio.to_thread(sinks.stands)
    return made


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what no sink is told of."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_stands(sinks: Sinks, is_so: Callable[[v1.Sink], bool]) -> v1.Sink:
    async with asyncio.timeout(20):
        while not is_so(made := await stands(sinks)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return made


async def test_all_in_order(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """From the beginning: in order of storing, in batches that are no larger than they may be; then what
    comes.
    """
    archive.append([making.entry(sequence) for sequence in range(1, 26)], NOW)
    async with running(archive) as sinks:
        await scripted.until(lambda: len(scripted.taken) == 25)
        archive.append([making.entry(99)], NOW + SECOND)
        archive.append([making.entry(26)], NOW + 2 * SECOND)
        await scripted.until(lambda: len(scripted.taken) == 27)
        made = await until_stands(sinks, lambda made: made.delivered == 27)
    assert scripted.taken == ids(*range(1, 26), 99, 26)
    assert max(len(batch.records) for batch in scripted.batches) == 10
    assert [batch.number for batch in scripted.batches] == list(range(1, len(scripted.batches) + 1))
    assert (made.waiting, made.lost, made.refused, made.last_error) == (0, 0, 0, "")
    assert not made.behind.ToNanoseconds()
    assert scripted.closed == 1


async def test_from_now(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """A new sink that begins now is told nothing of what was there."""
    archive.append([making.entry(1)], NOW)
    async with running(archive, begins_at_beginning=False) as sinks:
        await until_stands(sinks, lambda _: scripted.opened > 0)
        archive.append([making.entry(2)], NOW + SECOND)
        await scripted.until(lambda: scripted.taken == ids(2))


async def test_goes_on_where_it_was(
    reopen: "Callable[[], Archive]", making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """After a restart nothing that the sink had taken comes again, and nothing is left out."""
    archive = reopen()
    archive.append([making.entry(1), making.entry(2)], NOW)
    async with running(archive) as sinks:
        await until_stands(sinks, lambda made: made.delivered == 2)
    archive.append([making.entry(3)], NOW + SECOND)
    again = reopen()
    async with running(again, begins_at_beginning=False) as sinks:
        made = await until_stands(sinks, lambda made: made.delivered == 3)
    assert scripted.taken == ids(1, 2, 3)
    assert made.waiting == 0


async def test_failures_are_tried_again(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """Whatever goes wrong the same batch comes again, under its number; status and log tell what it was."""
    archive.append([making.entry(1), making.entry(2)], NOW)
    scripted.failures = [SinkError("http 503"), RuntimeError("its text is not told"), None]
    said: list[object] = []
    async with running(archive, said=said) as sinks:
        failed = await until_stands(sinks, lambda made: bool(made.last_error))
        assert failed.waiting == 2
        assert failed.behind.ToSeconds() > 0
        await scripted.until(lambda: scripted.taken == ids(1, 2))
        made = await until_stands(sinks, lambda made: made.delivered == 2)
    assert [batch.number for batch in scripted.batches] == [1, 1, 1]
    assert len({batch.digest for batch in scripted.batches}) == 1
    assert not made.last_error
    assert [facts["why"] for _, facts in said] == ["http 503", "RuntimeError"]  # type: ignore[attr-defined]


async def test_it_waits_as_long_as_it_is_asked_to(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """A sink that asks for a pause gets it; somebody who asks it to look now is heard at once."""
    archive.append([making.entry(1)], NOW)
    scripted.failures = [SinkError("http 429", retry_after_seconds=3600.0)]
    said: list[tuple[object, dict[str, float]]] = []
    async with running(archive, said=said) as sinks:
        await until(lambda: bool(said))
        assert said[0][1]["again_in_seconds"] == 3600.0
        sinks.wake("scripted")
        await scripted.until(lambda: scripted.taken == ids(1))


async def test_poison_is_set_aside(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """What the sink refuses holds nothing up: it is counted and kept by id and reason, sent again on request,
    and stays set aside where it is refused again.
    """
    archive.append([making.entry(sequence) for sequence in (1, 2, 3)], NOW)
    scripted.poison = {ids(2)[0]: "http 400", ids(3)[0]: "http 413"}
    async with running(archive) as sinks:
        made = await until_stands(sinks, lambda made: made.delivered == 1)
        assert (made.refused, made.waiting) == (2, 0)
        aside = await asyncio.to_thread(sinks.refused, "scripted", None, 10)
        assert [(each.record_id, each.reason) for each in aside] == list(scripted.poison.items())
        assert aside[0].call_id == making.record(2).call_id
        del scripted.poison[ids(2)[0]]
        assert await asyncio.to_thread(sinks.resend, "scripted") == 2
        sinks.wake("scripted")
        made = await until_stands(sinks, lambda made: made.delivered == 2)
        assert made.refused == 1
        assert scripted.taken == ids(1, 2)
        assert await asyncio.to_thread(sinks.drop, "scripted") == 1
        made = await stands(sinks)
        assert (made.refused, made.dropped, made.delivered) == (0, 1, 2)


async def test_resending_holds_nothing_up(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """Where resending fails what comes goes on meanwhile; what fails again, however, stays set aside."""
    archive.append([making.entry(sequence) for sequence in range(1, 11)], NOW)
    scripted.poison = dict.fromkeys(ids(*range(1, 11)), "http 400")
    said: list[tuple[object, dict[str, object]]] = []
    async with running(archive, said=said) as sinks:
        await until_stands(sinks, lambda made: made.refused == 10 and not made.waiting)
        await until(lambda: bool(said))
        refused = {"sink": "scripted", "records": 10, "why": "http 400"}
        assert said == [(("sink refused records",), refused)]
        scripted.failures = [SinkError("http 400"), SinkError("http 503")]
        await asyncio.to_thread(sinks.resend, "scripted")
        sinks.wake("scripted")
        await until(lambda: len(said) > 1)
        assert said[1][1]["why"] == "http 503"
        archive.append([making.entry(11)], NOW + SECOND)
        await scripted.until(lambda: scripted.taken == ids(11))
        scripted.bugs = set(scripted.poison)
        sinks.wake("scripted")
        await until(lambda: not sinks._called("scripted").notes.is_asked_to_resend)
        made = await stands(sinks)
        assert (made.delivered, made.refused, made.waiting) == (1, 10, 0)
        aside = await asyncio.to_thread(sinks.refused, "scripted", None, 20)
        assert {each.reason for each in aside} == {"ValueError"}


async def test_a_record_that_nobody_foresaw(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """A record at which a sink fails again and again, through a fault of its own, is set aside too."""
    archive.append([making.entry(sequence) for sequence in range(1, 13)], NOW)
    scripted.bugs = {ids(5)[0]}
    async with running(archive) as sinks:
        made = await until_stands(sinks, lambda made: made.delivered == 11)
        assert (made.refused, made.waiting, made.last_error) == (1, 0, "")
        (aside,) = await asyncio.to_thread(sinks.refused, "scripted", None, 10)
        assert (aside.record_id, aside.reason) == (ids(5)[0], "ValueError")
        # What fails of everything is ill itself.
        scripted.bugs = set(ids(*range(13, 40)))
        archive.append([making.entry(sequence) for sequence in range(13, 40)], NOW + SECOND)
        await scripted.until(lambda: scripted.batches[-1].records[0].sequence == 20)
        made = await until_stands(sinks, lambda made: bool(made.last_error))
        assert (made.refused, made.waiting) == (1, 27)


async def test_filter(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """What the filter leaves out is counted, and passed by."""
    entries = [
        making.entry(sequence, model__name="iris" if sequence % 5 == 0 else "") for sequence in range(1, 21)
    ]
    archive.append(entries, NOW)
    async with running(archive, query=Query(model="iris")) as sinks:
        made = await until_stands(sinks, lambda made: made.delivered == 4)
        assert scripted.taken == ids(5, 10, 15, 20)
        assert (made.passed_over, made.waiting) == (16, 0)


async def test_quiet_after_what_a_filter_leaves_out(
    archive: Archive,
    making: "Making",
    scripted: "ScriptedSink",
    running: "Running",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was passed by last waits for nothing, also when nothing more comes."""
    monkeypatch.setattr(forwarding, "_KEEP_SECONDS", 0.5)
    async with running(archive, query=Query(model="iris")) as sinks:
        for sequence in (1, 2):  # the second one so soon that it is not kept at once
            archive.append([making.entry(sequence)], NOW + sequence * SECOND)
            await until_stands(sinks, lambda made: made.passed_over > 0 == made.waiting)
    assert not scripted.taken


async def test_segments_go_on_one_by_one(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """A call that lasts is a record for each segment, each with an id of its own."""
    async with running(archive) as sinks:
        for number in (1, 2):
            entry = making.entry(number, call_id="c", segment=number - 1, is_continued=number < 2)
            archive.append([entry], NOW + number)
            await until_stands(sinks, lambda made: made.delivered == number)  # noqa: B023
    assert scripted.taken == ids(1, 2)
    assert [each.segment for batch in scripted.batches for each in batch.records] == [0, 1]


async def test_deleted_while_the_sink_is_away(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """What a person had deleted does not go on any more, although it was in a batch already; it is counted as
    lost, and so is what has expired.
    """
    archive.append([making.entry(1, caller__user="u"), making.entry(2)], NOW)
    scripted.failures = [SinkError("http 503", retry_after_seconds=3600.0)]
    async with running(archive) as sinks:
        await scripted.until(lambda: len(scripted.batches) == 1)
        await until_stands(sinks, lambda made: bool(made.last_error))
        asked = Query.of(v1.RecordFilter(user="u"))
        await asyncio.to_thread(archive.delete, asked, BY_REQUEST, NOW + SECOND, Interrupt())
        assert (await stands(sinks)).lost == 1
        scripted.failures = [SinkError("http 503", retry_after_seconds=3600.0)]
        sinks.wake("scripted")
        await scripted.until(lambda: len(scripted.batches) == 2)
        assert [record.sequence for record in scripted.batches[1].records] == [2]

        def expire() -> None:
            while archive.expire(Retention(ages=(ModelRule("*", SECOND),)), time.time_ns()).is_more:
                pass

        await asyncio.to_thread(expire)
        sinks.wake("scripted")
        made = await until_stands(sinks, lambda made: made.lost == 2)
        assert (made.delivered, made.waiting) == (0, 0)


async def test_exact_repeats(
    reopen: "Callable[[], Archive]", making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """Of kinds that repeat exactly a batch that was under way when storage ended is the same afterwards, also
    where more has come.
    """
    archive = reopen()
    archive.append([making.entry(1), making.entry(2)], NOW)
    scripted.failures = [SinkError("timeout", retry_after_seconds=3600.0)]
    async with running(archive, repeats_exactly=True):
        await scripted.until(lambda: len(scripted.batches) == 1)
    archive.append([making.entry(3)], NOW + SECOND)
    async with running(reopen(), repeats_exactly=True):
        await scripted.until(lambda: len(scripted.taken) == 3)
    first, again, last = scripted.batches
    assert (first.number, first.digest) == (again.number, again.digest)
    assert (last.number, [record.sequence for record in last.records]) == (2, [3])


async def test_lingering(
    archive: Archive, making: "Making", scripted: "ScriptedSink", running: "Running"
) -> None:
    """A batch that is not full waits for more as long as it is told to, and goes once it is full; without
    what was deleted while it waited.
    """
    limits = Limits(3, 1 << 20, 3600.0)
    async with running(archive, limits=limits) as sinks:
        archive.append([making.entry(1), making.entry(2, caller__user="u")], NOW)
        await until(lambda: sinks._called("scripted").behind_seconds > 0)
        asked = Query.of(v1.RecordFilter(user="u"))
        await asyncio.to_thread(archive.delete, asked, BY_REQUEST, NOW + 1, Interrupt())
        assert scripted.batches == []
        archive.append([making.entry(3)], NOW + SECOND)
        await scripted.until(lambda: len(scripted.batches) == 1)
        made = await until_stands(sinks, lambda made: made.delivered == 2)
        assert (made.lost, made.waiting) == (1, 0)
    assert scripted.taken == ids(1, 3)


async def test_one_of_several_runs_it(
    archive: Archive,
    making: "Making",
    scripted: "ScriptedSink",
    running: "Running",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where several storages keep an archive one of them runs a sink; when it ends another goes on."""
    monkeypatch.setattr("storage.audit.sharing.SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("storage.sinks.running._RENEW_SECONDS", 0.1)
    archive.append([making.entry(1)], NOW)
    async with contextlib.AsyncExitStack() as last:
        async with running(archive, is_shared=True):
            await scripted.until(lambda: scripted.taken == ids(1))
            other = await last.enter_async_context(running(archive, is_shared=True))
            await asyncio.sleep(0.5)
            assert scripted.opened == 1
            assert (await stands(other)).delivered == 1
        archive.append([making.entry(2)], NOW + SECOND)
        await scripted.until(lambda: scripted.taken == ids(1, 2))
        assert scripted.opened == 2
