"""`infertap spool dead-letters` lists, shows and resends what storage refused."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from infertap import v1
from infertap.cli import main

LETTERS = [
    v1.DeadLetter(sequence=number, call_id=f"c-{number}", reason="no\x1b", size_bytes=9) for number in (2, 5)
]


class Spools(v1.SpoolServiceServicer):
    """Two dead letters, a page each."""

    def __init__(self) -> None:
        self.resent: list[v1.ResendDeadLettersRequest] = []

    def ListDeadLetters(self, request: Any, context: Any) -> v1.ListDeadLettersResponse:  # noqa: N802
        at = int(request.page_token or 0)
        return v1.ListDeadLettersResponse(
            dead_letters=LETTERS[at : at + 1], next_page_token="" if at > 1 else str(at + 1), total=2
        )

    def GetDeadLetter(self, request: Any, context: Any) -> v1.GetDeadLetterResponse:  # noqa: N802
        if request.sequence != 2:
            context.abort(grpc.StatusCode.NOT_FOUND, "is no dead letter")
        return v1.GetDeadLetterResponse(dead_letter=LETTERS[0], record=v1.Record(method="POST", path="/v1/x"))

    def ResendDeadLetters(self, request: Any, context: Any) -> v1.ResendDeadLettersResponse:  # noqa: N802
        self.resent.append(request)
        return v1.ResendDeadLettersResponse(resent=2)


@pytest.fixture
def spools() -> Spools:
    return Spools()


@pytest.fixture
def address(spools: Spools) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    v1.add_SpoolServiceServicer_to_server(spools, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_list(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each, over all pages; hostile text as code points."""
    assert main(["spool", "dead-letters", "list", "--address", address]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["2", "c-2", "9", "bytes", "no\\u001b"], ["5", "c-5", "9", "bytes", "no\\u001b"]]
    assert main(["spool", "dead-letters", "list", "--json", "--address", address]) == 0
    assert [json.loads(line)["sequence"] for line in capsys.readouterr().out.splitlines()] == ["2", "5"]


def test_show(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The record in full; one that is no dead letter is an error with the address."""
    assert main(["spool", "dead-letters", "show", "2", "--address", address]) == 0
    assert "/v1/x" in capsys.readouterr().out
    assert main(["spool", "dead-letters", "show", "3", "--address", address]) == 1
    assert capsys.readouterr().err == f"infertap: {address}: NOT_FOUND: is no dead letter\n"


@pytest.mark.parametrize(
    ("chosen", "sequences", "is_all"), [(["2", "5"], [2, 5], False), (["--all"], [], True)]
)
def test_resend(
    address: str,
    spools: Spools,
    capsys: pytest.CaptureFixture[str],
    chosen: list[str],
    sequences: list[int],
    is_all: bool,
) -> None:
    """Named ones or all are asked for, and how many there were is told."""
    assert main(["spool", "dead-letters", "resend", *chosen, "--address", address]) == 0
    assert spools.resent == [v1.ResendDeadLettersRequest(sequences=sequences, all=is_all)]
    assert capsys.readouterr().out.startswith("2 pending again")


@pytest.mark.parametrize("arguments", [["resend"], ["resend", "0"], ["resend", "--all", "2"], ["show"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be meant is told by the usage."""
    with pytest.raises(SystemExit) as ended:
        main(["spool", "dead-letters", *arguments])
    assert ended.value.code == 2
