"""Delta: appends records to a Delta Lake table, each exactly once. Touches the table, by deltalake.

A batch is one commit. It says in the table's own log that it is transaction NUMBER of this sink (Delta's
protocol, "Transaction Identifiers"), and which records are in it. What was committed before a crash is found
there, and not committed again: a batch is the same afterwards, but for records that were deleted meanwhile.
"""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import deltalake as _deltalake  # noqa: F401  (so that a start without it fails)

from infertap.export import Commit, DeltaTable
from storage.sinks.interface import Batch, OpenSink, Refused, Sink
from storage.sinks.objects import read_place, told
from storage.sinks.sink_table import SinkTable

# Commits among which the sink's own latest is looked for: others may write to the table too.
_LOOKED_THROUGH: Final = 1000
_STEP: Final = 1000


def read_kind(table: SinkTable) -> OpenSink:
    """`url`: the table's absolute path or URI. Raises ValueError."""
    where = read_place(table)

    async def make() -> Sink:
        return Delta(table.name, where)

    return make


class Delta:
    """The sink."""

    def __init__(self, sink: str, where: str) -> None:
        """Connects to nothing yet."""
        self._id = f"infertap sink {sink}"
        self._where = where
        # Whether a batch might be in the table already: after a start, and after what went wrong.
        self._is_to_look = True
        self._thread = ThreadPoolExecutor(1, f"delta-{sink}")

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """See Sink."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)
        return ()

    async def close(self) -> None:
        """See Sink."""
        self._thread.shutdown(wait=False)

    def _commit(self, batch: Batch) -> None:
        said = {"id": self._id, "number": batch.number, "digest": batch.digest}
        with told(self._where):
            table = DeltaTable(self._where, self._id)
            if self._is_to_look and _is_said(table.latest(_LOOKED_THROUGH), said):
                self._is_to_look = False
                return
            self._is_to_look = True
            commit = Commit()
            for begin in range(0, len(batch.records), _STEP):
                commit.add(batch.records[begin : begin + _STEP])
            table.commit(batch.number, commit.batches, json.dumps(said))
            self._is_to_look = False


def _is_said(latest: str, said: dict[str, object]) -> bool:
    return bool(latest) and json.loads(latest) == said
