"""Who has a stream where there is not room for all, and who is not waited for any longer."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ingest.streams import (
    SILENT_SECONDS,
    UNREAD_SECONDS,
    Ending,
    Stream,
    Streams,
    TooManyStreamsError,
)


class Door:
    """Streams that leave as soon as they are told to end, unless they are stuck."""

    def __init__(self, most: int, most_of_identity: int | None = None, *, stuck: bool = False) -> None:
        self.streams = Streams(most, most_of_identity)
        self.there: list[Stream] = []
        self.ended: list[tuple[str, str, Ending]] = []
        self.stuck = stuck

    def enter(self, identity: str, address: str = "a") -> Stream:
        def end(why: Ending) -> None:
            self.ended.append((made.identity, made.address, why))
            if not self.stuck:
                self.leave(made)

        made = self.streams.enter(identity, address, end)
        self.there.append(made)
        return made

    def leave(self, stream: Stream) -> None:
        self.streams.leave(stream)
        self.there.remove(stream)

    def counts(self) -> dict[str, int]:
        return dict(Counter(each.identity for each in self.there))


def test_all_is_for_whoever_comes() -> None:
    """While there is room nobody is refused, whoever has how many."""
    door = Door(10)
    for number in range(10):
        door.enter("one" if number < 9 else "other")
    assert (door.counts(), door.ended) == ({"one": 9, "other": 1}, [])


def test_one_identity_has_no_more_than_its_most() -> None:
    """Beyond that it is refused, though there is room."""
    door = Door(10, 3)
    for _ in range(3):
        door.enter("one")
    with pytest.raises(TooManyStreamsError):
        door.enter("one")
    door.enter("other")
    door.leave(door.there[0])
    door.enter("one")


def test_who_has_most_makes_way() -> None:
    """Where all is taken, who comes new ends streams of who has most, until both have as many."""
    door = Door(10)
    for _ in range(10):
        door.enter("greedy")
    for _ in range(5):
        door.enter("modest")
    assert door.counts() == {"greedy": 5, "modest": 5}
    for name in ("modest", "greedy"):
        with pytest.raises(TooManyStreamsError):
            door.enter(name)
    assert door.ended == [("greedy", "a", Ending.DISPLACED)] * 5


def test_addresses_of_one_identity() -> None:
    """Of many pods with one token, the one that opens many streams makes way for the others."""
    door = Door(10, 6)
    for _ in range(6):
        door.enter("fleet", "greedy")
    for number in range(5):
        door.enter("fleet", f"pod-{number}")
    assert Counter(each.address for each in door.there)["greedy"] == 1
    with pytest.raises(TooManyStreamsError):
        door.enter("fleet", "greedy")
    with pytest.raises(TooManyStreamsError):
        door.enter("fleet", "pod-9")


def test_streams_that_do_not_end_are_counted() -> None:
    """What was told to end and is still there is not told again, and counts for who has it."""
    door = Door(4, 4, stuck=True)
    for _ in range(4):
        door.enter("greedy")
    for _ in range(2):
        door.enter("modest")
    assert len(door.streams) == 6
    assert len(door.ended) == 2
    with pytest.raises(TooManyStreamsError):
        door.enter("greedy")


def test_who_is_waited_for_in_vain() -> None:
    """Who brings no whole message, or takes no answer, is ended; whom storage itself keeps waiting, not."""
    door = Door(10)
    silent, unread, _ = (door.enter(name) for name in ("silent", "unread", "waiting"))
    silent.reading_since, unread.answering_since = 100.0, 100.0
    door.streams.sweep(100.0 + min(SILENT_SECONDS, UNREAD_SECONDS))
    assert door.ended == []
    door.streams.sweep(100.1 + max(SILENT_SECONDS, UNREAD_SECONDS))
    assert door.ended == [("silent", "a", Ending.SILENT), ("unread", "a", Ending.UNREAD)]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.booleans()), max_size=60))
def test_never_more_than_there_is_room_for(acts: Sequence[tuple[str, str, bool]]) -> None:
    """Whoever comes and goes: the bounds hold, and who has fewest is never told to go."""
    door = Door(8, 5)
    for identity, address, leaves in acts:
        before = door.counts()
        told = len(door.ended)
        if leaves and door.there:
            door.leave(door.there[0])
            continue
        try:
            door.enter(identity, address)
        except TooManyStreamsError:
            assert len(door.there) == 8 or before[identity] == 5
        for victim, _, _ in door.ended[told:]:
            assert victim == identity or before[victim] > before.get(identity, 0) + 1
        assert len(door.streams) == len(door.there) <= 8
        assert max(door.counts().values(), default=0) <= 5
    for each in list(door.there):
        door.leave(each)
    assert len(door.streams) == 0


def test_memory_is_short() -> None:
    """Who has most streams loses some that are waited for, longest first, until others have as many."""
    door = Door(100)
    for number in range(8):
        door.enter("greedy").reading_since = 100.0 - number if number < 7 else None
    for name in ("modest", "modest"):
        door.enter(name).reading_since = 0.0
    door.streams.relieve()
    assert [each.reading_since for each in door.there if each.identity == "greedy"] == [
        *(100.0 - number for number in range(5)),
        None,
    ]
    assert door.counts()["modest"] == 2
    for _ in range(3):
        door.streams.relieve()
    assert door.counts() == {"greedy": 2, "modest": 2}
    assert {why for _, _, why in door.ended} == {Ending.MEMORY}


def test_memory_is_short_and_nobody_is_there() -> None:
    """Then streams are not what takes it."""
    Streams(1).relieve()
