"""Access log: who has read what, for audit. One JSON object a line, in a file or on stderr; never payload.

    {"time": …, "event": "read", "identity": "ana", "tenant": "team-a", "peer": "ipv4:10.0.0.7:4711",
     "method": "/infertap.v1.RecordService/ListRecords", "asked": {"filter": {"model": "iris"}},
     "records": 20, "state": "answered"}

`tenant` is "*" where it was that of all. `state` is "began" (a stream, or an act of an admin, before anything
else), "answered" (before the answer left), "ended" (a stream) or "failed". Touches that file. It promises: in
a file, what `write` returned for is durable, and a file that is moved away is followed by a new one; lines
that came together cost one fdatasync.
"""

import asyncio
import json
import os
import queue
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from storage.event_log import log_event

MOST_LINE_BYTES: Final = 16 << 10
_CREATE: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class AccessLog:
    """One file's worth of lines; without a path they go to the event log."""

    def __init__(self, path: str | None) -> None:
        """Raises OSError."""
        self._path = path
        self._descriptor = -1 if path is None else os.open(path, _CREATE, 0o600)
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[None]]] = queue.SimpleQueue()
        self._thread = ThreadPoolExecutor(1, "access log")

    async def write(self, event: str, facts: Mapping[str, object]) -> None:
        """Return once the line is durable; raises OSError."""
        if (written := self.tell(event, facts)) is not None:
            await asyncio.wrap_future(written)

    def tell(self, event: str, facts: Mapping[str, object]) -> "Future[None] | None":
        """Let a line be written."""
        if self._path is None:
            log_event(event, **facts)
            return None
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = _line({"time": time, "event": event, **facts})
        written: Future[None] = Future()
        self._waiting.put((line, written))
        self._thread.submit(self._flush)
        return written

    def close(self) -> None:
        """Write what waits, and close."""
        self._thread.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _flush(self) -> None:
        waiting = []
        with suppress(queue.Empty):
            while True:
                waiting.append(self._waiting.get_nowait())
        if not waiting:
            return
        try:
            self._append(b"".join(line for line, _ in waiting))
        except OSError as error:
            for _, written in waiting:
                written.set_exception(error)
        else:
            for _, written in waiting:
                written.set_result(None)

    def _append(self, lines: bytes) -> None:
        self._follow()
        view = memoryview(lines)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)

    def _follow(self) -> None:
        """Go on in a new file where ours was moved away."""
        assert self._path is not None
        with suppress(FileNotFoundError):
            found, ours = os.stat(self._path, follow_symlinks=False), os.fstat(self._descriptor)
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                return
        new = os.open(self._path, _CREATE, 0o600)
        os.close(self._descriptor)
        self._descriptor = new


def _line(facts: dict[str, object]) -> bytes:
    line = json.dumps(facts).encode()
    if len(line) > MOST_LINE_BYTES:
        line = json.dumps(facts | {"asked": "more than is logged"}).encode()
    return line + b"\n"
