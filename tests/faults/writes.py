"""Writes: what a process wrote to a file, from strace's log, and the states a power cut can leave it in.

A write is on the disk for sure once a later fdatasync has returned, or when it returned itself on a file
opened with O_DSYNC. Any other may be there whole, in part, or not at all; disks tear at sectors.
"""

import os
import random
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECTOR: Final = 512
_CALLS: Final = "openat,lseek,pwrite64,write,writev,fdatasync,fsync,ftruncate"
_CALL: Final = re.compile(r"^(\w+)\((.*)\)\s+= (\d+)(?:<.*>)?$")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset; `is_synced`: by itself, through O_DSYNC."""

    offset: int
    data: bytes
    is_synced: bool


@dataclass(frozen=True, slots=True)
class Synced:
    """All writes before are on the disk."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line on stdout."""

    text: bytes


Event = Write | Synced | Said


def watch(command: Sequence[str], log: Path, file: Path) -> list[Event]:
    """Run the command to its end, and tell what it wrote to `file`, and said, in order."""
    subprocess.run(
        ["strace", "-o", str(log), "-xx", "-s", str(1 << 24), "-e", f"trace={_CALLS}", *command],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=100,
    )
    return _Reading(file).events(log)


class _Reading:
    """The log, call by call, with the descriptors of one file."""

    def __init__(self, file: Path) -> None:
        self._file = os.fsencode(file)
        # Position and whether it was opened with O_DSYNC, by descriptor.
        self._open: dict[int, tuple[int, bool]] = {}

    def events(self, log: Path) -> list[Event]:
        found: list[Event] = []
        with log.open() as lines:
            for line in lines:
                if match := _CALL.match(line.rstrip()):
                    found += self._event(match[1], match[2], int(match[3]))
        return found

    def _event(self, name: str, arguments: str, result: int) -> list[Event]:
        data = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments))
        if name == "openat":
            self._open.pop(result, None)
            if data == self._file:
                self._open[result] = (0, "O_DSYNC" in arguments)
            return []
        descriptor = int(arguments.split(",", maxsplit=1)[0])
        if descriptor not in self._open:
            return [Said(data)] if (name, descriptor) == ("write", 1) else []
        position, is_synced = self._open[descriptor]
        if name in ("fdatasync", "fsync"):
            return [Synced()]
        if name == "lseek":
            self._open[descriptor] = (result, is_synced)
            return []
        assert name in ("pwrite64", "write", "writev"), f"{name} is not looked at"
        if name == "pwrite64":
            position = int(arguments.rpartition(",")[2])
        else:
            self._open[descriptor] = (position + result, is_synced)
        return [Write(position, data[:result], is_synced)]


def after_power_cut(events: Sequence[Event], cut: int, rng: random.Random) -> bytes:
    """The file as it may be found, where the power went after `cut` events."""
    passed = events[:cut]
    synced = max((at for at, event in enumerate(passed) if isinstance(event, Synced)), default=-1)
    content = bytearray()
    for at, event in enumerate(passed):
        if isinstance(event, Write):
            if at < synced or event.is_synced:
                _put(content, event.offset, event.data)
            else:
                _tear(content, event, rng)
    if cut < len(events) and isinstance(last := events[cut], Write):
        _tear(content, last, rng)  # it was under way
    return bytes(content)


def _tear(content: bytearray, write: Write, rng: random.Random) -> None:
    """Some of its sectors: all, none, or any of them."""
    share = rng.choice((0.0, 0.5, 0.9, 1.0))
    for start in range(0, len(write.data), SECTOR):
        if rng.random() < share:
            _put(content, write.offset + start, write.data[start : start + SECTOR])


def _put(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data
