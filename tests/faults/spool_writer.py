"""Spool writer: a process that does nothing but append to a spool, and says what is durable.

    python -m tests.faults.spool_writer DIRECTORY [--nursery | --batches N] [--size BYTES]

Record `number` has sequence `number`, and contents that follow from it. Each batch appends a few, and
acknowledges some of the earlier ones; then the last number is written to stdout, in one write.
"""

import argparse
import os
import random
import sys
import time
from pathlib import Path
from typing import Final

from sidecar.spool import Spool, Spooled, SpoolError, SpoolFailed
from sidecar.spool.envelope import chain_hash

QUOTA_BYTES: Final = 16 << 20
_SIZES: Final = (10, 700, 3_000, 9_000)
_LAG: Final = 40


def record_of(number: int) -> bytes:
    """What record `number` holds."""
    return (b"record %d " % number).ljust(_SIZES[number % len(_SIZES)], b".")


def write(spool: Spool, batches: int, *, is_stubborn: bool = False) -> None:
    """Append until killed, or so many batches; one that `is_stubborn` goes on after failures."""
    rng = random.Random(os.getpid())
    for _ in range(batches):
        try:
            number = spool.account().next_sequence
            numbers = range(number, number + rng.randrange(1, 9))
            given = spool.append([(each.to_bytes(16, "big"), record_of(each)) for each in numbers])
            assert given == numbers
            spool.ack([(1, numbers[0] - _LAG)])
        except SpoolError:
            if not is_stubborn:
                raise
            time.sleep(0.001)
            continue
        os.write(1, b"%d\n" % numbers[-1])


def check(directory: Path, said: int, *, is_lossy: bool = False) -> int:
    """What was said to be durable is there; returns how many were appended.

    Everything that can be read is what was written, in one hash chain, and the books balance. `is_lossy`:
    the file was damaged, so records may be missing, where the books say so.
    """
    spool = Spool.open(directory, QUOTA_BYTES, ring=False)
    try:
        if is_lossy:
            _meet_the_damage(spool)
        account = spool.account()
        terms = (account.pending, account.acked, account.evicted_unacked, account.dead_lettered)
        assert account.appended == sum(terms) + account.corrupt + account.expired, account
        if not is_lossy:
            assert account.next_sequence - 1 == account.appended >= said, (said, account)
            assert account.corrupt == 0
        _check_live(spool, account.next_sequence)
        _check_pending(spool)
        return account.appended
    finally:
        spool.close()


def _meet_the_damage(spool: Spool) -> None:
    """Read and send everything: what can't be read is refused once, and the file is set aside then; what
    can't be found is known to be missing when nothing else is pending.
    """
    for _ in range(3):
        try:
            _check_live(spool, spool.account().next_sequence)
            while entries := spool.lease(0, 100, 1 << 20):
                spool.ack([(entry.first, entry.last) for entry in entries])
        except SpoolFailed:
            continue
        assert spool.account().pending == 0
        return


def _check_live(spool: Spool, end: int) -> None:
    before: Spooled | None = None
    while step := spool.oldest_first(before.sequence if before else 0, 200):
        for entry in step:
            assert entry.sequence < end
            assert entry.record == record_of(entry.sequence)
            assert entry.hash == chain_hash(entry.previous_hash, entry.sequence, entry.salt, entry.record)
            if before is not None and before.sequence == entry.sequence - 1:
                assert entry.previous_hash == before.hash
            before = entry


def _check_pending(spool: Spool) -> None:
    """What a lease gives is all that the books say storage lacks."""
    after = pending = 0
    while entries := spool.lease(after, 100, 1 << 20):
        pending += sum(isinstance(entry, Spooled) for entry in entries)
        after = entries[-1].last
    assert pending == spool.account().pending


def _nurse(directory: Path) -> None:
    """A forked writer for each line on stdin; its number first, and a line when it is dead."""
    for _ in sys.stdin.buffer:
        pid = os.fork()
        if pid == 0:
            os.write(1, b"%d\n" % os.getpid())
            write(Spool.open(directory, QUOTA_BYTES, ring=False), 1 << 30)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


def main() -> None:
    """Be the writer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--nursery", action="store_true")
    parser.add_argument("--batches", type=int, default=1 << 30)
    parser.add_argument("--stubborn", action="store_true")
    asked = parser.parse_args()
    if asked.nursery:
        _nurse(asked.directory)
        return
    spool = Spool.open(asked.directory, QUOTA_BYTES, ring=False)
    write(spool, asked.batches, is_stubborn=asked.stubborn)
    spool.close()


if __name__ == "__main__":
    main()
