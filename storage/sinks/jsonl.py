"""JSON lines: appends records to a file, or writes them to standard output. Touches that file, its directory.

    PATH               record ‖ \\n, record ‖ \\n, ...    being written
    PATH.000001, ...   what was PATH before it grew to `rotate_bytes`; the highest number is the latest

Each line is the record by proto3's mapping to JSON, with `record_id` before its fields. It promises: what is
delivered is on the disk (fsync) when it says so; a line that was begun when the machine died, or the disk was
full, is taken back before the next is written, so that every line is whole. Files have one writer at a time
(flock). Standard output has only records, as storage's own events go to standard error.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infertap import v1
from infertap.export import to_object
from storage.sinks.interface import Batch, OpenSink, Refused, Sink, SinkError, record_id
from storage.sinks.sink_table import SinkTable

_STDOUT: Final = "-"
_TAIL_BYTES: Final = 64 << 10
# How much a pipe takes at once that says it takes something (pipe(7)).
_PIPE_BYTES: Final = select.PIPE_BUF
_STDOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    # 0: never.
    rotate_bytes: int
    # How many rotated files are kept; 0: all.
    keep_files: int


def read_kind(table: SinkTable) -> OpenSink:
    """`path`, or "-" for standard output; `rotate_bytes`, `keep_files`. Raises ValueError."""
    path = table.text("path")
    place = _Place(
        Path(path),
        table.size_bytes("rotate_bytes", "256MiB", 0, 1 << 44),
        table.integer("keep_files", 0, 0, 1_000_000),
    )
    if path != _STDOUT and not place.path.is_absolute():
        raise ValueError("path: expected an absolute path, or - for standard output")

    async def make() -> Sink:
        if path == _STDOUT:
            return StandardOutput(1)
        return await asyncio.to_thread(LinesFile, place)

    return make


def json_line(record: v1.Record) -> bytes:
    """The record's line."""
    told = {"record_id": record_id(record), **to_object(record)}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


class LinesFile:
    """The sink that is a file."""

    def __init__(self, place: _Place) -> None:
        """Raises SinkError where it can't be written, or another process writes it."""
        self._place = place
        self._descriptor = -1
        # All that is done to the file: a delivery that is cancelled is under way until it ends.
        self._thread = ThreadPoolExecutor(1, "lines")
        with _told():
            place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """See Sink."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, batch.records)
        return ()

    async def close(self) -> None:
        """See Sink. The descriptor's number may be another file's at once: so nobody writes to it by then."""
        await asyncio.to_thread(self._thread.shutdown)
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._place.path, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_back(_whole_lines(self._descriptor))
        except BaseException:
            os.close(self._descriptor)
            self._descriptor = -1
            raise

    def _append(self, records: Iterable[v1.Record]) -> None:
        with _told():
            if self._descriptor < 0:
                self._open()
            size = os.fstat(self._descriptor).st_size
            if 0 < self._place.rotate_bytes <= size:
                self._rotate()
                size = 0
            try:
                _write_all(self._descriptor, b"".join(map(json_line, records)))
                os.fsync(self._descriptor)
            except OSError:
                self._give_up(size)
                raise

    def _give_up(self, size: int) -> None:
        """Take back what was begun; where the disk does not let us, once the file is opened again."""
        try:
            self._take_back(size)
        except OSError:
            self._close()

    def _take_back(self, size: int) -> None:
        """Cut off what is behind whole lines."""
        if os.fstat(self._descriptor).st_size != size:
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)

    def _rotate(self) -> None:
        path = self._place.path
        rotated = _rotated(path)
        number = 1 + int(rotated[-1].suffix[1:]) if rotated else 1
        path.rename(path.with_name(f"{path.name}.{number:06d}"))
        os.close(self._descriptor)
        self._descriptor = -1
        self._open()
        if self._place.keep_files:
            for each in _rotated(path)[: -self._place.keep_files]:
                each.unlink(missing_ok=True)
        _sync_directory(path.parent)


class StandardOutput:
    """The sink that is a stream which others read: a log's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_within_line = False

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """See Sink: handed to the system, which is all that can be known."""
        await asyncio.to_thread(self._write, batch.records)
        return ()

    async def close(self) -> None:
        """See Sink: it is not ours to close."""

    def _write(self, records: Iterable[v1.Record]) -> None:
        with _told():
            self._put((b"\n" if self._is_within_line else b"") + b"".join(map(json_line, records)))

    def _put(self, data: bytes) -> None:
        """Write all, never waiting for ever for a reader that sleeps."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        left = memoryview(data)
        ends = time.monotonic() + _STDOUT_SECONDS
        while left:
            if not poll.poll(1000) and time.monotonic() > ends:
                raise SinkError("nobody reads standard output")
            written = os.write(self._descriptor, left[:_PIPE_BYTES])
            left = left[written:]
            self._is_within_line = bool(left)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise SinkError("another process writes this file") from None
    except OSError as error:
        raise SinkError(error.strerror or type(error).__name__) from None


def _whole_lines(descriptor: int) -> int:
    """The size up to the end of the last whole line."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        begin = max(end - _TAIL_BYTES, 0)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _rotated(path: Path) -> list[Path]:
    """The rotated files, the earliest first."""
    name = re.compile(re.escape(path.name) + r"\.(\d{6,9})")
    found = (each for each in path.parent.iterdir() if name.fullmatch(each.name))
    return sorted(found, key=lambda each: int(each.suffix[1:]))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
