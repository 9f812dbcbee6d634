"""The logs of one run: what is kept grows, what failed leaves no trace."""

from dataclasses import dataclass

from infertap.verification import DELETION, GAP, RECORD, Leaf, LogId, root_of
from storage.audit import Deleted, TreeLogs

SPOOL = b"s" * 16
DAY = "2026-11-21"


@dataclass(frozen=True)
class Record:
    sequence: int
    tenant: str = ""
    spool_id: bytes = SPOOL

    @property
    def first(self) -> int:
        return self.sequence

    @property
    def last(self) -> int:
        return self.sequence

    @property
    def hash(self) -> bytes:
        return bytes([self.sequence]) * 32


@dataclass(frozen=True)
class Gap:
    first: int
    last: int
    last_hash: bytes = b""
    reason: str = "evicted"
    tenant: str = ""
    spool_id: bytes = SPOOL


def leaves_of(rows) -> list[Leaf]:
    return [Leaf(*row[3:]) for row in rows]


def test_a_log_for_each_tenant_and_day() -> None:
    """Entries go to their tenant's log of that day, numbered from 0."""
    logs = TreeLogs("ab" * 8)
    first = logs.extend([Record(1), Record(1, "x"), Gap(2, 5)], DAY)
    assert [(row[0], row[1], row[2], row[3]) for row in first.rows] == [
        ("", "ab" * 8, 0, RECORD),
        ("x", "ab" * 8, 0, RECORD),
        ("", "ab" * 8, 1, GAP),
    ]
    first.keep()
    logs.extend([Record(6)], "2026-11-22").keep()
    assert {(log.tenant, log.day): size for log, (size, _) in logs.heads().items()} == {
        ("", DAY): 2,
        ("x", DAY): 1,
        ("", "2026-11-22"): 1,
    }


def test_what_was_not_kept_is_not_there() -> None:
    """A failed transaction's leaves leave no trace: the next ones take their places."""
    logs = TreeLogs("ab" * 8)
    logs.extend([Record(1)], DAY).keep()
    logs.extend([Record(2), Record(3)], DAY)
    kept = logs.extend([Record(2)], DAY)
    kept.keep()
    assert [row[2] for row in kept.rows] == [1]
    expected = [Leaf(RECORD, SPOOL, each, each, bytes([each]) * 32).hashed() for each in (1, 2)]
    assert logs.heads() == {LogId("", DAY, "ab" * 8): (2, root_of(expected))}


def test_rows_say_all_that_the_root_stands_for() -> None:
    """The root can be recomputed from the rows alone: gaps and deletions with their reasons too."""
    logs = TreeLogs("ab" * 8)
    made = logs.extend([Record(1), Gap(2, 3), Gap(4, 4, b"h" * 32, "corrupt")], DAY)
    made.keep()
    deletions = logs.extend_deletions([Deleted("", SPOOL, 1, b"\1" * 32, "request 7")], DAY)
    deletions.keep()
    leaves = leaves_of(made.rows + deletions.rows)
    assert leaves[1].hash == bytes(32)
    assert leaves[3] == Leaf(DELETION, SPOOL, 1, 1, b"\1" * 32, "request 7")
    ((size, root),) = logs.heads().values()
    assert (size, root) == (4, root_of(leaf.hashed() for leaf in leaves))


def test_past_days_are_let_go() -> None:
    """What is kept in memory is bounded by the days that still grow."""
    logs = TreeLogs("ab" * 8)
    logs.extend([Record(1)], DAY).keep()
    logs.forget_before("2026-11-22")
    assert logs.heads() == {}
