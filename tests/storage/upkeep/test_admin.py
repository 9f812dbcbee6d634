"""AdminService over a real connection, as `infertap storage` uses it, and spools that are told to forget."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.admin import AdminClient, AdminError
from infertap.connection import Connection
from storage import restore
from storage.archive import Archive, ArchiveError, open_archive
from storage.event_log import log_event
from storage.ingest import Forgetting, Ingest, Room, Writer
from storage.live import InFlight, Live
from storage.numbers import Numbers
from storage.sinks import Around, Sinks
from storage.upkeep.admin import Admin

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
SPOOL = b"s" * 16
NOW = 1_767_225_600_000_000_000
WAIT_SECONDS = 20


class Hashing:
    """Redaction with a key, as far as it is asked for here."""

    policy_version = "p"

    def __init__(self, has_key: bool = True) -> None:
        self._has_key = has_key

    def keyed_hash(self, text: str) -> str:
        return f"hmac:k:{text[::-1]}" if self._has_key else ""


class Served:
    def __init__(self, directory: Path) -> None:
        self.archive: Archive = open_archive(str(directory), MEMORY)
        self.forgetting = Forgetting()
        self.hashing = Hashing()
        numbers, live, in_flight = Numbers(), Live(), InFlight()
        self.writer = Writer(self.archive, live, numbers, in_flight)
        more = {"room": Room(1 << 20), "forgetting": self.forgetting}
        self.ingest = Ingest(self.archive, self.writer, numbers, in_flight, live, **more)
        around = Around(self.archive, self.archive.audit, log_event)  # type: ignore[attr-defined]
        sinks = Sinks([], around, numbers.sinks, is_shared=False)
        self.admin = Admin(self.archive, self.forgetting, numbers, self.hashing, 1 << 30, sinks=sinks)  # type: ignore[arg-type]

    async def start(self) -> None:
        self.server = grpc.aio.server()
        v1.add_AdminServiceServicer_to_server(self.admin, self.server)
        v1.add_IngestServiceServicer_to_server(self.ingest, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        await self.server.start()

    async def ask(self, act: Any) -> Any:
        """`act`, given a client, in a thread."""

        def asking() -> Any:
            with AdminClient(Connection(self.address)) as client:
                return act(client)

        return await asyncio.to_thread(asking)


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    made = Served(tmp_path / "archive")
    monkeypatch.setattr("storage.upkeep.admin.caller_of", lambda _: _Anyone())
    await made.start()
    yield made
    await made.server.stop(0)
    made.archive.close()


def _at(second: int) -> Timestamp:
    return Timestamp(seconds=second)


class _Anyone:
    name, tenant, writes_as = "anyone", None, ""


class _OfTenant:
    name, tenant, writes_as = "ada", "a", "a"


async def test_deleted_by_raw_user(served: Served, making: "Making") -> None:
    """The user id is hashed by storage's key; counted first, deleted then."""
    served.archive.append(
        [making.entry(n, caller__user=f"hmac:k:{'abc'[n % 3]}1") for n in range(1, 10)], NOW
    )
    counted = await served.ask(lambda admin: admin.delete(v1.RecordFilter(), raw_user="1b", dry_run=True))
    assert (counted.records, counted.user) == (3, "hmac:k:b1")
    assert counted.record_bytes > 0
    done = await served.ask(lambda admin: admin.delete(v1.RecordFilter(), raw_user="1b"))
    assert done.records == 3
    assert served.archive.forgotten(SPOOL) == [(1, 1), (4, 4), (7, 7)]


@pytest.mark.parametrize(
    ("filtered", "raw_user", "says"),
    [
        ({}, "", "filter: leaves out nothing"),
        ({"start_time": _at(0)}, "", "filter: leaves out nothing"),
        ({"end_time": _at(250_000_000_000)}, "", "filter: leaves out nothing"),
        ({"path": "*", "error_type": "*"}, "", "filter: leaves out nothing"),
        ({"states": [v1.COMPLETED, v1.FAILED, v1.CANCELLED]}, "", "filter: leaves out nothing"),
        ({"user": "hmac:k:x"}, "ada", "raw_user: the filter says a user"),
        ({}, "a" * 5000, "raw_user: longer"),
    ],
)
async def test_what_deletes_nothing(
    served: Served, making: "Making", filtered: dict[str, Any], raw_user: str, says: str
) -> None:
    """It is refused, with the field that is wrong, and without what was given."""
    served.archive.append([making.entry(1)], NOW)
    with pytest.raises(AdminError, match=says) as refused:
        await served.ask(lambda admin: admin.delete(v1.RecordFilter(**filtered), raw_user=raw_user))
    assert not raw_user or raw_user not in str(refused.value)
    assert served.archive.get(making.record(1).call_id) is not None


async def test_no_hash_key(served: Served) -> None:
    """A raw user id can't be looked for without the key."""
    served.hashing._has_key = False
    with pytest.raises(AdminError, match="INFERTAP_HASH_KEY_FILE"):
        await served.ask(lambda admin: admin.delete(v1.RecordFilter(), raw_user="ada"))


async def test_tenant_administers_its_own(
    served: Served, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records it may delete; what concerns the whole archive is refused."""
    import dataclasses

    entries = [dataclasses.replace(making.entry(n), tenant="ab"[n % 2]) for n in range(1, 5)]
    served.archive.append(entries, NOW)
    monkeypatch.setattr("storage.upkeep.admin.caller_of", lambda _: _OfTenant())
    done = await served.ask(lambda admin: admin.delete(v1.RecordFilter(method="POST")))
    assert done.records == 2
    assert served.archive.get(making.record(1).call_id) is not None
    for act in (AdminClient.archive, lambda admin: admin.back_up(Path("/nowhere"), lambda _: lambda _: None)):
        with pytest.raises((AdminError, OSError), match=r"all tenants|nowhere"):
            await served.ask(act)


async def test_spools_are_told_to_forget(served: Served, making: "Making") -> None:
    """One that is connected at once, another when it connects again."""
    served.archive.append([making.entry(n) for n in range(1, 6)], NOW)
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = v1.IngestServiceStub(channel).Ingest()
        await call.write(v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)))
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await call.read()).HasField("welcome")
            await served.ask(lambda admin: admin.delete(v1.RecordFilter(path="/v1/3")))
            assert _ranges(await call.read()) == [(3, 3)]
            call.cancel()
            again = v1.IngestServiceStub(channel).Ingest()
            await again.write(v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)))
            assert (await again.read()).HasField("welcome")
            assert _ranges(await again.read()) == [(3, 3)]
            again.cancel()


def _ranges(answer: v1.IngestResponse) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in answer.forget.ranges]


async def test_archive_is_described(served: Served) -> None:
    """What is on disk, the limit, and nothing damaged."""
    archive = await served.ask(AdminClient.archive)
    assert archive.disk_bytes > 0
    assert archive.limit_bytes == 1 << 30
    assert list(archive.damaged) == []


async def back_up(served: Served, directory: Path) -> v1.BackupContents:
    return await served.ask(lambda admin: admin.back_up(directory, lambda _: lambda _: None))


async def test_backup_and_restore(served: Served, making: "Making", tmp_path: Path) -> None:
    """What was appended before is in the restored archive, also by its ranges; the files are private."""
    served.archive.append([making.entry(n) for n in range(1, 6)], NOW)
    served.archive.attach([v1.Feedback(feedback_id="f", request_id="r-1")])
    contents = await back_up(served, tmp_path / "backup")
    served.archive.append([making.entry(9)], NOW)
    told = json.loads((tmp_path / "backup" / "backup.json").read_text())
    assert [each["name"] for each in told["files"]] == [each.name for each in contents.files]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "backup").iterdir())
    assert restore.restore(tmp_path / "backup", tmp_path / "restored") == len(contents.files)
    restored = open_archive(str(tmp_path / "restored"), MEMORY)
    assert restored.received(SPOOL) == [(1, 5)]
    assert len(restored.feedback("", "", None, 10).feedback) == 1
    restored.close()


async def test_backups_one_at_a_time(served: Served, making: "Making", tmp_path: Path) -> None:
    """While one is taken another is refused, and a directory with something in it too."""
    served.archive.append([making.entry(1)], NOW)
    with served.archive.snapshot(), pytest.raises(AdminError, match="another backup"):
        await back_up(served, tmp_path / "backup")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(AdminError, match="not empty"):
        await back_up(served, tmp_path / "full")


async def test_backup_that_was_changed(served: Served, making: "Making", tmp_path: Path) -> None:
    """A byte that differs is found, the archive is none, and restoring again begins anew."""
    served.archive.append([making.entry(1)], NOW)
    await back_up(served, tmp_path / "backup")
    file = tmp_path / "backup" / "kept.duckdb"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    with pytest.raises(restore.RestoreError, match=r"kept.duckdb: not as it was backed up"):
        restore.restore(tmp_path / "backup", tmp_path / "restored")
    with pytest.raises(ArchiveError, match="restore it again"):
        open_archive(str(tmp_path / "restored"), MEMORY)
    content[5000] ^= 1
    file.write_bytes(content)
    restore.restore(tmp_path / "backup", tmp_path / "restored")
    open_archive(str(tmp_path / "restored"), MEMORY).close()
    with pytest.raises(restore.RestoreError, match="not empty"):
        restore.restore(tmp_path / "backup", tmp_path / "restored")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "did not end"),
        ("{", "not of a backup"),
        ('{"format": 9, "schema_version": 2, "files": []}', "not of a backup"),
        ('{"format": 1, "schema_version": 99, "files": []}', "newer infertap"),
        (
            '{"format": 1, "schema_version": 2, "files": [{"name": "../x.duckdb", "sha256": "0"}]}',
            "not of a backup",
        ),
    ],
)
def test_what_is_no_backup(tmp_path: Path, told: str | None, says: str) -> None:
    """It is refused before anything is written."""
    if told is not None:
        (tmp_path / "backup.json").write_text(told)
    with pytest.raises(restore.RestoreError, match=says):
        restore.restore(tmp_path, tmp_path / "archive")
    assert not (tmp_path / "archive").exists()


def test_restore_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says in one line what is wrong."""
    before = os.umask(0o022)
    try:
        environ = {"INFERTAP_ARCHIVE": str(tmp_path / "archive")}
        assert restore.main([str(tmp_path / "none")], environ) == 1
    finally:
        os.umask(before)
    assert "backup.json is missing" in capsys.readouterr().err
