"""Kinds: the Arrow type of a field of the contract, and how its value is read. Pure; needs pyarrow.

What a message does not say is null, never an empty text or a zero that nobody measured. Lists are never null,
only empty. Nothing is unsigned, and times are in microseconds, as Delta tables know nothing else.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa

Read = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type, and what reads such a field of a message."""

    type: pa.DataType
    read: Read


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a struct: a field of its message by the same name, or by `path`."""

    name: str
    kind: Kind
    path: str = ""


def struct(parts: Iterable[Part]) -> Kind:
    """A message as a struct; null where it is absent."""
    members, read = _struct(parts)
    return Kind(
        members, lambda message, name: read(getattr(message, name)) if message.HasField(name) else None
    )


def structs(parts: Iterable[Part]) -> Kind:
    """Repeated messages as a list of structs."""
    members, read = _struct(parts)
    return Kind(pa.list_(members), lambda message, name: [read(each) for each in getattr(message, name)])


def _struct(parts: Iterable[Part]) -> tuple[pa.DataType, Callable[[Any], dict[str, Any]]]:
    listed = tuple(parts)
    readers = [(part.name, part.kind.read, part.path or part.name) for part in listed]
    members = pa.struct([pa.field(part.name, part.kind.type) for part in listed])
    return members, lambda message: {name: read(message, path) for name, read, path in readers}


def reader(path: str, kind: Kind) -> Callable[[Any], Any]:
    """What reads the field at `path`, such as "model.input_tokens", of a record."""
    parent, _, name = path.rpartition(".")
    read = kind.read
    if not parent:
        return lambda record: read(record, name)
    within = attrgetter(parent)
    return lambda record: read(within(record), name)


def _or_null(message: Any, name: str) -> Any:
    return getattr(message, name) or None


def _if_present(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _if_measured(message: Any, name: str) -> Any:
    value = getattr(message, name)
    return None if value < 0 else value


def _hex(message: Any, name: str) -> str | None:
    return getattr(message, name).hex() or None


def _time(message: Any, name: str) -> int | None:
    if not message.HasField(name):
        return None
    stamp = getattr(message, name)
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1_000)


def _enum(message: Any, name: str) -> str | None:
    """By name, without the prefix that all of its values share; null where unspecified."""
    number = getattr(message, name)
    if not number:
        return None
    value = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix("THUMB_")


def _pairs(message: Any, name: str) -> list[dict[str, str]]:
    return [{"name": key, "value": value} for key, value in sorted(getattr(message, name).items())]


def _count(message: Any, name: str) -> int:
    """64 bits with a sign: what no machine can count is the largest."""
    return min(int(getattr(message, name)), (1 << 63) - 1)


TEXT: Final = Kind(pa.string(), _or_null)
ENUM: Final = Kind(pa.string(), _enum)
HEX: Final = Kind(pa.string(), _hex)
DATA: Final = Kind(pa.binary(), _or_null)
FLAG: Final = Kind(pa.bool_(), getattr)
COUNT: Final = Kind(pa.int64(), _count)
CODE: Final = Kind(pa.int32(), _or_null)
FRACTION: Final = Kind(pa.float64(), _or_null)
TIME: Final = Kind(pa.timestamp("us", "UTC"), _time)
# Microseconds from the start of the call.
OFFSET: Final = Kind(pa.int64(), _if_measured)
COUNT_IF_TOLD: Final = Kind(pa.int64(), _if_present)
CODE_IF_TOLD: Final = Kind(pa.int32(), _if_present)
NUMBER_IF_TOLD: Final = Kind(pa.float64(), _if_present)
TEXTS: Final = Kind(pa.list_(pa.string()), lambda message, name: list(getattr(message, name)))
COUNTS: Final = Kind(pa.list_(pa.int64()), lambda message, name: list(getattr(message, name)))
PAIRS: Final = Kind(pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())])), _pairs)
