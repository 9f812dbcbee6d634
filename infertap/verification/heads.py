"""Heads: what checkpoints sign, once signatures and the log of heads have been checked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from infertap.verification.checkpoints import DROPPED, Checkpoint, Statement, open_checkpoint, read_statement
from infertap.verification.leaves import LogId
from infertap.verification.merkle import Frontier, leaf_hash
from infertap.verification.report import Finding, Report, Wrong
from infertap.verification.signed_note import NoteError, PublicKey


@dataclass(slots=True)
class SignedHeads:
    """What was signed of each log: roots by size. Of logs that were dropped, that they were."""

    roots: dict[LogId, dict[int, bytes]] = field(default_factory=dict)
    dropped: dict[LogId, Statement] = field(default_factory=dict)
    # Statements that a checkpoint covers; those of them that are shown by their hash alone.
    signed: int = 0
    hidden: int = 0
    # Time of the first and of the last one that can be read, nanoseconds since the epoch.
    began_ns: int | None = None
    until_ns: int | None = None

    def size(self, log: LogId) -> int:
        """How many leaves of a log were signed."""
        return max(self.roots.get(log, {0: b""}))


def read_heads(
    notes: Sequence[str], keys: Sequence[PublicKey], statements: Sequence[bytes], report: Report
) -> SignedHeads:
    """What can be believed of `statements` (each as it is hashed; 32 bytes where only its hash is known).

    What is wrong with checkpoints goes into the report.
    """
    checkpoints = _open_all(notes, keys, report)
    heads = SignedHeads(signed=_signed(checkpoints, statements, report))
    for data in statements[: heads.signed]:
        if len(data) == 32:  # another tenant's, as whoever gave it says
            heads.hidden += 1
            continue
        try:
            _take(heads, read_statement(data))
        except ValueError:
            report.add(Finding(Wrong.HEADS, "a signed statement that can't be read"))
    report.seen["statements signed"] = heads.signed
    report.seen["checkpoints"] = len(checkpoints)
    return heads


def _take(heads: SignedHeads, statement: Statement) -> None:
    if heads.began_ns is None:
        heads.began_ns = statement.time_ns
    heads.until_ns = max(heads.until_ns or 0, statement.time_ns)
    if statement.kind == DROPPED:
        heads.dropped[statement.log] = statement
    else:
        heads.roots.setdefault(statement.log, {})[statement.size] = statement.root


def _open_all(notes: Sequence[str], keys: Sequence[PublicKey], report: Report) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for number, note in enumerate(notes, 1):
        try:
            found.append(open_checkpoint(note, keys))
        except NoteError as error:
            report.add(Finding(Wrong.SIGNATURE, f"number {number}: {error}"))
    return sorted(found, key=lambda each: each.size)


def _signed(checkpoints: Sequence[Checkpoint], statements: Sequence[bytes], report: Report) -> int:
    """How many statements are covered by a checkpoint whose root they give."""
    tree = Frontier()
    signed = 0
    for checkpoint in checkpoints:
        if checkpoint.size > len(statements):
            detail = f"{checkpoint.size} statements were signed, and {len(statements)} are here"
            report.add(Finding(Wrong.HEADS, detail))
            break
        for data in statements[tree.size : checkpoint.size]:
            tree.append(data if len(data) == 32 else leaf_hash(data))
        if tree.root() != checkpoint.root:
            detail = f"statements {signed + 1} to {checkpoint.size} are not those that were signed"
            report.add(Finding(Wrong.HEADS, detail))
            break
        signed = checkpoint.size
    return signed
