"""What every engine tells in order of storing."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.query import Query
from storage.archive import (
    BY_REQUEST,
    Archive,
    Arrival,
    CountRemoved,
    Interrupt,
    ModelRule,
    Retention,
    open_archive,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL, OTHER = b"s" * 16, b"t" * 16
MUCH = 64 << 20


@pytest.fixture(params=[pytest.param("", marks=pytest.mark.clickhouse)])
def clickhouse(request: pytest.FixtureRequest) -> Iterator[Callable[[], Archive]]:
    """Opens one ClickHouse archive, again and again, as several processes do."""
    server = request.getfixturevalue("clickhouse_server")
    place = server.url(server.database())
    opened: list[Archive] = []

    def open_it() -> Archive:
        opened.append(open_archive(place, MUCH * 4))
        return opened[-1]

    yield open_it
    for archive in opened:
        archive.close()


def told(archive: Archive, after: Arrival = Arrival(0), most: int = 100, most_bytes: int = MUCH) -> list[int]:  # noqa: B008
    """Sequences, from a place on to the end, read in steps."""
    found: list[int] = []
    while some := archive.arrivals(after, most, most_bytes, Interrupt()):
        assert len(some) <= most
        assert [each.arrival for each in some] == sorted(each.arrival for each in some)
        assert some[0].arrival > after
        found += [each.position.sequence for each in some]
        after = some[-1].arrival
    return found


def test_in_order_of_storing(archive: Archive, making: "Making") -> None:
    """However late a call began: as it was stored, over commits and days, whatever the steps."""
    archive.append([making.entry(5), making.entry(9)], NOW)
    archive.append([making.entry(1), making.entry(2, OTHER)], NOW + SECOND)
    archive.append([making.entry(3)], NOW + 40 * DAY)
    assert told(archive) == told(archive, most=1) == told(archive, most=2) == [5, 9, 1, 2, 3]
    assert told(archive, Arrival(NOW + 1)) == [1, 2, 3]
    assert told(archive, Arrival(NOW, SPOOL, 5)) == [9, 1, 2, 3]
    assert archive.waiting(Arrival(NOW, SPOOL, 5), Interrupt()) == 4
    assert archive.waiting(archive.latest_arrival(), Interrupt()) == 0
    assert told(archive, archive.latest_arrival()) == []


def test_what_is_told_is_the_record(archive: Archive, making: "Making") -> None:
    """Its bytes, when and whose it was stored."""
    archive.append([making.entry(1)], NOW)
    (stored,) = archive.arrivals(Arrival(0), 10, MUCH, Interrupt())
    assert (stored.record, stored.stored_ns) == (making.entry(1).record, NOW)
    assert stored.served().sequence == 1
    assert Arrival.unpack(stored.arrival.pack()) == stored.arrival
    assert Arrival.unpack(Arrival(7).pack()) == Arrival(7)


def test_steps_are_bounded_by_bytes(archive: Archive, making: "Making") -> None:
    """As many records as fit, one at least."""
    archive.append([making.entry(number, request__data=b"x" * 100_000) for number in (1, 2, 3)], NOW)
    assert len(archive.arrivals(Arrival(0), 10, 250_000, Interrupt())) == 2
    assert len(archive.arrivals(Arrival(0), 10, 1, Interrupt())) == 1
    assert told(archive, most_bytes=1) == [1, 2, 3]


def test_each_segment_by_itself(archive: Archive, making: "Making") -> None:
    """A call that lasts is told as it was stored, segment after segment."""
    for number in (1, 2, 3):
        call = {"call_id": "c", "segment": number, "is_continued": number < 3}
        archive.append([making.entry(number, timing__duration_us=number, **call)], NOW + number)
    assert told(archive) == [1, 2, 3]


def test_places_survive(reopen: Callable[[], Archive], making: "Making") -> None:
    """A place that was told before the archive was closed goes on there, and the end is where it was."""
    archive = reopen()
    archive.append([making.entry(1), making.entry(2)], NOW)
    place = archive.arrivals(Arrival(0), 1, MUCH, Interrupt())[0].arrival
    archive.close()
    again = reopen()
    assert told(again, Arrival.unpack(place.pack())) == [2]
    assert told(again, again.latest_arrival()) == []
    again.append([making.entry(3)], again.latest_arrival().stored_ns + 1)
    assert told(again, place)[0] == 2


def test_the_end_survives_deletion(reopen: Callable[[], Archive], making: "Making") -> None:
    """Where all of the latest day was deleted, what came before is still behind the end after a start."""
    archive = reopen()
    archive.append([making.entry(1)], NOW)
    archive.append([making.entry(2, caller__user="u")], NOW + DAY)
    archive.delete(Query(user="u"), BY_REQUEST, NOW + DAY + SECOND, Interrupt())
    archive.close()
    again = reopen()
    assert told(again) == [1]
    end = again.latest_arrival()
    again.append([making.entry(3)], max(end.stored_ns, NOW + 2 * DAY))
    assert told(again, end) == [3]


def test_removal_is_told_before(archive: Archive, making: "Making") -> None:
    """Who counts what is removed is asked before: how much was stored after a place, and matches."""
    archive.append([making.entry(1, caller__user="u"), making.entry(2, caller__user="u")], NOW)
    archive.append([making.entry(3, caller__user="u", model__name="m"), making.entry(4)], NOW + SECOND)
    counted: list[tuple[int, int, int]] = []

    def count(removed: CountRemoved) -> None:
        counted.append(
            (
                removed(Arrival(0), Query()),
                removed(Arrival(NOW, SPOOL, 1), Query()),
                removed(Arrival(0), Query(model="m")),
            )
        )

    archive.on_removal(count)
    archive.delete(Query.of(v1.RecordFilter(user="u")), BY_REQUEST, NOW + DAY, Interrupt())
    assert [sum(each) for each in zip(*counted, strict=True)] == [3, 2, 1]
    assert told(archive) == [4]
    counted.clear()
    while archive.expire(Retention(ages=(ModelRule("*", DAY),)), NOW + 9 * DAY).is_more:
        pass
    assert [sum(each) for each in zip(*counted, strict=True)] == [1, 1, 0]
    assert told(archive) == []


def test_what_was_stored_just_now_is_held_back(
    clickhouse: Callable[[], Archive], making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several processes store: until none can come before it, whichever of them stored it."""
    one, other = clickhouse(), clickhouse()
    now_ns = time.time_ns()
    one.append([making.entry(1)], now_ns)
    assert told(one) == []
    # Of a clock that is behind, and seen later.
    other.append([making.entry(2, OTHER)], now_ns - 5 * SECOND)
    monkeypatch.setattr("storage.archive.clickhouse_arrivals.SETTLE_NS", 0)
    assert told(one) == told(other) == [2, 1]


def test_an_insert_that_took_long_is_told(
    clickhouse: Callable[[], Archive], making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that may have been seen only after others were told is told by a later time, and is one."""
    archive = clickhouse()
    archive.append([making.entry(2)], NOW + 1)
    place = archive.arrivals(Arrival(0), 10, MUCH, Interrupt())[-1].arrival
    monkeypatch.setattr("storage.archive.clickhouse_writing.LONG_INSERT_NS", -1)
    archive.append([making.entry(1)], NOW)
    assert told(archive, place) == [1]
    assert archive.waiting(Arrival(0), Interrupt()) == 2
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [2, 1]
