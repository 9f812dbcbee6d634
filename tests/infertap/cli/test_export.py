"""`infertap records export` writes files and says what it did."""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.cli import main
from infertap.export import STATE_NAME

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def numbered(count: int) -> list[v1.Record]:
    return [v1.Record(call_id=f"call-{number}", sequence=number) for number in range(1, count + 1)]


def export(server: "RecordsServer", out: Path, *options: str) -> int:
    asked = ["records", "export", "--address", server.address, "--out", str(out), "--format", "jsonl"]
    return main([*asked, *options])


def test_what_was_done_is_said(
    server: "RecordsServer", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many rows and parts, and what was passed over for which reason; or all of the state as JSON."""
    server.records = numbered(25)
    assert export(server, tmp_path / "a") == 0
    assert capsys.readouterr().out == f"25 rows in 1 part at {tmp_path / 'a'}\n"
    assert export(server, tmp_path / "b", "--format", "openai-jsonl") == 0
    assert capsys.readouterr().out.splitlines()[1] == "25 passed over: not a chat completion"
    assert export(server, tmp_path / "c", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 25


def test_the_same_words_go_on(
    server: "RecordsServer", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--since 1h` typed again is the same export, of the hour before it began."""
    server.records = numbered(25)
    server.fails_with = None
    server.breaks_after = 20
    assert export(server, tmp_path, "--since", "1h", "--model", "iris") == 0
    first, second = server.requests
    assert first.filter == second.filter
    state = json.loads((tmp_path / STATE_NAME).read_text()) | {"is_complete": False}
    (tmp_path / STATE_NAME).write_text(json.dumps(state))
    assert export(server, tmp_path, "--model", "iris", "--since", "1h") == 0
    assert server.requests[-1].filter == first.filter
    capsys.readouterr()
    assert export(server, tmp_path, "--model", "iris", "--since", "2h") == 1
    assert "holds another export" in capsys.readouterr().err


def test_progress_is_for_terminals(
    server: "RecordsServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal is shown how far it is."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    server.records = numbered(40)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert export(server, tmp_path) == 0
    assert "10 of 40 records" in terminal.getvalue()


@pytest.mark.parametrize("wrong", [("--part-bytes", "5"), ("--since", "yesterday"), ("--format", "csv")])
def test_wrong_options(
    server: "RecordsServer", tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]
) -> None:
    """What can't be meant is refused before anything is asked or written."""
    with pytest.raises(SystemExit) as ended:
        export(server, tmp_path / "x", *wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err
    assert server.requests == []
    assert not (tmp_path / "x").exists()


def test_a_place_that_can_not_be(
    server: "RecordsServer", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a directory is needed is said in a line."""
    (tmp_path / "file").write_text("")
    assert export(server, tmp_path / "file") == 1
    assert capsys.readouterr().err.startswith("infertap: ")
