"""`infertap feedback` gives feedback and shows what was given."""

import json
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.cli import main
from infertap.rendering import in_full

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def test_add_and_list(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """What is given is kept, and shown with everything it says; hostile text as code points."""
    said = ["--rating", "4", "--thumb", "down", "--label", "late", "--label", "wrong", "--event", "copied"]
    said += ["--event", "seconds=2.5", "--ground-truth", "null", "--comment", "\x1b[31mred", "--id", "f-1"]
    said += ["--source", "web", "--correction", "42"]
    assert main(["feedback", "add", "--address", server.address, "--request-id", "r-1", *said]) == 0
    assert capsys.readouterr().out == "feedback f-1 kept; calls: call-1\n"
    assert main(["feedback", "list", "--address", server.address, "--request-id", "r-1"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["f-1", "request", "r-1", "web"]
    assert [line.strip() for line in lines] == [
        "rating 4",
        "thumb down",
        "labels late, wrong",
        "event copied",
        "event seconds 2.5",
        "comment: \\u001b[31mred",
        "correction: 42",
        "ground truth: null",
    ]


def test_a_call_is_not_said_to_be_recorded(
    server: "RecordsServer", capsys: pytest.CaptureFixture[str]
) -> None:
    """Given by call id, nobody has looked whether there is such a call."""
    call = ["--call-id", "01a1fcbe-4eff-7330-8f2b-fad13864be60"]
    assert main(["feedback", "add", "--address", server.address, *call, "--thumb", "up", "--id", "f-2"]) == 0
    assert capsys.readouterr().out == "feedback f-2 kept for call call-1\n"


def test_as_json(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """Objects by the contract's names."""
    common = ["--address", server.address, "--json", "--call-id", "01a1fcbe-4eff-7330-8f2b-fad13864be60"]
    assert main(["feedback", "add", *common, "--rating", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["call_ids"] == ["call-1"]
    assert main(["feedback", "list", *common]) == 0
    assert json.loads(capsys.readouterr().out)["rating"] == 1


def test_nothing_there(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """That there is none is said."""
    assert main(["feedback", "list", "--address", server.address]) == 0
    assert capsys.readouterr().out == "no feedback\n"


@pytest.mark.parametrize(
    "said",
    [
        ["--rating", "1"],
        ["--call-id", "c", "--request-id", "r", "--rating", "1"],
        ["--call-id", "c", "--ground-truth", "{"],
        ["--call-id", "c", "--event", "seconds=many"],
    ],
)
def test_what_cannot_be_meant(said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and which option is wrong."""
    with pytest.raises(SystemExit) as ended:
        main(["feedback", "add", *said])
    assert ended.value.code == 2
    assert "--" in capsys.readouterr().err


def test_records_by_feedback(server: "RecordsServer") -> None:
    """Options of a list become the filter's conditions."""
    for options, expected in (
        (["--feedback", "any"], v1.FeedbackFilter()),
        (["--feedback", "none"], v1.FeedbackFilter(is_absent=True)),
        (["--min-rating", "0", "--max-rating", "2"], v1.FeedbackFilter(min_rating=0, max_rating=2)),
        (["--feedback-label", "wrong"], v1.FeedbackFilter(label="wrong")),
        (["--thumb", "down"], v1.FeedbackFilter(thumb=v1.THUMB_DOWN)),
    ):
        assert main(["records", "list", "--address", server.address, *options]) == 0
        assert server.requests[-1].filter.feedback == expected
        assert server.requests[-1].filter.HasField("feedback")
    assert main(["records", "list", "--address", server.address]) == 0
    assert not server.requests[-1].filter.HasField("feedback")


def test_record_in_full(record: v1.Record) -> None:
    """A record is shown with what was given to it."""
    record.feedback.add(comment="not\x07 this", rating=2)
    assert "rating 2; comment: not\\u0007 this" in in_full(record)
