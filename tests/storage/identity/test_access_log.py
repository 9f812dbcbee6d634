"""The log of reads: durable lines, followed when the file is moved, and nothing in them that is payload."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from infertap import v1
from infertap.identity import Identity, LoggedReads, Role
from storage.identity import AccessLog

ANA = Identity("ana", None, frozenset({Role.READ}))
LIST = "/infertap.v1.RecordService/ListRecords"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_lines(tmp_path: Path) -> None:
    """What is written stands in the file at once, in order, readable by its owner only."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    await asyncio.gather(*(log.write("read", {"records": number}) for number in range(50)))
    assert [each["records"] for each in lines(path)] == list(range(50))
    assert {each["event"] for each in lines(path)} == {"read"}
    assert path.stat().st_mode & 0o777 == 0o600
    log.tell("read", {"records": 50})
    log.close()
    assert len(lines(path)) == 51


async def test_moved_file(tmp_path: Path) -> None:
    """When the file is moved away, as log rotation does, the next line begins a new one."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    await log.write("read", {"records": 1})
    path.rename(tmp_path / "old.log")
    await log.write("read", {"records": 2})
    log.close()
    assert [each["records"] for each in lines(tmp_path / "old.log") + lines(path)] == [1, 2]


async def test_disk_that_takes_nothing(tmp_path: Path) -> None:
    """Who waits for a line hears that it is not kept."""
    log = AccessLog(str(tmp_path / "access.log"))
    (tmp_path / "access.log").unlink()
    os.symlink("/dev/full", tmp_path / "access.log")  # neither followed nor written to
    with pytest.raises(OSError, match="symbolic links"):
        await log.write("read", {})
    log.close()


async def test_reads(tmp_path: Path) -> None:
    """A line tells who asked for what, and how much was given; of a text that was looked for its length."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    request = v1.ListRecordsRequest(
        filter=v1.RecordFilter(model="iris", text="alice@example.com"), page_size=7
    )
    request.page_token = "t" * 500
    reading = LoggedReads(log).of(ANA, LIST, request, "ipv4:10.0.0.7:1")
    assert reading is not None
    reading.count(v1.ListRecordsResponse(records=[v1.Record()] * 3))
    await reading.end()
    log.close()
    (line,) = lines(path)
    del line["time"]
    assert line == {
        "event": "read",
        "identity": "ana",
        "tenant": "*",
        "peer": "ipv4:10.0.0.7:1",
        "method": LIST,
        "asked": {"filter": {"model": "iris", "text": "(17 characters)"}, "page_size": 7},
        "records": 3,
        "state": "answered",
    }


async def test_very_long_question(tmp_path: Path) -> None:
    """What is asked for can't make a line of any length."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    request = v1.ListRecordsRequest(filter=v1.RecordFilter(path="/x" * 10_000))
    for listed in (request.filter.tags, request.filter.finish_reasons):
        listed.extend("y" * 1000 for _ in range(300))
    reading = LoggedReads(log).of(ANA, LIST, request, "ipv4:10.0.0.7:1")
    assert reading is not None
    await reading.end()
    log.close()
    assert path.stat().st_size < 20_000
    assert lines(path)[0]["asked"] == "more than is logged"


async def test_acts(tmp_path: Path) -> None:
    """What an admin does is told before and after, and never whom it is about."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    request = v1.DeleteRecordsRequest(raw_user="alice@example.com", filter=v1.RecordFilter(model="iris"))
    method = "/infertap.v1.AdminService/DeleteRecords"
    acting = LoggedReads(log).of(ANA, method, request, "ipv4:10.0.0.7:1")
    assert acting is not None
    assert acting.is_act
    await acting.begin()
    acting.count(v1.DeleteRecordsResponse(records=7))
    await acting.end()
    log.close()
    assert "alice" not in path.read_text()
    assert [(each["event"], each["state"], each["records"]) for each in lines(path)] == [
        ("admin", "began", 0),
        ("admin", "answered", 7),
    ]
    assert lines(path)[0]["asked"] == {"filter": {"model": "iris"}, "raw_user": "(17 characters)"}


def test_what_is_no_read(tmp_path: Path) -> None:
    """Sending records, giving feedback and asking for figures are not followed; what admins do is."""
    reads = LoggedReads(AccessLog(None))
    for name in ("IngestService/Ingest", "FeedbackService/AttachFeedback", "RecordService/GetStats"):
        assert reads.of(ANA, f"/infertap.v1.{name}", v1.GetStatsRequest(), "") is None
    assert reads.of(ANA, "/infertap.v1.AuditService/MakeCheckpoint", v1.GetStatsRequest(), "") is not None
