"""Admin: deletes records, backs the archive up, and asks what it takes. Touches its one channel, and the
files of the backups that it writes.

    with AdminClient(Connection("127.0.0.1:9903")) as admin:
        print(admin.delete(v1.RecordFilter(model="iris"), dry_run=True).records)

A backup is a directory of files and, once all of them are there and durable, backup.json:

    {"format": 1, "time": "2026-11-21T12:00:00Z", "schema_version": 3, "infertap_version": "0.1.0",
     "files": [{"name": "kept.duckdb", "size_bytes": 12288, "sha256": "…"}, …]}
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Self

import grpc

from infertap import v1
from infertap.connection import AccessError, Connection

CONTENTS: Final = "backup.json"
FORMAT: Final = 1
# A deletion rewrites files, a backup reads all.
_SECONDS: Final = 24 * 3600.0
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.\-]{0,200}\.duckdb")
_OPTIONS: Final = (("grpc.max_receive_message_length", 32 << 20),)


class AdminError(Exception):
    """Storage can't be asked, refuses, or said what can't be; the message says why."""


class AdminClient:
    """One storage's AdminService. A context manager."""

    def __init__(self, connection: Connection) -> None:
        """Connects when it is first asked. Raises AdminError."""
        self._connection = connection
        with _translated(connection.target):
            self._channel = connection.channel(_OPTIONS)
        self._stub = v1.AdminServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def delete(
        self, filter: v1.RecordFilter, *, raw_user: str = "", dry_run: bool = False
    ) -> v1.DeleteRecordsResponse:
        """Delete all records that match, or only count them. Raises AdminError."""
        request = v1.DeleteRecordsRequest(filter=filter, raw_user=raw_user, dry_run=dry_run)
        with self._asking() as metadata:
            return self._stub.DeleteRecords(request, timeout=_SECONDS, metadata=metadata)

    def archive(self) -> v1.Archive:
        """What the archive takes on disk. Raises AdminError."""
        with self._asking() as metadata:
            return self._stub.GetArchive(v1.GetArchiveRequest(), timeout=60, metadata=metadata)

    def sinks(self) -> list[v1.Sink]:
        """The systems that records are forwarded to, and how far each came. Raises AdminError."""
        with self._asking() as metadata:
            answer = self._stub.ListSinks(v1.ListSinksRequest(), timeout=60, metadata=metadata)
            return list(answer.sinks)

    def refused(self, sink: str) -> Iterator[v1.RefusedRecord]:
        """What that sink refused, page after page. Raises AdminError."""
        request = v1.ListRefusedRecordsRequest(sink=sink, page_size=1000)
        while True:
            with self._asking() as metadata:
                answer = self._stub.ListRefusedRecords(request, timeout=60, metadata=metadata)
            yield from answer.records
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def resend(self, sink: str) -> int:
        """Have what that sink refused sent again; how many records that is. Raises AdminError."""
        request = v1.ResendRefusedRecordsRequest(sink=sink)
        with self._asking() as metadata:
            return self._stub.ResendRefusedRecords(request, timeout=60, metadata=metadata).records

    def drop(self, sink: str) -> int:
        """Give up what that sink refused; how many records that was. Raises AdminError."""
        request = v1.DropRefusedRecordsRequest(sink=sink)
        with self._asking() as metadata:
            return self._stub.DropRefusedRecords(request, timeout=60, metadata=metadata).records

    def back_up(self, directory: Path, begun: Callable[[int], Callable[[int], object]]) -> v1.BackupContents:
        """Write the archive as it is now into `directory`, which is new or empty; durable on return.

        `begun` is told how many bytes are to come, and gives what is then told how many have come. Raises
        AdminError and OSError.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(directory.iterdir()):
            raise AdminError(f"{directory}: not empty")
        with self._asking() as metadata:
            answers = self._stub.BackupArchive(v1.BackupArchiveRequest(), timeout=_SECONDS, metadata=metadata)
            first = next(iter(answers), None)
            if first is None or not first.HasField("contents"):
                raise AdminError("storage sent no contents")
            contents = first.contents
            written = begun(sum(file.size_bytes for file in contents.files))
            hashes = [
                _write(directory, file, _chunks(answers, number), written)
                for number, file in enumerate(contents.files)
            ]
        _write_contents(directory, contents, hashes)
        return contents

    @contextmanager
    def _asking(self) -> Iterator[tuple[tuple[str, str], ...]]:
        with _translated(self._connection.target):
            yield self._connection.metadata()


def _chunks(answers: Iterator[v1.BackupArchiveResponse], number: int) -> Iterator[v1.BackupChunk]:
    """Those of one file; the last one has the hash of all."""
    for answer in answers:
        if answer.chunk.file != number or not answer.HasField("chunk"):
            break
        yield answer.chunk
        if answer.chunk.sha256:
            return
    raise AdminError("storage ended in the middle of a file")


def _write(
    directory: Path,
    file: v1.BackupFile,
    chunks: Iterator[v1.BackupChunk],
    written: Callable[[int], object],
) -> str:
    """Write one file, durable; its hash."""
    if not _NAME.fullmatch(file.name):
        raise AdminError("storage named a file that is none of an archive")
    hashed, wanted, size = sha256(), b"", 0
    with _create(directory / file.name) as opened:
        for chunk in chunks:
            opened.write(chunk.data)
            hashed.update(chunk.data)
            size += len(chunk.data)
            wanted = chunk.sha256
            written(len(chunk.data))
        opened.flush()
        os.fsync(opened.fileno())
    if hashed.digest() != wanted or size != file.size_bytes:
        raise AdminError(f"{file.name}: came otherwise than storage read it")
    return hashed.hexdigest()


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _write_contents(directory: Path, contents: v1.BackupContents, hashes: list[str]) -> None:
    files = [
        {"name": file.name, "size_bytes": file.size_bytes, "sha256": hashed}
        for file, hashed in zip(contents.files, hashes, strict=True)
    ]
    told = {
        "format": FORMAT,
        "time": contents.time.ToJsonString(),
        "schema_version": contents.schema_version,
        "infertap_version": contents.infertap_version,
        "files": files,
    }
    draft = directory / f"{CONTENTS}.new"
    with _create(draft) as opened:
        opened.write(json.dumps(told, indent=1).encode())
        opened.flush()
        os.fsync(opened.fileno())
    draft.rename(directory / CONTENTS)
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(target: str) -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        raise AdminError(str(error)) from None
    except grpc.RpcError as error:
        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.UNAVAILABLE:
            raise AdminError(f"{target}: {details}") from None
        if code == grpc.StatusCode.UNIMPLEMENTED:
            raise AdminError(f"{target}: keeps no archive; storage does (port 9903)") from None
        raise AdminError(details or code.name) from None
