"""The command line hands over to the right command, and says in a line what is wrong."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import infertap
from infertap.cli import main


def run(*arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infertap.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"infertap {infertap.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["records", "--help"], ["records", "list", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help tells what there is."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: infertap" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["record"], "'record'"),
        (["records"], "ACTION"),
        (["records", "get"], "CALL_ID"),
        (["records", "list", "--state", "done"], "'done'"),
        (["records", "list", "--since", "soon"], "'soon'"),
        (["records", "list", "--since", "99999999999d"], "'99999999999d'"),
        (["records", "list", "--since", "999999d"], "'999999d'"),
        (["records", "list", "--until", "0001-01-01T00:00:00+10:00"], "'0001-01-01T00:00:00+10:00'"),
        (["records", "list", "--min-duration", "99999999999d"], "'99999999999d'"),
        (["records", "list", "--limit", "0"], "'0'"),
        (["records", "tail", "--backlog", "9999"], "'9999'"),
    ],
)
def test_wrong_command_lines(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be meant ends with status 2, and names what is wrong."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "audit checkpoint",
        "audit proof x --key k",
        "audit export x",
        "storage status",
        "storage backup x",
        "spool dead-letters resend --all",
    ],
)
def test_json_where_there_is_none(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that prints no JSON does not take --json and leave it at that."""
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--json"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("records list", "print a JSON object for each record"),
        ("records get", "print it as JSON"),
        ("records export", "print the state as JSON"),
        ("stats", "for each row"),
        ("feedback list", "for each piece"),
        ("audit findings", "for each finding"),
        ("verify", "print what was found as one JSON object"),
        ("spool dead-letters show", "print it as JSON"),
        ("storage sinks", "for each sink"),
    ],
)
def test_help_says_what_json_is_of(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed as JSON is a record here, and something else there."""
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown


@pytest.mark.parametrize("process", ["sidecar", "storage"])
def test_becomes_the_process(process: str) -> None:
    """`infertap sidecar` and `infertap storage` are the processes themselves, with their settings."""
    if process == "storage" and importlib.util.find_spec("duckdb") is None:
        pytest.skip("storage's packages are not installed")
    done = run(process, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: infertap {process} [--help]")
    assert "INFERTAP_" in done.stdout


def test_working_directory_is_not_imported(tmp_path: Path) -> None:
    """What lies where it is started, and is named like a module, is left alone."""
    tmp_path.joinpath("sidecar").mkdir()
    for name in ("sidecar/__init__.py", "random.py"):
        tmp_path.joinpath(name).write_text("raise SystemExit('imported from here')")
    command = Path(sys.executable).parent / "infertap"
    done = subprocess.run(
        [command, "sidecar", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_setting_of_the_process() -> None:
    """The process's exit status and its one line come through."""
    done = run("sidecar", env=os.environ | {"INFERTAP_WORKERS": "many"})
    assert done.returncode == 2
    assert done.stderr.startswith("INFERTAP_WORKERS")
    assert len(done.stderr.splitlines()) == 1


def test_storage_without_its_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where storage's packages are missing, the message says how to get them."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["storage"]) == 1
    assert "pip install 'infertap[storage]'" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    """Asking for help does not wait for packages that only commands need."""
    lines = (
        "import sys, infertap.cli",
        "try: infertap.cli.main(['--help'])",
        "except SystemExit: print(sorted(sys.modules))",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    modules = done.stdout.splitlines()[-1]
    assert not [name for name in ("grpc", "duckdb", "aiohttp", "lmdb", "httpx") if f"'{name}'" in modules]


def test_command_is_installed() -> None:
    """Installing the package gives the command `infertap`."""
    command = Path(sys.executable).parent / "infertap"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"infertap {infertap.__version__}\n"
