"""Inclusion: one entry's way to the signature, checked step by step. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from infertap.verification.checkpoints import HEAD, Statement, open_checkpoint, read_statement
from infertap.verification.entries import Envelope, LoggedEntry
from infertap.verification.leaves import RECORD, LogId, record_hash
from infertap.verification.merkle import ProofError, check_inclusion, leaf_hash
from infertap.verification.signed_note import PublicKey


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What is claimed: the entry is leaf `entry.index` of `log`, whose head is `statement`, which is number
    `statement_index` of the log of heads that `note` signs.
    """

    entry: LoggedEntry
    log: LogId
    path: Sequence[bytes]
    statement: bytes
    statement_index: int
    statement_path: Sequence[bytes]
    note: str


def check_claim(claim: Inclusion, keys: Sequence[PublicKey]) -> Statement:
    """The statement that covers the entry, once every step holds. Raises ProofError and NoteError."""
    checkpoint = open_checkpoint(claim.note, keys)
    hashed = leaf_hash(claim.statement)
    check_inclusion(hashed, claim.statement_index, checkpoint.size, claim.statement_path, checkpoint.root)
    try:
        statement = read_statement(claim.statement)
    except ValueError as error:
        raise ProofError(str(error)) from None
    if statement.kind != HEAD or statement.log != claim.log or claim.entry.index is None:
        raise ProofError("the statement is about another log")
    leaf, found = claim.entry.leaf, claim.entry.found
    if leaf.kind != RECORD:
        raise ProofError("the leaf tells of no record")
    check_inclusion(leaf.hashed(), claim.entry.index, statement.size, claim.path, statement.root)
    if isinstance(found, Envelope):
        own = record_hash(found.previous_hash, leaf.first, found.salt, found.record)
        if own != leaf.hash:
            raise ProofError("the record is not the one that the leaf tells of")
    return statement
