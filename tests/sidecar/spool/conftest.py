"""A spool for each test: with records that can be told apart, and what holds of every spool at all times."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest

from sidecar.spool import Gap, Spool, Spooled
from sidecar.spool.envelope import NO_HASH, chain_hash


class TriedSpool(Spool):
    """A spool with what tests do to it again and again."""

    @staticmethod
    def key(number: int) -> bytes:
        """The lookup key of record `number`."""
        return number.to_bytes(16, "big")

    @staticmethod
    def record(number: int, size: int = 40) -> bytes:
        """Record `number`: recognisable, and `size` bytes long."""
        return (b"record %d " % number).ljust(size, b".")

    def add(self, numbers: Iterable[int], size: int = 40) -> range:
        """Append records by number in one transaction."""
        return self.append([(self.key(number), self.record(number, size)) for number in numbers])

    def live(self) -> list[Spooled]:
        """Every record that can be read, ascending."""
        found: list[Spooled] = []
        while step := self.oldest_first(found[-1].sequence if found else 0, 100):
            found += step
        return found

    def pending(self) -> list[Spooled | Gap]:
        """All that storage lacks, in order."""
        found: list[Spooled | Gap] = []
        while step := self.lease(found[-1].last if found else 0, 10, 1 << 20):
            found += step
        return found

    def check(self) -> None:
        """The account balances, and the live records form a chain wherever two are neighbours."""
        account = self.account()
        terms = (
            account.pending,
            account.acked,
            account.evicted_unacked,
            account.dead_lettered,
            account.corrupt,
            account.expired,
        )
        assert account.appended == sum(terms), account
        assert min(terms) >= 0, account
        before: Spooled | None = None
        for entry in self.live():
            assert entry.hash == chain_hash(entry.previous_hash, entry.sequence, entry.salt, entry.record)
            if entry.sequence == 1:
                assert entry.previous_hash == NO_HASH
            elif before is not None and before.sequence == entry.sequence - 1:
                assert entry.previous_hash == before.hash
            before = entry


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the test's spool lies."""
    return tmp_path / "spool"


@pytest.fixture
def open_spool(directory: Path) -> Iterator[Callable[..., TriedSpool]]:
    """Opens the spool of the test's directory; each is closed at the end."""
    opened: list[TriedSpool] = []

    def open_it(quota_bytes: int = 16 << 20, ring: bool = False) -> TriedSpool:
        opened.append(cast("TriedSpool", TriedSpool.open(directory, quota_bytes, ring)))
        return opened[-1]

    yield open_it
    for spool in opened:
        spool.close()
