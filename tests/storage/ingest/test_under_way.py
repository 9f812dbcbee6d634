"""Under way: what a stream has sent and is not answered yet."""

import asyncio

from storage.ingest.under_way import MOST_WEIGHT, Pace, UnderWay


async def test_what_was_answered_makes_room() -> None:
    """Who would put more than there is room for waits until what came before has its answer, no longer."""
    stream: UnderWay[str] = UnderWay()
    await stream.put("first", await stream.make_room(MOST_WEIGHT))
    second = asyncio.create_task(stream.make_room(1))
    await asyncio.sleep(0)
    assert not second.done()
    assert await stream.get() == "first"
    await asyncio.sleep(0)
    assert not second.done(), "it is being answered"
    rest = asyncio.create_task(stream.get())
    assert await second == 1
    await stream.put(None, 1)
    assert await rest is None


async def test_more_than_all_the_room_comes_alone() -> None:
    """One thing that weighs more than all is let in."""
    stream: UnderWay[str] = UnderWay()
    await stream.put("heavy", await stream.make_room(MOST_WEIGHT * 9))
    assert await stream.get() == "heavy"
    assert stream.left() == []


def test_pace() -> None:
    """Some things may be told at once, as many as are due later on without waiting, and more only in time."""
    pace = Pace()
    assert [pace.wait(100.0) for _ in range(10)] == [0.0] * 10
    late = [pace.wait(100.0) for _ in range(3)]
    assert late == sorted(late)
    assert late[0] > 0
    now = 200.0
    for _ in range(100):
        now += 1.0
        assert pace.wait(now) == 0.0
