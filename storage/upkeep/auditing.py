"""Auditing: the audit over the archive that storage opened, as its settings say."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from infertap import v1
from infertap.verification import LogId
from storage.archive import Archive, Damage, SharedArchive
from storage.audit import AuditArchive, Auditing, Lease, Signing, Sources, read_keys
from storage.config import Settings
from storage.event_log import log_event
from storage.numbers import Numbers
from storage.upkeep.sparing import SparingLog


@runtime_checkable
class Audited(Protocol):
    """An archive whose engine keeps the audit's logs."""

    on_drop: Callable[[str, str], object]

    @property
    def audit(self) -> AuditArchive:
        """What the audit reads and writes."""

    def heads(self) -> Mapping[LogId, tuple[int, bytes]]:
        """Size and root of each log that this process writes."""


def open_auditing(settings: Settings, archive: Archive, numbers: Numbers) -> Auditing | None:
    """The audit of `archive`; None where its engine keeps no logs. Raises KeyFileError and ArchiveError."""
    keys = read_keys(settings.audit_key_file) if settings.audit_key_file else []
    if not isinstance(archive, Audited):
        return None

    log = SparingLog(log_event, "audit finding", time.monotonic)

    def told(finding: v1.Finding) -> None:
        kind = v1.Finding.Kind.Name(finding.kind).lower()
        numbers.findings.labels(kind).inc()
        spool_id = finding.spool_id.hex()
        log.tell(
            spool_id,
            kind=kind,
            spool_id=spool_id,
            first=finding.first,
            last=finding.last,
            detail=finding.detail,
        )

    directory = Path(settings.checkpoint_dir) if settings.checkpoint_dir else None
    auditing = Auditing(
        _sources(archive, archive, settings),
        Signing(keys, directory, settings.checkpoint_seconds),
        log_event,
        told,
        tick=log.flush,
    )
    numbers.watch_spools(lambda: auditing.spools.latest)
    if keys:
        archive.on_drop = _Dropping(archive.audit, auditing)
    else:
        log_event("nothing is signed", why="INFERTAP_AUDIT_KEY_FILE is not set")
    return auditing


def _sources(archive: Archive, audited: Audited, settings: Settings) -> Sources:
    """What the audit is about; both are the same archive."""
    return Sources(
        audited.audit,
        audited.heads,
        archive.received,
        isinstance(archive, SharedArchive),
        lambda: [_finding(each) for each in archive.damages()],
        new_spools_a_day=settings.new_spools_per_day,
    )


def _finding(damage: Damage) -> v1.Finding:
    detail = f"{damage.name} could not be read and was set aside as {damage.kept_as}: {damage.why}"
    return v1.Finding(kind=v1.Finding.DAMAGED, detail=detail)


def retention_lease(archive: Archive) -> Lease | None:
    """What whoever lets records expire holds, where several processes keep one archive; None elsewhere."""
    if isinstance(archive, Audited) and isinstance(archive, SharedArchive):
        return Lease(archive.audit, key=b"retention")
    return None


class _Dropping:
    """Called before a file of records goes: states what it held."""

    def __init__(self, archive: AuditArchive, auditing: Auditing) -> None:
        self._archive = archive
        self._auditing = auditing

    def __call__(self, _: str, part: str) -> None:
        logs = [each for each in self._archive.logs() if each.part == part]
        self._auditing.drop(logs)
