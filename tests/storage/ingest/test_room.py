"""Room: bytes under way are bounded, in turn, whoever leaves."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ingest.room import Room


async def _let_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_fits_is_let_in_at_once() -> None:
    """Room that is there is taken without waiting, and is free again once given back."""
    room = Room(10)
    taken = [await room.take(4), await room.take(6)]
    assert room.taken == 10
    for each in taken:
        room.give_back(each)
    assert room.taken == 0


async def test_a_batch_larger_than_all_the_room_goes_alone() -> None:
    """What could never fit is let in once nothing else is under way."""
    room = Room(10)
    small = await room.take(1)
    large = asyncio.create_task(room.take(99))
    await _let_run()
    assert not large.done()
    room.give_back(small)
    assert await large == 10
    room.give_back(10)
    assert room.taken == 0


async def test_small_batches_do_not_overtake_a_large_one_for_ever() -> None:
    """Whoever came first goes first, though the second would fit."""
    room = Room(10)
    held = await room.take(6)
    first, second = asyncio.create_task(room.take(5)), asyncio.create_task(room.take(1))
    await _let_run()
    assert not first.done()
    assert not second.done()
    room.give_back(held)
    assert (await first, await second) == (5, 1)


async def test_who_leaves_while_its_turn_comes_gives_its_room_back() -> None:
    """A stream that ends in the moment it was let in takes no room with it."""
    room = Room(10)
    held = await room.take(10)
    waiting = asyncio.create_task(room.take(5))
    await _let_run()
    room.give_back(held)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert room.taken == 0


async def test_who_leaves_makes_way_for_those_behind() -> None:
    """A large batch that gives up waiting no longer holds up the small one behind it."""
    room = Room(10)
    await room.take(6)
    large, small = asyncio.create_task(room.take(8)), asyncio.create_task(room.take(4))
    await _let_run()
    large.cancel()
    assert await asyncio.wait_for(small, 5) == 4


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3), st.sampled_from("ab")), max_size=30))
def test_never_more_is_under_way_than_there_is_room(asked: Sequence[tuple[int, int, str]]) -> None:
    """Whatever is taken, held for how long, and cancelled: the bound holds and all room comes back."""
    room, most = Room(10), 0

    async def use(size: int, turns: int, name: str) -> None:
        nonlocal most
        taken = await room.take(size, (name, name))
        try:
            most = max(most, room.taken)
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            room.give_back(taken)

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(use(*each)) for each in asked]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    asyncio.run(all_of_them())
    assert most <= 10
    assert room.taken == 0


async def test_callers_take_turns() -> None:
    """Who asks for much waits behind itself: another's one batch comes next, and so do other addresses'."""
    room, order = Room(10), list[str]()

    async def use(name: str, address: str) -> None:
        taken = await room.take(10, (name, address))
        order.append(name + address)
        room.give_back(taken)

    held = await room.take(10)
    asked = [("greedy", "1")] * 4 + [("modest", "1"), ("greedy", "2"), ("modest", "1")]
    tasks = []
    for each in asked:
        tasks.append(asyncio.create_task(use(*each)))
        await _let_run()
    room.give_back(held)
    await asyncio.gather(*tasks)
    assert order == ["greedy1", "modest1", "greedy2", "modest1", "greedy1", "greedy1", "greedy1"]
    assert room.taken == 0
