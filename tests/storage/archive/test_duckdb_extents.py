"""Which files of the DuckDB engine are asked for a page: those that can have something of it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap import v1
from infertap.query import Order, Query, StatsQuery
from storage.archive import Interrupt, open_archive
from storage.archive import duckdb_keys as keys
from storage.archive.duckdb_extents import NOWHERE, Extent, Extents
from storage.archive.entries import Position

if TYPE_CHECKING:
    from tests.storage.conftest import Making

HOUR = 3_600 * 1_000_000_000
NEWEST_FIRST, OLDEST_FIRST = Order("start_time"), Order("start_time", is_descending=False)
# Of three files, the newest first: one of noon, an empty one, one of the morning with a latecomer.
EXTENTS = [Extent(12 * HOUR, 13 * HOUR), NOWHERE, Extent(8 * HOUR, 12 * HOUR)]


@pytest.fixture
def engine() -> duckdb.DuckDBPyConnection:
    """An engine with one file, in which calls started at ten and at eleven."""
    connection = duckdb.connect(":memory:")
    connection.execute("ATTACH ':memory:' AS part; CREATE TABLE part.records (start_ns BIGINT)")
    connection.execute("INSERT INTO part.records VALUES (?), (?)", [10 * HOUR, 11 * HOUR])
    return connection


def test_an_extent_covers_what_was_there_and_what_is_about_to_be_written(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    """Earlier and later calls widen an extent before they are committed, whether or not it was asked for."""
    extents = Extents()
    extents.widen("part", [12 * HOUR, 11 * HOUR])
    assert extents.of(engine, ["part"]) == [Extent(10 * HOUR, 12 * HOUR)]
    extents.widen("part", [9 * HOUR])
    assert extents.of(engine, ["part"]) == [Extent(9 * HOUR, 12 * HOUR)]


def test_a_file_that_is_gone_is_forgotten(engine: duckdb.DuckDBPyConnection) -> None:
    """The extent of a file that comes to be under its name is its own."""
    extents = Extents()
    extents.widen("part", [12 * HOUR])
    assert extents.of(engine, ["part"])
    engine.execute("DELETE FROM part.records")
    extents.forget("part")
    assert extents.of(engine, ["part"]) == [NOWHERE]


def all_of(spans: keys._Spans, share: float) -> Iterator[Extent]:
    """Every span, where that share was found in those before each."""
    while (span := spans.next(share)) is not None:
        yield span


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("after", [None, 9 * HOUR])
@pytest.mark.parametrize("query", [Query(order=NEWEST_FIRST), Query(order=OLDEST_FIRST)], ids=str)
def test_spans_cover_all_that_is_wanted(query: Query, after: int | None, share: float) -> None:
    """However much is found, span follows on span, from one end of what files cover to the other."""
    place = None if after is None else Position(after, after, b"spool", 1)
    spans = keys._Spans.of(EXTENTS, query, place)
    found = list(all_of(spans, share))
    assert 1 < len(found) < 12
    is_newest_first = query.order.is_descending
    first = 9 * HOUR if after and not is_newest_first else 8 * HOUR
    last = 9 * HOUR if after and is_newest_first else 13 * HOUR
    for span in sorted(found, key=lambda each: each.first_ns):
        assert span.first_ns == first <= span.last_ns
        first = span.last_ns + 1
    assert first == last + 1
    assert found == sorted(found, key=lambda each: each.first_ns, reverse=is_newest_first)


@pytest.mark.parametrize("query", [Query(order=NEWEST_FIRST), Query(order=OLDEST_FIRST)], ids=str)
@pytest.mark.parametrize("step", [0.0, 1e-9])
@pytest.mark.parametrize("share", [0.0, 0.7, 0.98])
def test_spans_end_where_calls_started_at_one_moment(query: Query, share: float, step: float) -> None:
    """Where much is found in a nanosecond, and next to nothing in years around it, spans get longer still."""
    year = 365 * 24 * HOUR
    moment = Extent(year, year)
    spans = keys._Spans.of([moment, moment, Extent(0, 2 * year)], query, None)
    shares = (share + step * number for number in itertools.count())
    found = [span for span in (spans.next(next(shares)) for _ in range(400)) if span is not None]
    assert len(found) < 200
    assert all(span.width_ns for span in found)
    assert sum(span.width_ns for span in found) == 2 * year + 1


@pytest.mark.parametrize(
    ("query", "span"),
    [
        (Query(order=Order("duration")), Extent(8 * HOUR, 13 * HOUR)),
        (
            Query(order=Order("duration"), start_ns=9 * HOUR, end_ns=10 * HOUR),
            Extent(9 * HOUR, 10 * HOUR - 1),
        ),
        (Query(start_ns=14 * HOUR), None),
        (Query(end_ns=8 * HOUR), None),
        (Query(end_ns=8 * HOUR + 1), Extent(8 * HOUR, 8 * HOUR)),
    ],
)
def test_other_orders_are_asked_at_once(query: Query, span: Extent | None) -> None:
    """All of what is asked for and covered is one span, where it is not read in the order of start."""
    spans = keys._Spans.of(EXTENTS, query, None)
    assert (spans.next(0.0), spans.next(0.0)) == (span, None)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_files_of_one_record_take_one_span_each_at_most(share: float) -> None:
    """What lies between files is passed over, however little they cover themselves."""
    extents = [Extent(day * 24 * HOUR, day * 24 * HOUR) for day in range(100)]
    spans = keys._Spans.of(extents, Query(order=OLDEST_FIRST), None)
    found = list(all_of(spans, share))
    assert 1 < len(found) <= 100
    assert all(any(each.meets(span) for span in found) for each in extents)


def test_no_file_has_anything() -> None:
    """Of files without a record no span is asked."""
    assert keys._Spans.of([NOWHERE], Query(), None).next(0.0) is None


def test_what_comes_in_after_a_page_is_on_the_next(tmp_path: Path, making: "Making") -> None:
    """Records that widen a file's extent are listed by questions that are asked after they came."""
    archive = open_archive(str(tmp_path / "archive"), 256 << 20)
    for sequence in (5, 1, 9):
        archive.append([making.entry(sequence)], 1_767_225_600 * 1_000_000_000)
        newest = archive.page(Query(), None, 1, Interrupt()).records[0].sequence
        oldest = archive.page(Query(order=OLDEST_FIRST), None, 1, Interrupt()).records[0].sequence
        assert (oldest, newest) == {5: (5, 5), 1: (1, 5), 9: (1, 9)}[sequence]
    archive.close()


def test_figures_are_of_files_that_may_have_some(tmp_path: Path, making: "Making") -> None:
    """What is counted over a time is all of it, in whichever files it lies; nothing where none has any."""
    archive = open_archive(str(tmp_path / "archive"), 256 << 20)
    for day in range(3):
        stored_ns = 1_767_225_600 * 1_000_000_000 + day * 24 * HOUR
        archive.append([making.entry(2 * day + 1), making.entry(2 * day + 2)], stored_ns)
    listed = archive.page(Query(order=OLDEST_FIRST), None, 10, Interrupt()).records
    starts = [each.timing.start.ToNanoseconds() for each in listed]
    for first in range(5):
        last = min(first + 3, 5)
        within = Query(start_ns=starts[first], end_ns=starts[last])
        assert archive.count(within, Interrupt()) == last - first
        assert archive.stats(StatsQuery(within), Interrupt()).rows[0].records == last - first
    later, unknown = Query(start_ns=starts[-1] + 1), Query(model="nobody's")
    assert archive.count(later, Interrupt()) == 0
    for by in ((), (v1.GetStatsRequest.MODEL,)):
        answers = [archive.stats(StatsQuery(query, by), Interrupt()) for query in (later, unknown)]
        assert answers[0] == answers[1]
    archive.close()
