"""State: how far an export has come, kept beside its files; what makes it resumable. Pure.

The file `_export.json`, written anew after each part, whole or not at all:

    {"version": 1,
     "id": 32 hex digits,                 names this export, in commits of Delta too
     "format": "parquet",
     "asked": {...},                      what was asked for, as typed: another export may not go on here
     "filter": {...},                     what that meant when it began (RecordFilter, proto3 JSON)
     "resume_token": "...",               goes on behind the records of the parts below
     "records": 2000, "rows": 1990,       read so far; written so far
     "skipped": {"not a chat": 10},
     "parts": [{"name": "part-00000.parquet", "rows": 1990, "bytes": 4711}],
     "is_complete": false}

Parts are numbered; a file with a number beyond the list is of an attempt that was killed, and is removed.
"""

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict

from infertap import v1
from infertap.export.errors import ExportError

STATE_NAME: Final = "_export.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Written:
    """One part that is there."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class State:
    """How far an export has come."""

    format: str
    asked: dict[str, Any]
    filter: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    resume_token: str = ""
    records: int = 0
    rows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    parts: tuple[Written, ...] = ()
    is_complete: bool = False

    @classmethod
    def begin(cls, format: str, asked: dict[str, Any], filter: v1.RecordFilter) -> "State":
        """A new export."""
        return cls(format, asked, MessageToDict(filter, preserving_proto_field_name=True))

    def record_filter(self) -> v1.RecordFilter:
        """What is exported."""
        return ParseDict(self.filter, v1.RecordFilter())

    def with_part(self, part: Written, resume_token: str, records: int, skipped: dict[str, int]) -> "State":
        """After another part, of so many records read."""
        counts = {name: self.skipped.get(name, 0) + skipped.get(name, 0) for name in self.skipped | skipped}
        return replace(
            self,
            resume_token=resume_token,
            records=self.records + records,
            rows=self.rows + part.rows,
            skipped=counts,
            parts=(*self.parts, part) if part.rows else self.parts,
        )

    def pack(self) -> bytes:
        """As it is kept."""
        return (json.dumps({"version": _VERSION, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def unpack(cls, packed: bytes) -> "State":
        """The inverse of `pack`; raises ExportError."""
        try:
            read = json.loads(packed)
            if read.pop("version") != _VERSION:
                raise ExportError(f"{STATE_NAME} is of another version of infertap; choose another place")
            return cls(**read | {"parts": tuple(Written(**each) for each in read["parts"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ExportError(f"{STATE_NAME} can't be read; remove it to begin anew") from None
