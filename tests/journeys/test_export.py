"""Journey: from storage into files that the tools of analysts and trainers read."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infertap import Client, v1
from infertap.export import STATE_NAME
from tests.journeys.conftest import Storage, await_true, receive_all
from tests.journeys.filling import NOON_NS, fill, made
from tests.journeys.object_store import ObjectStore, running_store

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

SECONDS = 60
COUNT = 1200


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A storage with COUNT records, one with feedback."""
    directory = tmp_path_factory.mktemp("storage")
    running = Storage(directory / "archive", directory / "storage.log")
    records = [made(number) for number in range(1, COUNT + 1)]
    for record in records:
        record.request.data = json.dumps({"number": record.call_id, "filler": "x" * 20_000}).encode()
    records[1].state, records[1].http_status = v1.FAILED, 500
    fill(running.address, records)
    with Client(running.address) as client:
        client.feedback(call_id=records[4].call_id, rating=4.5, thumb="up", labels=["good"], feedback_id="f")
    yield running
    running.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_store(tmp_path_factory.mktemp("s3") / "moto.log") as running:
        yield running


def command(storage: Storage, out: str, format: str, *options: str) -> list[str]:
    asked = ["records", "export", "--address", storage.address, "--out", out, "--format", format, *options]
    return [sys.executable, "-m", "infertap.cli", *asked]


def run(line: list[str], environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    given = os.environ | (environ or {})
    return subprocess.run(line, env=given, check=False, capture_output=True, text=True, timeout=SECONDS)


def sequences(out: Path) -> list[int]:
    found: list[int] = []
    for path in sorted(out.glob("part-*.jsonl")):
        found += [int(json.loads(line)["sequence"]) for line in path.read_text().splitlines()]
    return found


def kill_once(process: "subprocess.Popen[bytes]", claim: Callable[[], bool]) -> None:
    """kill -9 as soon as `claim` holds."""
    await_true(lambda: claim() or process.poll() is not None, "as far as that")
    process.send_signal(signal.SIGKILL)
    assert process.wait(SECONDS) == -signal.SIGKILL, "it was over before it could be killed"


def test_killed_in_the_middle(storage: Storage, tmp_path: Path) -> None:
    """kill -9 in the middle, twice, and started again with the same words: each row once, none missing."""
    line = command(storage, str(tmp_path / "out"), "jsonl", "--part-bytes", "1MiB", "--since", "9999d")
    for parts in (1, 3):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_once(process, lambda: len(list((tmp_path / "out").glob("part-*.jsonl"))) >= parts)  # noqa: B023
        state = json.loads((tmp_path / "out" / STATE_NAME).read_text())
        assert not state["is_complete"]
    done = run(line)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{COUNT:,} rows in ")
    assert sequences(tmp_path / "out") == list(range(1, COUNT + 1))
    assert not list((tmp_path / "out").glob("*.partial"))


def test_storage_restarts_in_the_middle(tmp_path: Path) -> None:
    """Storage is killed while it serves an export, and is back in a moment: the export goes on by itself."""
    first = Storage(tmp_path / "archive", tmp_path / "first.log")
    fill(first.address, [made(number) for number in range(1, 3001)])
    seen: list[int] = []
    with Client(first.address, attempts=30) as client:
        for batch in client.export():
            seen += [record.sequence for record in batch.records]
            if first.process.poll() is None:
                first.kill()
                second = Storage(tmp_path / "archive", tmp_path / "second.log", storage_listen=first.address)
    second.kill()
    assert seen == list(range(1, 3001))


def test_parquet_is_read_by_all(storage: Storage, tmp_path: Path) -> None:
    """pandas, Polars and DuckDB see the same rows, times with their zone, bodies, and feedback as structs."""
    out = str(tmp_path)
    done = run(command(storage, out, "parquet", "--part-bytes", "1MiB"))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("part-*.parquet"))) > 1
    by_all = (_by_duckdb(out), _by_polars(out), _by_pandas(out))
    start = datetime.fromtimestamp(NOON_NS // 10**9 + 5, UTC)
    for count, failed, fifth in by_all:
        assert (count, failed) == (COUNT, 1)
        assert fifth["start"].astimezone(UTC) == start
        assert json.loads(fifth["request_data"])["number"] == fifth["call_id"]
        given = fifth["feedback"][0]
        assert (given["rating"], given["thumb"], list(given["labels"])) == (4.5, "UP", ["good"])


def test_a_table_is_what_parquet_is(storage: Storage, tmp_path: Path) -> None:
    """All columns, in memory and in files, hold the same; pandas is given as many rows."""
    from pyarrow import parquet

    done = run(command(storage, str(tmp_path), "parquet"))
    assert done.returncode == 0, done.stderr
    with Client(storage.address) as client:
        table = client.to_arrow()
        assert table.equals(parquet.read_table(tmp_path / "part-00000.parquet"))
        assert len(client.to_pandas(limit=7)) == 7


def _by_duckdb(out: str) -> tuple[int, int, dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        rows = f"FROM '{out}/part-*.parquet'"
        counts = connection.execute(f"SELECT count(*), count(*) FILTER (state = 'FAILED') {rows}").fetchall()
        asked = f"SELECT start, call_id, request_data, feedback {rows} WHERE sequence = 5"
        [fifth] = connection.sql(asked).to_arrow_table().to_pylist()
    return counts[0][0], counts[0][1], fifth


def _by_polars(out: str) -> tuple[int, int, dict[str, Any]]:
    import polars

    frame = polars.read_parquet(f"{out}/part-*.parquet")
    [fifth] = frame.filter(polars.col("sequence") == 5).to_dicts()
    return frame.height, frame.filter(polars.col("state") == "FAILED").height, fifth


def _by_pandas(out: str) -> tuple[int, int, dict[str, Any]]:
    import pandas

    frame = pandas.read_parquet(out)
    fifth = frame[frame["sequence"] == 5].iloc[0].to_dict()
    return len(frame), int((frame["state"] == "FAILED").sum()), fifth


@pytest.mark.parametrize("format", ["jsonl", "parquet", "delta"])
def test_to_an_object_store(storage: Storage, store: ObjectStore, tmp_path: Path, format: str) -> None:
    """Straight into S3: killed in the middle and started again it has each row once, and no other object."""
    line = command(storage, store.uri(format), format, "--part-bytes", "1MiB", "--model", "iris")
    process = subprocess.Popen(line, env=os.environ | store.environ, stdout=subprocess.DEVNULL)

    def state() -> dict[str, Any]:
        is_there = STATE_NAME in store.names(format)
        return dict(json.loads(store.read(format, STATE_NAME))) if is_there else {"parts": []}

    kill_once(process, lambda: bool(state()["parts"]))
    done = run(line, store.environ)
    assert done.returncode == 0, done.stderr
    assert store.address not in done.stdout
    found = sorted(_of_store(store, format))
    assert found == list(range(1, COUNT + 1))
    parts = [part["name"] for part in state()["parts"]]
    assert len(parts) > 1
    if format != "delta":
        assert sorted(store.names(format)) == sorted([STATE_NAME, *parts])


def _of_store(store: ObjectStore, format: str) -> list[int]:
    if format == "delta":
        return [int(each) for each in _delta(store)["sequence"].to_pylist()]
    names = [name for name in store.names(format) if name.startswith("part-")]
    if format == "jsonl":
        text = b"".join(store.read(format, name) for name in names).decode()
        return [int(json.loads(line)["sequence"]) for line in text.splitlines()]
    import io

    from pyarrow import parquet

    tables = [parquet.read_table(io.BytesIO(store.read(format, name))) for name in names]
    return [each for table in tables for each in table["sequence"].to_pylist()]


def _delta(store: ObjectStore) -> Any:
    import deltalake

    options = store.environ | {
        "AWS_ENDPOINT_URL": f"http://{store.address}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }
    return deltalake.DeltaTable("s3://exports/delta", storage_options=options).to_pyarrow_table()


def test_a_wrong_secret(storage: Storage, store: ObjectStore) -> None:
    """An object store that refuses the key is said to, without the key."""
    environ = store.environ | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    done = run(command(storage, store.uri("refused"), "jsonl"), environ)
    assert done.returncode == 1
    assert "infertap: s3://exports/refused: " in done.stderr
    assert "not-the-secret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert store.names("refused") == []


def test_nothing_matches(storage: Storage, tmp_path: Path) -> None:
    """Asked for what is not there, an export is complete and empty; the status says that all went well."""
    done = run(command(storage, str(tmp_path / "none"), "jsonl", "--model", "nobody"))
    assert (done.returncode, done.stdout) == (0, f"0 rows in 0 parts at {tmp_path / 'none'}\n")


CHUNKS = [
    {"role": "assistant", "content": "Bon"},
    {"content": "jour."},
]


def stream(connection: socket.socket) -> None:
    """A chat that answers as a stream of events."""
    received = b""
    while not received.endswith(b"]}"):
        received += connection.recv(1 << 16)
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in CHUNKS]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    head = {"id": "c-1", "object": "chat.completion.chunk", "model": "alice"}
    body = "".join(f"data: {json.dumps(head | event)}\n\n" for event in events) + "data: [DONE]\n\n"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    connection.sendall(body.encode())


def test_a_streamed_chat_for_training(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    tmp_path: Path,
) -> None:
    """A chat that was really streamed is a line for fine-tuning, asked of storage and of the sidecar;
    corrected, it is a pair; what was masked stays masked.
    """
    storage = start_storage()
    sidecar = start_sidecar(start_model(stream).address, storage=storage.address)
    asked = [{"role": "user", "content": "Greet anna@example.com in French"}]
    body = json.dumps({"model": "alice", "stream": True, "messages": asked}).encode()
    with sidecar.connect() as client:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert receive_all(client).endswith(b"[DONE]\n\n")
    [record] = storage.await_records(1)
    with Client(storage.address) as client:
        client.feedback(call_id=record.call_id, correction="Salut.")
    prompt = [{"role": "user", "content": "Greet <email> in French"}]
    said = {"role": "assistant", "content": "Bonjour."}
    for name, address in (("storage", storage.address), ("sidecar", sidecar.api)):
        line = command(storage, str(tmp_path / name), "openai-jsonl", "--address", address)
        done = run(line)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / name / "part-00000.jsonl").read_text()) == {"messages": [*prompt, said]}
    done = run(command(storage, str(tmp_path / "pairs"), "preference-jsonl"))
    assert done.returncode == 0, done.stderr
    pair = json.loads((tmp_path / "pairs" / "part-00000.jsonl").read_text())
    assert (pair["prompt"], pair["rejected"]) == (prompt, [said])
    assert pair["chosen"] == [{"role": "assistant", "content": "Salut."}]
