"""Several storages over one ClickHouse: deletion beside killed writers, retention, tenants, a cluster."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1
from infertap.query import FeedbackQuery, Query, StatsQuery
from storage.archive import (
    BY_REQUEST,
    Archive,
    ArchiveError,
    Expired,
    Interrupt,
    ModelRule,
    Retention,
    clickhouse_audit,
)
from storage.archive.clickhouse_archive import ClickhouseArchive
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_expiry import time_to_live
from storage.archive.clickhouse_location import Location
from storage.archive.clickhouse_tables import beneath, create_statements, forward_statements
from storage.archive.clickhouse_writing import deletion_statement
from storage.audit import Lease

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL, OTHER = b"s" * 16, b"t" * 16
LATER = NOW + 60 * SECOND

Open = Callable[[], ClickhouseArchive]
clickhouse = pytest.mark.clickhouse


def listed(archive: Archive) -> list[int]:
    page = archive.page(Query(), None, 1000, Interrupt())
    return sorted(record.sequence for record in page.records)


def told_of(archive: ClickhouseArchive) -> list[int]:
    """The kinds of leaves that tell of the first record."""
    return sorted(place.leaf.kind for place in archive.audit.places(SPOOL, 1))


class KilledError(BaseException):
    """The process ends here, with nothing done afterwards."""


def killed_before(archive: ClickhouseArchive, table: str) -> None:
    """The process of this archive ends when it would insert into `table`."""
    insert = archive._connection.insert

    def insert_or_end(into: str, *given: Any) -> None:
        if into == table:
            raise KilledError
        insert(into, *given)

    archive._connection.insert = insert_or_end  # type: ignore[method-assign, assignment]


# -- deletion


@clickhouse
def test_a_killed_writer_brings_nothing_back(open_another: Open, making: "Making") -> None:
    """A storage was killed after it inserted what another had deleted meanwhile: it goes all the same."""
    keeper, killed = open_another(), open_another()
    entries = [making.entry(1), making.entry(2)]
    keeper.append(entries, NOW)
    # It looked for what is there before the other one wrote.
    killed._writing._fresh = list  # type: ignore[method-assign, assignment]
    killed_before(killed, "leaves")
    assert keeper.delete(Query(path="/v1/1"), BY_REQUEST, NOW, Interrupt()).records == 1
    with pytest.raises(KilledError):
        killed.append(entries, LATER)
    assert listed(keeper) == [1, 2], "it does not come back, and nothing is tested"
    keeper.expire(Retention(), LATER)
    assert listed(keeper) == [2]
    assert told_of(keeper) == [1, 3], "its deletion is told once"


@clickhouse
@pytest.mark.parametrize("is_sent_again", [True, False])
def test_a_killed_writer_of_a_forgotten_user(
    open_another: Open, making: "Making", is_sent_again: bool
) -> None:
    """What it inserted of a user who had their records deleted goes: when it is sent again, and without."""
    killed, keeper = open_another(), open_another()
    killed_before(killed, "leaves")
    mine, theirs = making.entry(1, caller__user="hmac:1"), making.entry(2, caller__user="hmac:2")
    with pytest.raises(KilledError):
        killed.append([mine, theirs], NOW)
    # Its rows are not there yet for whoever deletes.
    hidden = keeper._removing._matching
    keeper._removing._matching = lambda *_: []  # type: ignore[method-assign]
    keeper.delete(Query(user="hmac:1"), BY_REQUEST, LATER, Interrupt())
    keeper._removing._matching = hidden  # type: ignore[method-assign]
    assert listed(keeper) == [1, 2]
    if is_sent_again:
        assert [each.sequence for each in keeper.append([mine, theirs], LATER)] == [2]
    else:
        keeper.expire(Retention(), LATER)
    assert listed(keeper) == [2]


@clickhouse
def test_who_asks_hears_what_others_deleted(open_another: Open, making: "Making") -> None:
    """By spool, since a time: what was deleted on request, and what came late of a user who had that done."""
    here, there = open_another(), open_another()
    here.append([making.entry(n, spool) for spool in (SPOOL, OTHER) for n in (1, 2, 3)], NOW)
    assert here.deleted_since(NOW, [SPOOL, OTHER]) == {}
    there.delete(Query(path="/v1/2"), BY_REQUEST, LATER, Interrupt())
    assert here.deleted_since(LATER, [SPOOL, OTHER]) == {SPOOL: [(2, 2)], OTHER: [(2, 2)]}
    assert here.deleted_since(LATER, [OTHER]) == {OTHER: [(2, 2)]}
    assert here.deleted_since(LATER + DAY, [SPOOL]) == {}
    assert here.deleted_since(LATER, []) == {}
    there.delete(Query(user="hmac:1"), BY_REQUEST, LATER, Interrupt())
    here.append([making.entry(4, caller__user="hmac:1")], LATER + SECOND)
    assert there.deleted_since(LATER + SECOND, [SPOOL]) == {SPOOL: [(4, 4)]}


@clickhouse
def test_a_step_that_is_done_again(
    open_another: Open, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting that fails at its last step, and is asked for again, tells of each record once."""
    archive = open_another()
    archive.append([making.entry(1), making.entry(2)], NOW)
    with monkeypatch.context() as broken:
        broken.setattr(archive._connection, "command", lambda *_, **__: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            archive.delete(Query(path="/v1/1"), BY_REQUEST, LATER, Interrupt())
    assert archive.delete(Query(path="/v1/1"), BY_REQUEST, LATER, Interrupt()).records == 1
    assert listed(archive) == [2]
    assert told_of(archive) == [1, 3]


@clickhouse
def test_killed_while_deleting_by_feedback(open_another: Open, making: "Making") -> None:
    """A storage was killed after it deleted the feedback that its records were chosen by: asked again, by
    whom they are of, they go.
    """
    killed, keeper = open_another(), open_another()
    for n, tenant in ((1, "a"), (2, "b"), (3, "a")):
        killed.append([dataclasses.replace(making.entry(n), tenant=tenant)], NOW)
    for n, tenant, rating in ((1, "a", 1), (2, "b", 1), (3, "a", 5)):
        given = v1.Feedback(feedback_id=f"f-{n}", call_id=making.record(n).call_id, rating=rating)
        given.tenant = tenant
        killed.attach([given])
    command = killed._connection.command

    def command_or_end(statement: str, *given: Any, **options: Any) -> None:
        if "DELETE FROM" in statement:
            raise KilledError
        command(statement, *given, **options)

    killed._connection.command = command_or_end  # type: ignore[method-assign, assignment]
    judged = Query(feedback=FeedbackQuery(max_rating=1))
    with pytest.raises(KilledError):
        killed.delete(judged, BY_REQUEST, NOW, Interrupt())
    assert (listed(keeper), keeper.matched(judged, Interrupt()).records) == ([1, 2, 3], 0), (
        "nothing is tested"
    )
    of_tenant = dataclasses.replace(judged, tenant="a")
    deletion = keeper.delete(of_tenant, BY_REQUEST, LATER + DAY, Interrupt())
    assert (deletion.records, deletion.spools, listed(keeper)) == (1, {SPOOL: [(1, 1)]}, [2, 3])
    assert keeper.delete(judged, BY_REQUEST, LATER + DAY, Interrupt()).records == 1
    assert listed(keeper) == [3]
    assert told_of(keeper) == [1, 3], "its deletion is told once"


# -- retention


@clickhouse
def test_a_day_that_is_written_to_stays(open_another: Open, making: "Making") -> None:
    """However old its records are said to be: what is stored at that moment would go with them."""
    archive = open_another()
    archive.append([making.entry(1)], NOW)
    rules = Retention(ages=(ModelRule("*", SECOND),))
    assert archive.expire(rules, NOW + DAY + 300 * SECOND) == Expired()
    assert listed(archive) == [1]
    assert archive.expire(rules, NOW + DAY + 700 * SECOND).records == 1
    assert listed(archive) == []
    assert archive.received(SPOOL) == [(1, 1)]
    assert archive.append([making.entry(1)], NOW + 2 * DAY) == []


@clickhouse
def test_two_with_other_rules(open_another: Open, connection: Connection) -> None:
    """Storages whose settings differ, as while they are exchanged, tell the table each once, not by turns."""
    one, other = open_another(), open_another()
    told: list[str] = []
    for archive in (one, other):
        command = archive._connection.command

        def note(statement: str, *given: Any, _command: Any = command, **more: Any) -> None:
            told.append(statement)
            _command(statement, *given, **more)

        archive._connection.command = note  # type: ignore[method-assign]
    for _ in range(3):
        one.expire(Retention(ages=(ModelRule("*", 30 * DAY),)), time.time_ns())
        other.expire(Retention(ages=(ModelRule("*", 60 * DAY),)), time.time_ns())
    assert len([each for each in told if "MODIFY TTL" in each]) == 2


@clickhouse
def test_rows_that_the_time_to_live_removed(
    open_another: Open, making: "Making", connection: Connection
) -> None:
    """What ClickHouse dropped by itself is not taken again, and neither listed nor counted."""
    archive, database = open_another(), connection.location.database
    stored_ns = time.time_ns() - 40 * DAY
    archive.append([making.entry(1), making.entry(2)], stored_ns)
    archive.append([making.entry(3)], time.time_ns())
    connection.command(
        f"ALTER TABLE {database}.records MODIFY TTL toDateTime(intDiv(stored_ns, 1000000000), 'UTC') "
        "+ toIntervalDay(30)"
    )
    connection.command(f"OPTIMIZE TABLE {database}.records FINAL")
    assert listed(archive) == [3]
    assert archive.append([making.entry(1), making.entry(2)], time.time_ns()) == []
    assert archive.received(SPOOL) == [(1, 3)]
    assert archive.count(Query(), Interrupt()) == 1


@clickhouse
def test_after_merges_each_is_one(open_another: Open, making: "Making", connection: Connection) -> None:
    """What two storages inserted on two days is one row, whether parts are merged or not."""
    archive, database = open_another(), connection.location.database
    entries = [making.entry(n) for n in range(1, 21)]
    archive.append(entries, NOW + DAY - SECOND)
    connection.command(f"TRUNCATE TABLE {database}.received")  # as a replica that lags behind would say
    open_another().append(entries, NOW + DAY + SECOND)
    for _ in range(2):
        assert listed(archive) == list(range(1, 21))
        [row] = archive.stats(StatsQuery(Query()), Interrupt()).rows
        assert (row.records, archive.count(Query(), Interrupt())) == (20, 20)
        connection.command(f"OPTIMIZE TABLE {database}.records FINAL")


@clickhouse
def test_one_of_many_has_the_lease(open_another: Open) -> None:
    """Of storages that ask at the same moment one has it, whoever else believed so for a while."""
    from concurrent.futures import ThreadPoolExecutor

    leases = [Lease(open_another().audit, key=b"test") for _ in range(4)]
    now_ns = time.time_ns()
    with ThreadPoolExecutor(len(leases)) as threads:
        assert sum(threads.map(lambda lease: lease.hold(now_ns), leases)) == 1
    assert sum(lease.hold(now_ns + SECOND) for lease in leases) == 1


# -- tenants and hostile values

HOSTILE = [
    "'; DROP TABLE records; --",
    "\\'; DROP TABLE records; --",
    "{p0:String}",
    "{database}",
    "%(x)s %s %",
    "a\tb\nc\rd\x00e\x08f\x0cg\\N",
    "\\N",
    "NULL",
    '"],["',
    "',')",
    "ʼ\u2028 naïve 日本語 😀",
    "x" * 1000,
]


@clickhouse
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values(open_another: Open, making: "Making", text: str) -> None:
    """Whatever stands in a record is found by exactly that, alone and in lists, and by nothing near it."""
    archive = open_another()
    record = making.record(1, model__name=text, method=text, request_id=text, cohort=text, caller__user=text)
    record.tags.extend([text, "other"])
    record.model.finish_reasons.append(text)
    record.error.type = text
    record.request.redactions.add(**{"class": text})
    entry = making.entry(1)
    hostile = dataclasses.replace(entry, parsed=record, record=record.SerializeToString(), tenant=text)
    archive.append([hostile, making.entry(2)], NOW)
    feedback = v1.Feedback(feedback_id=text[:1000], request_id=text, tenant=text, labels=[text])
    feedback.received_at.FromNanoseconds(NOW)
    assert archive.attach([feedback]) == [True]
    assert archive.attach([feedback]) == [False]
    asked: list[dict[str, Any]] = [
        {"model": text},
        {"method": text},
        {"request_id": text},
        {"cohort": text},
        {"user": text},
        {"tags": [text]},
        {"finish_reasons": [text]},
        {"error_type": text},
        {"redaction_class": text},
    ]
    for each in asked:
        for query, found in ((Query.of(v1.RecordFilter(**each)), [1]), (other_than(each), [])):
            page = archive.page(query, None, 10, Interrupt())
            assert [record.sequence for record in page.records] == found, list(each)
            assert archive.count(query, Interrupt()) == len(found)
    assert archive.page(Query(tenant=text), None, 10, Interrupt()).records[0].model.name == text
    assert list(archive.calls_of([text], 10, text)) == [text]
    [joined] = archive.page(Query(tenant=text), None, 10, Interrupt()).records
    archive.join_feedback([joined], 1 << 20)
    assert joined.feedback_count == 1
    assert archive.feedback("", text, None, 10, tenant=text).feedback[0].labels == [text]
    assert archive.delete(Query(user=text, tenant=text), BY_REQUEST, LATER, Interrupt()).records == 1
    assert listed(archive) == [2]


def other_than(asked: Mapping[str, Any]) -> Query:
    """The same question of a text that only begins alike."""
    longer: dict[str, Any] = {
        name: [f"{value[0]}x"] if isinstance(value, list) else f"{value}x" for name, value in asked.items()
    }
    return Query.of(v1.RecordFilter(**longer))


@clickhouse
def test_tenants_are_apart(open_another: Open, making: "Making") -> None:
    """The same call id, request id, user and feedback id of two tenants: each sees, and deletes, its own."""
    archive = open_another()
    of = {
        tenant: dataclasses.replace(
            making.entry(1, spool, request_id="same", caller__user="hmac:1"), tenant=tenant
        )
        for tenant, spool in (("acme", SPOOL), ("evil", OTHER))
    }
    call_id = of["acme"].parsed.call_id
    twin = of["evil"].parsed
    twin.call_id = call_id
    of["evil"] = dataclasses.replace(of["evil"], parsed=twin, record=twin.SerializeToString())
    archive.append(list(of.values()), NOW)
    given = [v1.Feedback(feedback_id="f", request_id="same", tenant=tenant, comment=tenant) for tenant in of]
    for each in given:
        each.received_at.FromNanoseconds(NOW)
    assert archive.attach(given) == [True, True]
    for tenant, entry in of.items():
        got = archive.get(call_id, tenant)
        assert got is not None
        assert (got.tenant, got.spool_id) == (tenant, entry.spool_id)
        assert [
            each.tenant for each in archive.page(Query(tenant=tenant), None, 10, Interrupt()).records
        ] == [tenant]
        archive.join_feedback([got], 1 << 20)
        assert [each.comment for each in got.feedback] == [tenant]
        assert archive.count(Query(tenant=tenant, user="hmac:1"), Interrupt()) == 1
    assert archive.matched(Query(tenant="evil", user="hmac:1"), Interrupt()).records == 1
    deletion = archive.delete(Query(tenant="evil", user="hmac:1"), BY_REQUEST, LATER, Interrupt())
    assert (deletion.records, deletion.feedback, set(deletion.spools)) == (1, 1, {OTHER})
    assert archive.get(call_id, "evil") is None
    kept = archive.get(call_id, "acme")
    assert kept is not None
    archive.join_feedback([kept], 1 << 20)
    assert kept.feedback_count == 1
    # What comes late of that user of evil's is not kept; of acme's it is.
    late = making.entry(2, SPOOL, caller__user="hmac:1")
    assert archive.append([dataclasses.replace(late, tenant="evil", spool_id=OTHER)], LATER) == []
    assert len(archive.append([dataclasses.replace(late, tenant="acme")], LATER)) == 1


@clickhouse
def test_a_row_that_was_given_to_another_tenant(
    open_another: Open, making: "Making", connection: Connection
) -> None:
    """The log of the one whose record it was has lost it; and it is in no log of the other's."""
    archive, database = open_another(), connection.location.database
    entries = [dataclasses.replace(making.entry(n), tenant="acme") for n in (1, 2)]
    archive.append(entries, NOW)
    connection.command(
        f"ALTER TABLE {database}.records UPDATE tenant = 'globex' WHERE sequence = 2",
        settings={"mutations_sync": 2},
    )
    [log] = archive.audit.logs()
    assert [each.found is None for each in archive.audit.entries(log, 0, 10)] == [False, True]
    [(tenant, each)] = archive.audit.unlogged((b"", 0), 10)
    assert (tenant, each.leaf.first) == ("globex", 2)


@clickhouse
@pytest.mark.parametrize(("leaves", "ranges"), [(1, 10), (7, 10), (1000, 1)])
def test_records_without_a_leaf(
    open_another: Open,
    making: "Making",
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    leaves: int,
    ranges: int,
) -> None:
    """Are found however little is looked at at a time, also of spools from which nothing was received."""
    monkeypatch.setattr(clickhouse_audit, "_WINDOW_LEAVES", leaves)
    monkeypatch.setattr(clickhouse_audit, "_WINDOW_RANGES", ranges)
    archive, database = open_another(), connection.location.database
    for first in (1, 4, 20):
        archive.append(
            [making.entry(n, spool) for spool in (SPOOL, OTHER) for n in range(first, first + 3)], NOW
        )
    wanted = [(spool, n) for spool in (b"a" * 16, SPOOL, OTHER, b"z" * 16) for n in (2, 21)]
    archive._writing._insert_records([making.entry(n, spool) for spool, n in wanted], NOW)
    connection.command(
        f"DELETE FROM {database}.leaves WHERE (hex(spool_id), first) IN "
        f"(('{SPOOL.hex().upper()}', 2), ('{SPOOL.hex().upper()}', 21), "
        f"('{OTHER.hex().upper()}', 2), ('{OTHER.hex().upper()}', 21))"
    )
    found: list[tuple[bytes, int]] = []
    while more := archive.audit.unlogged(found[-1] if found else (b"", 0), 3):
        found += [(each.leaf.spool_id, each.leaf.first) for _, each in more]
    assert found == sorted(wanted)


# -- what a cluster adds, which is not run here


class Said:
    """A connection to a cluster that is not there: what was said to it, and no answer to any question."""

    def __init__(self) -> None:
        self.location = Location("db", 8123, "records", cluster="main")
        self.statements: list[str] = []

    def command(self, statement: str, *_: object, **__: object) -> None:
        self.statements.append(statement)

    def insert(self, table: str, *_: object) -> None:
        self.statements.append(f"INSERT INTO {table}")

    def rows(self, *_: object, **__: object) -> list[tuple[Any, ...]]:
        return []


def test_deletion_waits_for_replicas() -> None:
    """Who deletes looks once each replica has all that was written: none that lags behind hides it."""
    said = Said()
    archive = ClickhouseArchive(said)  # type: ignore[arg-type]
    archive._removing._rewrite = lambda: None  # type: ignore[method-assign]
    archive.delete(Query(user="hmac:1"), BY_REQUEST, NOW, Interrupt())
    assert said.statements == [
        "INSERT INTO requests",
        "SYSTEM SYNC REPLICA ON CLUSTER 'main' records.requests LIGHTWEIGHT",
        "SYSTEM SYNC REPLICA ON CLUSTER 'main' records.records_local LIGHTWEIGHT",
    ]


@clickhouse
def test_a_cluster_s_statements_are_sql(connection: Connection) -> None:
    """All that is said to a cluster the real engine's parser takes: so far it can be tried here."""
    table = beneath("records", "main")
    statements = [
        *create_statements("records", "main"),
        *forward_statements("records", "main"),
        deletion_statement(f"records.{table}", [(SPOOL, 1), (OTHER, 2)], 0, NOW),
        f"ALTER TABLE records.{table} APPLY DELETED MASK",
        f"ALTER TABLE records.{table} DROP PARTITION 20261121",
        f"ALTER TABLE records.{table} MODIFY TTL {time_to_live(Retention(ages=(ModelRule('*', DAY),)))}",
        f"ALTER TABLE records.{table} REMOVE TTL",
        "SYSTEM SYNC REPLICA ON CLUSTER 'main' records.records_local LIGHTWEIGHT",
        "KILL QUERY ON CLUSTER 'main' WHERE query_id = 'x' ASYNC",
        "SELECT count() FROM clusterAllReplicas('main', system.parts)",
    ]
    for statement in statements:
        assert connection.rows(f"EXPLAIN AST {statement}"), statement
    with pytest.raises(ArchiveError, match="SYNTAX_ERROR"):
        connection.rows("EXPLAIN AST ALTER TABLE records APPLY DELETED MASKS")
