"""Those who listen to what arrives."""

import contextlib

from infertap import v1
from storage.live import live


async def test_slow_listener_is_cut_off() -> None:
    """It gets what waited, without a hole, and then hears that it is cut off; others go on."""
    told = live.Live()
    with told.listening() as slow, told.listening() as quick:
        for number in range(live.MOST_WAITING + 2):
            told.tell([v1.Record(sequence=number + 1)])
            assert (await quick.next()).sequence == number + 1
        heard = []
        while not slow.is_at_end:
            heard.append((await slow.next()).sequence)
        assert heard == list(range(1, live.MOST_WAITING + 1))
        assert not quick.is_behind


async def test_bytes_that_wait_are_bounded() -> None:
    """Large records cut a slow listener off long before their number would."""
    told = live.Live()
    large = v1.Record(call_id="x" * (live.MOST_WAITING_BYTES // 4))
    with told.listening() as listener:
        told.tell([large] * 10)
        heard = 0
        while not listener.is_at_end:
            await listener.next()
            heard += 1
        assert heard == 3


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
            assert (await listener.next()).call_id == large.call_id
        assert all(listener.is_at_end for listener in everyone if listener.is_behind)


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
