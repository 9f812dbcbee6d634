"""JSON lines: to a file, and to standard output."""

import asyncio
import errno
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1
from storage.sinks import Batch, Sink, SinkError, record_id
from storage.sinks import jsonl as kind
from storage.sinks.sink_table import SinkTable

if TYPE_CHECKING:
    from tests.storage.conftest import Making


async def opened(path: Path, **settings: Any) -> Sink:
    table = SinkTable("lines", {"path": str(path), **settings})
    made = kind.read_kind(table)
    table.end()
    return await made()


def records(making: "Making", *sequences: int) -> list[v1.Record]:
    made = [making.record(sequence) for sequence in sequences]
    for sequence, record in zip(sequences, made, strict=True):
        record.spool_id, record.sequence = b"s" * 16, sequence
    return made


def lines(path: Path) -> list[str]:
    """The records' ids, of lines that are all whole."""
    return [json.loads(line)["record_id"] for line in path.read_text().splitlines()]


async def test_lines(tmp_path: Path, making: "Making") -> None:
    """A line for each record: its id, and what it says; for its owner alone."""
    path = tmp_path / "new" / "records.jsonl"
    sink = await opened(path)
    batch = records(making, 1, 2)
    assert list(await sink.deliver(Batch(batch))) == []
    await sink.close()
    assert lines(path) == [record_id(each) for each in batch]
    assert json.loads(path.read_text().splitlines()[0])["call_id"] == batch[0].call_id
    assert path.stat().st_mode & 0o777 == 0o600


async def test_rotation(tmp_path: Path, making: "Making") -> None:
    """A file that has grown gives way to a new one; as many as were asked for stay, numbered on for ever."""
    path = tmp_path / "records.jsonl"
    sink = await opened(path, rotate_bytes=1, keep_files=2)
    for sequence in range(1, 6):
        await sink.deliver(Batch(records(making, sequence)))
    await sink.close()
    assert sorted(os.listdir(tmp_path)) == [
        "records.jsonl",
        "records.jsonl.000003",
        "records.jsonl.000004",
    ]
    assert [line[-1] for each in (path.with_suffix(".jsonl.000003"), path) for line in lines(each)] == [
        "3",
        "5",
    ]


async def test_closed_while_it_writes(
    tmp_path: Path, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that is cancelled ends in its own file before that is closed, and in no other."""
    begun, go_on = threading.Event(), threading.Event()
    whole_line = kind.json_line

    def slow_line(record: v1.Record) -> bytes:
        begun.set()
        assert go_on.wait(20)
        return whole_line(record)

    monkeypatch.setattr(kind, "json_line", slow_line)
    sink = await opened(tmp_path / "records.jsonl")
    delivering = asyncio.create_task(sink.deliver(Batch(records(making, 1))))
    assert await asyncio.to_thread(begun.wait, 20)
    delivering.cancel()
    closing = asyncio.create_task(sink.close())
    await asyncio.wait([delivering])
    with (tmp_path / "another").open("wb"):  # takes the lowest descriptor that is free
        go_on.set()
        await closing
    assert len(lines(tmp_path / "records.jsonl")) == 1
    assert (tmp_path / "another").read_bytes() == b""


async def test_a_torn_line_is_taken_back(tmp_path: Path, making: "Making") -> None:
    """What a machine that died had begun is gone before the next line."""
    path = tmp_path / "records.jsonl"
    sink = await opened(path)
    await sink.deliver(Batch(records(making, 1)))
    await sink.close()
    with path.open("ab") as file:
        file.write(b'{"record_id":"' + b"x" * 100_000)
    sink = await opened(path)
    await sink.deliver(Batch(records(making, 2)))
    await sink.close()
    assert [line[-1] for line in lines(path)] == ["1", "2"]


async def test_a_full_disk(tmp_path: Path, making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not fit is taken back, and the batch tried again."""
    path = tmp_path / "records.jsonl"
    sink = await opened(path)
    await sink.deliver(Batch(records(making, 1)))

    def fill(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(kind, "_write_all", fill)
        with pytest.raises(SinkError, match="No space left on device"):
            await sink.deliver(Batch(records(making, 2)))
    assert [line[-1] for line in lines(path)] == ["1"]
    await sink.deliver(Batch(records(making, 2)))
    assert [line[-1] for line in lines(path)] == ["1", "2"]
    await sink.close()


async def test_a_disk_that_takes_nothing_back(
    tmp_path: Path, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun and can't be taken back at once is gone before the next line."""
    path = tmp_path / "records.jsonl"
    sink = await opened(path)
    await sink.deliver(Batch(records(making, 1)))

    def fail(descriptor: int, *_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def begin(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:10])
        fail(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(kind, "_write_all", begin)
        broken.setattr(os, "ftruncate", fail)
        for _ in range(2):
            with pytest.raises(SinkError, match="Input/output error"):
                await sink.deliver(Batch(records(making, 2)))
    await sink.deliver(Batch(records(making, 2)))
    assert [line[-1] for line in lines(path)] == ["1", "2"]
    await sink.close()


async def test_one_writer(tmp_path: Path) -> None:
    """A second process, or a second sink, is told that the file has a writer."""
    sink = await opened(tmp_path / "records.jsonl")
    with pytest.raises(SinkError, match="another process writes this file"):
        await opened(tmp_path / "records.jsonl")
    await sink.close()
    await sink.close()
    await (await opened(tmp_path / "records.jsonl")).close()


async def test_standard_output(making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines go out whole; a reader that sleeps is waited for, not for ever, and finds whole lines again."""
    reader, writer = os.pipe()
    monkeypatch.setattr(kind, "_STDOUT_SECONDS", 0.0)
    sink = kind.StandardOutput(writer)
    many = records(making, *range(1, 400))
    with pytest.raises(SinkError, match="nobody reads standard output"):
        await sink.deliver(Batch(many))
    os.read(reader, 1 << 20)
    monkeypatch.setattr(kind, "_STDOUT_SECONDS", 30.0)
    await sink.deliver(Batch(many[:1]))
    end, line, _ = os.read(reader, 1 << 20).split(b"\n")
    assert end == b""
    assert json.loads(line)["record_id"] == record_id(many[0])
    os.close(reader)
    with pytest.raises(SinkError, match="Broken pipe"):
        await sink.deliver(Batch(many[:1]))
    os.close(writer)
