"""Feedback from web applications over a real connection: what is taken, from where, and how much of it."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from storage.archive import Archive, open_archive
from storage.feedback import Attaching
from storage.identity import Access, AccessFiles, FeedbackRates
from storage.live import InFlight
from storage.numbers import Numbers
from storage.query import Asking
from storage.redaction import open_redaction
from storage.web import Pages, PostedFeedback, make_app

APP = "https://app.example.com"


class Door:
    """The application on a free port, over an empty archive."""

    def __init__(self, archive: Archive, session: aiohttp.ClientSession) -> None:
        self.archive = archive
        self._session = session

    async def post(self, body: object, **headers: str) -> tuple[int, Any, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        async with self._session.post("/v1/feedback", data=io.BytesIO(data), headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def preflight(self, origin: str) -> tuple[int, Any]:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with self._session.options("/v1/feedback", headers=headers) as answer:
            return answer.status, answer.headers


async def serve(directory: Path, *origins: str, rates: FeedbackRates | None = None) -> AsyncIterator[Door]:
    archive, numbers = open_archive(str(directory / "archive"), 256 << 20), Numbers()
    asking = Asking()
    pages = Pages(archive, InFlight(), numbers, asking, lambda: True)
    attaching = Attaching(archive, numbers, open_redaction({}), rates)
    guard = Access(AccessFiles(), lambda *_: None).web_guard
    runner = web.AppRunner(make_app(pages, PostedFeedback(attaching, origins), guard), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        yield Door(archive, session)
    await runner.cleanup()
    asking.close()
    archive.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async for made in serve(tmp_path, APP):
        yield made


async def test_one_piece(door: Door) -> None:
    """An object is one piece; its ground truth may be any JSON value; texts are redacted."""
    status, answer, _ = await door.post(
        {"request_id": "r-1", "rating": 4, "comment": "from a.person@example.com", "ground_truth": [1, None]}
    )
    assert status == 200
    (kept,) = door.archive.feedback("", "r-1", None, 10).feedback
    assert kept.feedback_id == answer["attached"][0]["feedback_id"]
    assert (kept.rating, kept.ground_truth_json) == (4, "[1, null]")
    assert kept.comment == "from <email>"
    assert [(each.field, each.count) for each in kept.redactions] == [("comment", 1)]


async def test_several_pieces(door: Door) -> None:
    """A list is taken whole, or not at all; a second time it changes nothing."""
    both = {"feedback": [{"request_id": "r", "feedback_id": f"f{n}", "thumb": "THUMB_UP"} for n in (1, 2)]}
    assert [each.get("was_known") for each in (await door.post(both))[1]["attached"]] == [None, None]
    assert [each["was_known"] for each in (await door.post(both))[1]["attached"]] == [True, True]
    broken = {"feedback": [{"request_id": "s", "rating": 1}, {"request_id": "s"}]}
    status, answer, _ = await door.post(broken)
    assert (status, answer["error"]["field"]) == (400, "feedback[1]")
    assert door.archive.feedback("", "s", None, 10).feedback == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[" * 100_000, "body"),
        (b"3", "body"),
        ({"feedback": {}}, "feedback"),
        ({"feedback": [3]}, "feedback[0]"),
        ({"request_id": "r", "rating": "high"}, "feedback[0]"),
        ({"request_id": "r", "nonsense": 1}, "feedback[0]"),
        ({"request_id": "r", "rating": "NaN"}, "feedback[0].rating"),
        ({"rating": 1}, "feedback[0]"),
    ],
)
async def test_what_is_none(door: Door, body: object, field: str) -> None:
    """What is no feedback is refused by its field, and never repeated in the answer."""
    status, answer, _ = await door.post(body)
    assert (status, answer["error"]["field"]) == (400, field)
    assert "high" not in json.dumps(answer)


async def test_too_much(door: Door) -> None:
    """A body over the limit is refused, and so is what is not called JSON."""
    assert (await door.post(b" " * (1 << 20) + b"{}"))[0] == 413
    assert (await door.post({"request_id": "r", "rating": 1}, Content_Type="text/plain"))[0] == 415


async def test_other_origins(door: Door) -> None:
    """Pages of the origins in the settings may send; of others none, and nothing of theirs is kept."""
    piece = {"request_id": "r", "rating": 1}
    status, headers = await door.preflight(APP)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, APP)
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    status, _, headers = await door.post(piece, Origin=APP)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, APP, "Origin")
    for other in ("https://evil.example.com", "null", APP + ".evil.com"):
        assert (await door.preflight(other))[0] == 403
        status, _, headers = await door.post(piece, Origin=other)
        assert status == 403
        assert "Access-Control-Allow-Origin" not in headers
    for site in ("cross-site", "same-site"):  # what a browser says where it says no origin
        assert (await door.post(piece, Sec_Fetch_Site=site))[0] == 403
    assert len(door.archive.feedback("", "r", None, 10).feedback) == 1
    assert (await door.post(piece, Sec_Fetch_Site="same-origin"))[0] == 200


async def test_too_often(tmp_path: Path) -> None:
    """Who gives more than it may hears when to come again, and nothing of it is kept."""
    async for door in serve(tmp_path, rates=FeedbackRates(1, lambda: 0.0)):
        assert (await door.post({"request_id": "r", "rating": 1}))[0] == 200
        status, answer, headers = await door.post({"request_id": "r", "rating": 2})
        assert (status, headers["Retry-After"]) == (429, "60")
        assert "more feedback than this identity may give" in answer["error"]["message"]
        assert [each.rating for each in door.archive.feedback("", "r", None, 10).feedback] == [1]


async def test_all_origins(tmp_path: Path) -> None:
    """A star lets every page send."""
    async for door in serve(tmp_path, "*"):
        assert (await door.post({"request_id": "r", "rating": 1}, Origin="https://any.example"))[0] == 200
