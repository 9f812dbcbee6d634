"""Event log: one JSON line on stderr for each event of a process of the sidecar.

Touches stderr and the clock. It promises never to block: where the reader of stderr takes nothing, the line
is dropped, for traffic waits for no log. Facts are names, numbers and our own words, never payload, addresses
of clients or text of exceptions, which may quote what passed.
"""

import json
import select
import sys
import time
from typing import Final

# PIPE_BUF: a pipe that polls as writable takes this much without blocking (pipe(7)).
_MAX_LINE: Final = 4096


def log_event(process: str, event: str, **facts: str | int | float | bool | None) -> None:
    """Write one line: time, process, event, and `facts`."""
    line = json.dumps({"time": _timestamp(time.time()), "process": process, "event": event} | facts)
    _write_unless_full((line[: _MAX_LINE - 1] + "\n").encode())


def _timestamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03}Z"


def _write_unless_full(line: bytes) -> None:
    try:
        poll = select.poll()
        poll.register(sys.stderr.fileno(), select.POLLOUT)
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
    except (OSError, ValueError):
        # Nobody left to tell: stderr is closed.
        return
