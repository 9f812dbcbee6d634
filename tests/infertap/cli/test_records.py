"""`infertap records` prints what was asked for."""

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from infertap import v1
from infertap.cli import main

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def test_list_as_a_table(
    server: "RecordsServer", record: v1.Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head, and a line for each record."""
    server.records = [record, record]
    assert main(["records", "list", "--address", server.address, "--limit", "5"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "#",
        "start",
        "model",
        "call",
        "status",
        "duration",
        "first",
        "byte",
        "state",
        "kept",
        "by",
    ]
    assert len(lines) == 2
    for told in (
        "7 ",
        "iris",
        "POST /v1/chat/completions",
        "200",
        "2.5 ms",
        "900 us",
        "completed",
        "rate 0.25",
    ):
        assert told in lines[0]


def test_list_as_json(server: "RecordsServer", record: v1.Record, capsys: pytest.CaptureFixture[str]) -> None:
    """An object on each line, by the contract's names."""
    server.records = [record, record]
    assert main(["records", "list", "--json", "--address", server.address]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["call_id"] for line in lines] == [record.call_id] * 2
    assert lines[0]["http_status"] == 200


def test_nothing_matches(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """That there is nothing is said, but not in between JSON."""
    assert main(["records", "list", "--address", server.address, "--state", "failed"]) == 0
    assert capsys.readouterr().out == "no records match\n"
    assert list(server.requests[0].filter.states) == [v1.FAILED]
    assert main(["records", "list", "--json", "--address", server.address]) == 0
    assert capsys.readouterr().out == ""


def test_get(server: "RecordsServer", record: v1.Record, capsys: pytest.CaptureFixture[str]) -> None:
    """One record in full, or as JSON."""
    server.records = [record]
    assert main(["records", "get", record.call_id, "--address", server.address]) == 0
    shown = capsys.readouterr().out
    for told in (
        "7 of spool abab",
        record.call_id,
        "req-1",
        "x FP32[1, 4]",
        "redacted: email x 1",
        '"mail": "<email>"',
    ):
        assert told in shown
    assert main(["records", "get", record.call_id, "--json", "--address", server.address]) == 0
    assert json.loads(capsys.readouterr().out)["request_id"] == "req-1"


def test_errors(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong is one line of plain text on standard error; what can't be meant has status 2."""
    assert main(["records", "get", "nobody", "--address", server.address]) == 1
    assert capsys.readouterr() == ("", "infertap: no record of call nobody\n")
    server.fails_with = (grpc.StatusCode.INVALID_ARGUMENT, "filter.path: expected …")
    assert main(["records", "list", "--address", server.address]) == 2
    assert capsys.readouterr().err == "infertap: filter.path: expected …\n"
    server.fails_with = (grpc.StatusCode.INTERNAL, "\x1b[31mred")
    assert main(["records", "list", "--address", server.address]) == 1
    assert "\x1b" not in capsys.readouterr().err
    assert main(["records", "list", "--address", "127.0.0.1:1"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_tail_until_interrupted(server: "RecordsServer", record: v1.Record) -> None:
    """Records are printed as they come; Ctrl-C ends it in order."""
    server.records = [record]
    command = ["records", "tail", "--json", "--backlog", "1", "--address", server.address]
    with subprocess.Popen(
        [sys.executable, "-m", "infertap.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert json.loads(tail.stdout.readline())["call_id"] == record.call_id
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 0
        assert tail.stderr.read() == b""


def test_reader_that_has_enough(server: "RecordsServer", record: v1.Record) -> None:
    """`infertap records list | head -1` ends without a traceback."""
    server.records = [record] * 2000
    reading, writing = os.pipe()
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "infertap.cli",
            "records",
            "list",
            "--limit",
            "2000",
            "--address",
            server.address,
        ],
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as listing:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        assert listing.stderr is not None
        assert listing.wait(30) == 0
        assert listing.stderr.read() == b""


def test_reader_that_is_gone(server: "RecordsServer", record: v1.Record) -> None:
    """A few lines that nobody reads any more end in silence too."""
    server.records = [record]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "infertap.cli", "records", "list", "--address", server.address]
    # Buffered, as it is by itself.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, env=environ, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_terminal_of_few_characters(server: "RecordsServer", record: v1.Record) -> None:
    """What the terminal's encoding lacks is shown by code point."""
    record.model.name = "模型"
    server.records = [record]
    command = [sys.executable, "-m", "infertap.cli", "records", "list", "--address", server.address]
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u6a21\\u578b" in done.stdout
