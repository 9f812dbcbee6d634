"""Parts: the files of an export while they are written, one class for each form. Memory is bounded.

A part takes records until it is large enough, then it is kept; one that is not kept leaves nothing behind.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.export.places import File

# So much is held in memory before it becomes a row group.
_GROUP_BYTES: Final = 32 << 20

# The object that stands for a record, or the reason why there is none.
ToObject = Callable[[v1.Record], dict[str, Any] | str]


class Part(Protocol):
    """One file of an export, or one commit of a table."""

    rows: int
    skipped: Counter[str]

    @property
    def size_bytes(self) -> int:
        """How large it is by now, about."""

    def add(self, records: Sequence[v1.Record]) -> None:
        """Take some more."""

    def finish(self) -> None:
        """No more will come; from here on `rows` and `size_bytes` are what they will be."""

    def keep(self) -> None:
        """Make it appear."""

    def discard(self) -> None:
        """Leave nothing of it."""


class Lines:
    """JSON Lines (jsonlines.org): an object on each line, UTF-8."""

    def __init__(self, file: File, to_object: ToObject) -> None:
        self._file, self._to_object = file, to_object
        self.rows, self.size_bytes = 0, 0
        self.skipped: Counter[str] = Counter()

    def add(self, records: Iterable[v1.Record]) -> None:
        """Take some more."""
        for record in records:
            made = self._to_object(record)
            if isinstance(made, str):
                self.skipped[made] += 1
                continue
            line = json_line(made)
            self._file.stream.write(line)
            self.rows += 1
            self.size_bytes += len(line)

    def finish(self) -> None:
        """No more will come."""

    def keep(self) -> None:
        """Make it appear."""
        self._file.keep()

    def discard(self) -> None:
        """Leave nothing of it."""
        self._file.discard()


class Parquet:
    """Parquet, compressed by Zstandard, in row groups of some 32 MiB in memory."""

    def __init__(self, file: File) -> None:
        from pyarrow import parquet  # noqa: PLC0415  (an extra)

        from infertap.arrow import schema  # noqa: PLC0415

        self._file = file
        self._writer = parquet.ParquetWriter(file.stream, schema(), compression="zstd")
        self._group: list[Any] = []
        self._group_bytes = 0
        self.rows = 0
        self.skipped: Counter[str] = Counter()

    @property
    def size_bytes(self) -> int:
        """What is written, and what is still in memory."""
        return int(self._file.stream.tell()) + self._group_bytes

    def add(self, records: Sequence[v1.Record]) -> None:
        """Take some more."""
        from infertap.arrow import to_batch  # noqa: PLC0415

        batch = to_batch(records)
        self._group.append(batch)
        self._group_bytes += batch.nbytes
        self.rows += len(records)
        if self._group_bytes >= _GROUP_BYTES:
            self._write_group()

    def finish(self) -> None:
        """No more will come."""
        self._write_group()
        self._writer.close()

    def keep(self) -> None:
        """Make it appear."""
        self._file.keep()

    def discard(self) -> None:
        """Leave nothing of it."""
        self._writer.close()
        self._file.discard()

    def _write_group(self) -> None:
        import pyarrow as pa  # noqa: PLC0415

        if self._group:
            self._writer.write_table(pa.Table.from_batches(self._group))
        self._group, self._group_bytes = [], 0


def to_object(record: v1.Record) -> dict[str, Any]:
    """The record by proto3's mapping to JSON, names as the contract has them; without times that are none."""
    try:
        made: dict[str, Any] = MessageToDict(record, preserving_proto_field_name=True)
    except SerializeToJsonError:
        told = v1.Record()
        told.CopyFrom(record)
        _drop_impossible_times(told)
        made = MessageToDict(told, preserving_proto_field_name=True)
    return made


def _drop_impossible_times(message: Message) -> None:
    """Those that RFC 3339 can't say: a sidecar may claim anything."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            _drop_impossible_times(each)
            if isinstance(each, Timestamp) and not _is_possible(each):
                message.ClearField(field.name)


def _is_possible(time: Timestamp) -> bool:
    try:
        time.ToJsonString()
    except ValueError:
        return False
    return True


def json_line(made: dict[str, Any]) -> bytes:
    """On one line."""
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
