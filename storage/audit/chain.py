"""Chain: whether what comes in goes on from what came before. Touches the archive where memory doesn't know.

Each record names the hash of the entry before it. In the common case that is the one that came last from its
spool, and nothing is looked up. Whatever else comes (again, late, after a restart of storage) is looked up,
run by run. It promises: it never refuses a record, and finds nothing wrong where it does not know.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from infertap import v1
from infertap.verification import NO_HASH

# Spools whose last entry is remembered.
_MOST_SPOOLS: Final = 100_000
# Runs, and breaks, that are looked up in one commit; entries before one, among which an unexpected one is
# looked for.
_MOST_RUNS: Final = 64
_NEAR: Final = 256


class Hashes(Protocol):
    """What the archive knows of a spool's entries."""

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        """The hash of each record and gap that ends at a sequence of `first` to `last`."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last entry of a spool; its hash None where it isn't known."""

    sequence: int
    hash: bytes | None


class ChainCheck:
    """One writer's check. Not safe from several threads."""

    def __init__(self, archive: Hashes) -> None:
        """Knows of no spool yet."""
        self._archive = archive
        self._tails: OrderedDict[bytes, Tail] = OrderedDict()

    def tail_of(self, spool_id: bytes) -> Tail | None:
        """The last entry that came from a spool, where it is remembered. From any thread."""
        return self._tails.get(spool_id)

    def check(self, entries: Sequence[Any]) -> list[v1.Finding]:
        """What is wrong with `entries`, which are about to be kept, in the order of arrival.

        Findings lack the time. Raises what the archive raises.
        """
        found: list[v1.Finding] = []
        aside: list[Any] = []
        for entry in entries:
            tail = self._tails.get(entry.spool_id)
            if tail is None or entry.first != tail.sequence + 1:
                aside.append(entry)
            elif tail.hash is not None and _is_record(entry) and entry.previous_hash != tail.hash:
                # Who sends nothing that fits costs a commit no more than others do.
                near = self._near(entry) if len(found) < _MOST_RUNS else {}
                found.append(_broken(entry, near))
            if tail is None or entry.last > tail.sequence:
                self._tails[entry.spool_id] = Tail(entry.last, _hash_of(entry))
        for run in list(_runs(aside))[:_MOST_RUNS]:
            found += self._look_up(run)
        while len(self._tails) > _MOST_SPOOLS:
            self._tails.popitem(last=False)
        return found

    def _near(self, entry: Any) -> dict[int, bytes]:
        return self._archive.hashes(entry.spool_id, max(entry.first - _NEAR, 0), entry.last)

    def _look_up(self, run: Sequence[Any]) -> Iterator[v1.Finding]:
        first, last, spool_id = run[0].first, run[-1].last, run[0].spool_id
        known = self._archive.hashes(spool_id, max(first - _NEAR, 0), last)
        kept: dict[int, bytes] = {}
        for entry in run:
            here, own = known.get(entry.last), _hash_of(entry)
            if here is not None and own is not None and here not in (own, NO_HASH) and _is_record(entry):
                yield _finding(v1.Finding.FORK, entry, "another entry with this sequence is here already")
            before = kept.get(entry.first - 1) or known.get(entry.first - 1)
            if before not in (None, NO_HASH) and _is_record(entry) and entry.previous_hash != before:
                yield _broken(entry, known)
            if own is not None:
                kept[entry.last] = own


def _broken(entry: Any, known: dict[int, bytes]) -> v1.Finding:
    """What is wrong with a record that does not follow the entry before it."""
    for sequence, hashed in known.items():
        if hashed == entry.previous_hash:
            return _finding(v1.Finding.REORDER, entry, f"by its chain it follows {sequence}")
    return _finding(v1.Finding.BROKEN_CHAIN, entry, "its chain does not go on from the entry before")


def _runs(entries: Sequence[Any]) -> Iterator[list[Any]]:
    """Entries that follow each other in one spool, together."""
    run: list[Any] = []
    for entry in entries:
        if run and (entry.spool_id != run[-1].spool_id or entry.first != run[-1].last + 1):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _is_record(entry: Any) -> bool:
    return hasattr(entry, "previous_hash")


def _hash_of(entry: Any) -> bytes | None:
    hashed: bytes = entry.hash if _is_record(entry) else entry.last_hash
    return hashed or None


def _finding(kind: "v1.Finding.Kind.ValueType", entry: Any, detail: str) -> v1.Finding:
    return v1.Finding(
        kind=kind,
        spool_id=entry.spool_id,
        tenant=entry.tenant,
        first=entry.first,
        last=entry.last,
        detail=detail,
    )
