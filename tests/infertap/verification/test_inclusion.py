"""A claim that an entry is in what was signed: each step is looked at, and none can be another's."""

from dataclasses import replace

import pytest

from infertap.verification import (
    DROPPED,
    GAP,
    HEAD,
    RECORD,
    Checkpoint,
    Envelope,
    Inclusion,
    Leaf,
    LoggedEntry,
    LogId,
    NoteError,
    ProofError,
    check_claim,
    inclusion_proof,
    leaf_hash,
    make_key,
    record_hash,
    root_of,
    sign_checkpoint,
    state,
)

KEY = make_key("storage.example")
ACME, GLOBEX = (LogId(tenant, "2026-11-21", "ab" * 8) for tenant in ("acme", "globex"))
SALT = b"t" * 16


def entries(spool_id: bytes) -> list[LoggedEntry]:
    """Three records and a gap, of one spool."""
    made: list[LoggedEntry] = []
    last = bytes(32)
    for sequence in (1, 2, 3):
        record = b"record %d" % sequence
        own = record_hash(last, sequence, SALT, record)
        leaf = Leaf(RECORD, spool_id, sequence, sequence, own)
        made.append(LoggedEntry(sequence - 1, leaf, Envelope(last, SALT, record)))
        last = own
    return [*made, LoggedEntry(3, Leaf(GAP, spool_id, 4, 9, last, "evicted"))]


LOGS = {ACME: entries(b"a" * 16), GLOBEX: entries(b"g" * 16)}


def claim(log: LogId, index: int, kind: str = HEAD) -> Inclusion:
    """The true one, but for the kind of the statements."""
    hashes = {log: [each.leaf.hashed() for each in LOGS[log]] for log in LOGS}
    statements = [state(kind, each, (4, root_of(hashes[each])), 0) for each in (ACME, GLOBEX)]
    stated = [leaf_hash(each.data) for each in statements]
    number = (ACME, GLOBEX).index(log)
    return Inclusion(
        entry=LOGS[log][index],
        log=log,
        path=inclusion_proof(index, 4, lambda first, end: root_of(hashes[log][first:end])),
        statement=statements[number].data,
        statement_index=number,
        statement_path=inclusion_proof(number, 2, lambda first, end: root_of(stated[first:end])),
        note=sign_checkpoint(Checkpoint("storage.example", 2, root_of(stated)), [KEY]),
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_record_that_is_there(index: int) -> None:
    """Each record of either tenant is in what was signed; the statement is the one of its log."""
    for log in LOGS:
        assert check_claim(claim(log, index), [KEY.public]).log == log


def test_one_tenants_proof_is_no_other_tenants() -> None:
    """A true proof, said to be of another tenant's log, or of another day or log, holds for none of these."""
    true = claim(GLOBEX, 1)
    for log in (ACME, replace(GLOBEX, day="2026-11-22"), replace(GLOBEX, log="cd" * 8)):
        with pytest.raises(ProofError, match="another log"):
            check_claim(replace(true, log=log), [KEY.public])


def test_a_step_of_another_proof() -> None:
    """Of two true proofs no part can be exchanged."""
    one, other = claim(ACME, 1), claim(GLOBEX, 2)
    for name in ("entry", "path", "statement", "statement_index", "statement_path"):
        with pytest.raises(ProofError):
            check_claim(replace(one, **{name: getattr(other, name)}), [KEY.public])


def test_what_is_no_record_of_the_log() -> None:
    """A gap's leaf, a leaf whose place is not said, a log that was dropped, or another record's bytes."""
    true = claim(ACME, 1)
    found = true.entry.found
    assert isinstance(found, Envelope)
    edited = replace(true.entry, found=replace(found, record=b"record X"))
    for wrong in (
        claim(ACME, 3),
        claim(ACME, 1, DROPPED),
        replace(true, entry=replace(true.entry, index=None)),
        replace(true, entry=edited),
    ):
        with pytest.raises(ProofError):
            check_claim(wrong, [KEY.public])


def test_a_note_of_another_key() -> None:
    """Nothing counts that nobody trusted signed; nor where the root is another one."""
    with pytest.raises(NoteError):
        check_claim(claim(ACME, 1), [make_key("storage.example").public])
    forged = sign_checkpoint(Checkpoint("storage.example", 2, b"r" * 32), [KEY])
    with pytest.raises(ProofError):
        check_claim(replace(claim(ACME, 1), note=forged), [KEY.public])
