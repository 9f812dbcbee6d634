"""What removing does to the DuckDB engine's files, and to whoever writes and reads meanwhile."""

import contextlib
import errno
import itertools
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from infertap import v1
from infertap.query import FeedbackQuery, Query
from storage.archive import (
    BY_REQUEST,
    Archive,
    ArchiveError,
    Interrupt,
    ModelRule,
    Retention,
    duckdb_removing,
    open_archive,
)
from storage.archive.duckdb_kept import Kept
from storage.archive.duckdb_parts import Parts
from storage.archive.duckdb_writing import Writing

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL = b"s" * 16
LIMIT = 64 << 20
WAIT_SECONDS = 20


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = open_archive(str(tmp_path), MEMORY, disk_bytes=LIMIT)
    yield opened
    opened.close()


def on_disk(directory: Path, canary: bytes) -> int:
    """How often it stands in any file, as it is or compressed."""
    return sum(
        content.count(canary) + sum(text.count(canary) for text in opened(content))
        for content in (path.read_bytes() for path in directory.rglob("*") if path.is_file())
    )


def opened(content: bytes) -> Iterator[bytes]:
    """Every frame that looks like one of Zstandard (RFC 8878), as far as it can be read."""
    place = -1
    while (place := content.find(b"\x28\xb5\x2f\xfd", place + 1)) >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[place : place + (4 << 20)])


def disk_bytes(directory: Path) -> int:
    sizes = []
    for path in directory.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def test_deleted_bytes_are_gone_from_disk(archive: Archive, tmp_path: Path, making: "Making") -> None:
    """No file has them any more, log and drafts included: neither records nor feedback; others' are there."""
    noise = random.Random(7)
    for batch in range(4):
        archive.append(
            [
                making.entry(
                    100 * batch + n,
                    caller__user=f"hmac:k:{n % 2}",
                    request__data=noise.randbytes(300) + b"CANARY-%d-" % (n % 2) + noise.randbytes(300),
                )
                for n in range(1, 101)
            ],
            NOW + batch // 2 * DAY,
        )
    given = v1.Feedback(feedback_id="f", call_id=making.record(1).call_id, comment="CANARY-1-COMMENT")
    archive.attach([given])
    assert on_disk(tmp_path, b"CANARY-1-") >= 201
    archive.delete(Query(user="hmac:k:1"), BY_REQUEST, NOW, Interrupt())
    assert on_disk(tmp_path, b"CANARY-1-") == 0
    assert on_disk(tmp_path, b"CANARY-0-") >= 200
    assert on_disk(tmp_path, b"COMMENT") == 0


def test_expired_bytes_are_gone_from_disk(archive: Archive, tmp_path: Path, making: "Making") -> None:
    """A model's records that are over age leave no byte in a file that others keep."""
    noise = random.Random(7)
    for n in range(1, 101):
        data = noise.randbytes(300) + b"CANARY-%d-" % (n % 2) + noise.randbytes(300)
        archive.append([making.entry(n, model__name=f"m{n % 2}", request__data=data)], NOW)
    archive.append([making.entry(200)], NOW + DAY)
    archive.expire(Retention(ages=(ModelRule("m1", DAY),)), NOW + 2 * DAY)
    assert on_disk(tmp_path, b"CANARY-1-") == 0
    assert on_disk(tmp_path, b"CANARY-0-") >= 50


@pytest.mark.parametrize("turnovers", [2, pytest.param(10, marks=pytest.mark.long)])
def test_limit_on_disk_through_turnovers(
    archive: Archive, tmp_path: Path, making: "Making", turnovers: int
) -> None:
    """Everything in the directory stays below the limit at every moment, and the latest records are there."""
    noise = random.Random(7)
    retention = Retention(disk_bytes=LIMIT)
    most, written, sequence = 0, 0, 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, disk_bytes(tmp_path))

    watching = threading.Thread(target=watch)
    watching.start()
    while written < turnovers * LIMIT:
        entries = []
        for _ in range(40):
            sequence += 1
            entries.append(making.entry(sequence, request__data=noise.randbytes(65_536)))
        written += sum(len(entry.record) for entry in entries)
        archive.append(entries, NOW + sequence * SECOND)
        while archive.expire(retention, NOW).is_more:
            pass
    ended.set()
    watching.join()
    assert LIMIT // 4 < most < LIMIT
    assert archive.received(SPOOL) == [(1, sequence)]
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records][:3] == [sequence, sequence - 1, sequence - 2]


def test_acks_while_deleting(archive: Archive, making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of whatever a deletion or retention does that takes long, a batch is taken and durable."""
    sequences = itertools.count(20_001)
    during: set[str] = set()

    def append_during(act: str) -> None:
        entries = [making.entry(next(sequences), caller__user="u2")]
        taking = threading.Thread(target=archive.append, args=(entries, NOW + DAY), daemon=True)
        taking.start()
        taking.join(WAIT_SECONDS)
        assert not taking.is_alive(), f"an append waits for {act}"
        during.add(act)

    def amidst(owner: Any, name: str) -> None:
        does = getattr(owner, name)

        def with_an_append(*args: Any, **options: Any) -> Any:
            append_during(f"{name}, begun")
            done = does(*args, **options)
            append_during(f"{name}, done")
            return done

        monkeypatch.setattr(owner, name, with_an_append)

    for batch in range(4):
        users = [f"u{batch % 2}"] * 50
        entries = [making.entry(1 + 50 * batch + n, caller__user=user) for n, user in enumerate(users)]
        archive.append(entries, NOW)
    for owner, name in (
        (duckdb_removing, "rewrite"),
        (Parts, "settle"),
        (Parts, "replace"),
        (Kept, "forget"),
    ):
        amidst(owner, name)
    amidst(Kept, "keep_received")
    assert archive.delete(Query(user="u0"), BY_REQUEST, NOW, Interrupt()).records == 100
    assert {each.partition(",")[0] for each in during} == {"rewrite", "settle", "replace", "forget"}
    ages = Retention(ages=(ModelRule("*", DAY),))
    while archive.expire(ages, NOW + DAY + SECOND).is_more:
        pass
    assert "keep_received, done" in during
    assert archive.received(SPOOL) == [(1, 200), (20_001, next(sequences) - 1)]


def test_deletions_are_logged_few_at_a_time(
    archive: Archive, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What appends do wait for, telling the audit's log of what goes, is bounded however much goes."""
    told: list[int] = []
    log_deletions = Writing.log_deletions

    def counted(self: Writing, deleted: Sequence[Any], now_ns: int) -> None:
        told.append(len(deleted))
        log_deletions(self, deleted, now_ns)

    monkeypatch.setattr(Writing, "log_deletions", counted)
    monkeypatch.setattr(duckdb_removing, "_LOGGED_AT_ONCE", 30)
    archive.append([making.entry(n) for n in range(1, 101)], NOW)
    assert archive.delete(Query(method="POST"), BY_REQUEST, NOW, Interrupt()).records == 100
    assert sum(told) == 100
    assert max(told) <= 30


def test_reading_while_files_go(archive: Archive, making: "Making") -> None:
    """Whoever reads a file that is dropped or rewritten finds it whole, and no query fails."""
    for day in range(12):
        archive.append([making.entry(10 * day + n) for n in range(1, 5)], NOW + day * DAY)
    failures: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                after, found = None, 0
                while True:
                    page = archive.page(Query(), after, 5, Interrupt())
                    found += len(page.records)
                    after = page.after
                    if after is None:
                        break
                assert found >= 4
                archive.get(making.record(114).call_id)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for day in range(11):
        archive.delete(Query(path=f"/v1/{10 * day + 1}"), BY_REQUEST, NOW, Interrupt())
        archive.expire(Retention(ages=(ModelRule("*", DAY),)), NOW + (day + 1) * DAY + SECOND)
    ended.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_killed_while_a_file_was_rewritten(tmp_path: Path, making: "Making") -> None:
    """The next start finds each record once, whichever of the two files were there, and no drafts."""
    archive = open_archive(str(tmp_path / "archive"), MEMORY)
    archive.append([making.entry(n, caller__user=f"u{n % 2}") for n in range(1, 11)], NOW)
    archive.close()
    before = shutil.copytree(tmp_path / "archive", tmp_path / "before")
    archive = open_archive(str(tmp_path / "archive"), MEMORY)
    archive.delete(Query(user="u1"), BY_REQUEST, NOW, Interrupt())
    archive.close()
    old = next(before.glob("records-*.duckdb"))
    shutil.copy(old, tmp_path / "archive")
    for draft in ("new.duckdb", "rewritten.duckdb"):
        (tmp_path / "archive" / draft).write_bytes(b"half")
    archive = open_archive(str(tmp_path / "archive"), MEMORY)
    page = archive.page(Query(), None, 100, Interrupt())
    assert [record.sequence for record in page.records] == [10, 8, 6, 4, 2]
    assert archive.received(SPOOL) == [(1, 10)]
    archive.close()
    names = {path.name for path in (tmp_path / "archive").glob("*.duckdb")}
    assert old.name not in names
    assert not names & {"new.duckdb", "rewritten.duckdb"}


def test_snapshot(archive: Archive, tmp_path: Path, making: "Making") -> None:
    """Its files are an archive of all that was appended before, whatever comes and goes meanwhile."""
    for day in range(3):
        archive.append([making.entry(day + 1, caller__user=f"u{day}")], NOW + day * DAY)
    given = v1.Feedback(feedback_id="f", call_id=making.record(1).call_id)
    given.received_at.FromNanoseconds(NOW + 2 * DAY)
    archive.attach([given])
    archive.expire(Retention(ages=(ModelRule("*", DAY),)), NOW + 2 * DAY + SECOND)
    copied = tmp_path / "copied"
    copied.mkdir()
    with archive.snapshot() as files:
        archive.append([making.entry(9)], NOW + 2 * DAY)
        archive.delete(Query(user="u1"), BY_REQUEST, NOW + 3 * DAY, Interrupt())
        for file in files:
            assert file.path.stat().st_size == file.size_bytes
            shutil.copy(file.path, copied / file.name)
    assert not (tmp_path / "snapshot").exists()
    restored = open_archive(str(copied), MEMORY)
    page = restored.page(Query(), None, 100, Interrupt())
    assert [record.sequence for record in page.records] == [3, 2]
    assert restored.received(SPOOL) == [(1, 3)]
    assert len(restored.feedback("", "", None, 10).feedback) == 1
    restored.close()
    with archive.snapshot() as files:
        assert len(files) >= 5


def test_day_that_begins_again(archive: Archive, making: "Making") -> None:
    """What comes for a day whose files were all dropped stays, though somebody still read them meanwhile."""
    archive.append([making.entry(1)], NOW)
    with archive._reading.all_parts(None):  # type: ignore[attr-defined]
        archive.expire(Retention(ages=(ModelRule("*", DAY),)), NOW + 2 * DAY)
        archive.append([making.entry(2)], NOW)
    assert archive.get(making.record(2).call_id) is not None
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [2]


def test_feedback_over_age(archive: Archive, tmp_path: Path) -> None:
    """It goes when it is older than any record may be; where some models have no limit it stays."""
    for number, day in enumerate((0, 5), 1):
        given = v1.Feedback(feedback_id=f"f-{number}", request_id="r", comment=f"CANARY-{number}")
        given.received_at.FromNanoseconds(NOW + day * DAY)
        archive.attach([given])
    some = Retention(ages=(ModelRule("llama*", DAY),))
    every = Retention(ages=(ModelRule("llama*", DAY), ModelRule("*", 3 * DAY)))
    archive.expire(some, NOW + 6 * DAY)
    assert len(archive.feedback("", "", None, 10).feedback) == 2
    archive.expire(every, NOW + 6 * DAY)
    assert [each.feedback_id for each in archive.feedback("", "", None, 10).feedback] == ["f-2"]
    assert on_disk(tmp_path, b"CANARY-1") == 0
    assert on_disk(tmp_path, b"CANARY-2") > 0


def test_empty_files_go(archive: Archive, tmp_path: Path, making: "Making") -> None:
    """A file all of whose records were deleted goes when its day is over age."""
    archive.append([making.entry(1)], NOW)
    archive.append([making.entry(2)], NOW + 3 * DAY)
    archive.delete(Query(path="/v1/1"), BY_REQUEST, NOW + 3 * DAY, Interrupt())
    rules = Retention(ages=(ModelRule("*", 2 * DAY),))
    archive.expire(rules, NOW + 2 * DAY)
    assert len(list(tmp_path.glob("records-2026-01-01-*.duckdb"))) == 1
    archive.expire(rules, NOW + 4 * DAY)
    assert list(tmp_path.glob("records-2026-01-01-*.duckdb")) == []
    assert archive.received(SPOOL) == [(1, 2)]


REMOVER = """
import sys, threading
sys.path.insert(0, {root!r})
from tests.storage.conftest import DAY, Making, NOW
from infertap.query import Query
from storage.archive import BY_REQUEST, Interrupt, ModelRule, Retention, open_archive
making = Making()
archive = open_archive({place!r}, 256 << 20, disk_bytes=64 << 20)
first = max((last for _, last in archive.received(b"s" * 16)), default=0) + 1

def remove():
    while True:
        archive.delete(Query(path="/deleted"), BY_REQUEST, NOW, Interrupt())
        archive.expire(Retention(ages=(ModelRule("old", DAY),)), NOW + 100 * DAY)
        with archive.snapshot():
            pass

threading.Thread(target=remove, daemon=True).start()
while True:
    for kind in ("kept", "old", "kept", "gone"):
        fields = {{"path": "/deleted" if kind == "gone" else "/v1", "model__name": kind}}
        archive.append([making.entry(first + n, **fields) for n in range(20)], NOW + first % 5 * DAY)
        print(first + 19, kind, flush=True)
        first += 20
"""


def test_killed_while_removing(tmp_path: Path) -> None:
    """In deletion, expiry or backup: what was told stays received, and kept where it is to be."""
    root = str(Path(__file__).parents[3])
    place = str(tmp_path / "archive")
    kept: set[int] = set()
    last = 0
    for turn in range(6):
        script = REMOVER.format(root=root, place=place)
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as remover:
            assert remover.stdout is not None
            for _ in range(10 + 13 * turn):
                told, kind = remover.stdout.readline().split()
                last = int(told)
                if kind == "kept":
                    kept |= set(range(last - 19, last + 1))
            remover.kill()
    archive = open_archive(place, MEMORY)
    [(first, end)] = archive.received(SPOOL)
    assert (first, end >= last) == (1, True)
    found, after = [], None
    while True:
        page = archive.page(Query(model="kept"), after, 1000, Interrupt())
        found += [record.sequence for record in page.records]
        after = page.after
        if after is None:
            break
    assert len(found) == len(set(found))
    assert kept <= set(found)
    assert archive.damages() == []
    archive.delete(Query(path="/deleted"), BY_REQUEST, NOW, Interrupt())
    assert archive.matched(Query(path="/deleted"), Interrupt()).records == 0
    archive.close()
    assert not (tmp_path / "archive" / "snapshot").exists()


KILLED_DELETION = """
import os, signal, sys
sys.path.insert(0, {root!r})
from tests.storage.conftest import NOW
from infertap.query import FeedbackQuery, Query
from storage.archive import BY_REQUEST, Interrupt, open_archive
from storage.archive.duckdb_feedback import FeedbackTable
from storage.archive.duckdb_parts import Parts

left = {steps}

def killed_at(owner, name):
    does = getattr(owner, name)
    def step(*args):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return does(*args)
    setattr(owner, name, step)

killed_at(Parts, "replace")
killed_at(FeedbackTable, "delete_doomed")
archive = open_archive({place!r}, 256 << 20)
archive.delete(Query(feedback=FeedbackQuery(max_rating=1)), BY_REQUEST, NOW, Interrupt())
"""


def judged(archive: Archive, making: "Making") -> None:
    """Two days of three calls, the first of each with the rating 1, the second with 5."""
    for day in range(2):
        archive.append([making.entry(10 * day + n) for n in range(1, 4)], NOW + day * DAY)
        for n, rating in ((1, 1), (2, 5)):
            call_id = making.record(10 * day + n).call_id
            archive.attach([v1.Feedback(feedback_id=f"f-{day}-{n}", call_id=call_id, rating=rating)])


@pytest.mark.parametrize("is_asked_again", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_killed_while_deleting_by_feedback(
    tmp_path: Path, making: "Making", steps: int, is_asked_again: bool
) -> None:
    """Wherever it was, the deletion ends after the next start, or when it is asked for again: neither records
    nor their feedback are left, and others' are.
    """
    place = str(tmp_path / "archive")
    archive = open_archive(place, MEMORY)
    judged(archive, making)
    archive.close()
    script = KILLED_DELETION.format(root=str(Path(__file__).parents[3]), place=place, steps=steps)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    archive = open_archive(place, MEMORY)
    if is_asked_again:
        archive.delete(Query(feedback=FeedbackQuery(max_rating=1)), BY_REQUEST, NOW, Interrupt())
    else:
        assert archive.expire(Retention(), NOW).is_more
        assert not archive.expire(Retention(), NOW).is_more
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [13, 12, 3, 2]
    left = archive.feedback("", "", None, 10).feedback
    assert [each.feedback_id for each in left] == ["f-1-2", "f-0-2"]
    assert archive.forgotten(SPOOL) == [(1, 1), (11, 11)]
    archive.close()
    assert not list((tmp_path / "archive").glob("begun*"))


def test_begun_deletion_that_cannot_be_read(archive: Archive, tmp_path: Path, making: "Making") -> None:
    """It is set aside, which an audit is told, and retention goes on."""
    archive.append([making.entry(1)], NOW)
    (tmp_path / "begun.duckdb").write_bytes(b"half" * 5000)
    archive.expire(Retention(), NOW)
    assert not (tmp_path / "begun.duckdb").exists()
    (damage,) = archive.damages()
    assert damage.name == "begun.duckdb"
    assert (tmp_path / damage.kept_as).exists()
    assert archive.delete(Query(path="/v1/1"), BY_REQUEST, NOW, Interrupt()).records == 1


def test_a_deletion_without_room_holds_up_no_expiry(
    archive: Archive, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full, one that has begun waits for the room that files over age leave."""

    def find_no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    judged(archive, making)
    retention = Retention(ages=(ModelRule("*", DAY),))
    with monkeypatch.context() as full:
        full.setattr(duckdb_removing, "rewrite", find_no_room)
        with pytest.raises(ArchiveError):
            archive.delete(Query(feedback=FeedbackQuery(max_rating=1)), BY_REQUEST, NOW, Interrupt())
        assert archive.expire(retention, NOW + DAY + 1).records == 3
        with pytest.raises(ArchiveError):
            archive.expire(retention, NOW + DAY + 1)
    assert archive.expire(retention, NOW + DAY + 1).is_more
    assert not archive.expire(retention, NOW + DAY + 1).is_more
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [13, 12]
