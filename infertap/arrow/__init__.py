"""Records as Arrow tables: the columns that exports and data frames have. Needs pyarrow."""

from infertap.arrow.columns import (
    COLUMNS,
    SCHEMA_VERSION,
    Column,
    UnknownColumnError,
    columns_named,
    schema,
    to_batch,
)

__all__ = [
    "COLUMNS",
    "SCHEMA_VERSION",
    "Column",
    "UnknownColumnError",
    "columns_named",
    "schema",
    "to_batch",
]
