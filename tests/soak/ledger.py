"""What the clients did."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Done:
    """All sessions so far."""

    # What the sidecar must have seen, to the last one: sessions break off only what they know to have come.
    calls: int = 0
    sessions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
