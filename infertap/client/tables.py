"""Tables: gathers records in memory as an Arrow table or a data frame. Needs pyarrow, once it is used."""

import importlib.util
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from infertap import v1
from infertap.client.errors import InvalidRequestError, MissingExtraError

if TYPE_CHECKING:
    import pandas
    import pyarrow


# Of a mask's paths, as servers take them (infertap.query.masks).
_PATHS_MOST: Final = 100


class Gathering:
    """Records on their way into a table."""

    def __init__(self, columns: Iterable[str], limit: int | None, *, is_for_pandas: bool = False) -> None:
        """Of `columns`, or all; at most `limit` rows. Raises MissingExtraError and InvalidRequestError."""
        _demand("pyarrow", "pip install 'infertap[export]'")
        if is_for_pandas:
            _demand("pandas", "pip install pandas")
        from infertap.arrow import UnknownColumnError, columns_named  # noqa: PLC0415  (an extra)

        try:
            self._columns = columns_named(columns)
        except UnknownColumnError as error:
            raise InvalidRequestError(f"columns: {error}") from None
        self._batches: list[Any] = []
        self._left = limit

    @property
    def fields(self) -> list[str]:
        """What of each record is needed; nothing named where that is about all of it."""
        paths = sorted({column.path for column in self._columns})
        return paths if len(paths) <= _PATHS_MOST else []

    def add(self, records: Sequence[v1.Record]) -> bool:
        """Add some; whether it is enough now."""
        from infertap.arrow import to_batch  # noqa: PLC0415

        wanted = records if self._left is None else records[: self._left]
        self._batches.append(to_batch(wanted, self._columns))
        self._left = None if self._left is None else self._left - len(wanted)
        return self._left == 0

    def table(self) -> "pyarrow.Table":
        """What was gathered."""
        import pyarrow  # noqa: PLC0415

        from infertap.arrow import schema  # noqa: PLC0415

        return pyarrow.Table.from_batches(self._batches, schema(self._columns))

    def frame(self) -> "pandas.DataFrame":
        """What was gathered, for pandas."""
        return self.table().to_pandas()


def _demand(package: str, how: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"this needs {package}: {how}")
