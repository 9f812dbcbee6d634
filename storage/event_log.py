"""Event log: what storage has to say of itself, one JSON object a line, on stderr. Never payload."""

import json
import os
import sys
from datetime import UTC, datetime


def log_event(event: str, **facts: object) -> None:
    """Write one line; `facts` are numbers and our own words."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"time": time, "process": "storage", "pid": os.getpid(), "event": event, **facts}
    print(json.dumps(said), file=sys.stderr, flush=True)
