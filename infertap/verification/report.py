"""Report: what verification found. Plain values."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

# Shown one by one; beyond, they are counted.
MOST_SHOWN = 1000


class Wrong(StrEnum):
    """What an untouched archive never shows."""

    SIGNATURE = "checkpoint can't be trusted"
    HEADS = "log of heads changed"
    LOG_MISSING = "log missing"
    LOG_CUT = "log cut short"
    LOG_CHANGED = "log changed"
    ANOTHER_TENANT = "another tenant's log"
    EDITED = "edited"
    DELETED = "deleted without tombstone"
    FORGED_TOMBSTONE = "tombstone that no log tells of"
    INSERTED = "inserted"
    REORDERED = "reordered"
    FORKED = "forked"
    CHAIN = "chain broken"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: of which spool and sequences, where those are known."""

    wrong: Wrong
    detail: str
    spool_id: bytes = b""
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        where = f"spool {self.spool_id.hex()}, " if self.spool_id else ""
        if self.first:
            where += f"sequence {self.first}" if self.first == self.last else f"{self.first} to {self.last}"
            where += ": "
        return f"{where}{self.wrong}{': ' if self.detail else ''}{self.detail}"


@dataclass(slots=True)
class Report:
    """What was looked at and found."""

    findings: list[Finding] = field(default_factory=list)
    # Of all findings, shown or not.
    wrong: Counter[Wrong] = field(default_factory=Counter)
    # What was looked at, by name: "records", "gaps", "tombstones", ...
    seen: Counter[str] = field(default_factory=Counter)
    # Whose logs, and of which days; when the last of what is signed was, nanoseconds since the epoch.
    tenants: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    signed_until_ns: int | None = None
    # The first bad sequence of each spool.
    first_bad: dict[bytes, int] = field(default_factory=dict)
    # What can't be told, in sentences; what storage says of itself, which nobody signed.
    untold: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong

    def add(self, finding: Finding) -> None:
        """One more thing is wrong."""
        self.wrong[finding.wrong] += 1
        if len(self.findings) < MOST_SHOWN:
            self.findings.append(finding)
        if finding.spool_id and finding.first:
            known = self.first_bad.get(finding.spool_id, finding.first)
            self.first_bad[finding.spool_id] = min(known, finding.first)
