"""Tampering for real: the archive's files are changed with the engine's own client, behind storage's back.

A verifier has what was kept elsewhere: checkpoints and the public key.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from infertap import v1
from infertap.query import Query
from infertap.verification import Report, Wrong, make_key
from storage.archive import Interrupt, ModelRule, Retention
from storage.archive.duckdb_packing import unpacked
from storage.audit import Signing
from tests.storage.audit.conftest import KEY, OTHER, SECOND, SPOOL, sealed

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault

OF_SEVEN = "WHERE spool_id = $spool AND sequence = 7"


def found(report: Report) -> list[tuple[Wrong, int, int]]:
    """What is wrong with which sequences of the first spool."""
    assert all(finding.spool_id in (b"", SPOOL) for finding in report.findings), report.findings
    return [(finding.wrong, finding.first, finding.last) for finding in report.findings]


def fill(vault: "Vault") -> None:
    """Twelve records of one spool and some of another, signed after the fifth and at the end."""
    vault.feed(1, 5)
    vault.sign()
    vault.feed(6, 12)
    vault.feed(1, 4, OTHER)
    vault.sign()


def test_an_archive_that_nobody_touched(vault: "Vault") -> None:
    """Everything holds, over restarts, with gaps, and over several days."""
    fill(vault)
    vault.restart()
    vault.take([vault.gap(13, 20)])
    vault.now_ns += 86_400 * SECOND
    vault.feed(21, 24)
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert (report.seen["records"], report.seen["gaps"], report.seen["spools"]) == (20, 1, 2)
    assert report.untold == []
    assert vault.told == []


def test_what_is_not_signed_yet_is_said(vault: "Vault") -> None:
    """Leaves beyond the last checkpoint hold as chains only."""
    fill(vault)
    vault.feed(13, 14)
    report = vault.verify()
    assert report.is_good
    assert report.untold == ["2 leaves are not signed yet"]


def test_an_edited_record(vault: "Vault") -> None:
    """Its bytes don't give its hash any more, whatever the row says of it."""
    fill(vault)
    vault.tamper(
        f"UPDATE records SET record = $record, hash = $hash {OF_SEVEN}",
        spool=SPOOL,
        record=b"x",
        hash=b"h" * 32,
    )
    report = vault.verify()
    assert found(report) == [(Wrong.EDITED, 7, 7)]
    assert report.first_bad == {SPOOL: 7}


def test_an_edited_record_whose_leaf_was_rewritten_too(vault: "Vault") -> None:
    """The root is another one, and the chain says where."""
    fill(vault)
    ((previous, salt),) = vault.rows("SELECT previous_hash, salt FROM records WHERE sequence = 7")
    own = sealed(previous, 7, salt, b"other")
    vault.tamper(
        f"UPDATE records SET record = $record, hash = $hash {OF_SEVEN}",
        spool=SPOOL,
        record=b"other",
        hash=own,
    )
    vault.tamper(
        "UPDATE leaves SET hash = $hash WHERE spool_id = $spool AND first = 7", spool=SPOOL, hash=own
    )
    report = vault.verify()
    assert found(report) == [(Wrong.LOG_CHANGED, 6, 6), (Wrong.CHAIN, 8, 8)]


def test_a_chain_that_was_rewritten_to_its_end(vault: "Vault") -> None:
    """Every hash fits every other; what was signed does not. Heads that hold say how far it is good."""
    fill(vault)
    of_spool = "WHERE spool_id = $spool AND sequence"
    with vault.opened() as connection:
        last = connection.execute(f"SELECT hash FROM records {of_spool} = 6", {"spool": SPOOL}).fetchone()[0]
        select = f"SELECT sequence, salt, record, hash FROM records {of_spool} > 6 ORDER BY sequence"
        for sequence, salt, record, old in connection.execute(select, {"spool": SPOOL}).fetchall():
            edited = unpacked(record).replace(b"question", b"answer! ")
            own = sealed(last, sequence, salt, edited)
            connection.execute(
                "UPDATE records SET record = ?, hash = ?, previous_hash = ? WHERE hash = ?",
                [edited, own, last, old],
            )
            connection.execute(
                "UPDATE leaves SET hash = ? WHERE spool_id = ? AND first = ?", [own, SPOOL, sequence]
            )
            last = own
    report = vault.verify()
    assert found(report) == [(Wrong.LOG_CHANGED, 6, 6)]
    assert "leaves 5 to 15 are not those that were signed" in report.findings[0].detail


def test_a_deleted_record(vault: "Vault") -> None:
    """Its leaf stays behind."""
    fill(vault)
    vault.tamper(f"DELETE FROM records {OF_SEVEN}", spool=SPOOL)
    assert found(vault.verify()) == [(Wrong.DELETED, 7, 7)]


def test_a_deleted_record_with_a_forged_tombstone(vault: "Vault") -> None:
    """Storage tells of each deletion in a log: a tombstone that no log tells of is nobody's request."""
    fill(vault)
    ((own, previous),) = vault.rows("SELECT hash, previous_hash FROM records WHERE sequence = 7")
    vault.tamper(f"DELETE FROM records {OF_SEVEN}", spool=SPOOL)
    vault.tamper(
        "INSERT INTO tombstones BY NAME SELECT '' AS tenant, $spool::BLOB AS spool_id, 7 AS sequence, "
        "$previous::BLOB AS previous_hash, $own::BLOB AS hash, 'request' AS reason, 5 AS deleted_ns",
        spool=SPOOL, own=own, previous=previous,
    )  # fmt: skip
    assert found(vault.verify()) == [(Wrong.FORGED_TOMBSTONE, 7, 7)]


def test_a_deleted_record_and_its_leaf(vault: "Vault") -> None:
    """A hole in the log and in the sequence."""
    fill(vault)
    vault.tamper(
        f"DELETE FROM records {OF_SEVEN}",
        "DELETE FROM leaves WHERE spool_id = $spool AND first = 7",
        spool=SPOOL,
    )
    report = vault.verify()
    assert (Wrong.MISSING, 7, 7) in found(report)
    assert (Wrong.LOG_CHANGED, 8, 8) in found(report)
    assert report.first_bad == {SPOOL: 7}


def test_leaves_renumbered_around_a_deleted_one(vault: "Vault") -> None:
    """No hole in the log then, but another root, and fewer leaves than were signed."""
    fill(vault)
    vault.tamper(
        f"DELETE FROM records {OF_SEVEN}",
        "DELETE FROM leaves WHERE spool_id = $spool AND first = 7",
        spool=SPOOL,
    )
    vault.tamper("UPDATE leaves SET leaf_index = leaf_index - 1 WHERE leaf_index > 6")
    report = vault.verify()
    assert report.wrong == Counter({Wrong.LOG_CUT: 1, Wrong.MISSING: 1})
    assert report.first_bad == {SPOOL: 7}


def test_two_records_that_changed_places(vault: "Vault") -> None:
    """Each row is said to be another sequence's record."""
    fill(vault)
    vault.tamper(
        "UPDATE records SET sequence = 16 - sequence WHERE spool_id = $spool AND sequence IN (7, 9)",
        spool=SPOOL,
    )
    report = vault.verify()
    assert found(report) == [(Wrong.REORDERED, 7, 7), (Wrong.REORDERED, 9, 9)]
    assert "the record of sequence 9" in report.findings[0].detail


def test_records_that_were_inserted(vault: "Vault") -> None:
    """A second row for a sequence, and a row of a sequence that never was."""
    fill(vault)
    copy = f"INSERT INTO records BY NAME SELECT * REPLACE ({{}} AS sequence) FROM records {OF_SEVEN} LIMIT 1"
    vault.tamper(copy.format("7"), copy.format("99"), spool=SPOOL)
    assert found(vault.verify()) == [(Wrong.INSERTED, 7, 7), (Wrong.INSERTED, 99, 99)]


def test_a_tail_that_was_cut_off(vault: "Vault") -> None:
    """The log was longer when it was signed; storage itself sees it at its next start."""
    fill(vault)
    vault.tamper(
        "DELETE FROM records WHERE spool_id = $spool AND sequence > 9",
        "DELETE FROM leaves WHERE spool_id = $spool AND first > 9",
        "DELETE FROM leaves WHERE spool_id != $spool",
        "DELETE FROM records WHERE spool_id != $spool",
        spool=SPOOL,
    )
    report = vault.verify()
    assert found(report) == [(Wrong.LOG_CUT, 0, 0)]
    assert "16 leaves were signed, and 9 are here" in report.findings[0].detail
    vault.restart()
    assert [finding.kind for finding in vault.told] == [finding.TRUNCATED for finding in vault.told] != []


def test_a_file_that_was_removed(vault: "Vault") -> None:
    """A log that was signed, and not dropped, is not there; storage sees it at its next start."""
    fill(vault)
    vault.close()
    for path in vault.directory.glob("records-*.duckdb"):
        path.unlink()
    vault.open()
    assert found(vault.verify()) == [(Wrong.LOG_MISSING, 0, 0)]
    vault.restart()
    (told,) = vault.told
    assert told.kind == told.TRUNCATED


def test_an_older_backup_put_in_place(vault: "Vault") -> None:
    """Everything in it fits; a checkpoint that was kept elsewhere has signed more."""
    vault.feed(1, 5)
    vault.sign()
    vault.close()
    shutil.copytree(vault.directory, vault.directory.with_name("backup"))
    vault.open()
    vault.feed(6, 12)
    vault.sign()
    vault.close()
    shutil.rmtree(vault.directory)
    shutil.move(vault.directory.with_name("backup"), vault.directory)
    vault.open()
    report = vault.verify()
    assert found(report) == [(Wrong.HEADS, 0, 0)]
    assert "2 statements were signed, and 1 are here" in report.findings[0].detail
    assert vault.verify(vault.notes[:1]).is_good


def test_statements_that_were_rewritten(vault: "Vault") -> None:
    """The log of heads is held against the signature too."""
    fill(vault)
    vault.tamper(
        "UPDATE notes SET value = replace(decode(value), $old, $new)::BLOB WHERE kind = 'statement'",
        old='"size":5',
        new='"size":6',
        file="audit.duckdb",
    )
    report = vault.verify()
    assert (Wrong.HEADS, 0, 0) in found(report)
    assert "statements 1 to 1 are not those that were signed" in report.findings[0].detail


def test_storage_does_not_sign_statements_that_were_rewritten(vault: "Vault") -> None:
    """Whatever stands there now, also what is none: the start says so, and signs nothing under that name."""
    fill(vault)
    vault.tamper(
        "UPDATE notes SET value = 'nonsense'::BLOB WHERE kind = 'statement' AND key = $key",
        file="audit.duckdb",
        key=bytes(8),
    )
    vault.restart()
    (told,) = vault.told
    assert told.kind == told.TRUNCATED
    assert not vault.auditing.checkpointing.can_sign


def test_a_checkpoint_by_somebody_else(vault: "Vault") -> None:
    """Nothing counts that another key signed."""
    fill(vault)
    report = vault.verify(key=make_key("storage.example/test").public)
    assert report.wrong == Counter({Wrong.SIGNATURE: 2})
    assert "nothing is signed" in report.untold[0]


def test_what_an_earlier_run_left_unsigned(vault: "Vault") -> None:
    """It is signed at the next start; but not where what was signed before was changed meanwhile."""
    fill(vault)
    vault.feed(13, 14)
    vault.restart()
    vault.sign()
    report = vault.verify()
    assert report.is_good
    assert report.untold == []
    vault.feed(15, 15)
    vault.sign()
    vault.feed(16, 16)
    vault.tamper("UPDATE leaves SET hash = $hash WHERE first = 15", hash=b"h" * 32)
    vault.restart()
    (told,) = vault.told
    assert told.kind == told.TAMPERED
    assert not vault.verify().is_good


def test_deletion_on_request_still_verifies(vault: "Vault") -> None:
    """Record and salt are gone, tombstones are there, logs tell of it: everything holds."""
    vault.feed(1, 5)
    vault.feed(6, 8, user="u-1")
    vault.feed(9, 12)
    vault.sign()
    query = Query.of(v1.RecordFilter(user="u-1"))
    assert vault.archive.delete(query, "request", vault.now_ns, Interrupt()).records == 3
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert (report.seen["tombstones"], report.seen["deletions"]) == (3, 3)
    assert report.untold == []
    vault.restart()
    vault.sign()
    assert vault.verify().is_good


def test_retention_of_a_day_still_verifies(vault: "Vault") -> None:
    """What retention dropped as a whole was stated before it went; the rest holds."""
    vault.feed(1, 5)
    vault.sign()
    vault.restart()
    vault.now_ns += 10 * 86_400 * SECOND
    vault.feed(6, 9)
    vault.sign()
    retention = Retention(ages=(ModelRule("*", 5 * 86_400 * SECOND),))
    while vault.archive.expire(retention, vault.now_ns).is_more:
        pass
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert report.seen["records"] == 4
    said = "5 entries in 1 logs, of 2026-01-01, were dropped by retention, as storage signed"
    assert said in report.untold


def test_retention_by_model_still_verifies(vault: "Vault") -> None:
    """Records that expire one by one leave tombstones, which a log tells of."""
    vault.feed(1, 3, model="a")
    vault.feed(4, 6, model="b")
    vault.sign()
    vault.restart()
    vault.now_ns += 10 * 86_400 * SECOND
    ages = (ModelRule("a", 5 * 86_400 * SECOND), ModelRule("*", 100 * 86_400 * SECOND))
    while vault.archive.expire(Retention(ages=ages), vault.now_ns).is_more:
        pass
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert (report.seen["tombstones"], report.seen["deletions"]) == (3, 3)


def test_an_older_backup_is_not_signed_under_the_same_name(vault: "Vault", tmp_path: Path) -> None:
    """Where checkpoints are also written elsewhere, storage itself sees that it has become older; a key with
    another name signs again, and overwrites nothing.
    """
    kept = tmp_path / "kept"
    kept.mkdir()
    vault.signing = Signing([KEY], kept)
    vault.restart()
    vault.feed(1, 5)
    vault.sign()
    vault.close()
    shutil.copytree(vault.directory, vault.directory.with_name("backup"))
    vault.open()
    vault.feed(6, 12)
    vault.sign()
    vault.close()
    shutil.rmtree(vault.directory)
    shutil.move(vault.directory.with_name("backup"), vault.directory)
    vault.open()
    vault.restart()
    (told,) = vault.told
    assert told.kind == told.TRUNCATED
    assert not vault.auditing.checkpointing.can_sign
    assert "an older backup?" in vault.auditing.checkpointing.refusal
    vault.signing = Signing([make_key("storage.example/after")], kept)
    vault.restart()
    vault.feed(6, 9)
    vault.sign()
    assert len(list(kept.iterdir())) == 3
