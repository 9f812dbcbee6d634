"""What every engine does when records are to go: by request, by age, by size."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.query import FeedbackQuery, Query
from storage.archive import BY_REQUEST, Archive, Interrupt, ModelRule, Retention, SharedArchive

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL, OTHER = b"s" * 16, b"t" * 16


def sequences(archive: Archive, query: Query = Query()) -> list[int]:  # noqa: B008
    found, after = [], None
    while True:
        page = archive.page(query, after, 100, Interrupt())
        found += [record.sequence for record in page.records]
        after = page.after
        if after is None:
            return sorted(found)


def delete(archive: Archive, now_ns: int = NOW, **asked: object) -> int:
    return archive.delete(Query(**asked), BY_REQUEST, now_ns, Interrupt()).records  # type: ignore[arg-type]


def expire(archive: Archive, retention: Retention, now_ns: int) -> int:
    """Until there is nothing more to do."""
    records = 0
    for _ in range(50):
        expired = archive.expire(retention, now_ns)
        records += expired.records
        if not expired.is_more:
            return records
    raise AssertionError("retention finds no end")


def given(number: int, **fields: object) -> v1.Feedback:
    made = v1.Feedback(feedback_id=f"f-{number}", rating=1, **fields)
    made.received_at.FromNanoseconds(NOW + number)
    return made


def test_deleted_by_a_user(archive: Archive, making: "Making") -> None:
    """All of that user's records are gone from get and lists, over all days; others stay."""
    for day in range(3):
        archive.append(
            [making.entry(10 * day + n, caller__user=f"hmac:k:{n % 2}") for n in range(1, 5)], NOW + day * DAY
        )
    deletion = archive.delete(Query(user="hmac:k:1"), BY_REQUEST, NOW + 3 * DAY, Interrupt())
    assert deletion.records == 6
    assert deletion.spools == {SPOOL: [(n, n) for n in (1, 3, 11, 13, 21, 23)]}
    assert sequences(archive) == [2, 4, 12, 14, 22, 24]
    assert archive.get(making.record(1).call_id) is None
    assert archive.get(making.record(2).call_id) is not None


def test_deleted_stays_received(reopen: Callable[[], Archive], making: "Making") -> None:
    """No spool sends it again, and each is told to drop it, after a restart too; others hear of nothing."""
    archive = reopen()
    archive.append([making.entry(n, path="/a" if n % 3 else "/b") for n in range(1, 7)], NOW)
    assert delete(archive, path="/b") == 2
    for _ in range(2):
        assert archive.received(SPOOL) == [(1, 6)]
        assert archive.forgotten(SPOOL) == [(3, 3), (6, 6)]
        assert archive.forgotten(OTHER) == []
        assert archive.append([making.entry(3)], NOW + DAY) == []
        assert sequences(archive) == [1, 2, 4, 5]
        archive.close()
        archive = reopen()


def test_late_record_of_a_deleted_user(reopen: Callable[[], Archive], making: "Making") -> None:
    """What began before the request, and comes after it, is received and never seen; later ones are kept."""
    archive = reopen()
    begin = NOW + 5 * SECOND  # each record starts at its sequence in seconds
    assert delete(archive, begin, user="hmac:k:1") == 0
    archive.close()
    archive = reopen()
    fresh = archive.append([making.entry(n, caller__user="hmac:k:1") for n in (3, 8)], begin + SECOND)
    assert [entry.sequence for entry in fresh] == [8]
    assert sequences(archive) == [8]
    assert archive.received(SPOOL) == [(3, 3), (8, 8)]
    assert archive.forgotten(SPOOL) == [(3, 3)]
    told: list[object] = []
    archive.on_forgotten(told.append)
    others = [making.entry(4, caller__user="hmac:k:2"), making.entry(2, caller__user="hmac:k:1")]
    assert [entry.sequence for entry in archive.append(others, begin + SECOND)] == [4]
    assert told == [{SPOOL: [(2, 2)]}] or isinstance(archive, SharedArchive)


def test_filter_is_not_kept(archive: Archive, making: "Making") -> None:
    """A deletion that says more than a user is about what is here now."""
    delete(archive, NOW + DAY, user="hmac:k:1", path="/v1/3")
    assert len(archive.append([making.entry(3, caller__user="hmac:k:1")], NOW)) == 1


def test_tenants_delete_their_own(archive: Archive, making: "Making") -> None:
    """A query of one tenant touches nothing of another, even where call ids are alike."""
    mine, others = making.entry(1), making.entry(1, OTHER, call_id=making.record(1).call_id)
    archive.append([dataclasses.replace(mine, tenant="a"), dataclasses.replace(others, tenant="b")], NOW)
    assert delete(archive, tenant="a", method="POST") == 1
    assert archive.get(mine.parsed.call_id, "a") is None
    kept = archive.get(mine.parsed.call_id, "b")
    assert kept is not None
    assert kept.spool_id == OTHER


def test_all_segments_go(archive: Archive, making: "Making") -> None:
    """A call that lasted is deleted with every segment of it, whichever matches."""
    call_id = making.record(1).call_id
    for part in range(3):
        entry = making.entry(
            part + 1, call_id=call_id, segment=part, is_continued=part < 2, state=v1.INFERENCING
        )
        entry.parsed.timing.start.FromNanoseconds(NOW)
        if part == 2:
            entry.parsed.state = v1.FAILED
        record = entry.parsed.SerializeToString()
        archive.append([dataclasses.replace(entry, record=record)], NOW + part * DAY)
    archive.append([making.entry(9)], NOW)
    assert delete(archive, states=frozenset({v1.FAILED})) == 3
    assert archive.get(call_id) is None
    assert sequences(archive) == [9]


def test_feedback_goes_with_its_calls(archive: Archive, making: "Making") -> None:
    """By the call's id, and by its request's where no other call has that; the rest stays, and what is
    counted before is what goes.
    """
    ids = {1: "alone", 2: "shared", 4: "both", 5: "both"}
    archive.append([making.entry(n, path="/a", request_id=each) for n, each in ids.items()], NOW)
    archive.append([making.entry(3, path="/b", request_id="shared")], NOW)
    archive.attach(
        [
            given(1, call_id=making.record(1).call_id),
            given(2, request_id="alone"),
            given(3, request_id="shared"),
            given(4, call_id=making.record(3).call_id),
            given(6, request_id="both"),
        ]
    )
    matched = archive.matched(Query(path="/a"), Interrupt())
    assert (matched.records, matched.feedback, sequences(archive)) == (4, 3, [1, 2, 3, 4, 5])
    deletion = archive.delete(Query(path="/a"), BY_REQUEST, NOW, Interrupt())
    assert (deletion.records, deletion.feedback) == (4, 3)
    left = archive.feedback("", "", None, 10).feedback
    assert [each.feedback_id for each in left] == ["f-4", "f-3"]
    assert archive.attach([given(5, request_id="shared")]) == [True]
    assert len(archive.feedback("", "shared", None, 10).feedback) == 2


def test_nothing_matches(archive: Archive, making: "Making") -> None:
    """Nothing happens."""
    archive.append([making.entry(1)], NOW)
    assert delete(archive, model="none") == 0
    assert archive.matched(Query(model="none"), Interrupt()).records == 0
    assert sequences(archive) == [1]


def test_interrupted_deletion(archive: Archive, making: "Making") -> None:
    """What was not begun is not done; asked again it is."""
    from storage.archive import ArchiveError

    archive.append([making.entry(1)], NOW)
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(ArchiveError):
        archive.delete(Query(path="/v1/1"), BY_REQUEST, NOW, interrupt)
    assert delete(archive, path="/v1/1") == 1


class InterruptedLater(Interrupt):
    """Set once it was looked at so often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_feedback_of_an_interrupted_deletion(archive: Archive, making: "Making") -> None:
    """Wherever a deletion ends, asking again leaves no feedback of what the first had deleted."""
    from storage.archive import ArchiveError

    for looks in range(12):
        first = 10 * looks + 1
        for day in range(2):
            archive.append(
                [making.entry(first + day, path="/gone", request_id=f"r-{looks}")], NOW + day * DAY
            )
            archive.attach([given(first + day, call_id=making.record(first + day).call_id)])
        archive.attach([given(first + 5, request_id=f"r-{looks}")])
        try:
            archive.delete(Query(path="/gone"), BY_REQUEST, NOW, InterruptedLater(looks))
        except ArchiveError:
            delete(archive, path="/gone")
        assert sequences(archive) == []
        assert archive.feedback("", "", None, 10).feedback == []


def test_interrupted_deletion_by_feedback(archive: Archive, making: "Making") -> None:
    """Wherever a deletion of calls that were judged so ends, asking again leaves neither of the two."""
    from storage.archive import ArchiveError

    judged = FeedbackQuery(max_rating=1)
    for looks in range(8):
        first = 10 * looks + 1
        for day in range(2):
            archive.append([making.entry(first + day)], NOW + day * DAY)
            archive.attach([given(first + day, call_id=making.record(first + day).call_id)])
        try:
            archive.delete(Query(feedback=judged), BY_REQUEST, NOW, InterruptedLater(looks))
        except ArchiveError:
            archive.delete(Query(feedback=judged), BY_REQUEST, NOW, Interrupt())
        assert sequences(archive) == []
        assert archive.feedback("", "", None, 10).feedback == []


def test_expired_by_age(reopen: Callable[[], Archive], making: "Making") -> None:
    """Days over age go, and stay received, after a restart too; nothing is told to be forgotten."""
    archive = reopen()
    for day in range(4):
        archive.append([making.entry(day + 1)], NOW + day * DAY)
    retention = Retention(ages=(ModelRule("*", 2 * DAY),))
    expire(archive, retention, NOW + 3 * DAY + SECOND)
    assert sequences(archive) == [3, 4]
    assert archive.received(SPOOL) == [(1, 4)]
    assert archive.append([making.entry(1)], NOW + 3 * DAY) == []
    archive.close()
    again = reopen()
    assert again.received(SPOOL) == [(1, 4)]
    assert again.forgotten(SPOOL) == []
    assert sequences(again) == [3, 4]


def test_expired_by_model(archive: Archive, making: "Making") -> None:
    """Each model by the first rule that names it; a model without a rule stays."""
    for day in range(3):
        archive.append(
            [
                making.entry(10 * day + 1, model__name="llama-3"),
                making.entry(10 * day + 2, model__name="iris"),
                making.entry(10 * day + 3, model__name="old"),
            ],
            NOW + day * DAY,
        )
    ages = (ModelRule("llama*", DAY), ModelRule("iris", 10 * DAY))
    expire(archive, Retention(ages=ages), NOW + 2 * DAY + SECOND)
    assert sequences(archive) == [2, 3, 12, 13, 21, 22, 23]
    assert archive.received(SPOOL) == [(1, 3), (11, 13), (21, 23)]


def test_expired_by_bytes_of_a_model(archive: Archive, making: "Making") -> None:
    """The earliest of that model go, until it is below its limit."""
    for day in range(4):
        archive.append(
            [
                making.entry(10 * day + 1, model__name="big", request__data=b"x" * 10_000),
                making.entry(10 * day + 2, model__name="small"),
            ],
            NOW + day * DAY,
        )
    expire(archive, Retention(sizes=(ModelRule("big", 25_000),)), NOW + 4 * DAY)
    assert sequences(archive) == [2, 12, 21, 22, 31, 32]


def test_nothing_expires_without_rules(archive: Archive, making: "Making") -> None:
    """What nobody asked for does not happen."""
    archive.append([making.entry(1)], NOW)
    assert expire(archive, Retention(), NOW + 10_000 * DAY) == 0
    assert sequences(archive) == [1]


def test_what_comes_after_a_look_is_kept(archive: Archive, making: "Making") -> None:
    """Retention that has looked at a file decides by what is in it when it acts."""
    rules = Retention(ages=(ModelRule("old", DAY),))
    archive.append([making.entry(1, model__name="old")], NOW)
    assert expire(archive, rules, NOW + SECOND) == 0
    archive.append([making.entry(2, model__name="kept")], NOW + SECOND)
    archive.append([making.entry(3, model__name="old")], NOW + 3 * DAY)
    expire(archive, rules, NOW + 2 * DAY)
    assert sequences(archive) == [2, 3]
