"""Packing: how the DuckDB engine's files hold a record's bytes, each compressed on its own. Pure.

    column `record` = 0x01 ‖ a Zstandard frame (RFC 8878) that says its content's size, and has no checksum
                    | the encoded record as it is: what gets no smaller, and all that schema 2 wrote

No encoded record begins with 0x01, which would be a field of number 0; no parser takes that. Files have
checksums of their own, so a frame needs none.

The engine itself compresses 2,048 records as one, and takes all of them apart for one that is asked for.
"""

import threading
from collections.abc import Iterable
from typing import Any, Final

import zstandard

from storage.archive.interface import ArchiveError

_PACKED: Final = b"\x01"
_LEVEL: Final = 3
_THREADS: Final = 2


class _Contexts(threading.local):
    """Each thread's own: none may be used by two at a time."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(_LEVEL, write_checksum=False, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts: Final = _Contexts()


def packed(records: Iterable[bytes]) -> list[bytes]:
    """Encoded records as a file holds them."""
    whole: list[Any] = list(records)
    if not whole:
        return []
    # All in one call: each one would give up the interpreter's lock, and wait for it again.
    frames = _contexts.compressor.multi_compress_to_buffer(whole, threads=_THREADS)
    return [_smaller(record, _PACKED + frames[at].tobytes()) for at, record in enumerate(whole)]


def _smaller(record: bytes, short: bytes) -> bytes:
    return short if len(short) < len(record) or record.startswith(_PACKED) else record


def unpacked(held: bytes) -> bytes:
    """An encoded record, of how a file holds it. Raises ArchiveError for what no `packed` made."""
    if not held.startswith(_PACKED):
        return held
    try:
        return _contexts.decompressor.decompress(memoryview(held)[1:], allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"a record can't be unpacked: {error}") from None
