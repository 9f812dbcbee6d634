"""Sinks file: which sinks there are. TOML 1.0, at most MOST_BYTES; read at the start.

    [[sink]]
    name = "events"              # unique; 1 to 64 of A-Z a-z 0-9 . _ -; where it is known how far it came
    kind = "cloudevents"         # see kinds.py
    from = "now"                 # where a sink that is new begins: "now", or "beginning"
    tenant = "team-a"            # whose records; absent: everyone's
    filter = { model = "iris" }  # as RecordFilter of the contract has them; absent: all
    batch_records = 500          # how large a batch gets, and how long it is waited for more
    batch_bytes = "4MiB"
    linger = "250ms"
    url = "https://…"            # and whatever else its kind knows

It promises: a fault names the file, the sink and the setting, and quotes no secret.
"""

import re
import tomllib
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError

from infertap import v1
from infertap.query import InvalidArgumentError, Query
from infertap.setting_files import UnusableFileError, read_file
from storage.sinks.interface import OpenSink
from storage.sinks.kinds import KINDS, reader_of
from storage.sinks.sink_table import SinkTable

MOST_BYTES: Final = 1 << 20
MOST_SINKS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch gets, and how long it is waited for more."""

    records: int
    bytes: int
    linger_seconds: float


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink, checked."""

    name: str
    kind: str
    query: Query
    # Else with what is stored from now on.
    begins_at_beginning: bool
    limits: Limits
    repeats_exactly: bool
    open: OpenSink


def read_sinks(path: str) -> list[SinkSettings]:
    """The sinks in the file at `path`; raises UnusableFileError."""
    try:
        read = tomllib.loads(read_file(path, MOST_BYTES).decode())
    except tomllib.TOMLDecodeError as error:
        raise UnusableFileError(f"{path}: not TOML: {error}") from None
    except (ValueError, RecursionError):  # no UTF-8, a number without end
        raise UnusableFileError(f"{path}: not TOML") from None
    listed = read.pop("sink", None)
    if read or not isinstance(listed, list) or not 0 < len(listed) <= MOST_SINKS:
        raise UnusableFileError(f"{path}: expected 1 to {MOST_SINKS} tables [[sink]], and nothing else")
    found: dict[str, SinkSettings] = {}
    for number, table in enumerate(listed, 1):
        try:
            made = _sink(table, found)
        except ValueError as error:
            raise UnusableFileError(f"{path}: sink {number}{_called(table)}: {error}") from None
        found[made.name] = made
    return list(found.values())


def _called(table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f" ({name})" if isinstance(name, str) and _NAME.fullmatch(name) else ""


def _sink(values: Any, others: Container[str]) -> SinkSettings:
    if not isinstance(values, dict):
        raise ValueError("expected a table")  # noqa: TRY004
    name = values.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name: expected 1 to 64 of A-Z a-z 0-9 . _ -")
    if name in others:
        raise ValueError("name: a second one")
    asked = values.get("filter", {})
    table = SinkTable(name, {key: value for key, value in values.items() if key not in ("name", "filter")})
    kind = table.text("kind")
    read_kind = reader_of(kind)
    query = _query(asked, table.text("tenant", ""))
    begins = table.choice("from", "now", "beginning")
    limits = _limits(table, kind)
    opens = read_kind(table)
    table.end()
    repeats = KINDS[kind].repeats_exactly
    return SinkSettings(name, kind, query, begins == "beginning", limits, repeats, opens)


def _limits(table: SinkTable, kind: str) -> Limits:
    usual = KINDS[kind]
    return Limits(
        table.integer("batch_records", usual.batch_records, 1, 1_000_000),
        table.size_bytes("batch_bytes", usual.batch_bytes, 64 << 10, 256 * _MIB),
        table.seconds("linger", usual.linger, 0, 3600),
    )


def _query(asked: Any, tenant: str) -> Query:
    """What a record must be to go on. Of feedback nothing may be asked: it comes after the record."""
    if not isinstance(asked, dict) or "feedback" in asked:
        raise ValueError("filter: expected a table of what records say, without feedback")
    fields = v1.RecordFilter.DESCRIPTOR
    for name in asked:
        if name not in fields.fields_by_name and name not in fields.fields_by_camelcase_name:
            known = ", ".join(each for each in fields.fields_by_name if each != "feedback")
            raise ValueError(f"filter: {name[:64]!r}: no such condition; there are {known}")
    try:
        query = Query.of(ParseDict(asked, v1.RecordFilter()), tenant=tenant or None)
    except (ParseError, InvalidArgumentError) as error:
        raise ValueError(f"filter: {error}") from None
    if v1.INFERENCING in query.states:
        raise ValueError("filter: states: a call in flight has no record yet")
    return query
