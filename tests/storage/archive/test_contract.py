"""What every engine must do. A new engine joins by one more way to open it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infertap import v1
from infertap.query import Query
from storage.archive import Archive, ArchiveError, Interrupt, Page, Position, RecordEntry, open_archive

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL, OTHER = b"s" * 16, b"t" * 16

OpenArchive = Callable[[], Archive]


# Of an engine that is a directory, which one process has.
embedded = pytest.mark.parametrize("make_place", ["duckdb"], indirect=True)


def listed(archive: Archive, size: int = 1000, **asked: object) -> list[int]:
    """Sequences of all records that match, page after page."""
    query = Query.of(v1.RecordFilter(**asked))
    found: list[int] = []
    after: Position | None = None
    while True:
        page = archive.page(query, after, size, Interrupt())
        found += [record.sequence for record in page.records]
        after = page.after
        if after is None:
            return found


def test_what_is_appended_can_be_fetched(archive: Archive, making: "Making") -> None:
    """By call id, with what only the server knows."""
    assert len(archive.append([making.entry(1), making.entry(2)], NOW)) == 2
    record = archive.get(making.record(2).call_id)
    assert record is not None
    assert (record.sequence, record.spool_id, record.stored_at.ToNanoseconds()) == (2, SPOOL, NOW)
    assert record.request.data == b"question 2"
    assert archive.get("00000000-0000-7000-8000-000000000000") is None


def test_each_once(archive: Archive, making: "Making") -> None:
    """What came before, or twice in one batch, is stored once; only what is new is told."""
    archive.append([making.entry(1), making.entry(2)], NOW)
    fresh = archive.append([making.entry(2), making.entry(3), making.entry(3)], NOW + DAY)
    assert [entry.sequence for entry in fresh] == [3]
    assert archive.append([making.entry(1)], NOW) == []
    assert listed(archive) == [3, 2, 1]


def test_spools_are_apart(archive: Archive, making: "Making") -> None:
    """The same sequence of another spool is another record."""
    archive.append([making.entry(1), making.entry(1, OTHER)], NOW)
    assert listed(archive) == [1, 1]
    assert archive.received(SPOOL) == [(1, 1)]
    assert archive.received(b"u" * 16) == []


def test_received_survives(reopen: OpenArchive, making: "Making") -> None:
    """Ranges are ascending and disjoint, over days and after the archive was opened again."""
    archive = reopen()
    archive.append([making.entry(1), making.entry(2), making.entry(5)], NOW)
    archive.append([making.entry(3), making.gap(7, 9)], NOW + DAY)
    archive.append([making.entry(4)], NOW + 2 * DAY)
    assert archive.received(SPOOL) == [(1, 5), (7, 9)]
    archive.close()
    again = reopen()
    assert again.received(SPOOL) == [(1, 5), (7, 9)]
    assert again.append([making.entry(sequence) for sequence in range(1, 6)], NOW + 3 * DAY) == []
    assert listed(again) == [5, 4, 3, 2, 1]


def test_record_in_a_gap_is_kept(archive: Archive, making: "Making") -> None:
    """A record that comes although its spool gave it up is worth more than its absence."""
    archive.append([making.gap(1, 3)], NOW)
    assert len(archive.append([making.entry(2)], NOW)) == 1
    assert archive.append([making.entry(2)], NOW) == []
    assert listed(archive) == [2]
    assert archive.received(SPOOL) == [(1, 3)]


@embedded
def test_all_or_none(archive: Archive, making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails leaves nothing, and can be appended again."""
    import storage.archive.duckdb_writing as engine

    def fail(*_: object) -> list[object]:
        raise engine.duckdb.IOException("IO Error: No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(engine, "_ranges", fail)
        with pytest.raises(ArchiveError, match="No space left"):
            archive.append([making.entry(1)], NOW)
    assert listed(archive) == []
    assert archive.received(SPOOL) == []
    assert len(archive.append([making.entry(1)], NOW)) == 1


def test_pages_are_in_order_over_days(archive: Archive, making: "Making") -> None:
    """Newest start first, wherever and whenever a record came in."""
    archive.append([making.entry(sequence) for sequence in (5, 1, 9)], NOW + 5 * DAY)
    archive.append([making.entry(sequence) for sequence in (2, 8, 4)], NOW)
    archive.append([making.entry(sequence, OTHER) for sequence in (3, 9)], NOW + DAY)
    assert listed(archive, size=2) == listed(archive) == [9, 9, 8, 5, 4, 3, 2, 1]


def test_pages_of_heavy_records(archive: Archive, making: "Making") -> None:
    """A page holds no more than clients take by default, or one record; the next goes on where it ended."""
    for first in range(1, 13, 4):
        archive.append(
            [making.entry(number, request__data=b"x" * 1_000_000) for number in range(first, first + 4)], NOW
        )
    page = archive.page(Query(), None, 100, Interrupt())
    assert [record.sequence for record in page.records] == [12, 11, 10]
    assert sum(record.ByteSize() for record in page.records) < 4 << 20
    assert listed(archive) == list(range(12, 0, -1))
    assert listed(archive, size=2) == list(range(12, 0, -1))


def test_pages_stay_right_while_records_arrive(archive: Archive, making: "Making") -> None:
    """What comes between two pages is in neither twice, and nothing is passed over."""
    archive.append([making.entry(sequence) for sequence in range(1, 11)], NOW)
    first = archive.page(Query(), None, 4, Interrupt())
    archive.append([making.entry(sequence) for sequence in range(11, 15)], NOW)
    archive.append([making.entry(20, timing__duration_us=1)], NOW)
    rest = archive.page(Query(), first.after, 100, Interrupt())
    assert [each.sequence for each in (*first.records, *rest.records)] == list(range(10, 0, -1))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"model": "iris"}, [3]),
        ({"model_version": "2"}, [3]),
        ({"states": [v1.FAILED]}, [4]),
        ({"http_statuses": [500, 404]}, [4]),
        ({"grpc_statuses": [0]}, [5]),
        ({"method": "GET"}, [6]),
        ({"path": "/v1/2"}, [2]),
        ({"path": "/v1/*"}, [6, 5, 4, 3, 2, 1]),
        ({"request_id": "r-1"}, [1]),
        ({"user": "hmac:1"}, [2]),
        ({"text": "QUESTION 5"}, [5]),
        ({"text": "it's %_"}, [6]),
        ({"text": "nowhere"}, []),
        ({"path": "'; DROP TABLE records; --"}, []),
    ],
)
def test_filters(archive: Archive, making: "Making", asked: dict[str, object], found: list[int]) -> None:
    """Each condition lets through what it says, and is never taken for a part of a query."""
    archive.append(
        [
            making.entry(1),
            making.entry(2, caller__user="hmac:1"),
            making.entry(3, model__name="iris", model__version="2"),
            making.entry(4, state=v1.FAILED, http_status=500),
            making.entry(5, grpc_status=0),
            making.entry(6, method="GET", response__decoded_json='"It\'s %_"'),
        ],
        NOW,
    )
    assert listed(archive, **asked) == found


def test_times(archive: Archive, making: "Making") -> None:
    """From the start on, up to the end, and no shorter than asked."""
    archive.append([making.entry(sequence) for sequence in range(1, 6)], NOW)

    def asked(**conditions: object) -> list[int]:
        page = archive.page(Query(**conditions), None, 100, Interrupt())  # type: ignore[arg-type]
        return [record.sequence for record in page.records]

    assert asked(start_ns=NOW + 3 * SECOND) == [5, 4, 3]
    assert asked(end_ns=NOW + 3 * SECOND) == [2, 1]
    assert asked(min_duration_us=4) == [5, 4]


def test_interrupted_query(archive: Archive, making: "Making") -> None:
    """A query that is ended before it begins reads nothing, and does not say that there is nothing."""
    archive.append([making.entry(sequence) for sequence in range(1, 100)], NOW)
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(ArchiveError):
        archive.page(Query(text="nowhere"), None, 10, interrupt)
    begun = archive.page(Query(), None, 10, Interrupt())
    assert archive.page(Query(), begun.after, 10, interrupt) == Page([], begun.after)


@embedded
def test_one_process_at_a_time(reopen: OpenArchive) -> None:
    """A second storage on the same archive is refused with what is wrong."""
    reopen()
    with pytest.raises(ArchiveError, match="another storage uses this archive"):
        reopen()


def test_unusable_place(tmp_path: Path) -> None:
    """A file where the directory should be is said."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArchiveError, match="file"):
        open_archive(str(tmp_path / "file"), MEMORY)


@embedded
def test_own_permissions(reopen: OpenArchive, making: "Making", place: str) -> None:
    """Nobody else may read what lies there."""
    reopen().append([making.entry(1)], NOW)
    assert Path(place).stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in Path(place).glob("*.duckdb"))


def test_reading_while_writing(archive: Archive, making: "Making") -> None:
    """Queries run beside appends, and see whole batches only."""
    ended = threading.Event()
    counts: set[int] = set()

    def read() -> None:
        while not ended.is_set():
            counts.add(len(archive.page(Query(), None, 1000, Interrupt()).records))

    reader = threading.Thread(target=read)
    reader.start()
    for batch in range(20):
        archive.append([making.entry(batch * 10 + number) for number in range(1, 11)], NOW)
    ended.set()
    reader.join()
    assert all(count % 10 == 0 for count in counts)
    assert len(listed(archive)) == 200


WRITER = """
import sys
sys.path.insert(0, {root!r})
from tests.storage.conftest import Making, NOW
from storage.archive import open_archive
making = Making()
archive = open_archive({place!r}, 256 << 20)
first = max((last for _, last in archive.received(b"s" * 16)), default=0) + 1
while True:
    archive.append([making.entry(first + number) for number in range(5)], NOW)
    print(first + 4, flush=True)
    first += 5
"""


def test_killed_writer(reopen: OpenArchive, place: str) -> None:
    """A writer that is killed again and again: what it was told is durable is there, once."""
    root = str(Path(__file__).parents[3])
    told = 0
    for turn in range(5):
        script = WRITER.format(root=root, place=place)
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(3 + 7 * turn):
                told = int(writer.stdout.readline())
            writer.kill()
    archive = reopen()
    [(first, last)] = archive.received(SPOOL)
    assert (first, last >= told) == (1, True)
    assert listed(archive) == list(range(last, 0, -1))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=6), max_size=6)
)
def test_any_order(
    making: "Making", make_place: Callable[[], str], batches: list[list[tuple[int, int]]]
) -> None:
    """However sequences and gaps come, over any days: each record is there once, and received says so."""
    archive = open_archive(make_place(), MEMORY)
    records: set[int] = set()
    known: set[int] = set()
    try:
        for day, batch in enumerate(batches):
            entries = [making.gap(n, n + more) if more else making.entry(n) for n, more in batch]
            archive.append(entries, NOW + day * DAY)
            records |= {n for n, more in batch if not more}
            known |= {each for n, more in batch for each in range(n, n + more + 1)}
        assert listed(archive) == sorted(records, reverse=True)
        received = archive.received(SPOOL)
        assert {each for first, last in received for each in range(first, last + 1)} == known
    finally:
        archive.close()


def segment(making: "Making", sequence: int, part: int, last: bool = False) -> RecordEntry:
    """A segment of the call that began with sequence 1; all have its start."""
    return making.entry(
        sequence,
        call_id=making.record(1).call_id,
        timing__start__seconds=making.record(1).timing.start.seconds,
        segment=part,
        is_continued=not last,
        state=v1.COMPLETED if last else v1.INFERENCING,
        request__data=b"part %d " % part,
    )


@pytest.mark.parametrize("days", [0, 1])
def test_segments_are_one_row(archive: Archive, making: "Making", days: int) -> None:
    """A call in segments is listed once, and fetched with all of them, whichever day they came."""
    archive.append([segment(making, 1, 0), making.entry(2), segment(making, 3, 1)], NOW)
    assert listed(archive, 1) == listed(archive) == [2, 3]
    archive.append([segment(making, 4, 2, last=True)], NOW + days * DAY)
    assert listed(archive, 1) == listed(archive) == [2, 4]
    assert listed(archive, text="part 0") == [4]
    record = archive.get(making.record(1).call_id)
    assert record is not None
    assert (record.request.data, record.state) == (b"part 0 part 1 part 2 ", v1.COMPLETED)
    assert (record.segments_joined, record.segments_missing) == (3, 0)
    assert archive.row(record) == record


def test_segments_that_are_missing(archive: Archive, making: "Making") -> None:
    """What was lost on the way is counted; a segment that another stands for is no row."""
    archive.append([segment(making, 3, 1), segment(making, 5, 3)], NOW)
    record = archive.get(making.record(1).call_id)
    assert record is not None
    assert (record.segments_joined, record.segments_missing, record.is_continued) == (2, 2, True)
    earlier = segment(making, 3, 1).parsed
    earlier.sequence, earlier.spool_id = 3, SPOOL
    assert archive.row(earlier) is None


def piece(number: int, **fields: object) -> v1.Feedback:
    """Feedback as storage hands it over; its number tells its id."""
    made = v1.Feedback(feedback_id=f"f-{number}", **fields)
    made.received_at.FromNanoseconds(NOW + number * SECOND)
    return made


def joined(archive: Archive, record: v1.Record, most_bytes: int = 1 << 20) -> list[str]:
    """Ids of the feedback of a record."""
    archive.join_feedback([record], most_bytes)
    return [each.feedback_id for each in record.feedback]


def test_feedback_by_either_id(archive: Archive, making: "Making") -> None:
    """Given by call id or request id, before the record or after it: a record is joined with all of it."""
    record = making.record(1)
    assert archive.attach([piece(1, request_id="r-1", rating=1)]) == [True]
    archive.append([making.entry(1), making.entry(2)], NOW)
    archive.attach([piece(2, call_id=record.call_id, labels=["a"]), piece(3, request_id="r-9")])
    assert joined(archive, record) == ["f-2", "f-1"]
    assert record.feedback_count == 2
    assert record.feedback[0].labels == ["a"]
    assert joined(archive, making.record(2)) == []


def test_feedback_once(archive: Archive) -> None:
    """What has an id that is here already, or twice in one request, is passed over and changes nothing."""
    assert archive.attach([piece(1, request_id="r", rating=1), piece(1, request_id="r", rating=2)]) == [
        True,
        False,
    ]
    assert archive.attach([piece(1, request_id="r", rating=3), piece(2, request_id="r")]) == [False, True]
    page = archive.feedback("", "r", None, 10)
    assert [(each.feedback_id, each.rating) for each in page.feedback] == [("f-2", 0), ("f-1", 1)]


def test_feedback_survives(reopen: OpenArchive, making: "Making") -> None:
    """Feedback is there after the archive was opened again, and its numbers go on."""
    archive = reopen()
    archive.append([making.entry(1)], NOW)
    archive.attach([piece(1, request_id="r-1")])
    archive.close()
    again = reopen()
    assert again.attach([piece(1, request_id="r-1"), piece(2, request_id="r-1")]) == [False, True]
    assert joined(again, making.record(1)) == ["f-2", "f-1"]


def test_feedback_pages(archive: Archive) -> None:
    """The history of a call or request, or all of it, page by page, latest first, none twice."""
    archive.attach([piece(number, request_id=f"r-{number % 2}") for number in range(1, 8)])
    archive.attach([piece(8, call_id="00000000-0000-7000-8000-000000000001")])

    def walk(call_id: str, request_id: str) -> list[str]:
        found, below = [], None
        while True:
            page = archive.feedback(call_id, request_id, below, 2)
            found += [each.feedback_id for each in page.feedback]
            below = page.after
            if below is None:
                return found

    assert walk("", "r-1") == ["f-7", "f-5", "f-3", "f-1"]
    assert walk("00000000-0000-7000-8000-000000000001", "r-0") == ["f-8", "f-6", "f-4", "f-2"]
    assert walk("", "") == [f"f-{number}" for number in range(8, 0, -1)]
    assert walk("", "nobody") == []


def test_feedback_is_bounded(archive: Archive, making: "Making") -> None:
    """Much feedback is joined in part: the latest, so many bytes of it; the count says how much there is."""
    archive.attach([piece(number, request_id="r-1", comment="x" * 1000) for number in range(1, 201)])
    record = making.record(1)
    assert joined(archive, record) == [f"f-{number}" for number in range(200, 100, -1)]
    assert joined(archive, record, most_bytes=2500) == ["f-200", "f-199"]
    assert record.feedback_count == 200
    archive.attach([piece(number, request_id="big", comment="x" * 900_000) for number in range(201, 207)])
    page = archive.feedback("", "big", None, 10)
    assert [each.feedback_id for each in page.feedback] == ["f-206", "f-205", "f-204"]
    assert archive.feedback("", "big", page.after, 10).after is None


def test_joined_feedback_is_the_archives_own(archive: Archive, making: "Making") -> None:
    """What a record brought along as feedback is not taken for it."""
    record = making.record(1)
    record.feedback.add(comment="forged")
    record.feedback_count = 7
    assert joined(archive, record) == []
    assert record.feedback_count == 0


def test_calls_of_a_request(archive: Archive, making: "Making") -> None:
    """A request id that repeats names all its calls, over days, each once, the latest first."""
    archive.append([making.entry(1, request_id="again"), making.entry(2)], NOW)
    archive.append(
        [making.entry(3, request_id="again"), making.entry(3, OTHER, request_id="again")], NOW + DAY
    )
    found = archive.calls_of(["again", "r-2", "nobody"], 10)
    assert sorted(found["again"]) == sorted(
        making.record(sequence, spool).call_id for sequence, spool in ((1, SPOOL), (3, SPOOL), (3, OTHER))
    )
    assert (found["r-2"], found["nobody"]) == ([making.record(2).call_id], [])
    assert archive.calls_of(["again"], 1)["again"][0] in found["again"][:2]
    assert archive.calls_of([], 10) == {}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"is_absent": True}, [6, 5]),
        ({"label": "wrong"}, [2]),
        ({"label": "' OR 1=1 --"}, []),
        ({"min_rating": 3}, [3]),
        ({"max_rating": 3}, [3, 1]),
        ({"min_rating": 0, "max_rating": 2}, [1]),
        ({"thumb": v1.THUMB_DOWN}, [4]),
        ({"label": "wrong", "min_rating": 1}, []),
    ],
)
def test_filters_by_feedback(
    archive: Archive, making: "Making", asked: dict[str, object], found: list[int]
) -> None:
    """Records of which one piece of feedback is all that is asked for; or that have none."""
    archive.append([making.entry(sequence) for sequence in range(1, 7)], NOW)
    archive.attach(
        [
            piece(1, request_id="r-1", rating=0),
            piece(2, call_id=making.record(2).call_id, labels=["wrong", "late"]),
            piece(3, request_id="r-3", rating=3),
            piece(4, request_id="r-4", thumb=v1.THUMB_DOWN),
            piece(5, request_id="", call_id="00000000-0000-7000-8000-000000000001"),
        ]
    )
    assert listed(archive, feedback=v1.FeedbackFilter(**asked)) == found
    assert listed(archive, feedback=v1.FeedbackFilter(**asked), size=1) == found
