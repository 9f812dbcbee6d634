"""The verifier on logs made by hand: what the tests of a real archive do not reach."""

import os
from collections.abc import Iterable, Sequence

from infertap.verification import (
    DELETION,
    DROPPED,
    GAP,
    HEAD,
    RECORD,
    Checkpoint,
    Envelope,
    Leaf,
    Ledger,
    LoggedEntry,
    LogId,
    Report,
    Statement,
    Tombstone,
    Verifier,
    Wrong,
    leaf_hash,
    make_key,
    read_heads,
    record_hash,
    root_of,
    sign_checkpoint,
    state,
)

SPOOL = b"s" * 16
KEY = make_key("storage.example")
LOG, LATER = LogId("", "2026-11-21", "a" * 16), LogId("", "2026-11-22", "b" * 16)


def chain(count: int) -> list[LoggedEntry]:
    """Records 1 to `count` of one spool, as leaves from 0."""
    made: list[LoggedEntry] = []
    last = bytes(32)
    for sequence in range(1, count + 1):
        salt, record = os.urandom(16), b"record %d" % sequence
        own = record_hash(last, sequence, salt, record)
        leaf = Leaf(RECORD, SPOOL, sequence, sequence, own)
        made.append(LoggedEntry(sequence - 1, leaf, Envelope(last, salt, record)))
        last = own
    return made


def renumbered(entries: Iterable[LoggedEntry]) -> list[LoggedEntry]:
    return [LoggedEntry(index, each.leaf, each.found) for index, each in enumerate(entries)]


def head(log: LogId, entries: Sequence[LoggedEntry], kind: str = HEAD) -> Statement:
    return state(kind, log, (len(entries), root_of(each.leaf.hashed() for each in entries)), 0, "retention")


def verify(
    logs: dict[LogId, list[LoggedEntry]],
    statements: Sequence[Statement] = (),
    notes: Sequence[str] | None = None,
    hidden: Sequence[Statement] = (),
    tenant: str | None = None,
) -> Report:
    report = Report()
    data = [each.data for each in statements]
    checkpoint = Checkpoint("storage.example", len(data), root_of(map(leaf_hash, data)))
    data = [leaf_hash(each.data) if each in hidden else each.data for each in statements]
    signed = [sign_checkpoint(checkpoint, [KEY])] if notes is None else list(notes)
    heads = read_heads(signed, [KEY.public], data, report)
    with Ledger() as ledger:
        verifier = Verifier(heads, report, ledger, tenant=tenant)
        for log, entries in logs.items():
            verifier.begin(log)
            for entry in entries:
                verifier.take(entry)
        verifier.end()
    return report


def test_a_chain_over_two_logs() -> None:
    """Chains go on from one log into another, in whatever order the logs come."""
    entries = chain(8)
    first, second = entries[:4], renumbered(entries[4:])
    report = verify({LATER: second, LOG: first}, [head(LOG, first), head(LATER, second)])
    assert report.is_good, report.findings
    assert report.untold == []


def test_late_records_within_a_gap() -> None:
    """A record that came after its sequence had been declared lost is no fork, and chains go on behind it."""
    entries = chain(6)
    gap = LoggedEntry(None, Leaf(GAP, SPOOL, 2, 4, entries[3].leaf.hash, "dead_lettered"))
    log = renumbered([entries[0], gap, entries[4], entries[5], entries[2]])
    assert verify({LOG: log}, [head(LOG, log)]).is_good


def test_a_forked_spool() -> None:
    """Two records with one sequence, both with leaves, as two storages of one archive might take them."""
    one, other = chain(3), chain(3)
    logs = {LOG: one, LATER: renumbered(other[2:])}
    report = verify(logs, [head(LOG, one), head(LATER, logs[LATER])])
    assert report.wrong[Wrong.FORKED] == 1
    assert report.first_bad == {SPOOL: 3}


def test_the_same_record_twice_is_no_fork() -> None:
    """Restored from a backup, an archive is sent some records again."""
    one = chain(3)
    logs = {LOG: one, LATER: renumbered(one[1:])}
    assert verify(logs, [head(LOG, one), head(LATER, logs[LATER])]).is_good


def test_a_tombstone_counts_with_its_own_deletion_only() -> None:
    """The deletion of another record, or of another hash, does not cover it."""
    entries = chain(3)
    stone = LoggedEntry(1, entries[1].leaf, Tombstone(entries[0].leaf.hash, "request", 5))
    for deleted, is_good in ((entries[1].leaf.hash, True), (entries[2].leaf.hash, False)):
        told = LoggedEntry(3, Leaf(DELETION, SPOOL, 2, 2, deleted, "request"))
        log = [entries[0], stone, entries[2], told]
        report = verify({LOG: log}, [head(LOG, log)])
        assert report.is_good == is_good
        assert bool(report.wrong[Wrong.FORGED_TOMBSTONE]) != is_good


def test_holes_where_logs_were_dropped() -> None:
    """What retention dropped may have told of them: they are no finding, and it is said."""
    entries = chain(6)
    rest = renumbered(entries[3:])
    report = verify(
        {LATER: rest}, [head(LOG, entries[:3]), head(LOG, entries[:3], DROPPED), head(LATER, rest)]
    )
    assert report.is_good
    assert report.untold == [
        "3 entries in 1 logs, of 2026-11-21, were dropped by retention, as storage signed",
        "3 sequences may be in logs that are not looked at",
    ]


def test_a_log_that_was_never_signed() -> None:
    """Its chains are looked at, and it is said that nothing more can be."""
    report = verify({LOG: chain(3)}, notes=[])
    assert report.is_good
    assert report.untold == ["nothing is signed: whoever can write to the archive may have changed all of it"]


def test_several_checkpoints_of_one_log_of_heads() -> None:
    """Each has to fit; beyond the first that does not, nothing is believed."""
    entries = chain(4)
    statements = [head(LOG, entries[:2]), head(LOG, entries)]
    data = [each.data for each in statements]
    notes = [
        sign_checkpoint(Checkpoint("storage.example", size, root_of(map(leaf_hash, data[:size]))), [KEY])
        for size in (1, 2)
    ]
    assert verify({LOG: entries}, statements, notes).is_good
    forged = sign_checkpoint(Checkpoint("storage.example", 2, b"r" * 32), [KEY])
    report = verify({LOG: entries}, statements, [notes[0], forged])
    assert report.wrong == {Wrong.HEADS: 1}
    assert "2 leaves are not signed yet" in report.untold


def test_findings_are_bounded() -> None:
    """A wholly broken archive does not fill the memory with what is wrong with it."""
    entries = [LoggedEntry(each.index, each.leaf, None) for each in chain(3000)]
    report = verify({LOG: entries}, [head(LOG, entries)])
    assert report.wrong[Wrong.DELETED] == 3000
    assert len(report.findings) == 1000
    assert report.first_bad == {SPOOL: 1}


def test_statements_that_are_hidden_are_said() -> None:
    """Shown by its hash alone a statement may be of a log that was taken out: so that is said."""
    entries = chain(8)
    first, second = entries[:4], renumbered(entries[4:])
    statements = [head(LOG, first), head(LATER, second)]
    report = verify({LOG: first}, statements, hidden=statements[1:], tenant="")
    assert report.is_good
    (said,) = report.untold
    assert said.startswith("1 signed statements are shown by their hashes alone")
    assert verify({LOG: first}, statements).wrong == {Wrong.LOG_MISSING: 1}


def test_another_tenants_logs() -> None:
    """What is said to be of one tenant, and is another's, true as it is, does not pass for it."""
    entries, theirs = chain(3), LogId("globex", "2026-11-21", "a" * 16)
    report = verify({theirs: entries}, [head(theirs, entries)], tenant="acme")
    assert report.wrong == {Wrong.ANOTHER_TENANT: 1}
    assert verify({theirs: entries}, [head(theirs, entries)], tenant="globex").is_good
    renamed = LogId("acme", theirs.day, theirs.log)
    report = verify({renamed: entries}, [head(theirs, entries)], tenant="acme")
    assert report.wrong == {Wrong.LOG_MISSING: 1}


def test_what_was_looked_at_is_told() -> None:
    """Whose logs, of which days, and how recent what is signed is: an older state shows by that."""
    entries, log = chain(2), LogId("acme", "2026-11-21", "a" * 16)
    head_of = (2, root_of(each.leaf.hashed() for each in entries))
    earlier, later = (state(HEAD, log, head_of, seconds * 10**9) for seconds in (60, 90))
    report = verify({log: entries}, [later, earlier])
    assert (report.tenants, report.days, report.signed_until_ns) == ({"acme"}, {"2026-11-21"}, 90 * 10**9)
