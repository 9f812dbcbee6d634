"""Sharing: one signer where several storage processes keep one archive.

The log of heads has one writer, by a lease: in the archive's notes, kind "lease", key "signer", value =
owner, 8 bytes ‖ nanoseconds since the epoch until which it holds, 8 bytes. Each sink (storage.sinks) has one
under a key of its own. Who finds no lease that holds writes its own, waits, and reads what stands there then.
It promises: while clocks agree within half of LEASE_SECONDS, and what was written last is read, there is one
signer. An archive that delays a write for longer than SETTLE_SECONDS can have two for a moment; their
statements don't fit each other, which verification shows. Who notices that its own claim took so long waits
until whoever took it for free has looked again.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final

from infertap.verification import Frontier, LogId
from storage.audit.interface import AuditArchive

LEASE_SECONDS: Final = 60
SETTLE_SECONDS: Final = 2.0
# A claim that took longer from reading to writing may have been overlooked by another.
_SLOW_SECONDS: Final = SETTLE_SECONDS
_KIND: Final = "lease"
SIGNER: Final = b"signer"
_LEAVES: Final = 10_000


class Lease:
    """One process's claim to be the signer, or what else `key` stands for."""

    def __init__(
        self, archive: AuditArchive, wait: Callable[[float], None] = time.sleep, key: bytes = SIGNER
    ) -> None:
        """Holds nothing yet; `wait` sleeps."""
        self._archive = archive
        self._key = key
        self._owner = secrets.token_bytes(8)
        self._wait = wait
        self.is_held = False
        self._waits_until_ns = 0

    def hold(self, now_ns: int) -> bool:
        """Take the lease, or keep it for another LEASE_SECONDS; whether it is ours. Raises ArchiveError."""
        if now_ns < self._waits_until_ns:
            return False
        began = time.monotonic()
        owner, until_ns = self._read()
        self.is_held = owner == self._owner and until_ns > now_ns
        if owner != self._owner and until_ns > now_ns:
            return False
        value = self._owner + (now_ns + LEASE_SECONDS * 1_000_000_000).to_bytes(8, "big")
        self._archive.put(_KIND, {self._key: value})
        if not self.is_held:
            if time.monotonic() - began > _SLOW_SECONDS:
                self._waits_until_ns = now_ns + LEASE_SECONDS // 2 * 1_000_000_000
                return False
            self._wait(SETTLE_SECONDS)
            self.is_held = self._read()[0] == self._owner
        return self.is_held

    def release(self) -> None:
        """Let another take it at once. Raises ArchiveError."""
        if self.is_held:
            self.is_held = False
            self._archive.put(_KIND, {self._key: self._owner + bytes(8)})

    def _read(self) -> tuple[bytes, int]:
        notes = self._archive.notes(_KIND, self._key[:-1], 100)
        notes = [(key, value) for key, value in notes if key == self._key]
        if not notes:
            return b"", 0
        value = notes[0][1]
        return value[:8], int.from_bytes(value[8:16], "big")


class ReadHeads:
    """The heads of all logs of an archive, whoever writes them, from their leaves; each leaf is read once,
    and none of a log that was stated to its end.
    """

    def __init__(self, archive: AuditArchive) -> None:
        """Nothing is read yet."""
        self._archive = archive
        # What was stated of a log: size and root; set by whoever keeps the log of heads.
        self.stated: Callable[[LogId], tuple[int, bytes] | None] = lambda _: None
        self._trees: dict[LogId, Frontier] = {}

    def __call__(self) -> dict[LogId, tuple[int, bytes]]:
        """Size and root of each. Raises ArchiveError."""
        trees: dict[LogId, Frontier] = {}
        ended: dict[LogId, tuple[int, bytes]] = {}
        for log in self._archive.logs():
            stated = self.stated(log.log)
            if log.log not in self._trees and stated is not None and stated[0] == log.size:
                ended[log.log] = stated
                continue
            tree = trees[log.log] = self._trees.get(log.log) or Frontier()
            while tree.size < log.size and (leaves := self._archive.leaves(log, tree.size, _LEAVES)):
                for leaf in leaves:
                    tree.append(leaf.hashed())
        self._trees = trees
        return ended | {log: (tree.size, tree.root()) for log, tree in trees.items()}
