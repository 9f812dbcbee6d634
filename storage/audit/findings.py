"""Findings: what was wrong, kept for good, each once.

In the archive's notes, kind "finding": key = time in nanoseconds, 8 bytes ‖ the first 8 bytes of SHA-256 of
what was found; value = an encoded infertap.v1.Finding.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from infertap import v1
from storage.audit.interface import AuditArchive

_KIND: Final = "finding"
# Remembered, so that nothing is told twice; and kept of one tenant in one run of storage at most: whoever can
# make more of them has said enough, and leaves room for what others' are about.
_MOST: Final = 10_000
_SCANNED: Final = 1000

Told = Callable[[v1.Finding], None]


class Findings:
    """All findings of an archive. Safe from any thread."""

    def __init__(self, archive: AuditArchive, told: Told) -> None:
        """`told` hears of each new one, once it is durable."""
        self._archive = archive
        self._told = told
        self._lock = threading.Lock()
        self._known = {key[8:] for key, _ in archive.latest_notes(_KIND, b"", _MOST)}
        self._kept: Counter[str] = Counter()

    def keep(self, findings: Sequence[v1.Finding], now_ns: int) -> None:
        """Keep those that are new; durable on return. Raises ArchiveError."""
        with self._lock:
            fresh: dict[bytes, v1.Finding] = {}
            new: Counter[str] = Counter()
            for each in findings:
                digest = sha256(each.SerializeToString(deterministic=True)).digest()[:8]
                is_known = digest in self._known or digest in fresh
                if not is_known and self._kept[each.tenant] + new[each.tenant] < _MOST:
                    each.found_at.FromNanoseconds(now_ns)
                    fresh[digest] = each
                    new[each.tenant] += 1
            if fresh:
                time = now_ns.to_bytes(8, "big")
                self._archive.put(
                    _KIND, {time + key: each.SerializeToString() for key, each in fresh.items()}
                )
                self._known.update(fresh)
                self._kept += new
        for each in fresh.values():
            self._told(each)

    def page(
        self, tenant: str | None, spool_id: bytes, below: bytes, size: int
    ) -> tuple[list[v1.Finding], bytes]:
        """At most `size`, latest first, below that key, and the key to go on below; empty at the end."""
        found: list[v1.Finding] = []
        while notes := self._archive.latest_notes(_KIND, below, _SCANNED):
            below = notes[-1][0]
            for key, value in notes:
                finding = v1.Finding.FromString(value)
                if tenant in (None, finding.tenant) and spool_id in (b"", finding.spool_id):
                    found.append(finding)
                    if len(found) == size:
                        return found, key
        return found, b""
