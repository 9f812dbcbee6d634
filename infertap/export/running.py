"""Running: one export, from a client into a place, part by part, so that it can be killed at any moment.

    records ──> part N ── large enough ──> part N kept ──> state: N parts, goes on behind their records

A part is kept before the state says so; one that the state does not know is written again, under the same
name, from the same records: rows are there once each. Where the connection fails for good, or Ctrl-C comes,
the part under way is kept as it is, and nothing is fetched twice; `kill -9` costs the part under way.
"""

import importlib.util
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from google.protobuf.json_format import MessageToDict

from infertap import v1
from infertap.client import Client, ClientError, make_filter
from infertap.export.delta import Commit, DeltaTable
from infertap.export.errors import ExportError
from infertap.export.formats import DEFAULT_PART_BYTES, FORMATS, Format, filter_for
from infertap.export.parts import Part
from infertap.export.places import Place, open_place
from infertap.export.state import STATE_NAME, State, Written

# Told after each batch: how many records were read by now, and of how many (0: not known).
Tell = Callable[[int, int], None]


def export_records(
    client: Client,
    out: str,
    format: str = "parquet",
    filter: v1.RecordFilter | None = None,
    *,
    part_bytes: int = DEFAULT_PART_BYTES,
    asked: dict[str, Any] | None = None,
    tell: Tell = lambda _done, _total: None,
    **conditions: Any,
) -> State:
    """Write everything that matches to `out`, a directory or a URI such as s3://BUCKET/FOLDER.

    Goes on where the same export was broken off; one that is complete is left as it is. `asked` tells exports
    apart where it is given, else the filter does. `conditions` are those of `Client.list`. Raises ExportError
    and ClientError.
    """
    if format not in FORMATS:
        raise ExportError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    _demand(FORMATS[format])
    wanted = make_filter(filter, **conditions)
    asked = MessageToDict(wanted, preserving_proto_field_name=True) if asked is None else asked
    try:
        with closing(open_place(out)) as place:
            state = _begin(place, out, format, asked, filter_for(FORMATS[format], wanted))
            if not state.is_complete:
                state = _Run(place, out, state, part_bytes, tell).run(client)
    except OSError as error:
        raise ExportError(f"{out.partition('?')[0]}: {error}") from None
    return state


def _demand(format: Format) -> None:
    for package in format.needs:
        if importlib.util.find_spec(package) is None:
            raise ExportError(f"this format needs {package}: pip install 'infertap[{format.extra}]'")


def _begin(place: Place, out: str, format: str, asked: dict[str, Any], wanted: v1.RecordFilter) -> State:
    """The export that is under way there, or a new one; raises ExportError where another is."""
    packed = place.read(STATE_NAME)
    if packed is None:
        if format != "delta" and any(name.startswith("part-") for name in place.names()):
            raise ExportError(f"{out}: there are files of something else; choose another place")
        return State.begin(format, asked, wanted)
    state = State.unpack(packed)
    if (state.format, state.asked) == (format, asked):
        return state
    if format == state.format == "delta" and state.is_complete:
        return State.begin(format, asked, wanted)
    raise ExportError(f"{out}: holds another export (see {STATE_NAME}); choose another place")


class _Run:
    """One export while it is running."""

    def __init__(self, place: Place, out: str, state: State, part_bytes: int, tell: Tell) -> None:
        self._place, self._state, self._tell = place, state, tell
        self._format = FORMATS[state.format]
        self._part_bytes = min(part_bytes, self._format.most_part_bytes)
        self._delta = DeltaTable(out, state.id) if state.format == "delta" else None
        self._part: Part | None = None
        # Of the part under way: records read, and what goes on behind them.
        self._records, self._token = 0, state.resume_token
        self._total = 0
        # Whether all that was taken into the part is in it.
        self._is_whole = True

    def run(self, client: Client) -> State:
        """Until the end; raises what keeps it from there, having kept what can be."""
        self._catch_up()
        self._save(self._state)
        batches = client.export(
            self._state.record_filter(), resume_token=self._state.resume_token, fields=self._format.fields
        )
        try:
            for batch in batches:
                self._take(batch)
            self._keep_part()
        except (ClientError, KeyboardInterrupt):
            if self._is_whole and self._format.is_resumable:
                self._keep_part()
            raise
        finally:
            self._leave()
        self._save(replace(self._state, is_complete=True))
        return self._state

    def _catch_up(self) -> None:
        """Bring state and files together, where the last run was killed between them."""
        if self._delta is not None:
            if (said := self._delta.latest()) and len((latest := State.unpack(said.encode())).parts) > len(
                self._state.parts
            ):
                self._state, self._token = latest, latest.resume_token
            return
        known = {part.name for part in self._state.parts}
        for name in self._place.names():
            if name.startswith("part-") and name not in known:
                self._place.remove(name)

    def _take(self, batch: v1.ExportRecordsResponse) -> None:
        self._total = batch.total or self._total
        if batch.records:
            self._is_whole = False
            if self._part is None:
                self._part = self._format.open(self._file())
            self._part.add(batch.records)
        self._records += len(batch.records)
        self._token = batch.resume_token or self._token
        self._is_whole = True
        self._tell(self._state.records + self._records, self._total)
        if self._part is not None and self._part.size_bytes >= self._part_bytes:
            self._keep_part()

    def _file(self) -> Any:
        return None if self._delta is not None else self._place.open(self._name())

    def _name(self) -> str:
        return f"part-{len(self._state.parts):05}{self._format.suffix}"

    def _keep_part(self) -> None:
        """Make what was read since the last part a part, and say so."""
        part = self._part
        if part is None:
            return
        self._is_whole = False
        part.finish()
        written = Written(self._name(), part.rows, part.size_bytes)
        planned = self._state.with_part(written, self._token, self._records, dict(part.skipped))
        if not part.rows:
            part.discard()
        elif isinstance(part, Commit):
            assert self._delta is not None
            self._delta.commit(len(planned.parts), part.batches, planned.pack().decode())
        else:
            part.keep()
        self._part = None
        self._save(planned)

    def _save(self, state: State) -> None:
        self._place.put(STATE_NAME, state.pack())
        self._state, self._records, self._is_whole = state, 0, True

    def _leave(self) -> None:
        """Leave nothing half."""
        if self._part is not None:
            with suppress(OSError):
                self._part.discard()
            self._part = None
