"""Delta: an export as commits of a Delta Lake table; each part is one, written once for ever.

A commit says in the table's own log that it is transaction N of this export (Delta's protocol, "Transaction
Identifiers"), and how the export goes on behind it. So the table itself tells how far it is: where an export
was killed between a commit and its state, the state is brought up to the table. A table takes one export
after the other. Needs deltalake.
"""

import importlib.util
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from infertap import v1
from infertap.export.errors import ExportError

# A part is held in memory until it is committed.
MOST_PART_BYTES: Final = 64 << 20
_STATE: Final = "infertap.export"


class DeltaTable:
    """The table of one export."""

    def __init__(self, out: str, export_id: str) -> None:
        """`out` is a path or a URI; raises ExportError."""
        if importlib.util.find_spec("deltalake") is None:
            raise ExportError("a Delta table needs deltalake: pip install 'infertap[delta]'")
        self._where, self._options = _location(out)
        self._id = export_id

    def latest(self, most: int | None = None) -> str:
        """What was said with the latest commit of this export; else empty. At most so many commits are looked
        through. Raises ExportError.
        """
        with self._translating():
            return self._latest(most)

    def _latest(self, most: int | None) -> str:
        import deltalake  # noqa: PLC0415  (an extra)

        if not deltalake.DeltaTable.is_deltatable(self._where, self._options):
            return ""
        table = deltalake.DeltaTable(self._where, storage_options=self._options)
        if table.transaction_version(self._id) is None:
            return ""
        said = (entry.get(_STATE, "") for entry in table.history(most))
        return next((text for text in said if text and json.loads(text)["id"] == self._id), "")

    def commit(self, number: int, batches: Sequence[Any], state: str) -> None:
        """Add rows as transaction `number`; raises ExportError."""
        import deltalake  # noqa: PLC0415
        import pyarrow as pa  # noqa: PLC0415

        from infertap.arrow import schema  # noqa: PLC0415

        said = deltalake.CommitProperties(
            custom_metadata={_STATE: state}, app_transactions=[deltalake.Transaction(self._id, number)]
        )
        with self._translating():
            deltalake.write_deltalake(
                self._where,
                pa.Table.from_batches(batches, schema()),
                mode="append",
                schema_mode="merge",
                storage_options=self._options,
                commit_properties=said,
            )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        from deltalake.exceptions import DeltaError  # noqa: PLC0415

        try:
            yield
        except DeltaError as error:
            raise ExportError(f"{self._where}: {error}") from None


class Commit:
    """One part: rows in memory, until they are committed."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.rows, self.size_bytes = 0, 0
        self.skipped: Counter[str] = Counter()

    def add(self, records: Sequence[v1.Record]) -> None:
        """Take some more."""
        from infertap.arrow import to_batch  # noqa: PLC0415

        self.batches.append(to_batch(records))
        self.size_bytes += self.batches[-1].nbytes
        self.rows += len(records)

    def finish(self) -> None:
        """No more will come."""

    def keep(self) -> None:
        """Nothing: `DeltaTable.commit` does it."""

    def discard(self) -> None:
        """Leave nothing of it."""


def _location(out: str) -> tuple[str, dict[str, str] | None]:
    """Where the table is, and what deltalake must be told that pyarrow reads from the URI."""
    if "://" not in out:
        return out, None
    parts = urlsplit(out)
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    endpoint = asked.get("endpoint_override", "")
    options = {"AWS_REGION": asked["region"]} if "region" in asked else {}
    if endpoint:
        scheme = asked.get("scheme", "https")
        options["AWS_ENDPOINT_URL"] = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        options["AWS_ALLOW_HTTP"] = "true"
    return parts._replace(query="").geturl(), options
