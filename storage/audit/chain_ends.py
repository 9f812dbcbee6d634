"""Chain ends: whether the chains of spools end as their sidecars say. Touches the archive, seldom.

A heartbeat names the hash of the spool's last entry. Where storage has another for that sequence, two spools
have gone on under one id, or somebody has changed what is here: a fork, seen also where nothing more is sent.
It promises: what is not known yet is no finding; in the common case nothing is looked up, and else some few
in a call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infertap import v1
from infertap.verification import NO_HASH
from storage.audit.chain import Hashes, Tail

_MOST_LOOKED_UP: Final = 64


@dataclass(frozen=True, slots=True)
class SaidEnd:
    """What a heartbeat said."""

    tenant: str
    sequence: int
    hash: bytes


class ChainEnds:
    """What was said, held against what is here. Not safe from several threads."""

    def __init__(self, tail_of: Callable[[bytes], Tail | None], archive: Hashes) -> None:
        """`tail_of` tells the last entry that came from a spool, where it is remembered."""
        self._tail_of = tail_of
        self._archive = archive
        self._waiting: dict[bytes, SaidEnd] = {}
        self._known: dict[bytes, SaidEnd] = {}

    def check(self, said: Mapping[bytes, SaidEnd]) -> list[v1.Finding]:
        """What differs. Findings lack the time. Raises ArchiveError; what was not held against anything yet
        is kept for the next call.
        """
        self._waiting |= said
        found: list[v1.Finding] = []
        looked_up = 0
        for spool_id, end in list(self._waiting.items()):
            tail = self._tail_of(spool_id)
            if tail is not None and tail.sequence <= end.sequence:
                here = tail.hash if tail.sequence == end.sequence else None
            elif self._known.get(spool_id) == end:
                here = None
            elif looked_up < _MOST_LOOKED_UP:
                looked_up += 1
                here = self._archive.hashes(spool_id, end.sequence, end.sequence).get(end.sequence)
                self._known[spool_id] = end
            else:
                continue
            del self._waiting[spool_id]
            if here not in (None, NO_HASH, end.hash):
                found.append(_fork(spool_id, end))
        self._known = {spool_id: end for spool_id, end in self._known.items() if spool_id in said}
        return found


def _fork(spool_id: bytes, end: SaidEnd) -> v1.Finding:
    return v1.Finding(
        kind=v1.Finding.FORK,
        spool_id=spool_id,
        tenant=end.tenant,
        first=end.sequence,
        last=end.sequence,
        detail="its sidecar has another entry with this sequence than the one here",
    )
