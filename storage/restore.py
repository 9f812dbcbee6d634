"""Restore: `infertap storage restore BACKUP [ARCHIVE]` makes an archive of a backup; storage is stopped.

Touches the two directories. It promises: what is not exactly what was backed up is not restored; an archive
whose restoring did not end is not taken for one, and restoring again begins anew.

    ARCHIVE/restoring    there until all files are there and durable

Exit status 0, 1 where it can't be done, 2 where the command line or a setting is wrong.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from infertap.query import Query
from storage import config
from storage.archive import FILE_VERSION, RESTORING, ArchiveError, Interrupt, open_archive

_CONTENTS: Final = "backup.json"
_FORMAT: Final = 1
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.\-]{0,200}\.duckdb")
_BLOCK: Final = 1 << 20


class RestoreError(Exception):
    """It can't be restored; the message says why."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        settings = config.read(environ)
    except config.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    archive = Path(given.archive or settings.archive)
    os.umask(0o077)
    try:
        files = restore(Path(given.backup), archive)
        count = _count(archive, settings.archive_memory_bytes)
    except (RestoreError, ArchiveError) as error:
        print(f"infertap: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"infertap: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{archive}: {files} files, {count:,} records; start storage")
    return 0


def restore(backup: Path, archive: Path) -> int:
    """Copy a backup into an empty directory, checked and durable; how many files. Raises RestoreError and
    OSError.
    """
    files = _read_contents(backup)
    archive.mkdir(parents=True, exist_ok=True, mode=0o700)
    marker = archive / RESTORING
    if marker.exists():
        _clear(archive)
    elif any(path.name != "lost+found" for path in archive.iterdir()):
        raise RestoreError(f"{archive}: not empty; restore into a new directory")
    marker.touch(mode=0o600)
    for file in files:
        _copy(backup / file["name"], archive / file["name"], file)
    _sync(archive)
    marker.unlink()
    _sync(archive)
    return len(files)


def _read_contents(backup: Path) -> list[dict[str, Any]]:
    try:
        told = json.loads((backup / _CONTENTS).read_text())
        files = [dict(file) for file in told["files"]]
        known = all(_NAME.fullmatch(file["name"]) and file["sha256"] for file in files)
        is_known = known and told["format"] == _FORMAT
        version = int(told["schema_version"])
    except FileNotFoundError:
        raise RestoreError(f"{backup}: no backup, or one that did not end: {_CONTENTS} is missing") from None
    except (ValueError, TypeError, KeyError):
        is_known, version, files = False, 0, []
    if not is_known:
        raise RestoreError(f"{backup / _CONTENTS}: not of a backup that this infertap knows")
    if version > FILE_VERSION:
        raise RestoreError(f"{backup}: of a newer infertap (schema {version}, this one knows {FILE_VERSION})")
    return files


def _clear(archive: Path) -> None:
    """Remove what an attempt left that did not end."""
    for path in archive.iterdir():
        if _NAME.fullmatch(path.name):
            path.unlink()


def _copy(source: Path, target: Path, told: Mapping[str, Any]) -> None:
    hashed = sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(_BLOCK):
            hashed.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    if hashed.hexdigest() != told["sha256"]:
        raise RestoreError(f"{source}: not as it was backed up")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _count(directory: Path, memory_bytes: int) -> int:
    """How many records the restored archive has: it opens, and can be asked. Raises ArchiveError."""
    archive = open_archive(str(directory), memory_bytes)
    try:
        if archive.damages() and archive.usage().damaged_files:
            raise ArchiveError(f"{directory}: a file can't be read; see damaged-* in it")
        return archive.count(Query(), Interrupt())
    finally:
        archive.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infertap storage restore",
        description="Makes an archive of a backup, while storage is stopped. What sidecars still retain and "
        "the backup lacks they send when they connect.",
    )
    parser.add_argument("backup", metavar="BACKUP", help="a directory of `infertap storage backup`")
    parser.add_argument(
        "archive", metavar="ARCHIVE", nargs="?", help="an empty directory; else INFERTAP_ARCHIVE"
    )
    return parser
