"""Backup: the files of a snapshot as they go over the wire. Reads these files, in threads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, Final

from infertap import v1
from storage.archive import ArchiveError, SnapshotFile

# Well below what clients of gRPC take in one message.
_CHUNK_BYTES: Final = 1 << 20


async def read_files(files: Sequence[SnapshotFile]) -> AsyncIterator[v1.BackupChunk]:
    """All of them, in order, in chunks; an empty file is one chunk. Raises ArchiveError where one changes."""
    for number, file in enumerate(files):
        with await asyncio.to_thread(file.path.open, "rb") as opened:
            hashed, left = sha256(), file.size_bytes
            while True:
                data = await asyncio.to_thread(_read, opened, hashed, min(left, _CHUNK_BYTES))
                left -= len(data)
                if left and not data:
                    raise ArchiveError(f"{file.name} became shorter")
                yield v1.BackupChunk(file=number, data=data, sha256=b"" if left else hashed.digest())
                if not left:
                    break


def _read(opened: BinaryIO, hashed: Any, most: int) -> bytes:
    data = opened.read(most)
    hashed.update(data)
    return data
