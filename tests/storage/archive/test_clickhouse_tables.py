"""The statements that make the tables: what each of them promises, single or on a cluster."""

import re

import pytest

from storage.archive import ModelRule, Retention
from storage.archive.clickhouse_expiry import time_to_live
from storage.archive.clickhouse_tables import TABLES, beneath, create_statements

DAY = 86_400_000_000_000


@pytest.mark.parametrize("cluster", ["", "main"])
def test_every_table_is_made(cluster: str) -> None:
    """Each where it is not there, ordered by what makes a row one row, durable when an insert answers."""
    statements = create_statements("records_of_us", cluster)
    made = [each for each in statements if "ORDER BY" in each]
    assert len(made) == len(TABLES)
    for statement in made:
        assert statement.startswith("CREATE TABLE IF NOT EXISTS records_of_us.")
        assert "ReplacingMergeTree(" in statement
        assert "fsync_after_insert = 1, fsync_part_directory = 1" in statement


def test_records_are_one_by_their_key() -> None:
    """What a row of `records` is replaced by is decided by what the record says, never by when it came."""
    [records] = [table for table in TABLES if table.name == "records"]
    assert {"spool_id", "sequence"} <= set(re.findall(r"\w+", records.order))
    assert "stored_ns" not in records.order


def test_on_a_cluster() -> None:
    """Replicated by shard and beneath a Distributed table where sharded; else whole on every server."""
    statements = create_statements("db", "main")
    assert all("ON CLUSTER 'main'" in each for each in statements)
    assert sum("Distributed('main', 'db', " in each for each in statements) == 4
    [records] = [
        each for each in statements if each.startswith("CREATE TABLE IF NOT EXISTS db.records_local")
    ]
    assert (
        "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/db/records_local', '{replica}')" in records
    )
    [feedback] = [each for each in statements if "db.feedback " in each]
    path = "'/clickhouse/tables/all/db/feedback', '{shard}-{replica}', earliness"
    assert path in feedback
    assert beneath("records", "main") == "records_local ON CLUSTER 'main'"
    assert beneath("feedback", "main") == "feedback ON CLUSTER 'main'"
    assert beneath("records", "") == "records"


def test_time_to_live() -> None:
    """The first rule that names a model counts; a model's name never ends its quotation."""
    rules = (ModelRule("it's\\*", DAY), ModelRule("llama", 2 * DAY), ModelRule("*", 30 * DAY))
    told = time_to_live(Retention(ages=rules))
    assert told.split(", toDateTime")[0].endswith("DELETE WHERE startsWith(model, 'it\\'s\\\\')")
    assert (
        "toIntervalSecond(259200) DELETE WHERE NOT startsWith(model, 'it\\'s\\\\') AND (model = 'llama')"
        in told
    )
    assert told.endswith("AND NOT (model = 'llama') AND 1")
    assert time_to_live(Retention()) == ""
