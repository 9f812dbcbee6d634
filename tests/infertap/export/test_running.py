"""An export writes each row once, whatever ends it in between."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import Client, v1
from infertap.client import InvalidRequestError, UnreachableError
from infertap.export import STATE_NAME, ExportError, State, export_records

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer

FORMATS = ["jsonl", "parquet", "delta"]


def numbered(count: int) -> list[v1.Record]:
    made = [v1.Record(call_id=f"call-{number}", sequence=number) for number in range(1, count + 1)]
    for record in made:
        record.request.data = b"x" * 200
    return made


def rows(out: Path, format: str) -> list[int]:
    """The sequences that are there, as readers of the format see them."""
    if format == "delta":
        import deltalake

        return sorted(deltalake.DeltaTable(out).to_pyarrow_table()["sequence"].to_pylist())
    found: list[int] = []
    for path in sorted(out.glob("part-*")):
        if format == "jsonl":
            found += [int(json.loads(line)["sequence"]) for line in path.read_text().splitlines()]
        else:
            from pyarrow import parquet

            found += parquet.read_table(path)["sequence"].to_pylist()
    return found


def run(server: "RecordsServer", out: Path, format: str, **asked: Any) -> State:
    with Client(server.address, attempts=1) as client:
        return export_records(client, str(out), format, part_bytes=2000, **asked)


@pytest.mark.parametrize("format", FORMATS)
def test_all_rows_in_parts(server: "RecordsServer", tmp_path: Path, format: str) -> None:
    """Every record is a row, in parts of about the size that was asked for; the state says what there is."""
    server.records = numbered(95)
    told: list[tuple[int, int]] = []
    state = run(server, tmp_path, format, tell=lambda done, total: told.append((done, total)))
    assert rows(tmp_path, format) == list(range(1, 96))
    assert (state.rows, state.records, state.is_complete) == (95, 95, True)
    assert len(state.parts) > 2
    assert sum(part.rows for part in state.parts) == 95
    assert State.unpack((tmp_path / STATE_NAME).read_bytes()) == state
    assert (told[0], told[-1]) == ((10, 95), (95, 95))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_complete_is_left(server: "RecordsServer", tmp_path: Path, format: str) -> None:
    """Run again, an export that is complete asks nothing and changes nothing."""
    server.records = numbered(20)
    first = run(server, tmp_path, format)
    server.requests.clear()
    assert run(server, tmp_path, format) == first
    assert server.requests == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_connection_that_is_gone(server: "RecordsServer", tmp_path: Path, format: str) -> None:
    """What came is kept, nothing of it is fetched again, and the rest follows when it is run again."""
    server.records = numbered(95)
    server.breaks_after = 70
    with pytest.raises(UnreachableError):
        run(server, tmp_path, format)
    assert rows(tmp_path, format) == list(range(1, 71))
    server.requests.clear()
    run(server, tmp_path, format)
    assert [request.resume_token for request in server.requests] == ["70"]
    assert rows(tmp_path, format) == list(range(1, 96))


class Killed(BaseException):
    """Stands for the end of the process: nothing is tidied up after it."""


# What a killed process leaves open is closed for it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_every_write(
    server: "RecordsServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """Killed before or after any file or commit appears, and run again: the same rows, once each."""
    from infertap.export import delta, places, running

    server.records = numbered(45)
    steps = 0
    dies_at = 0

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == dies_at:
                raise Killed
            answer = act(*given)
            steps += 1
            if steps == dies_at:
                raise Killed
            return answer

        return done

    monkeypatch.setattr(places._LocalFile, "keep", dying(places._LocalFile.keep))
    monkeypatch.setattr(delta.DeltaTable, "commit", dying(delta.DeltaTable.commit))
    # A process that is killed tidies nothing up.
    monkeypatch.setattr(running._Run, "_leave", lambda self: None)
    run(server, tmp_path / "whole", format)
    last, kills = steps, 0
    for dies_at in range(1, last + 1):
        out = tmp_path / f"killed-{dies_at}"
        steps = 0
        with pytest.raises(Killed):
            run(server, out, format)
        kills += 1
        steps = last  # no more deaths
        assert run(server, out, format).rows == 45
        assert rows(out, format) == list(range(1, 46)), f"killed at write {dies_at}"
        assert not list(out.glob("*.partial"))
    assert kills == last > 6


def test_a_file_of_a_killed_attempt_is_removed(server: "RecordsServer", tmp_path: Path) -> None:
    """What the state does not know of is of an attempt that was killed, also where no part follows it."""
    server.records = numbered(10)
    server.breaks_after = 10
    run(server, tmp_path, "jsonl")
    state = State.unpack((tmp_path / STATE_NAME).read_bytes())
    unfinished = json.loads(state.pack()) | {"is_complete": False}
    (tmp_path / STATE_NAME).write_text(json.dumps(unfinished))
    (tmp_path / "part-00001.jsonl").write_text("left\n")
    (tmp_path / "part-00002.jsonl.partial").write_text("left\n")
    (tmp_path / "notes.txt").write_text("mine")
    run(server, tmp_path, "jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE_NAME, "notes.txt", "part-00000.jsonl"]


def test_another_export_is_not_mixed_in(server: "RecordsServer", tmp_path: Path) -> None:
    """A place holds one export: another filter, another format, or files of others are refused."""
    server.records = numbered(5)
    run(server, tmp_path / "one", "jsonl", model="iris")
    for format, model in (("jsonl", "other"), ("parquet", "iris")):
        with pytest.raises(ExportError, match="holds another export"):
            run(server, tmp_path / "one", format, model=model)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "part-0.parquet").write_text("x")
    with pytest.raises(ExportError, match="files of something else"):
        run(server, tmp_path / "theirs", "parquet")


def test_a_delta_table_takes_one_export_after_the_other(server: "RecordsServer", tmp_path: Path) -> None:
    """Once an export is complete, the next is appended; it too is there once."""
    server.records = numbered(15)
    run(server, tmp_path, "delta", model="iris")
    run(server, tmp_path, "delta", model="other")
    run(server, tmp_path, "delta", model="other")
    assert rows(tmp_path, "delta") == sorted([*range(1, 16)] * 2)


def test_two_at_once(server: "RecordsServer", tmp_path: Path) -> None:
    """The second export into a directory is refused while the first is running."""
    server.records = numbered(5)

    def second(done: int, total: int) -> None:
        with pytest.raises(ExportError, match="another export is writing"):
            run(server, tmp_path, "jsonl")

    assert run(server, tmp_path, "jsonl", tell=second).rows == 5


def test_what_can_not_be_meant(
    server: "RecordsServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown formats, conditions and stores, a file for a directory, a missing package: each is said."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ExportError, match="no format 'csv'; there are parquet, jsonl"):
        run(server, tmp_path, "csv")
    with pytest.raises(InvalidRequestError, match="modle"):
        run(server, tmp_path, "jsonl", modle="x")
    with pytest.raises(ExportError, match="a directory of its own"):
        run(server, file, "jsonl")
    with Client(server.address) as client, pytest.raises(ExportError, match="nowhere://x"):
        export_records(client, "nowhere://x/y")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / STATE_NAME).write_text("{")
    with pytest.raises(ExportError, match="can't be read"):
        run(server, tmp_path / "x", "jsonl")
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"needs pyarrow: pip install 'infertap\[export\]'"):
        run(server, tmp_path, "parquet")


def test_nothing_to_export(server: "RecordsServer", tmp_path: Path) -> None:
    """No record, no part; that it is complete is said all the same."""
    state = run(server, tmp_path, "parquet")
    assert (state.parts, state.is_complete) == ((), True)


def test_a_refusal_leaves_no_part(server: "RecordsServer", tmp_path: Path) -> None:
    """What the server refuses at once leaves a state to go on from, and nothing else."""
    server.fails_with = (grpc.StatusCode.INVALID_ARGUMENT, "filter.path: too long")
    with pytest.raises(InvalidRequestError):
        run(server, tmp_path, "jsonl")
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


class Plenty:
    """A client with more than memory should hold: batches of three MiB, made when they are asked for."""

    BATCHES = 50

    def __init__(self) -> None:
        chat = {"messages": [{"role": "user", "content": "?"}]}
        answer = {"choices": [{"message": {"role": "assistant", "content": "x" * (256 << 10)}}]}
        self._record = v1.Record(call_id="call", state=v1.COMPLETED, model=v1.Model(api="openai"))
        self._record.model.operation = "chat"
        self._record.request.data = json.dumps(chat).encode()
        self._record.response.data = json.dumps(answer).encode()
        self._record.feedback.add(thumb=v1.THUMB_UP)

    def export(self, *_: object, **__: object) -> Iterator[v1.ExportRecordsResponse]:
        for number in range(self.BATCHES):
            answer = v1.ExportRecordsResponse(records=[self._record] * 8, resume_token=str(number))
            for place, each in enumerate(answer.records):
                each.request.data = b'{"messages": [{"role": "user", "content": "%d.%d"}]}' % (number, place)
                each.request_id = os.urandom(64 << 10).hex()
            yield answer


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("format", ["jsonl", "parquet", "delta", "openai-jsonl", "preference-jsonl"])
def test_memory_is_constant(tmp_path: Path, format: str) -> None:
    """What is held does not grow with what is exported: the later half needs no more than the first."""
    held: list[int] = []
    client: Any = Plenty()
    state = export_records(
        client,
        str(tmp_path / "out"),
        format,
        part_bytes=32 << 20,
        tell=lambda *_: held.append(resident_bytes()),
    )
    assert state.records == Plenty.BATCHES * 8
    half = len(held) // 2
    grown = max(held[half:]) - max(held[:half])
    assert grown < 40 << 20, f"{grown >> 20} MiB more"
