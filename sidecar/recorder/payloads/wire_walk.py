"""Wire walk: messages of protobuf without a schema, as documents by field number, and redacted ones as bytes.

Pure. The wire format (protobuf.dev, "Encoding"):

    message = (tag value)*      tag = varint of number << 3 | type
    type 0: varint   1: 8 bytes   2: length as varint, so many bytes   5: 4 bytes   (3, 4: groups, not read)

Nothing says whether bytes of type 2 are a text, a message, packed numbers or just bytes. So what stands at
one place of all messages of a direction is judged together: messages where all of it can be read as such,
else texts where it is text, else binary, which no rule can read. What could be either is read as what it is
likelier to be, and after redaction once more as the other, and all bytes as one text: `second_readings`.

Bytes are encoded anew from redacted documents, with lengths that fit: what is in no document is not in them.
"""

import math
import struct
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.recorder.payloads.tensors import binary_mark, readable_text

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_DEPTH: Final = 32
# Fields of all messages of one direction, read as anything; whoever sends more is not read.
_MOST_FIELDS: Final = 100_000
_HIGHEST_NUMBER: Final = (1 << 29) - 1
# Numbers that a float of a model has; beyond, 8 bytes are an integer more likely.
_SMALL, _GREAT = 1e-30, 1e17


class _TooMuchError(Exception):
    """More fields than anybody reads."""


@dataclass(slots=True)
class _Field:
    """`value`: bytes until it is known what they are; then a str, a _Record, or bytes that are neither."""

    number: int
    type: int
    value: Any


# The fields of a message, in order.
_Record = list[_Field]


@dataclass(frozen=True, slots=True)
class Written:
    """What may be made of redacted documents."""

    # The messages; None where something that no rule could read is in them, or redaction left another shape.
    messages: list[bytes] | None
    # What documents and messages hold if they are read otherwise: no rule may find anything in it.
    second_readings: list[str]


class Walk:
    """The messages of one direction, taken apart."""

    def __init__(self, records: list[_Record]) -> None:
        self._records = records

    def documents(self) -> tuple[dict[str, Any], ...]:
        """A tree of each message: field numbers, and what they hold; a list where one comes again."""
        return tuple(_tree(record) for record in self._records)

    def write(self, documents: Sequence[Any], keeps_binary: bool) -> Written:
        """The messages that `documents` tell, which are those above, redacted.

        `keeps_binary`: what no rule can read may be kept.
        """
        writer = _Writer(keeps_binary)
        messages = [
            writer.message(record, document)
            for record, document in zip(self._records, documents, strict=True)
        ]
        # A value may lie across fields that are no texts.
        readings = [message.decode("utf-8", "replace") for message in messages]
        return Written(messages if writer.is_whole else None, readings + writer.second_readings)


def walk_messages(messages: Sequence[bytes]) -> Walk | None:
    """`messages` taken apart; None where they are none of protobuf, or too many fields."""
    reader = _Reader()
    records = []
    try:
        for message in messages:
            record = reader.message(message)
            if record is None:
                return None
            records.append(record)
        reader.resolve(records, 0)
    except _TooMuchError:
        return None
    return Walk(records)


# -- reading


class _Reader:
    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def message(self, data: bytes) -> _Record | None:
        """The fields of `data`; None where it is no message. Raises _TooMuchError."""
        record: _Record = []
        place = 0
        while place < len(data):
            self._left -= 1
            if self._left < 0:
                raise _TooMuchError
            tag, place = _varint(data, place)
            number, wire_type = tag >> 3, tag & 7
            if not 0 < number <= _HIGHEST_NUMBER:
                return None
            value: Any
            if wire_type == _VARINT:
                value, place = _varint(data, place)
                if value < 0:
                    return None
            else:
                size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type, -1)
                if wire_type == _BYTES:
                    size, place = _varint(data, place)
                if size < 0 or place + size > len(data):
                    return None
                value = data[place : place + size]
                place += size
            record.append(_Field(number, wire_type, value))
        return record

    def resolve(self, records: Sequence[_Record], depth: int) -> None:
        """Decide what the bytes in `records`, which stand at one place, are. Raises _TooMuchError."""
        columns: dict[int, list[_Field]] = {}
        for record in records:
            for field in record:
                if field.type == _BYTES:
                    columns.setdefault(field.number, []).append(field)
        for column in columns.values():
            self._resolve_column(column, depth)

    def _resolve_column(self, column: list[_Field], depth: int) -> None:
        texts = [readable_text(field.value) for field in column]
        is_text = None not in texts
        nested = self._nested(column) if depth < _MOST_DEPTH else None
        is_empty = not any(field.value for field in column)
        if nested is not None and not is_empty and (not is_text or _look_like_messages(column, nested)):
            for field, record in zip(column, nested, strict=True):
                field.value = record
            self.resolve(nested, depth + 1)
            return
        for field, text in zip(column, texts, strict=True):
            if text is not None:
                field.value = text

    def _nested(self, column: list[_Field]) -> list[_Record] | None:
        nested = []
        for field in column:
            record = self.message(field.value)
            if record is None:
                return None
            nested.append(record)
        return nested


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends; -1 where there is none of 64 bits."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            return -1, place
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number, place) if number < 1 << 64 else (-1, place)
    return -1, place


def _look_like_messages(column: Sequence[_Field], nested: Sequence[_Record]) -> bool:
    """Whether texts are messages all the same: what lengths lead to is most of each."""
    return all(
        2 * sum(len(field.value) for field in record if field.type == _BYTES) >= len(each.value)
        for each, record in zip(column, nested, strict=True)
    )


# -- documents


def _tree(record: _Record) -> dict[str, Any]:
    held: dict[str, list[Any]] = {}
    for field in record:
        held.setdefault(str(field.number), []).append(_shown(field))
    return {number: values[0] if len(values) == 1 else values for number, values in held.items()}


def _shown(field: _Field) -> Any:
    value = field.value
    if field.type == _VARINT:
        return value - (1 << 64) if value >> 63 else value
    if field.type == _BYTES:
        if isinstance(value, list):
            return _tree(value)
        return value if isinstance(value, str) else binary_mark(value)
    return _number(value, "<d" if field.type == _FIXED64 else "<f", field.type == _FIXED64)


def _number(raw: bytes, form: str, is_signed: bool) -> Any:
    """4 or 8 bytes: a float if it is one that a program would send, else an integer."""
    (number,) = struct.unpack(form, raw)
    if number == 0 or (math.isfinite(number) and _SMALL < abs(number) < _GREAT):
        return number
    return int.from_bytes(raw, "little", signed=is_signed)


# -- writing


class _Writer:
    def __init__(self, keeps_binary: bool) -> None:
        self._keeps_binary = keeps_binary
        # All that documents show is written, and nothing that no rule could read.
        self.is_whole = True
        self.second_readings: list[str] = []

    def message(self, record: _Record, tree: Any) -> bytes:
        """`record` as `tree` has it."""
        if not isinstance(tree, dict):
            return self._lost(tree)
        counts = Counter(field.number for field in record)
        left = {number: self._left(tree, number, count) for number, count in counts.items()}
        out = []
        for field in record:
            if left.get(field.number):
                value = self._value(field, left[field.number].popleft())
                out += [_written(field.number << 3 | field.type), value]
        return b"".join(out)

    def _left(self, tree: dict[str, Any], number: int, count: int) -> deque[Any]:
        """What redaction left of a field that came `count` times: as many values, or none."""
        kept = tree.get(str(number), [])
        if count == 1:
            return deque([kept] if str(number) in tree else [])
        if isinstance(kept, list) and len(kept) in (0, count):
            return deque(kept)
        self._lost(kept)
        return deque()

    def _value(self, field: _Field, kept: Any) -> bytes:
        if field.type == _BYTES:
            data = self._bytes(field.value, kept)
            return _written(len(data)) + data
        shown = _shown(field)
        is_same = kept == shown and type(kept) is type(shown)
        if not is_same and kept not in (0, None):
            self._lost(kept)
        if field.type == _VARINT:
            return _written(field.value if is_same else 0)
        return bytes(field.value) if is_same else bytes(len(field.value))

    def _bytes(self, value: Any, kept: Any) -> bytes:
        if isinstance(value, list):
            return self.message(value, kept)
        if not isinstance(kept, str):
            return self._lost(kept)
        if isinstance(value, bytes) and kept == binary_mark(value):  # no rule took it
            self.is_whole = self.is_whole and self._keeps_binary
            return value if self._keeps_binary else b""
        data = kept.encode("utf-8", "replace")
        self._read_as_message(data)
        return data

    def _lost(self, kept: Any) -> bytes:
        """Redaction left something that bytes can't be made of; nothing, then."""
        self.is_whole = False
        for text in _strings(kept):
            self._read_as_message(text.encode("utf-8", "replace"))
        return b""

    def _read_as_message(self, data: bytes) -> None:
        if data and (walk := walk_messages([data])) is not None:
            self.second_readings += _strings(walk.documents())


def _strings(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    members = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [text for member in members for text in _strings(member)]


def _written(number: int) -> bytes:
    """`number` as a varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
