"""What people said of answers becomes pairs of a better and a worse one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infertap import Client, v1
from infertap.export import export_records
from infertap.export.chats import NOT_A_CHAT
from infertap.export.preferences import NO_OPINION

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer

UP, DOWN = v1.THUMB_UP, v1.THUMB_DOWN


def said(number: int, prompt: str, answer: str, feedback: Sequence[dict[str, Any]]) -> v1.Record:
    record = v1.Record(call_id=f"c-{number}", state=v1.COMPLETED)
    record.timing.start.seconds = 1_700_000_000 + number
    record.model.api, record.model.operation, record.model.name = "openai", "chat", "m"
    record.request.data = json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()
    record.response.data = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
    for each in feedback:
        record.feedback.add(**each)
    return record


def pairs(
    server: "RecordsServer", out: Path, records: list[v1.Record]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    server.records = records
    with Client(server.address, attempts=1) as client:
        state = export_records(client, str(out), "preference-jsonl")
    lines = [line for path in out.glob("part-*") for line in path.read_text().splitlines()]
    assert state.rows == len(lines)
    return [json.loads(line) for line in lines], state.skipped


def short(pair: dict[str, Any]) -> tuple[str, str, str, str, list[str]]:
    texts = [pair[name][-1]["content"] for name in ("prompt", "chosen", "rejected")]
    return texts[0], texts[1], texts[2], pair["source"], pair["call_ids"]


def test_rules(server: "RecordsServer", tmp_path: Path) -> None:
    """Corrections beat what the model said; thumbs up beats down; the best rating beats the worst where no
    thumbs do; what nobody disagrees on is no pair.
    """
    records = [
        said(1, "thumbs", "good", [{"thumb": UP}, {"rating": 1}]),
        said(2, "thumbs", "bad", [{"thumb": DOWN}, {"rating": 5}]),
        said(3, "thumbs", "bad too", [{"thumb": DOWN}]),
        said(4, "stars", "three", [{"rating": 3}]),
        said(5, "stars", "five", [{"rating": 5}, {"rating": 5}]),
        said(6, "stars", "one", [{"rating": 1}]),
        said(7, "agreed", "yes", [{"thumb": UP, "rating": 4}]),
        said(8, "agreed", "also yes", [{"thumb": UP, "rating": 4}]),
        said(9, "corrected", "4711", [{"correction": "42"}, {"correction": "41"}]),
        said(10, "confirmed", "42", [{"correction": "42"}]),
        said(11, "same", "x", [{"thumb": UP}]),
        said(12, "same", "x", [{"thumb": DOWN}]),
        said(13, "silent", "x", [{"comment": "hm"}]),
        v1.Record(call_id="c-14"),
    ]
    found, skipped = pairs(server, tmp_path, records)
    assert sorted(short(pair) for pair in found) == [
        ("corrected", "42", "4711", "correction", ["c-9", "c-9"]),
        ("stars", "five", "one", "rating", ["c-5", "c-6"]),
        ("thumbs", "good", "bad too", "thumb", ["c-1", "c-3"]),
    ]
    assert skipped == {NO_OPINION: 1, NOT_A_CHAT: 1}
    assert server.requests[0].filter.HasField("feedback")
    assert "feedback" in server.requests[0].read_mask.paths


def test_tools_are_part_of_the_prompt(server: "RecordsServer", tmp_path: Path) -> None:
    """The same words with other tools are another prompt; a pair shows its tools."""
    records = [said(1, "p", "a", [{"thumb": UP}]), said(2, "p", "b", [{"thumb": DOWN}])]
    asked = json.loads(records[1].request.data) | {"tools": [{"type": "function"}]}
    records[1].request.data = json.dumps(asked).encode()
    assert pairs(server, tmp_path / "apart", records)[0] == []
    records[0].request.data = records[1].request.data
    [pair] = pairs(server, tmp_path / "alike", records)[0]
    assert pair["tools"] == [{"type": "function"}]


def test_broken_off_it_begins_anew(server: "RecordsServer", tmp_path: Path) -> None:
    """Pairs are known once all was read: an export that breaks off leaves none, and the next has all."""
    from infertap.client import UnreachableError

    records = [said(number, "p", f"a{number}", [{"rating": number}]) for number in range(25)]
    server.records, server.breaks_after = records, 20
    with Client(server.address, attempts=1) as client:
        try:
            export_records(client, str(tmp_path), "preference-jsonl")
        except UnreachableError:
            assert not list(tmp_path.glob("part-*"))
    found, _ = pairs(server, tmp_path, records)
    assert [short(pair)[1:3] for pair in found] == [("a24", "a0")]
    assert server.requests[-1].resume_token == ""
