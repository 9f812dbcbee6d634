"""Objects: records as files in an object store or a directory, for a lake. Touches what `pyarrow.fs` reaches.

    URL/tenant_name=TENANT/stored_day=2026-11-21/SINK-000000000012-DIGEST.parquet

A batch is a file for each tenant and each day on which records were stored; without tenants there is no such
folder. The names tell the sink, the batch's number and which records are in it; so a batch that is tried
again, also after a crash, writes the same files over, and no record is in two. A file appears whole or not at
all. The folders are named as Hive's partitions are, and not as any column.
"""

import asyncio
import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa

from infertap import v1
from infertap.export import ExportError, File, Lines, Parquet, Part, Place, open_place, to_object
from storage.sinks.interface import Batch, OpenSink, Refused, Sink, SinkError
from storage.sinks.sink_table import SinkTable

_SCHEMES: Final = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "file"})
# What pyarrow, and deltalake, say of answers and connections, without what they quote.
_SAID: Final = re.compile(
    r"AWS Error [A-Z_]{1,40}|dns error|status (?:code: )?\d{3}|(?:os error |Os { code: )(\d{1,3})"
)
# Records that are made columns of at once.
_STEP: Final = 1000
_FORMATS: Final[dict[str, Callable[[File], Part]]] = {
    "parquet": Parquet,
    "jsonl": lambda file: Lines(file, to_object),
}


@dataclass(frozen=True, slots=True)
class _Form:
    sink: str
    url: str
    format: str


def read_kind(table: SinkTable) -> OpenSink:
    """`url` (an absolute path, or what `pyarrow.fs` knows) and `format`. Raises ValueError."""
    form = _Form(table.name, read_place(table), table.choice("format", *_FORMATS))

    async def make() -> Sink:
        return Objects(form)

    return make


def read_place(table: SinkTable) -> str:
    """The setting `url`: an absolute path, or a URI without credentials. Raises ValueError."""
    url = table.text("url")
    if "://" not in url:
        if not Path(url).is_absolute():
            raise ValueError("url: expected an absolute path, or a URI such as s3://BUCKET/FOLDER")
        return url
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"url: expected an absolute path, or one of {', '.join(sorted(_SCHEMES))}://")
    # Azure's container may stand before an "@".
    if parts.password is not None or ("@" in parts.netloc and not parts.scheme.startswith("abfs")):
        raise ValueError("url: no keys belong here: they come from the environment (docs/export.md)")
    return url


class Objects:
    """The sink."""

    def __init__(self, form: _Form) -> None:
        """Connects to nothing yet."""
        self._form = form
        self._place: Place | None = None
        # A store may take its time, and what others run in threads must not wait for it.
        self._thread = ThreadPoolExecutor(1, f"objects-{form.sink}")

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """See Sink."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write_all, batch)
        return ()

    async def close(self) -> None:
        """See Sink."""
        with contextlib.suppress(RuntimeError):  # closed before
            self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._place is not None:
            self._place.close()

    def _write_all(self, batch: Batch) -> None:
        folders: dict[str, list[v1.Record]] = {}
        for record in batch.records:
            folders.setdefault(folder_of(record), []).append(record)
        with told(self._form.url):
            place = self._place = self._place or open_place(self._form.url)
            for folder, records in folders.items():
                part = Batch(records, batch.number)
                name = f"{self._form.sink}-{batch.number:012d}-{part.digest}.{self._form.format}"
                _write(place.open(f"{folder}/{name}"), _FORMATS[self._form.format], records)


def _write(file: File, make: Callable[[File], Part], records: Sequence[v1.Record]) -> None:
    part = make(file)
    try:
        for begin in range(0, len(records), _STEP):
            part.add(records[begin : begin + _STEP])
        part.finish()
    except BaseException:
        with contextlib.suppress(OSError, pa.ArrowException):
            part.discard()
        raise
    part.keep()


def folder_of(record: v1.Record) -> str:
    """The folder for a record: its tenant's, and the day (UTC) on which it was stored."""
    day = datetime.datetime.fromtimestamp(record.stored_at.seconds, datetime.UTC).date()
    return f"tenant_name={record.tenant}/stored_day={day}" if record.tenant else f"stored_day={day}"


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """What a store or a disk says is a SinkError: where, and its word for it alone, as it quotes keys."""
    try:
        yield
    except (OSError, ExportError, pa.ArrowException) as error:
        raise SinkError(f"{_where(url)}: {_what(error)}") from None


def _where(url: str) -> str:
    """The store's own HOST:PORT where it is named, else the bucket; or the path."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("endpoint_override", [""])[-1]
    return named.rpartition("@")[2] or f"{parts.scheme}://{parts.hostname or parts.path}"


def _what(error: Exception) -> str:
    if said := _SAID.search(str(error)):
        return said[0] if said[1] is None else os.strerror(int(said[1]))
    cause = error if isinstance(error, OSError) else error.__context__
    known = isinstance(cause, OSError) and cause.errno
    return os.strerror(known) if known else type(error).__name__
