"""Checkpointing: states the heads of all logs in the log of heads, and signs that.

In the archive's notes:

    "statement"     index, 8 bytes    the statement
    "checkpoint"    size, 8 bytes     time in nanoseconds, 8 bytes ‖ the signed note
    "dropped"       name of a log     what is to be stated of it, by whoever signs

What they mean is in `infertap.verification`. With a directory each checkpoint is also written there as
`checkpoint-SIZE-KEYID`, under that name once it is whole: another volume, or one that is copied away.

Logs of earlier runs grow no more: when storage starts, the leaves of those that were not stated to their
ends are held against what was stated, and stated. The log of heads itself is held against the latest
checkpoints, here and in the directory: one that does not go on from it is an older archive, or a changed
one, and to sign it would be to say two things under one name. Then nothing is signed until there is a key
with another name.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infertap import v1
from infertap.verification import (
    DROPPED,
    EMPTY_ROOT,
    HEAD,
    Checkpoint,
    Frontier,
    LogId,
    NoteError,
    PrivateKey,
    Statement,
    leaf_hash,
    open_checkpoint,
    read_statement,
    root_of,
    sign_checkpoint,
    state,
)
from storage.audit.interface import AuditArchive, LogSize

_STATEMENT: Final = "statement"
_CHECKPOINT: Final = "checkpoint"
_DROPPED: Final = "dropped"
_PAGE: Final = 1000
_LEAVES: Final = 10_000
_MOST_SIZE: Final = (1 << 63) - 1

Heads = Callable[[], Mapping[LogId, tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class Stated:
    """The latest statement about a log, and where it stands in the log of heads."""

    index: int
    statement: Statement


class Checkpointing:
    """The log of heads of an archive. Safe from any thread."""

    def __init__(
        self, archive: AuditArchive, heads: Heads, keys: Sequence[PrivateKey], directory: Path | None
    ) -> None:
        """`heads` are those of the logs that grow. Raises ArchiveError."""
        self._archive = archive
        self._heads = heads
        self._keys = keys
        self._directory = directory
        # Why nothing may be signed.
        self.refusal = "" if keys else "storage has no key to sign with: INFERTAP_AUDIT_KEY_FILE"
        self._lock = threading.Lock()
        self._hashes: list[bytes] = []
        self._tree = Frontier()
        self._stated: dict[LogId, Stated] = {}
        self.refresh()

    @property
    def can_sign(self) -> bool:
        """Whether there is a key, and nothing against using it."""
        return not self.refusal

    def refresh(self) -> None:
        """Take up what another process has stated meanwhile. Raises ArchiveError."""
        with self._lock:
            while statements := self.statements(len(self._hashes), _PAGE):
                for data in statements:
                    self._take(data)

    def _take(self, data: bytes) -> None:
        hashed = leaf_hash(data)
        # What is no statement was written by somebody else: its hash tells.
        with contextlib.suppress(ValueError):
            statement = read_statement(data)
            self._stated[statement.log] = Stated(len(self._hashes), statement)
        self._hashes.append(hashed)
        self._tree.append(hashed)

    # -- stating

    def close_earlier(self, now_ns: int) -> list[v1.Finding]:
        """State the logs of earlier runs to their ends; what is wrong with them. Raises ArchiveError."""
        disowned = self.check_signed()
        if disowned:
            return disowned
        growing = self._heads()
        there = {each.log: each for each in self._archive.logs() if each.log not in growing}
        findings = [_truncated(each) for each in self._missing({*there, *growing})]
        findings += self._never_dropped({*there, *growing})
        found: list[Statement] = []
        for log in there.values():
            stated = self._stated.get(log.log)
            if stated is None or stated.statement.size != log.size:
                findings += self._close(log, stated, found, now_ns)
        self._state(found)
        return findings

    def check_signed(self) -> list[v1.Finding]:
        """What is wrong between the log of heads and the latest checkpoints, here and in the directory; then
        nothing is signed any more. Raises ArchiveError.
        """
        latest = self.latest()
        signed = [_ours([latest.note] if latest is not None else [], self._keys)]
        if self._directory is not None:
            signed.append(_ours(_notes_in(self._directory), self._keys))
        self.refresh()  # another process may have signed meanwhile; its statements come before its checkpoint
        wrong = [each for each in signed if each is not None and not self._goes_on_from(each)]
        if not wrong:
            return []
        kept = wrong[-1]
        self.refusal = (
            f"a checkpoint of {kept.size} statements was written, and the archive does not go on from it: "
            "an older backup? Signing goes on with a key of another name"
        )
        return [v1.Finding(kind=v1.Finding.TRUNCATED, detail=f"log of heads: {self.refusal}")]

    def _goes_on_from(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.size <= len(self._hashes) and self.subtree(0, checkpoint.size) == checkpoint.root

    def _missing(self, there: set[LogId]) -> list[Statement]:
        """Heads that were stated of logs that aren't here, and were not dropped."""
        stated = [each.statement for each in self._stated.values()]
        return [each for each in stated if each.kind == HEAD and each.log not in there and each.size]

    def _never_dropped(self, there: set[LogId]) -> list[v1.Finding]:
        """Logs that are gone as if retention had dropped them, which would have been signed before they went.

        Whoever adds such a statement to the disk is told of here; it is signed with the rest from now on.
        """
        latest = self.latest()
        if latest is None or _ours([latest.note], self._keys) is None:  # nothing was signed when they went
            return []
        return [
            _finding(v1.Finding.TAMPERED, log, "is gone as if retention had dropped it, which nobody signed")
            for log, stated in self._stated.items()
            if stated.index >= latest.size and stated.statement.kind == DROPPED and log not in there
        ]

    def _close(
        self, log: LogSize, stated: Stated | None, found: list[Statement], now_ns: int
    ) -> list[v1.Finding]:
        """State the end of a log, unless its leaves are not those that were signed."""
        before = stated.statement if stated is not None else None
        if before is not None and log.size < before.size:
            return [_truncated(before)]
        tree = Frontier()
        root_before = EMPTY_ROOT
        while leaves := self._archive.leaves(log, tree.size, _LEAVES):
            for leaf in leaves:
                tree.append(leaf.hashed())
                if before is not None and tree.size == before.size:
                    root_before = tree.root()
        if before is not None and root_before != before.root:
            return [_finding(v1.Finding.TAMPERED, before.log, "leaves are not those that were signed")]
        found.append(state(HEAD, log.log, (tree.size, tree.root()), now_ns))
        return []

    def announce_drop(self, logs: Sequence[LogSize], now_ns: int) -> None:
        """As `drop`, where another process may be the one that signs: which states it with the next one."""
        heads = [(each, self._head_of(each)) for each in logs]
        # A log that is shorter by now is being dropped by another process, which has announced it whole.
        found = [
            state(DROPPED, each.log, head, now_ns, "retention")
            for each, head in heads
            if head[0] >= each.size
        ]
        if found:
            self._archive.put(_DROPPED, {str(each.log).encode(): each.data for each in found})

    def _announced(self) -> list[Statement]:
        found: list[Statement] = []
        after = b""
        while notes := self._archive.notes(_DROPPED, after, _PAGE):
            found += [read_statement(value) for _, value in notes]
            after = notes[-1][0]
        stated = {log for log, each in self._stated.items() if each.statement.kind == DROPPED}
        return [each for each in found if each.log not in stated]

    def drop(self, logs: Sequence[LogSize], now_ns: int) -> None:
        """These logs are about to be deleted with their records: stated and signed on return, so that what is
        only stated at the next start was stated by somebody else. Raises ArchiveError.
        """
        growing = self._heads()
        found = []
        for each in logs:
            stated = self._stated.get(each.log)
            if each.log in growing:
                head = growing[each.log]
            elif stated is not None and stated.statement.size >= each.size:
                head = (stated.statement.size, stated.statement.root)
            else:
                head = self._head_of(each)
            found.append(state(DROPPED, each.log, head, now_ns, "retention"))
        self._state(found)
        if self.can_sign:
            with contextlib.suppress(OSError):  # the archive has it; the directory gets the next one
                self.make(now_ns)

    def _head_of(self, log: LogSize) -> tuple[int, bytes]:
        tree = Frontier()
        while leaves := self._archive.leaves(log, tree.size, _LEAVES):
            for leaf in leaves:
                tree.append(leaf.hashed())
        return tree.size, tree.root()

    def _state(self, statements: Sequence[Statement]) -> None:
        with self._lock:
            self._append(statements)

    def _append(self, statements: Sequence[Statement]) -> None:
        if statements:
            first = len(self._hashes)
            numbered = enumerate(statements, first)
            self._archive.put(_STATEMENT, {_number(index): each.data for index, each in numbered})
            for each in statements:
                self._take(each.data)

    # -- signing

    def make(self, now_ns: int) -> v1.Checkpoint | None:
        """State what has grown, and sign; the latest checkpoint again where nothing has, None where nothing
        ever was. Raises ArchiveError, and OSError where the directory can't be written; needs a key.
        """
        with self._lock:
            heads = sorted(self._heads().items(), key=lambda each: str(each[0]))
            grown = [(log, head) for log, head in heads if self._has_grown(log, head[0])]
            said = [state(HEAD, log, head, now_ns) for log, head in grown]
            self._append([*said, *self._announced()])
            latest = self.latest()
            if not self._tree.size or (latest is not None and latest.size == self._tree.size):
                return latest
            checkpoint = Checkpoint(self._keys[0].name, self._tree.size, self._tree.root())
            note = sign_checkpoint(checkpoint, self._keys)
            value = now_ns.to_bytes(8, "big") + note.encode()
            self._archive.put(_CHECKPOINT, {_number(checkpoint.size): value})
            made = _checkpoint(_number(checkpoint.size), value)
        if self._directory is not None:
            write_checkpoint(self._directory, made, self._keys[0].public.key_id.hex())
        return made

    def _has_grown(self, log: LogId, size: int) -> bool:
        stated = self._stated.get(log)
        return stated is None or (stated.statement.kind == HEAD and stated.statement.size < size)

    # -- reading

    def latest(self) -> v1.Checkpoint | None:
        """The latest checkpoint."""
        found = self.list_below(0, 1)
        return found[0] if found else None

    def get(self, size: int) -> v1.Checkpoint | None:
        """The checkpoint over so many statements."""
        found = self.list_below(size + 1, 1) if size < _MOST_SIZE else []
        return found[0] if found and found[0].size == size else None

    def list_below(self, size: int, most: int) -> list[v1.Checkpoint]:
        """Checkpoints over fewer statements than `size` (0: all), latest first."""
        notes = self._archive.latest_notes(_CHECKPOINT, _number(size) if size else b"", most)
        return [_checkpoint(key, value) for key, value in notes]

    def statements(self, first: int, most: int) -> list[bytes]:
        """Statements as they were written, from that index on."""
        notes = self._archive.notes(_STATEMENT, _number(first - 1) if first else b"", most)
        return [value for _, value in notes]

    def stated(self, log: LogId) -> Stated | None:
        """The latest statement about a log."""
        return self._stated.get(log)

    def stated_head(self, log: LogId) -> tuple[int, bytes] | None:
        """Size and root of a log, as they were stated last."""
        stated = self._stated.get(log)
        return None if stated is None else (stated.statement.size, stated.statement.root)

    def subtree(self, first: int, end: int) -> bytes:
        """The hash of the subtree of the log of heads over statements `first` to `end`, exclusive."""
        return root_of(self._hashes[first:end])


def write_checkpoint(directory: Path, checkpoint: v1.Checkpoint, key_id: str) -> None:
    """Write it as `checkpoint-SIZE-KEYID`, whole or not at all. Raises OSError."""
    path = directory / f"checkpoint-{checkpoint.size:012d}-{key_id}"
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(checkpoint.note)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o644)  # it may be public, and whoever copies it away is somebody else
    draft.rename(path)


def _notes_in(directory: Path) -> Iterator[str]:
    """The notes there, latest first; what can't be read is passed over."""
    for path in sorted(directory.glob("checkpoint-*"), reverse=True):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield path.read_text(encoding="utf-8")


def _ours(notes: Iterable[str], keys: Sequence[PrivateKey]) -> Checkpoint | None:
    """The first that we signed under our name."""
    for note in notes:
        with contextlib.suppress(NoteError):
            found = open_checkpoint(note, [key.public for key in keys])
            if found.origin == keys[0].name:
                return found
    return None


def _checkpoint(key: bytes, value: bytes) -> v1.Checkpoint:
    made = v1.Checkpoint(note=value[8:].decode(), size=int.from_bytes(key, "big"))
    made.made_at.FromNanoseconds(int.from_bytes(value[:8], "big"))
    return made


def _truncated(stated: Statement) -> v1.Finding:
    detail = f"had {stated.size} leaves that were signed, and has them no more"
    return _finding(v1.Finding.TRUNCATED, stated.log, detail)


def _finding(kind: "v1.Finding.Kind.ValueType", log: LogId, what: str) -> v1.Finding:
    return v1.Finding(kind=kind, tenant=log.tenant, detail=f"log {log.log} of {log.day}: {what}")


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")
