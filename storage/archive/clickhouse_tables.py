"""Tables of the ClickHouse engine: what is in a database, and the statements that make it. Pure.

    records      the columns of columns.py; one row for each (spool id, sequence), however often inserted
    received     which sequences of a spool were received: ranges, for ever; of one beginning the longest
    tombstones   what stays of a record that was deleted or has expired by a model's rule
    requests     users whose records were deleted on request, and when: what comes late is not kept
    leaves       of the audit's logs (see storage.audit), with the day
    audit        what else the audit keeps, by kind and key
    feedback     by the call or request that it is about; of one id the first that was received stands
    meta         the version of these tables, and the retention they were told

No table relies on a window of deduplication. Each is a ReplacingMergeTree ordered by what makes a row one
row: rows inserted twice, by whichever process and however late, become one when parts are merged, and
queries see one before that too (FINAL, or LIMIT 1 BY). `records` is cut by the day of storing, so that a
batch is one part, which appears as a whole, and retention drops parts rather than rewriting them; what makes
a row one, (start, spool id, sequence), says nothing of that day, so queries merge across days.

Spool ids are of fixed length: what they are compared with is made so too (toFixedString), for a set of texts
makes the primary index pass over rows that are there.

With a cluster, records, received, tombstones and leaves lie on the shard of their spool, replicated, each as
`NAME_local` beneath a Distributed table NAME; feedback, requests, audit and meta are whole on every server.

Version 3 has the columns of version 2, the indexes by_deleted and by_place (of records and of leaves), and a
time to live that is told without rewriting what is there. Older tables are brought forward by adding what is
not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from storage.archive.columns import RECORD_COLUMNS, Column, Kind

# Of these tables, whatever the embedded engine's files have. A newer one is refused.
TABLES_VERSION: Final = 3
# Sequences that share a place: what is near a record in its chain is found in one or two of them.
PLACE_SEQUENCES: Final = 4096

_KINDS: Final = {
    Kind.TEXT: "String",
    Kind.TEXTS: "Array(String)",
    Kind.SMALL: "Int32",
    Kind.INTEGER: "Int64",
    Kind.SEQUENCE: "UInt64",
    Kind.REAL: "Float64",
    Kind.BOOLEAN: "Bool",
    Kind.BYTES: "String",
}
_FIXED: Final = {"spool_id": 16, "previous_hash": 32, "hash": 32, "salt": 16}
# Texts of which there are few.
_FEW: Final = frozenset(
    [
        "method",
        "model",
        "model_version",
        "tenant",
        "cohort",
        "application_version",
        "pod",
        "namespace",
        "error_type",
    ]
)
# Durable when the insert answers, and when a merge has let the parts go that it was made of.
_DURABLE: Final = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_compressed_bytes_to_fsync_after_merge = 1, "
    "min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 10"
)


def place_of(sequence: str) -> str:
    """The expression for where in its chain a row stands, which indexes find it by."""
    return f"sipHash64(spool_id, intDiv({sequence}, {PLACE_SEQUENCES}))"


def column_type(column: Column) -> str:
    """How ClickHouse calls what `column` holds."""
    if column.name in _FIXED:
        return f"FixedString({_FIXED[column.name]})"
    kind = _KINDS[column.kind]
    if column.is_nullable:
        return f"Nullable({kind})"
    return f"LowCardinality({kind})" if column.name in _FEW else kind


RECORDS: Final = {column.name: column_type(column) for column in RECORD_COLUMNS}
RECEIVED: Final = {
    "spool_id": "FixedString(16)",
    "is_gap": "Bool",
    "first": "UInt64",
    "last": "UInt64",
    "reason": "LowCardinality(String)",
    "last_hash": "String",
    "tenant": "LowCardinality(String)",
    "stored_ns": "Int64",
}
TOMBSTONES: Final = {
    "tenant": "LowCardinality(String)",
    "spool_id": "FixedString(16)",
    "sequence": "UInt64",
    "previous_hash": "FixedString(32)",
    "hash": "FixedString(32)",
    "reason": "LowCardinality(String)",
    "deleted_ns": "Int64",
}
REQUESTS: Final = {"tenant": "String", "is_everyone": "Bool", "caller": "String", "before_ns": "Int64"}
LEAVES: Final = {
    "day": "LowCardinality(String)",
    "tenant": "LowCardinality(String)",
    "log": "LowCardinality(String)",
    "leaf_index": "UInt64",
    "kind": "UInt8",
    "spool_id": "FixedString(16)",
    "first": "UInt64",
    "last": "UInt64",
    "hash": "FixedString(32)",
    "reason": "LowCardinality(String)",
}
AUDIT: Final = {"kind": "LowCardinality(String)", "key": "String", "value": "String", "written_ns": "Int64"}
FEEDBACK: Final = {
    "tenant": "LowCardinality(String)",
    "subject": "String",
    "feedback_id": "String",
    # When it was received: microseconds × 1024, and its place in its request; latest is greatest.
    "number": "UInt64",
    # The greatest first: of what is sent twice the first stands.
    "earliness": "UInt64",
    "call_id": "String",
    "request_id": "String",
    "rating": "Nullable(Float64)",
    "thumb": "Int32",
    "labels": "Array(String)",
    "size_bytes": "UInt64",
    "feedback": "String",
}
META: Final = {"name": "String", "value": "String", "written_ns": "Int64"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table: `version` decides which of rows alike in `order` stands, the greatest; else the last."""

    name: str
    columns: dict[str, str]
    order: str
    version: str = ""
    partition: str = ""
    indexes: tuple[str, ...] = ()
    settings: str = _DURABLE
    # Rows that are read at least to find one; None for ClickHouse's own default.
    granule: int | None = None
    # On the shard of its spool, rather than whole on every server.
    is_sharded: bool = False


TABLES: Final = (
    Table(
        "records",
        RECORDS,
        "(start_ns, spool_id, sequence)",
        partition="toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC'))",
        indexes=(
            "by_call call_id TYPE bloom_filter(0.01) GRANULARITY 1",
            "by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1",
            "by_caller caller TYPE bloom_filter(0.01) GRANULARITY 4",
            "by_model model TYPE set(100) GRANULARITY 4",
            "by_stored stored_ns TYPE minmax GRANULARITY 1",
            f"by_place {place_of('sequence')} TYPE bloom_filter(0.01) GRANULARITY 1",
        ),
        # A row is some KiB: to read one, at most so many are read.
        settings=f"{_DURABLE}, ttl_only_drop_parts = 0, materialize_ttl_recalculate_only = 1",
        granule=1024,
        is_sharded=True,
    ),
    Table("received", RECEIVED, "(spool_id, is_gap, first)", version="last", is_sharded=True),
    Table(
        "tombstones",
        TOMBSTONES,
        "(spool_id, sequence)",
        indexes=("by_deleted deleted_ns TYPE minmax GRANULARITY 1",),
        is_sharded=True,
    ),
    Table("requests", REQUESTS, "(caller, tenant, is_everyone)", version="before_ns"),
    Table(
        "leaves",
        LEAVES,
        "(day, tenant, log, leaf_index)",
        partition="day",
        indexes=(f"by_place {place_of('last')} TYPE bloom_filter(0.01) GRANULARITY 1",),
        is_sharded=True,
    ),
    Table("audit", AUDIT, "(kind, key)", version="written_ns"),
    Table(
        "feedback",
        FEEDBACK,
        "(subject, tenant, feedback_id)",
        version="earliness",
        indexes=(
            "by_id feedback_id TYPE bloom_filter(0.01) GRANULARITY 1",
            "by_number number TYPE minmax GRANULARITY 1",
        ),
    ),
    Table("meta", META, "name", version="written_ns"),
)
# Of which the parts beneath a Distributed table are altered and mutated.
_SHARDED: Final = frozenset(table.name for table in TABLES if table.is_sharded)


def create_statements(database: str, cluster: str = "") -> list[str]:
    """What makes the database and its tables, where they are not there; the version is written last."""
    on_cluster = f" ON CLUSTER '{cluster}'" if cluster else ""
    statements = [f"CREATE DATABASE IF NOT EXISTS {database}{on_cluster}"]
    for table in TABLES:
        statements += _create(table, database, cluster)
    return statements


def forward_statements(database: str, cluster: str = "") -> list[str]:
    """What brings older tables to this version, after what makes those that are not there; harmless again."""
    statements = []
    for table in TABLES:
        name = f"{database}.{beneath(table.name, cluster)}"
        columns = [f"ADD COLUMN IF NOT EXISTS {column} {kind}" for column, kind in table.columns.items()]
        statements.append(f"ALTER TABLE {name} {', '.join(columns)}")
        if cluster and table.is_sharded:
            above = f"{database}.{table.name} ON CLUSTER '{cluster}'"
            statements.append(f"ALTER TABLE {above} {', '.join(columns)}")
        statements += [f"ALTER TABLE {name} ADD INDEX IF NOT EXISTS {index}" for index in table.indexes]
        statements.append(f"ALTER TABLE {name} MODIFY SETTING {table.settings}")
    return statements


def beneath(table: str, cluster: str) -> str:
    """What a table is called where it is altered or mutated: with a cluster, on which servers too."""
    if not cluster:
        return table
    return f"{table}_local ON CLUSTER '{cluster}'" if table in _SHARDED else f"{table} ON CLUSTER '{cluster}'"


def version_row(written_ns: int) -> list[object]:
    """The row of `meta` that says that all tables are there."""
    return ["version", str(TABLES_VERSION), written_ns]


def _create(table: Table, database: str, cluster: str) -> Iterator[str]:
    lines = [f"{name} {kind}{_codec(name)}" for name, kind in table.columns.items()]
    lines += [f"INDEX {index}" for index in table.indexes]
    inner = f"{table.name}_local" if cluster and table.is_sharded else table.name
    on_cluster = f" ON CLUSTER '{cluster}'" if cluster else ""
    partition = f"PARTITION BY {table.partition}\n" if table.partition else ""
    body = ",\n    ".join(lines)
    granule = "" if table.granule is None else f", index_granularity = {table.granule}"
    yield (
        f"CREATE TABLE IF NOT EXISTS {database}.{inner}{on_cluster} (\n    {body}\n)\n"
        f"ENGINE = {_engine(table, database, inner, cluster)}\n{partition}ORDER BY {table.order}\n"
        f"SETTINGS {table.settings}{granule}"
    )
    if cluster and table.is_sharded:
        yield (
            f"CREATE TABLE IF NOT EXISTS {database}.{table.name}{on_cluster} AS {database}.{inner}\n"
            f"ENGINE = Distributed('{cluster}', '{database}', '{inner}', cityHash64(spool_id))"
        )


def _engine(table: Table, database: str, inner: str, cluster: str) -> str:
    if not cluster:
        return f"ReplacingMergeTree({table.version})"
    # Who shares a path shares the rows: of a shard, or of all servers.
    shard = "{shard}" if table.is_sharded else "all"
    replica = "{replica}" if table.is_sharded else "{shard}-{replica}"
    version = f", {table.version}" if table.version else ""
    path = f"/clickhouse/tables/{shard}/{database}/{inner}"
    return f"ReplicatedReplacingMergeTree('{path}', '{replica}'{version})"


def _codec(name: str) -> str:
    """Times and sequences are told by their differences; what is long is worth compressing well."""
    if name in ("start_ns", "stored_ns", "sequence", "first", "last", "leaf_index"):
        return " CODEC(Delta, ZSTD(1))"
    if name in ("record", "feedback", "value"):
        return " CODEC(ZSTD(3))"
    if name in ("hash", "previous_hash", "salt", "last_hash"):
        return " CODEC(NONE)"
    return " CODEC(ZSTD(1))"
