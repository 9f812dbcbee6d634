"""Batches that are refused whole."""

from collections.abc import Sequence

import pytest

from storage.sinks.endpoint import NotTaken
from storage.sinks.halving import send_in_halves
from storage.sinks.interface import SinkError


class Endpoint:
    """Takes no part that has one of `bad` in it."""

    def __init__(self, bad: set[int], status: int = 400) -> None:
        self.bad, self.status = bad, status
        self.taken: list[int] = []
        self.asked = 0

    async def send(self, indexes: Sequence[int]) -> None:
        self.asked += 1
        if self.bad & set(indexes):
            raise NotTaken(self.status)
        self.taken += indexes


@pytest.mark.parametrize("bad", [set(), {0}, {6}, {3, 4}, {0, 1, 2, 3, 4, 5, 6}])
async def test_all_but_the_guilty_arrive_once_and_in_order(bad: set[int]) -> None:
    """Whoever it is, the others are sent once."""
    endpoint = Endpoint(bad)
    refused = await send_in_halves(range(7), endpoint.send)
    assert {each.index for each in refused} == bad
    assert endpoint.taken == [each for each in range(7) if each not in bad]


async def test_nothing_is_sent_of_nothing() -> None:
    """An empty request tells nobody anything."""
    endpoint = Endpoint(set())
    assert await send_in_halves([], endpoint.send) == []
    assert endpoint.asked == 0


async def test_where_nothing_passes_it_is_not_the_records_fault() -> None:
    """It ends early, and refuses none."""
    endpoint = Endpoint(set(range(1000)))
    with pytest.raises(SinkError, match="http 400"):
        await send_in_halves(range(1000), endpoint.send)
    assert endpoint.asked < 40


async def test_all_may_be_too_large() -> None:
    """Size is a matter of each record, also where it is that of all of them."""
    endpoint = Endpoint(set(range(20)), 413)
    refused = await send_in_halves(range(20), endpoint.send)
    assert {each.reason for each in refused} == {"http 413"}
    assert len(refused) == 20
