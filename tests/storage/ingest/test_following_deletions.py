"""Following deletions: spools that are connected here hear of what was deleted elsewhere."""

import time
from collections.abc import Collection, Container, Mapping, Sequence

from storage.archive import ArchiveError, Range, Stored
from storage.ingest.following_deletions import OVERLAP_NS, FollowingDeletions
from storage.ingest.forgetting import Forgetting
from storage.ingest.under_way import UnderWay

SPOOL, OTHER = b"s" * 16, b"t" * 16


class Shelf:
    """A shared archive of which only what was deleted matters: by spool, when and what."""

    def __init__(self) -> None:
        self.deleted: list[tuple[bytes, int, Range]] = []
        self.asked: list[set[bytes]] = []
        self.is_away = False

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        raise NotImplementedError

    def deleted_since(self, since_ns: int, spool_ids: Collection[bytes]) -> Mapping[bytes, Sequence[Range]]:
        if self.is_away:
            raise ArchiveError("away")
        self.asked.append(set(spool_ids))
        found: dict[bytes, list[Range]] = {}
        for spool, deleted_ns, ranges in self.deleted:
            if spool in spool_ids and deleted_ns >= since_ns:
                found.setdefault(spool, []).append(ranges)
        return found


async def told_to(stream: UnderWay[object]) -> list[Range]:
    return [(each.first, each.last) for forget in stream.left() for each in forget.ranges]  # type: ignore[attr-defined]


async def test_told_once() -> None:
    """Each connected spool hears of its own, once; also of what was deleted by a clock that is behind."""
    shelf, forgetting, stream = Shelf(), Forgetting(), UnderWay[object]()
    following = FollowingDeletions(shelf, forgetting)
    with forgetting.listening(SPOOL, stream):
        await following.look()
        assert await told_to(stream) == []
        shelf.deleted.append((SPOOL, time.time_ns() - OVERLAP_NS // 2, (1, 3)))
        shelf.deleted.append((OTHER, time.time_ns(), (7, 7)))
        await following.look()
        await following.look()
        assert await told_to(stream) == [(1, 3)]
    assert shelf.asked == [{SPOOL}] * 3


async def test_while_the_archive_is_away() -> None:
    """What was deleted in an hour in which the archive did not answer is told when it does."""
    shelf, forgetting, stream = Shelf(), Forgetting(), UnderWay[object]()
    following = FollowingDeletions(shelf, forgetting)
    following._since_ns -= 3_600_000_000_000
    shelf.is_away = True
    shelf.deleted.append((SPOOL, time.time_ns() - 1_800_000_000_000, (1, 1)))
    with forgetting.listening(SPOOL, stream):
        await following.look()
        shelf.is_away = False
        await following.look()
        assert await told_to(stream) == [(1, 1)]
