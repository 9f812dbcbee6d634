"""The ClickHouse engine where it differs: several storages at once, lost answers, killed servers."""

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from infertap import v1
from infertap.query import Query, StatsQuery
from infertap.verification import Frontier
from storage.archive import (
    BY_REQUEST,
    Archive,
    ArchiveError,
    Interrupt,
    RangeSet,
    RecordEntry,
    open_archive,
)
from storage.archive.clickhouse_archive import ClickhouseArchive
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_migration import migrate
from storage.archive.clickhouse_tables import RECEIVED, TABLES_VERSION

if TYPE_CHECKING:
    from tests.storage.archive.clickhouse_process import ClickhouseServer
    from tests.storage.conftest import Making

pytestmark = pytest.mark.clickhouse

MEMORY = 256 << 20
NOW = 1_767_225_600_000_000_000
SPOOL = b"s" * 16

Open = Callable[[], ClickhouseArchive]


def listed(archive: Archive) -> list[int]:
    page = archive.page(Query(), None, 1000, Interrupt())
    return sorted(record.sequence for record in page.records)


def counted(archive: Archive) -> int:
    [row] = archive.stats(StatsQuery(Query()), Interrupt()).rows
    assert row.records == archive.count(Query(), Interrupt())
    return row.records


def rows_of(connection: Connection, table: str) -> int:
    """Rows as they lie there, duplicates and all."""
    rows = connection.rows(f"SELECT count() FROM {connection.location.database}.{table}")
    return int(rows[0][0])


def test_without_tables(clickhouse_server: "ClickhouseServer") -> None:
    """Storage is told in one line what to do."""
    with pytest.raises(ArchiveError, match="make them with: infertap storage migrate"):
        open_archive(clickhouse_server.url("nothing_here"), MEMORY)


def test_of_another_version(connection: Connection, url: str) -> None:
    """A newer schema is refused, by storage and by its migration; an older one must be brought forward."""
    database = connection.location.database
    for version, why in ((99, "newer"), (1, "bring them forward")):
        connection.command(f"INSERT INTO {database}.meta VALUES ('version', '{version}', {time.time_ns()})")
        with pytest.raises(ArchiveError, match=why) as error:
            open_archive(url, MEMORY)
        assert "s3cret" not in str(error.value)
        if version == 99:
            with pytest.raises(ArchiveError, match=why):
                migrate(connection)
    assert migrate(connection) == 1
    open_archive(url, MEMORY).close()


def test_half_made_tables(connection: Connection, url: str, making: "Making") -> None:
    """Storage does not start with tables or columns that are not there; migration makes them whole."""
    database = connection.location.database
    for broken, named in (
        ("DROP TABLE {}.tombstones", "tombstones is not there"),
        ("ALTER TABLE {}.records DROP COLUMN cohort", "records.cohort is not there"),
        ("DROP TABLE {}.meta", "the tables are not there"),
    ):
        connection.command(broken.format(database))
        with pytest.raises(ArchiveError, match=named):
            open_archive(url, MEMORY)
        migrate(connection)
        with contextlib.closing(open_archive(url, MEMORY)) as archive:
            archive.append([making.entry(1)], NOW)
            assert listed(archive) == [1]


def test_brought_forward(connection: Connection, url: str, making: "Making") -> None:
    """Tables of version 2 get what version 3 added, and keep what they hold, whatever the clock says."""
    database = connection.location.database
    with contextlib.closing(open_archive(url, MEMORY)) as archive:
        archive.append([making.entry(1)], NOW)
    for table, index in (("tombstones", "by_deleted"), ("leaves", "by_place")):
        connection.command(f"ALTER TABLE {database}.{table} DROP INDEX {index}")
    ahead = time.time_ns() + 3600 * 10**9
    connection.command(f"INSERT INTO {database}.meta VALUES ('version', '2', {ahead})")
    assert migrate(connection) == 2
    assert migrate(connection) == TABLES_VERSION
    rows = connection.rows(f"SELECT name FROM system.data_skipping_indices WHERE database = '{database}'")
    assert {"by_deleted", "by_place"} <= {name for (name,) in rows}
    with contextlib.closing(open_archive(url, MEMORY)) as archive:
        assert listed(archive) == [1]


def test_wrong_password(clickhouse_server: "ClickhouseServer", url: str) -> None:
    """Who may not come in hears that, without what was tried."""
    wrong = url.replace("s3cret", "guessed")
    with pytest.raises(ArchiveError, match="AUTHENTICATION_FAILED") as error:
        open_archive(wrong, MEMORY)
    assert "guessed" not in str(error.value)


def test_nobody_answers() -> None:
    """As one line."""
    with pytest.raises(ArchiveError, match=r"ClickHouse at 127\.0\.0\.1:1: no answer"):
        open_archive("clickhouse://127.0.0.1:1/records", MEMORY)


def test_migrated_again(connection: Connection, url: str, making: "Making") -> None:
    """Nothing is lost, nothing is told twice."""
    with contextlib.closing(open_archive(url, MEMORY)) as archive:
        archive.append([making.entry(1)], NOW)
        assert migrate(connection) == TABLES_VERSION
        assert listed(archive) == [1]


def test_one_batch_by_two_storages_at_once(
    open_another: Open, making: "Making", connection: Connection
) -> None:
    """However often a record is inserted, every query sees it once, and each storage knows of all."""
    storages = [open_another() for _ in range(4)]
    entries = [making.entry(sequence) for sequence in range(1, 51)]
    begin = threading.Barrier(len(storages))

    def append(storage: ClickhouseArchive) -> None:
        begin.wait()
        storage.append(entries, NOW)

    threads = [threading.Thread(target=append, args=(storage,)) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows_of(connection, "records") > 50, "they did not meet"
    for storage in storages:
        assert listed(storage) == list(range(1, 51))
        assert counted(storage) == 50
        assert storage.received(SPOOL) == [(1, 50)]
        assert storage.append(entries, NOW + 1) == []
        assert storage.get(making.record(7).call_id) is not None


@pytest.mark.parametrize("table", ["records", "leaves", "received"])
@pytest.mark.parametrize("fault", ["fail", "lose"])
def test_insert_that_goes_wrong(
    clickhouse_server: "ClickhouseServer", open_another: Open, making: "Making", table: str, fault: str
) -> None:
    """Whether an insert failed, or its answer was lost: the batch is sent again, and there once."""
    archive = open_another()
    archive.append([making.entry(1)], NOW)
    # The client asks once more by itself where a connection broke.
    clickhouse_server.control(**{fault: f".{table}", "times": 5})
    try:
        with pytest.raises(ArchiveError):
            archive.append([making.entry(2), making.entry(3)], NOW)
    finally:
        clickhouse_server.control(**{fault: "", "times": 0})
    archive.append([making.entry(2), making.entry(3)], NOW)
    assert listed(archive) == [1, 2, 3]
    assert counted(archive) == 3
    assert archive.received(SPOOL) == [(1, 3)]
    assert sound_logs(archive)


def sound_logs(archive: ClickhouseArchive) -> bool:
    """Whether the leaves that are there make the heads that this storage would sign."""
    sizes = {each.log: each for each in archive.audit.logs()}
    for log, (size, root) in archive.heads().items():
        tree = Frontier()
        for leaf in archive.audit.leaves(sizes[log], 0, 1000)[:size]:
            tree.append(leaf.hashed())
        if (tree.size, tree.root()) != (size, root):
            return False
    return True


def test_leaves_of_all(open_another: Open, making: "Making") -> None:
    """Each storage writes logs of its own; every record has a leaf, with the record or its tombstone."""
    first, second = open_another(), open_another()
    first.append([making.entry(1), making.gap(3, 4)], NOW)
    second.append([making.entry(2)], NOW)
    first.delete(Query(path="/v1/2"), BY_REQUEST, NOW, Interrupt())
    logs = first.audit.logs()
    assert len(logs) == 2
    entries = [each for log in logs for each in first.audit.entries(log, 0, 100)]
    assert sorted((each.leaf.kind, each.leaf.first, type(each.found).__name__) for each in entries) == [
        (1, 1, "Envelope"),
        (1, 2, "Tombstone"),
        (2, 3, "NoneType"),
        (3, 2, "NoneType"),
    ]
    assert sound_logs(first)
    assert sound_logs(second)
    assert first.audit.unlogged((b"", 0), 10) == []
    assert set(first.audit.hashes(SPOOL, 1, 4)) == {1, 2, 4}


def test_notes_of_the_audit(open_another: Open) -> None:
    """A later note takes an earlier one's place; in order, from either end."""
    audit = open_another().audit
    audit.put("head", {b"\x00\xff": b"one", b"\x01": b"two"})
    audit.put("head", {b"\x00\xff": b"three"})
    audit.put("other", {b"x": b"y"})
    assert audit.notes("head", b"", 10) == [(b"\x00\xff", b"three"), (b"\x01", b"two")]
    assert audit.notes("head", b"\x00\xff", 10) == [(b"\x01", b"two")]
    assert audit.latest_notes("head", b"", 1) == [(b"\x01", b"two")]


def test_deleted_while_another_writes(open_another: Open, making: "Making", connection: Connection) -> None:
    """A storage that does not know yet that a record was received does not bring it back."""
    archive = open_another()
    archive.append([making.entry(1), making.entry(2)], NOW)
    assert archive.delete(Query(path="/v1/1"), BY_REQUEST, NOW, Interrupt()).records == 1
    # As a replica that lags behind would say.
    table = f"{connection.location.database}.received"
    connection.command(f"TRUNCATE TABLE {table}")
    again = open_another().append([making.entry(1), making.entry(2)], NOW + 1)
    assert [entry.sequence for entry in again] == [2]
    assert listed(archive) == [2]


def test_deleted_bytes_are_gone(open_another: Open, making: "Making", connection: Connection) -> None:
    """No part that is in use holds a row that no query sees."""
    archive = open_another()
    archive.append([making.entry(sequence) for sequence in range(1, 11)], NOW)
    archive.delete(Query(path="/v1/1"), BY_REQUEST, NOW, Interrupt())
    [(rows, masked)] = connection.rows(
        "SELECT sum(rows), countIf(has_lightweight_delete) FROM system.parts "
        "WHERE active AND table = 'records' AND database = {database:String}",
        {"database": connection.location.database},
    )
    assert (rows, masked) == (9, 0)


def test_many_ranges_are_put_together(open_another: Open, making: "Making", connection: Connection) -> None:
    """What was received in a thousand pieces lies there in a few, and says the same."""
    archive = open_another()
    for first in range(0, 300, 2):
        archive.append([making.entry(first + 1)], NOW)
    archive.append([making.entry(sequence) for sequence in range(301, 311)], NOW)
    assert rows_of(connection, "received") == 151
    told = archive.received(SPOOL)
    archive._writing._compact(SPOOL, NOW)
    assert archive.received(SPOOL) == told
    for first in range(1, 300, 2):
        archive.append([making.entry(first + 1)], NOW)
    archive._writing._compact(SPOOL, NOW)
    assert archive.received(SPOOL) == [(1, 310)]
    assert rows_of(connection, "received") == 1
    assert archive.append([making.entry(77)], NOW) == []


def test_received_ranges(open_another: Open, connection: Connection) -> None:
    """However ranges overlap, touch or repeat: what the server makes of them is their union."""
    archive = open_another()
    chance = random.Random(7)
    for number in range(40):
        spool_id = number.to_bytes(16, "big")
        rows, expected = [], RangeSet()
        for _ in range(chance.randrange(1, 30)):
            first = chance.randrange(1, 60)
            last = first + chance.choice([0, 0, 0, 1, 2, 9])
            rows += [(spool_id, chance.random() < 0.3, first, last, "", b"", "", NOW)] * chance.choice(
                [1, 1, 2]
            )
            expected.add(first, last)
        connection.insert("received", RECEIVED, rows)
        connection.insert("received", RECEIVED, rows[::2])
        assert archive.received(spool_id) == list(expected)


def test_among_many(open_another: Open, making: "Making", connection: Connection) -> None:
    """Whatever the index passes over, what is there is found: by page, id, key and spool."""
    archive = open_another()
    chance = random.Random(11)
    spools = [chance.randbytes(16) for _ in range(4)]
    database = connection.location.database
    for table, columns in (("received", "is_gap, first, last"), ("tombstones", "sequence")):
        values = "false, number, number + 1" if table == "received" else "number"
        connection.command(
            f"INSERT INTO {database}.{table} (spool_id, {columns}) "
            f"SELECT randomFixedString(16), {values} FROM numbers(40000)"
        )
    batches = [[making.entry(n, spool) for n in range(1, 1501)] for spool in spools]
    for entries in batches:
        assert len(archive.append(entries, NOW)) == 1500
        assert archive.append(entries[700:710], NOW + 1) == []
    assert [archive.received(spool) for spool in spools] == [[(1, 1500)]] * 4
    found, after = [], None
    while True:
        page = archive.page(Query(), after, 1000, Interrupt())
        found += [(record.spool_id, record.sequence) for record in page.records]
        after = page.after
        if after is None:
            break
    assert sorted(found) == sorted((spool, n) for spool in spools for n in range(1, 1501))
    assert counted(archive) == 6000
    for spool in spools:
        record = archive.get(making.record(777, spool).call_id)
        assert record is not None
        assert (record.spool_id, record.sequence) == (spool, 777)
    assert archive.delete(Query(path="/v1/900"), BY_REQUEST, NOW, Interrupt()).records == 4
    assert [archive.forgotten(spool) for spool in spools] == [[(900, 900)]] * 4
    [log] = archive.audit.logs()
    entries_of_log = archive.audit.entries(log, 895, 10)
    assert [type(each.found).__name__ for each in entries_of_log].count("Tombstone") == 1
    assert None not in [each.found for each in entries_of_log]
    assert counted(archive) == 5996


def test_interrupted_in_the_server(connection: Connection) -> None:
    """A query that nobody waits for any more ends there, and says so."""
    interrupt = Interrupt()
    threading.Timer(0.3, interrupt.set).start()
    slow = "SELECT sum(sleepEachRow(0.01)) FROM numbers(3000) SETTINGS max_block_size = 10"
    with pytest.raises(ArchiveError, match="the query was ended"):
        connection.rows(slow, None, interrupt)
    running = connection.rows("SELECT count() FROM system.processes WHERE query LIKE '%sleepEach' || 'Row%'")
    assert running == [(0,)]


def test_interrupted_again_and_again(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often somebody insists, one thread ends the query: a server that hangs costs no more."""
    killers: list[str] = []
    kill = connection._kill

    def count_and_kill(query_id: str, ended: threading.Event) -> None:
        killers.append(query_id)
        kill(query_id, ended)

    monkeypatch.setattr(connection, "_kill", count_and_kill)
    interrupt = Interrupt()
    stopped = threading.Event()

    def insist() -> None:
        while not stopped.wait(0.005):
            interrupt.set()

    insisting = threading.Timer(0.3, insist)
    insisting.start()
    slow = "SELECT sum(sleepEachRow(0.01)) FROM numbers(3000) SETTINGS max_block_size = 10"
    with pytest.raises(ArchiveError, match="the query was ended"):
        connection.rows(slow, None, interrupt)
    stopped.set()
    insisting.join()
    assert len(killers) == 1


def test_too_slow(connection: Connection) -> None:
    """A query that takes too long ends there too."""
    slow = "SELECT sum(sleepEachRow(0.01)) FROM numbers(3000) SETTINGS max_block_size = 10"
    with pytest.raises(ArchiveError, match="took too long"):
        connection.rows(slow, None, None, {"max_execution_time": 1})


def test_what_others_store(open_another: Open, making: "Making") -> None:
    """Is seen by all, by when it was stored; what is known is not read again."""
    one, other = open_another(), open_another()
    one.append([making.entry(1)], NOW)
    other.append([making.entry(2), making.entry(3)], NOW + 5)
    found = one.arrived(NOW + 1, {(SPOOL, 3)}, 10)
    assert [each.position.sequence for each in found] == [2]
    assert [each.position.sequence for each in other.arrived(NOW, set(), 2)] == [1, 2]


def test_killed_server(own_clickhouse_server: "ClickhouseServer", making: "Making") -> None:
    """Killed under writers, and started again: what was acknowledged is there, everything is there once."""
    server = own_clickhouse_server
    archive = open_archive(server.url(server.database()), MEMORY)
    acked: list[int] = []
    failed = threading.Event()

    def write() -> None:
        for first in range(1, 10_000, 5):
            entries = [making.entry(first + number) for number in range(5)]
            try:
                archive.append(entries, NOW)
            except ArchiveError:
                failed.set()
                return
            acked.extend(entry.sequence for entry in entries)

    with contextlib.closing(archive):
        for _ in range(2):
            writer = threading.Thread(target=write)
            writer.start()
            while len(acked) < 20 and writer.is_alive():
                failed.wait(0.02)
            server.kill()
            writer.join()
            assert failed.is_set()
            server.start()
            assert set(acked) <= set(listed(archive))
            archive.append([making.entry(each) for each in range(1, max(acked) + 6)], NOW)
            assert listed(archive) == list(range(1, max(acked) + 6))
            assert counted(archive) == max(acked) + 5
            acked.clear()
            failed.clear()


def test_a_user_deleted_while_another_writes(
    open_another: Open, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is written at the moment of its user's deletion is found by one of the two."""
    writer, deleter = open_another(), open_another()
    insert = writer._connection.insert

    def insert_and_meet(table: str, *given: object) -> None:
        if table == "records":
            deleter.delete(Query(user="hmac:1"), BY_REQUEST, NOW + 60_000_000_000, Interrupt())
        insert(table, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(writer._connection, "insert", insert_and_meet)
    entry: RecordEntry = making.entry(1, caller__user="hmac:1")
    assert writer.append([entry, making.entry(2)], NOW) != [entry]
    assert listed(writer) == [2]
    assert writer.received(SPOOL) == [(1, 2)]
    assert v1.Record.FromString(entry.record).caller.user == "hmac:1"


class Wrapped:
    """The server behind TLS: one more port, which hands on what comes."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listening.accept()[0],), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            plain,
            self._context.wrap_socket(plain, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._port)) as far,
        ):
            answering = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            answering.start()
            self._pump(near, far)
            answering.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


def test_tls(clickhouse_server: "ClickhouseServer", making: "Making", tmp_path: Path) -> None:
    """The server is checked by the file that is named, or as the system does: else nothing is sent."""
    authority, stranger = trustme.CA(), trustme.CA()
    right, wrong = tmp_path / "right.pem", tmp_path / "wrong.pem"
    authority.cert_pem.write_to_path(str(right))
    stranger.cert_pem.write_to_path(str(wrong))
    plain = clickhouse_server.url(clickhouse_server.database())
    with contextlib.closing(Wrapped(clickhouse_server.port, authority)) as wrapped:
        secure = plain.replace(f":{clickhouse_server.port}/", f":{wrapped.port}/") + "?secure=on"
        with contextlib.closing(open_archive(f"{secure}&ca_file={right}", MEMORY)) as archive:
            archive.append([making.entry(1)], NOW)
            assert listed(archive) == [1]
        for untrusted, why in (
            (secure, "SSLCertVerificationError"),
            (f"{secure}&ca_file={wrong}", "SSLCertVerificationError"),
            (f"{secure}&ca_file={tmp_path / 'none.pem'}", "none.pem can't be read"),
        ):
            with pytest.raises(ArchiveError, match=why) as error:
                open_archive(untrusted, MEMORY)
            assert "s3cret" not in str(error.value)
