"""Event log: what storage has to say of itself, one JSON object a line, on stderr. Never payload."""

import json
import sys
from datetime import UTC, datetime


def log_event(event: str, **facts: object) -> None:
    """Write one line; `facts` are numbers and our own words."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(
        json.dumps({"time": time, "process": "storage", "event": event, **facts}), file=sys.stderr, flush=True
    )
