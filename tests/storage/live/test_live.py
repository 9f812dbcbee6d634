"""Those who listen to what arrives."""

import asyncio
import contextlib

from infertap import v1
from storage.live import live


async def test_slow_listener_is_cut_off() -> None:
    """It gets what waited, without a hole, and then hears that it is cut off; others go on."""
    told = live.Live()
    with told.listening() as slow, told.listening() as quick:
        for number in range(live.MOST_WAITING + 2):
            told.tell([v1.Record(sequence=number + 1)])
            assert (await anext(quick)).sequence == number + 1
        heard = [record.sequence async for record in slow]
        assert heard == list(range(1, live.MOST_WAITING + 1))
        assert not quick.is_behind


async def test_bytes_that_wait_are_bounded() -> None:
    """Large records cut a slow listener off long before their number would."""
    told = live.Live()
    large = v1.Record(call_id="x" * (live.MOST_WAITING_BYTES // 4))
    with told.listening() as listener:
        told.tell([large] * 10)
        assert len([record async for record in listener]) == 3


async def test_bytes_that_wait_for_all_are_bounded() -> None:
    """Where all together have too much waiting, the one with the most loses it; the others go on."""
    told = live.Live()
    large = v1.Record(call_id="x" * (live.MOST_WAITING_BYTES // 4))
    with contextlib.ExitStack() as open_ones:
        early = [open_ones.enter_context(told.listening()) for _ in range(5)]
        told.tell([large])
        late = [open_ones.enter_context(told.listening()) for _ in range(20)]
        told.tell([large])
        everyone = early + late
        assert sum(listener.bytes for listener in everyone) <= live.MOST_BYTES
        assert {listener.bytes for listener in everyone if listener.is_behind} == {0}
        heard = [listener for listener in everyone if not listener.is_behind]
        assert heard
        for listener in heard:
            assert (await anext(listener)).call_id == large.call_id
        for listener in everyone:
            if listener.is_behind:
                assert [record async for record in listener] == []


async def test_who_waits_is_told_of_being_cut_off() -> None:
    """Who had nothing waiting when too much came at once hears of its end, and does not wait for ever."""
    told = live.Live()
    large = v1.Record(call_id="x" * (live.MOST_WAITING_BYTES // 4))
    with contextlib.ExitStack() as open_ones:
        everyone = [open_ones.enter_context(told.listening()) for _ in range(10)]
        waiting = [asyncio.create_task(anext(listener)) for listener in everyone]
        await asyncio.sleep(0)
        told.tell([large] * 3)
        heard = await asyncio.gather(*waiting, return_exceptions=True)
    ended = [isinstance(each, StopAsyncIteration) for each in heard]
    assert ended == [listener.is_behind for listener in everyone]
    assert 0 < sum(ended) < len(everyone)


def test_one_caller_leaves_listeners_to_others() -> None:
    """Half of them at most are one known caller's, all of them everybody's; who leaves makes room."""
    told = live.Live()
    with contextlib.ExitStack() as open_ones:
        for _ in range(live.MOST_OF_CALLER - 1):
            open_ones.enter_context(told.listening("red"))
        with told.listening("red"):
            assert told.most_for("red") == live.MOST_OF_CALLER
            assert told.most_for("blue") == 0
        assert told.most_for("red") == 0
        for _ in range(live.MOST_LISTENERS - live.MOST_OF_CALLER + 1):
            open_ones.enter_context(told.listening())
        assert told.most_for("blue") == live.MOST_LISTENERS
    assert (told.most_for("red"), told.has_listeners) == (0, False)
