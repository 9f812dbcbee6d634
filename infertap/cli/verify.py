"""Verify: holds an export, or a running storage, against what was signed, and says what is wrong.

Exit status: 0 everything holds, 1 something is wrong, 2 it could not be verified.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from infertap import v1
from infertap.audit import AuditClient, AuditError
from infertap.cli.options import access
from infertap.cli.progress import Progress
from infertap.client import ADDRESS_SETTING, DEFAULT_ADDRESS
from infertap.connection import AccessError, Connection
from infertap.rendering import counted, visible
from infertap.verification import (
    Ledger,
    LoggedEntry,
    LogId,
    NoteError,
    PublicKey,
    Report,
    SignedHeads,
    Verifier,
    read_heads,
    read_line,
    read_public_key,
)

# A record of three MiB in base64, and some more.
_MOST_LINE: Final = 8 << 20
_MOST_FILE: Final = 1 << 20
_SHOWN: Final = 100
_ALONE: Final = (
    "an older state of the whole archive would hold too: give a --checkpoint that was kept elsewhere"
)


class UnusableError(Exception):
    """What was given can't be used; the message says why."""


def run_verify(read: argparse.Namespace) -> int:
    """Run `infertap verify …`; returns the exit status."""
    try:
        keys = _trusted(read)
        report = _verify_export(read, keys) if read.export else _verify_storage(read, keys)
        if keys and not read.checkpoint:
            report.untold.append(_ALONE)
    except (AuditError, UnusableError) as error:
        return tell(visible(str(error)))
    except OSError as error:
        return tell(f"{error.filename}: {error.strerror}")
    if read.json:
        print(as_json(report))
    else:
        show(report)
    return 0 if report.is_good else 1


def _trusted(read: argparse.Namespace) -> list[PublicKey]:
    if not read.key and not read.unsigned:
        raise UnusableError("--key: whose signature counts? (or --unsigned, to look at chains only)")
    if not read.key and read.checkpoint:
        raise UnusableError("--checkpoint: whose signature on it counts? (--key)")
    return read_keys(read.key)


def tell(what: str) -> int:
    """Say why it could not be done; returns the exit status."""
    print(f"infertap: {what}", file=sys.stderr)
    return 2


def connect(read: argparse.Namespace) -> AuditClient:
    """The client that the options ask for. Raises AuditError."""
    try:
        connection = Connection.of(
            read.address or os.environ.get(ADDRESS_SETTING) or DEFAULT_ADDRESS,
            **access(read),
        )
    except AccessError as error:
        raise AuditError(str(error)) from None
    return AuditClient(connection)


def read_keys(given: Sequence[str] | None) -> list[PublicKey]:
    """Public keys, each as text or in a file with one a line. Raises UnusableError."""
    found: list[PublicKey] = []
    for each in given or ():
        lines = [each] if "+" in each else _read(Path(each)).splitlines()
        try:
            found += [read_public_key(line) for line in lines if line.strip()]
        except NoteError as error:
            raise UnusableError(f"--key {each}: {error}") from None
    return found


def _verify_export(read: argparse.Namespace, keys: list[PublicKey]) -> Report:
    export = Path(read.export)
    own = export / "checkpoint"
    notes = _notes(read.checkpoint)
    if keys and own.exists():
        notes += [note for note in [_read(own)] if note]
    report = Report()
    statements = list(_statements(export / "heads.jsonl"))
    heads = _heads(read, notes, keys, statements, report)
    lines = export / "logs.jsonl"
    with lines.open(encoding="utf-8", newline="\n") as file, Ledger() as ledger:
        verifier = Verifier(heads, report, ledger, _range(read), read.tenant)
        with Progress("bytes", lines.stat().st_size) as progress:
            for each in _lines(file, progress):
                _give(verifier, each)
        verifier.end()
    said = export / "said.txt"
    report.said = _read(said).splitlines() if said.exists() else []
    return report


def _verify_storage(read: argparse.Namespace, keys: list[PublicKey]) -> Report:
    report = Report()
    with connect(read) as client, Ledger() as ledger:
        notes = _notes(read.checkpoint)
        latest = client.checkpoint() if keys else None
        if latest is not None:
            notes.append(latest.note)
        heads = _heads(read, notes, keys, list(client.statements()), report)
        covers = _range(read)
        total = sum(heads.size(log) for log in heads.roots if covers(log) and log not in heads.dropped)
        verifier = Verifier(heads, report, ledger, covers, read.tenant)
        with Progress("entries", total) as progress:
            for each in client.entries(read.first_day, read.last_day):
                _give(verifier, each)
                progress.add()
        verifier.end()
        report.said = [each.detail for each in client.findings() if each.kind == v1.Finding.DAMAGED]
    return report


def _heads(
    read: argparse.Namespace,
    notes: Sequence[str],
    keys: Sequence[PublicKey],
    statements: Sequence[bytes],
    report: Report,
) -> SignedHeads:
    """What was signed. Raises UnusableError where there is nothing, or it can't be said of how much."""
    if keys and not notes:
        raise UnusableError("there is no checkpoint, so nothing is signed (--unsigned looks at chains only)")
    heads = read_heads(list(dict.fromkeys(notes)), keys, statements, report)
    if heads.hidden and read.tenant is None:
        raise UnusableError(
            f"{heads.hidden} signed statements are shown by their hashes alone, as to readers of one tenant: "
            "say whose with --tenant, or verify as a reader of all tenants"
        )
    return heads


def _give(verifier: Verifier, each: LogId | LoggedEntry) -> None:
    if isinstance(each, LogId):
        verifier.begin(each)
    else:
        verifier.take(each)


class _Range:
    """The days that are looked at."""

    def __init__(self, first_day: str, last_day: str) -> None:
        self._first, self._last = first_day, last_day

    def __call__(self, log: LogId) -> bool:
        return self._first <= log.day and (not self._last or log.day <= self._last)


def _range(read: argparse.Namespace) -> _Range:
    return _Range(read.first_day, read.last_day)


def _notes(given: Sequence[str] | None) -> list[str]:
    """The checkpoints in files, and in files of directories. Raises UnusableError."""
    files: list[Path] = []
    for each in map(Path, given or ()):
        found = sorted(each.glob("checkpoint*")) if each.is_dir() else [each]
        kept = [file for file in found if file.suffix != ".new"]
        if not kept:  # a volume that is not mounted, say
            raise UnusableError(f"--checkpoint {each}: no checkpoint in it")
        files += kept
    return [_read(each) for each in files]


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_FILE)
    except UnicodeDecodeError:
        raise UnusableError(f"{path}: not text") from None


def _statements(path: Path) -> Iterator[bytes]:
    """Statements as they are hashed; where a line holds a hash alone, that."""
    with path.open("rb") as file:
        for line in file:
            said = line.removesuffix(b"\n")
            yield said if said.startswith(b"{") else _hash(path, said)


def _hash(path: Path, said: bytes) -> bytes:
    try:
        hashed = bytes.fromhex(said.decode("ascii"))
    except ValueError:
        hashed = b""
    if len(hashed) != 32:
        raise UnusableError(f"{path}: not the log of heads")
    return hashed


def _lines(file: TextIO, progress: Progress) -> Iterator[LogId | LoggedEntry]:
    number = 0
    while line := file.readline(_MOST_LINE):
        number += 1
        progress.add(len(line))
        try:
            yield read_line(line)
        except ValueError as error:
            raise UnusableError(f"{file.name}, line {number}: {error}") from None


def as_json(report: Report) -> str:
    """The report as one JSON object; of the findings at most a thousand."""
    findings = [
        {
            "wrong": finding.wrong,
            "spool_id": finding.spool_id.hex(),
            "first": finding.first,
            "last": finding.last,
            "detail": finding.detail,
        }
        for finding in report.findings
    ]
    said = {
        "holds": report.is_good,
        "looked_at": dict(report.seen),
        "tenants": sorted(report.tenants),
        "days": sorted(report.days),
        "signed_until": _until(report),
        "wrong": dict(report.wrong),
        "first_bad": {spool_id.hex(): sequence for spool_id, sequence in report.first_bad.items()},
        "findings": findings,
        "untold": report.untold,
        "said": report.said,
    }
    return json.dumps(said)


def show(report: Report) -> None:
    """Print what was looked at, what is wrong, and what can't be told."""
    seen = report.seen
    looked_at = ("record", "tombstone", "gap", "deletion", "spool", "log", "checkpoint")
    print("looked at: " + ", ".join(counted(seen[f"{name}s"], name) for name in looked_at))
    if said := ", ".join(_what_of(report)):
        print(visible(said))
    for finding in report.findings[:_SHOWN]:
        print(f"WRONG  {visible(str(finding))}")
    more = sum(report.wrong.values()) - min(len(report.findings), _SHOWN)
    if more > 0:
        print(f"WRONG  and {more:,} more")
    for spool_id, sequence in sorted(report.first_bad.items()):
        print(f"first bad sequence of spool {spool_id.hex()}: {sequence}")
    for sentence in report.said[:_SHOWN]:
        print(f"storage says: {visible(sentence)}")
    for sentence in report.untold:
        print(f"can't be told: {sentence}")
    print(_judged(report))


def _judged(report: Report) -> str:
    if not report.is_good:
        return "NOT as it was signed"
    is_signed = report.seen["checkpoints"] > 0  # else --unsigned
    return "everything that is signed holds" if is_signed else "the chains hold; no signature was looked at"


def _what_of(report: Report) -> Iterator[str]:
    """Whose logs, of when, and how recent what is signed is: an older archive, or another's, shows there."""
    if report.tenants - {""}:
        yield f"of {', '.join(each or 'no tenant' for each in sorted(report.tenants))}"
    if report.days:
        yield f"days {min(report.days)} to {max(report.days)}"
    if report.signed_until_ns is not None:
        yield f"signed last at {_until(report)}"


def _until(report: Report) -> str | None:
    if report.signed_until_ns is None:
        return None
    return datetime.fromtimestamp(report.signed_until_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
