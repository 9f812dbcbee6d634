"""Files for a lake, in a directory: `tests/journeys/test_sinks.py` has an object store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from infertap import v1
from infertap.export import ExportError
from storage.sinks import Batch, Sink, SinkError, delta
from storage.sinks import objects as kind
from storage.sinks.sink_table import SinkTable

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND


async def opened(url: str, **settings: Any) -> Sink:
    table = SinkTable("lake", {"url": url, **settings})
    made = kind.read_kind(table)
    table.end()
    return await made()


def record(making: "Making", sequence: int, stored_ns: int = NOW, tenant: str = "") -> v1.Record:
    made = making.record(sequence)
    made.spool_id, made.sequence, made.tenant = b"s" * 16, sequence, tenant
    made.stored_at.FromNanoseconds(stored_ns)
    return made


def files(directory: Path) -> list[str]:
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file())


async def test_a_file_for_each_tenant_and_day(tmp_path: Path, making: "Making") -> None:
    """Under names that tell the sink, the batch and what is in it; readable as a partitioned table."""
    sink = await opened(str(tmp_path))
    batch = [
        record(making, 1, tenant="a"),
        record(making, 2, tenant="b"),
        record(making, 3, NOW + DAY, "a"),
        record(making, 4, tenant="a"),
    ]
    assert list(await sink.deliver(Batch(batch, 7))) == []
    await sink.close()
    found = files(tmp_path)
    assert [name.rpartition("/")[0] for name in found] == [
        "tenant_name=a/stored_day=2026-01-01",
        "tenant_name=a/stored_day=2026-01-02",
        "tenant_name=b/stored_day=2026-01-01",
    ]
    digest = Batch([batch[0], batch[3]]).digest
    assert found[0].endswith(f"/lake-000000000007-{digest}.parquet")
    assert sorted(pd.read_parquet(tmp_path)["sequence"]) == [1, 2, 3, 4]
    query = f"SELECT sequence FROM read_parquet('{tmp_path}/**/*.parquet') WHERE tenant_name = 'b'"
    assert duckdb.sql(query).fetchall() == [(2,)]


async def test_again_over_itself(tmp_path: Path, making: "Making") -> None:
    """A batch that is tried again, by another process too, leaves one file; JSON lines are as exports have
    them.
    """
    batch = Batch([record(making, 1), record(making, 2)], 3)
    for _ in range(2):
        sink = await opened(str(tmp_path), format="jsonl")
        await sink.deliver(batch)
        await sink.close()
        await sink.close()
        sink._thread.shutdown()  # type: ignore[attr-defined]
    (name,) = files(tmp_path)
    assert name == f"stored_day=2026-01-01/lake-000000000003-{batch.digest}.jsonl"
    assert [json.loads(line)["call_id"] for line in (tmp_path / name).read_text().splitlines()] == [
        each.call_id for each in batch.records
    ]


async def test_a_place_that_fails(tmp_path: Path, making: "Making") -> None:
    """What can't be written is tried again, and leaves no half file."""
    (tmp_path / "stored_day=2026-01-01").write_text("in the way")
    sink = await opened(str(tmp_path))
    with pytest.raises(SinkError, match=r"File exists|Not a directory"):
        await sink.deliver(Batch([record(making, 1)]))
    (tmp_path / "stored_day=2026-01-01").unlink()
    await sink.deliver(Batch([record(making, 1)]))
    await sink.close()
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        (
            "s3://bucket/x?endpoint_override=store:9000&scheme=http",
            OSError("key 'KEY': AWS Error ACCESS_DENIED during PutObject operation: KEY"),
            "store:9000: AWS Error ACCESS_DENIED",
        ),
        (
            "s3://bucket/KEY",
            OSError("GET http://KEY: dns error\nfailed to look up"),
            "s3://bucket: dns error",
        ),
        (
            "abfss://KEY@account.dfs.core.windows.net/x",
            OSError("Server returned non-2xx status code: 403 Forbidden: <Key>KEY</Key>"),
            "abfss://account.dfs.core.windows.net: status code: 403",
        ),
        ("/lake", ExportError("/KEY: Os { code: 13, kind: PermissionDenied }"), "/lake: Permission denied"),
        ("/lake", FileNotFoundError(2, "Failed to open 'KEY'"), "/lake: No such file or directory"),
        ("s3://bucket", pa.ArrowInvalid("KEY"), "s3://bucket: ArrowInvalid"),
    ],
)
def test_what_a_store_says(url: str, error: Exception, said: str) -> None:
    """What is wrong and where is told, and no more of what the store says or the place's URL holds."""
    with pytest.raises(SinkError) as caught, kind.told(url):
        raise error
    assert caught.value.kind == said


async def test_a_table_that_is_away(making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """A Delta table whose store is away is told by the store's host and port, and what the system says."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    url = "s3://bucket/x?region=eu&endpoint_override=127.0.0.1:1&scheme=http"
    sink = await delta.read_kind(SinkTable("lake", {"url": url}))()
    with pytest.raises(SinkError, match=r"^127\.0\.0\.1:1: Connection refused$"):
        await sink.deliver(Batch([record(making, 1)]))
    await sink.close()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("relative", "absolute path"),
        ("ftp://x/y", "expected an absolute path, or one of"),
        ("s3://KEY:SECRET@bucket/x", "no keys belong here"),
        ("abfs://:SECRET@account/x", "no keys belong here"),
    ],
)
def test_places_that_can_not_be(url: str, fault: str) -> None:
    """What is no place is refused at the start, and keys are not quoted."""
    with pytest.raises(ValueError, match=fault) as caught:
        kind.read_kind(SinkTable("lake", {"url": url}))
    assert "SECRET" not in str(caught.value)


def test_delta_exactly_once(tmp_path: Path, making: "Making") -> None:
    """A batch that was committed before a crash is found in the table, and not committed again."""
    import deltalake

    batch = Batch([record(making, 1), record(making, 2)], 1)
    for each in (batch, batch, Batch([record(making, 3)], 2)):
        delta.Delta("lake", str(tmp_path / "table"))._commit(each)
    table = deltalake.DeltaTable(tmp_path / "table")
    assert sorted(table.to_pyarrow_table()["sequence"].to_pylist()) == [1, 2, 3]
    assert table.transaction_version("infertap sink lake") == 2
    # An archive that was put back from a backup has other records under the number: they are not left out.
    delta.Delta("lake", str(tmp_path / "table"))._commit(Batch([record(making, 4)], 2))
    table.update_incremental()
    assert sorted(table.to_pyarrow_table()["sequence"].to_pylist()) == [1, 2, 3, 4]
