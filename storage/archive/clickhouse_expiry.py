"""Expiry in the ClickHouse engine: retention, and what of deletions a storage that was killed left undone.

When a day is over and all of it has passed its age, or there is too much, the day goes as a whole, with its
leaves, after the audit has stated what it held. What a rule for some models lets go earlier goes as by
request, but for the feedback. The table's TTL says the same a day later, for when no storage runs.

Several processes may do all this at once, though they had better not (see storage.upkeep): steps repeat
what was done already, and nothing worse.
"""

import datetime
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from storage.archive.clickhouse_arrivals import of_day
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_removing import ROW, STEP_RECORDS, Removing, Row
from storage.archive.clickhouse_tables import META
from storage.archive.clickhouse_writing import Writing, is_forgotten
from storage.archive.removals import BY_AGE, BY_REQUEST, BY_SIZE, Expired, ModelRule, Retention

_SECOND_NS: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _SECOND_NS
_DAY_SECONDS: Final = 86_400
_DAY_NS: Final = _DAY_SECONDS * _SECOND_NS
_NO_LIMIT: Final = 1 << 63
# After its end a day is still written to for as long: inserts take their time, and clocks differ.
_OVER_NS: Final = 600 * _SECOND_NS
# What is much work, and seldom any use: between two looks. And how far a look for remains goes back.
_SELDOM_SECONDS: Final = 60.0
_REMAINS_NS: Final = 900 * _SECOND_NS
_EARLIEST: Final = f"""
SELECT {ROW} FROM {{database}}.records WHERE {{such}}
ORDER BY stored_ns, spool_id, sequence LIMIT 1 BY spool_id, sequence LIMIT {{most:d}}
"""
_REMAINS: Final = f"""
SELECT {ROW}, caller, (spool_id, sequence) IN (SELECT spool_id, sequence FROM {{database}}.tombstones
    WHERE spool_id IN (SELECT spool_id FROM {{database}}.records WHERE {{lately}})) AS is_buried
FROM {{database}}.records
WHERE {{lately}} AND (is_buried OR caller IN (SELECT caller FROM {{database}}.requests))
LIMIT 1 BY spool_id, sequence LIMIT {{most:d}}
"""
_LATELY: Final = (
    "stored_ns >= {since:d} AND toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC')) "
    ">= toYYYYMMDD(fromUnixTimestamp64Nano(toInt64({since:d}), 'UTC'))"
)
_DAYS: Final = """
SELECT toString(toDate(parseDateTimeBestEffort(replaceAll(partition, '''', '')))) AS day,
    sum(if(table LIKE 'records%', rows, 0)), sum(bytes_on_disk) FROM {parts}
WHERE database = '{database}' AND table IN ('records', 'records_local', 'leaves', 'leaves_local') AND active
GROUP BY day ORDER BY day
"""


class _Day(NamedTuple):
    """What was stored on a day."""

    name: str
    records: int
    disk_bytes: int

    @property
    def partition(self) -> int:
        """As the table of records is cut by it: 20261121."""
        return int(self.name.replace("-", ""))

    @property
    def end_ns(self) -> int:
        """When the next one begins."""
        begin = datetime.datetime.fromisoformat(self.name).replace(tzinfo=datetime.UTC)
        return int(begin.timestamp()) * _SECOND_NS + _DAY_NS


class Expiring:
    """Lets expire. Safe from any thread."""

    def __init__(self, connection: Connection, writing: Writing, removing: Removing) -> None:
        self._connection = connection
        self._writing = writing
        self._removing = removing
        self._database = connection.location.database
        self._rewritten_ns = 0
        self._looked_at = -_SELDOM_SECONDS
        # The TTL that this process has told: once, else two with different settings would never end.
        self._told: str | None = None

    def expire(self, retention: Retention, now_ns: int, on_drop: Callable[[str, str], object]) -> Expired:
        """See Archive. `on_drop` is called with a day before all that was stored on it is dropped."""
        self._tell_ages(retention, now_ns)
        if time.monotonic() - self._looked_at >= _SELDOM_SECONDS:
            self._looked_at = time.monotonic()
            self._writing.compact(now_ns)
            self.take_remains(now_ns)
        days = self._days()
        if days and self._is_to_drop(days, retention, now_ns):
            return self._drop(days[0], on_drop)
        rows, reason = self._expired(retention, now_ns)
        if rows:
            self._removing.delete_rows(rows, reason, now_ns)
            return Expired(len(rows), 0, is_more=True)
        if now_ns - self._rewritten_ns > _DAY_NS:
            # Which is much work for what a few hours let go.
            self._rewritten_ns = now_ns
            self._removing.begin_rewriting()
        return Expired()

    # -- by age and size

    def _is_to_drop(self, days: Sequence[_Day], retention: Retention, now_ns: int) -> bool:
        """Whether the earliest day goes as a whole: nobody keeps it any longer, or there is too much. Never
        one that is still written to: what is stored at that very moment would go with it.
        """
        if days[0].end_ns + _OVER_NS > now_ns:
            return False
        longest = _longest_ns(retention)
        if longest is not None and self._last_stored(days[0]) < now_ns - longest:
            return True
        excess = sum(day.disk_bytes for day in days) - (retention.disk_bytes or _NO_LIMIT)
        return excess > 0 and len(days) > 1

    def _last_stored(self, day: _Day) -> int:
        [(last_ns,)] = self._connection.rows(
            f"SELECT max(stored_ns) FROM {self._database}.records "
            f"WHERE toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC')) = {day.partition:d}"
        )
        return int(last_ns)

    def _drop(self, day: _Day, on_drop: Callable[[str, str], object]) -> Expired:
        self._removing.tell_removal(of_day(self._database, day.partition))
        on_drop(day.name, day.name)
        for table, partition in (("records", str(day.partition)), ("leaves", f"'{day.name}'")):
            self._connection.command(
                f"ALTER TABLE {self._removing.beneath(table)} DROP PARTITION {partition}"
            )
        return Expired(day.records, day.disk_bytes, is_more=True)

    def _expired(self, retention: Retention, now_ns: int) -> tuple[list[Row], str]:
        """Records that rules of some models let go, the earliest stored first; as many as one step takes."""
        longest = _longest_ns(retention)
        for number, rule in enumerate(retention.ages):
            if rule.most != longest:  # else they go with their day
                such = f"{_ruled(retention.ages, number)} AND stored_ns < {now_ns - rule.most:d}"
                if rows := self._earliest(such):
                    return rows, BY_AGE
        for number, rule in enumerate(retention.sizes):
            such = _ruled(retention.sizes, number)
            [(there,)] = self._connection.rows(
                f"SELECT sum(record_bytes) FROM {self._database}.records FINAL WHERE {such}"
            )
            if there > rule.most:
                return _first_of(self._earliest(such), there - rule.most), BY_SIZE
        return [], ""

    def _earliest(self, such: str) -> list[Row]:
        statement = _EARLIEST.format(database=self._database, such=such, most=STEP_RECORDS)
        return [Row(*row) for row in self._connection.rows(statement)]

    def _days(self) -> list[_Day]:
        """The days of storing of which there are records or leaves, the earliest first."""
        parts = self._removing.system("parts")
        return [
            _Day(*row) for row in self._connection.rows(_DAYS.format(database=self._database, parts=parts))
        ]

    def _tell_ages(self, retention: Retention, now_ns: int) -> None:
        """Have the table's TTL say what the ages do, a day later: it is there for when no storage runs. A
        server whose clock says something else is not told.
        """
        wanted = time_to_live(retention)
        if wanted == self._told:
            return
        [(server_ns,)] = self._connection.rows("SELECT toUnixTimestamp64Nano(now64(9))")
        if abs(server_ns - now_ns) > _HOUR_NS:
            return
        told = self._connection.rows(
            f"SELECT value, written_ns FROM {self._database}.meta FINAL WHERE name = 'time to live'"
        )
        value, written_ns = told[0] if told else (b"", 0)
        if wanted.encode() != value:
            what = f"MODIFY TTL {wanted}" if wanted else "REMOVE TTL"
            self._connection.command(f"ALTER TABLE {self._removing.beneath('records')} {what}")
            self._connection.insert("meta", META, [("time to live", wanted, max(now_ns, written_ns + 1))])
        self._told = wanted

    # -- what was left undone

    def take_remains(self, now_ns: int) -> int:
        """Delete what a storage inserted that was killed before it saw that somebody had deleted it; returns
        how many records.
        """
        lately = _LATELY.format(since=now_ns - _REMAINS_NS)
        statement = _REMAINS.format(database=self._database, lately=lately, most=STEP_RECORDS)
        found = self._connection.rows(statement)
        callers = sorted({row[-2] for row in found} - {""})
        before = self._writing.forgotten_users(callers) if callers else {}
        rows = [
            row
            for *of_row, caller, is_buried in found
            if (row := Row(*of_row)) and (is_buried or is_forgotten(caller, row.tenant, row.start_ns, before))
        ]
        if rows:
            self._removing.delete_rows(rows, BY_REQUEST, now_ns)
            self._removing.begin_rewriting()
        return len(rows)


def time_to_live(retention: Retention) -> str:
    """The TTL of `records`, in ClickHouse's SQL: the ages, and a day. Empty for none."""
    return ", ".join(
        f"toDateTime(intDiv(stored_ns, {_SECOND_NS}), 'UTC') "
        f"+ toIntervalSecond({-(-rule.most // _SECOND_NS) + _DAY_SECONDS:d}) "
        f"DELETE WHERE {_ruled(retention.ages, number)}"
        for number, rule in enumerate(retention.ages)
    )


def _ruled(rules: Sequence[ModelRule], number: int) -> str:
    """Which records that rule is for: the first that names a model counts."""
    earlier = [f"NOT {_named(rule.model)}" for rule in rules[:number]]
    return " AND ".join([*earlier, _named(rules[number].model)])


def _named(model: str) -> str:
    if model == "*":
        return "1"
    escaped = model.removesuffix("*").replace("\\", "\\\\").replace("'", "\\'")
    return f"startsWith(model, '{escaped}')" if model.endswith("*") else f"(model = '{escaped}')"


def _longest_ns(retention: Retention) -> int | None:
    """The age at which everything has gone; None where something stays."""
    ages = retention.ages
    return max(rule.most for rule in ages) if any(rule.model == "*" for rule in ages) else None


def _first_of(rows: Sequence[Row], excess: int) -> list[Row]:
    """The first, until `excess` bytes are gone."""
    chosen: list[Row] = []
    for row in rows:
        if excess <= 0:
            break
        chosen.append(row)
        excess -= row.record_bytes
    return chosen
