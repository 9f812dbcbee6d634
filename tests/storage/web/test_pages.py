"""The pages over a real connection: what they show, and that nothing in a record gets out of its place."""

import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from infertap import v1
from infertap.query import PageTokens, Query
from storage.archive import Position, open_archive
from storage.feedback import Attaching
from storage.identity import Access, AccessFiles
from storage.live import InFlight
from storage.numbers import Numbers
from storage.query import PLACE_BYTES, Asking, Place
from storage.redaction import open_redaction
from storage.web import Pages, PostedFeedback, make_app

if TYPE_CHECKING:
    from tests.storage.conftest import Making

ORIGINS = ("https://app.example.com",)
NOW = 1_767_225_600_000_000_000
HOSTILE = "<script>alert('x')</script>\"'\x1b[31m\u202e&"


class Site:
    """The application on a free port."""

    def __init__(self, directory: Path) -> None:
        self.archive = open_archive(str(directory), 256 << 20)
        self.is_ready = True
        self.asking = Asking()
        self.in_flight = InFlight()
        numbers = Numbers()
        self.spools: list[v1.Spool] = []
        app = make_app(
            Pages(
                self.archive,
                self.in_flight,
                numbers,
                self.asking,
                lambda: self.is_ready,
                spools=lambda _: self.spools,
            ),
            PostedFeedback(Attaching(self.archive, numbers, open_redaction({})), ORIGINS),
            Access(AccessFiles(), lambda *_: None).web_guard,
        )
        self.runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.runner.addresses[0][1]}")

    async def get(self, path: str) -> tuple[int, str, "aiohttp.typedefs.LooseHeaders"]:
        async with self.session.get(path) as answer:
            return answer.status, await answer.text(), answer.headers

    async def stop(self) -> None:
        await self.session.close()
        await self.runner.cleanup()
        self.asking.close()
        self.archive.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path / "archive")
    await made.start()
    yield made
    await made.stop()


async def test_calls(site: Site, making: "Making") -> None:
    """The latest calls, newest first, a page at a time, and by what is asked for."""
    site.archive.append([making.entry(sequence) for sequence in range(1, 131)], NOW)
    status, page, _ = await site.get("/")
    assert status == 200
    assert re.findall(r'<td class="number">(\d+)</td>', page) == [str(n) for n in range(130, 30, -1)]
    [older] = re.findall(r'<a href="(/\?[^"]*page=[^"]*)">Older</a>', page)
    _, rest, _ = await site.get(older.replace("&amp;", "&"))
    assert re.findall(r'<td class="number">(\d+)</td>', rest) == [str(n) for n in range(30, 0, -1)]
    _, one, _ = await site.get("/?path=/v1/7")
    assert one.count('<tr class="completed">') == 1
    _, rows, _ = await site.get("/rows?text=question 12")
    assert rows.count('<tr class="completed">') == 11
    assert "<html" not in rows


async def test_empty(site: Site) -> None:
    """Nothing yet is said so."""
    assert "No calls yet" in (await site.get("/"))[1]


async def test_spools(site: Site) -> None:
    """Every spool in a row, with what went wrong; what sidecars call themselves can't hurt the page."""
    assert "no sidecar has been heard of" in (await site.get("/spools"))[1]
    gone = v1.Spool(spool_id=b"\xab" * 16, pod=HOSTILE, state=v1.Spool.VANISHED, pending=7, missing=3)
    site.spools = [gone] * 600
    status, page, _ = await site.get("/spools")
    assert status == 200
    assert page.count('<tr class="spool vanished">') == 500
    assert "and more" in page
    assert "ab" * 16 in page
    assert "<script>alert" not in page
    assert "\x1b" not in page


async def test_call_in_full(site: Site, making: "Making") -> None:
    """One call shows what its record holds."""
    entry = making.entry(
        1, request__data=b'{"mail":"<email>"}', model__name="iris", grpc_status=3, grpc_message="bad input"
    )
    site.archive.append([entry], NOW)
    status, page, _ = await site.get(f"/calls/{entry.parsed.call_id}")
    assert status == 200
    for shown in (
        "iris",
        "gRPC 3: bad input",
        "&#34;mail&#34;: &#34;&lt;email&gt;&#34;",
        "2026-01-01 00:00:01.000 UTC",
    ):
        assert shown in page


@pytest.mark.parametrize(
    "path", ["/calls/nonsense", "/calls/00000000-0000-7000-8000-000000000000", "/static/x", "/x"]
)
async def test_missing(site: Site, path: str) -> None:
    """What is not there is 404."""
    assert (await site.get(path))[0] == 404


async def test_hostile_records(site: Site, making: "Making") -> None:
    """Nothing that a record holds becomes markup, script, or a command to the reader's terminal."""
    fields = {
        "path": HOSTILE,
        "method": HOSTILE,
        "query": HOSTILE,
        "request_id": HOSTILE,
        "grpc_message": HOSTILE,
        "trace_id": HOSTILE,
        "model__name": HOSTILE,
        "model__version": HOSTILE,
        "model__endpoint": HOSTILE,
        "model__parameters_json": HOSTILE,
        "caller__user": HOSTILE,
        "source__pod": HOSTILE,
        "request__content_type": HOSTILE,
        "request__data": HOSTILE.encode(),
        "response__decoded_json": HOSTILE,
    }
    entry = making.entry(1, **fields)
    site.archive.append([entry], NOW)
    for path in ("/", "/rows", f"/calls/{entry.parsed.call_id}"):
        status, page, headers = await site.get(path)
        assert status == 200
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "script-src 'self'" in dict(headers)["Content-Security-Policy"]


async def test_records_of_a_newer_sidecar(site: Site, making: "Making") -> None:
    """A value that this version has no name for is shown as its number, and hides no other call."""
    entry = making.entry(1, state=99, protocol=98, ended_by=97, sampling__reason=96)
    site.archive.append([entry, making.entry(2)], NOW)
    for path in ("/", "/rows", f"/calls/{entry.parsed.call_id}"):
        status, page, _ = await site.get(path)
        assert status == 200
        assert "99" in page
        assert "96" in page


async def test_hostile_questions(site: Site) -> None:
    """What stands in the address is escaped too, and what can't be meant is said."""
    _, page, _ = await site.get("/?model=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in page
    status, page, _ = await site.get("/?page=nonsense")
    assert status == 400
    assert "page_token: not a token" in page
    forged = PageTokens(Query(), PLACE_BYTES).pack(
        Place(NOW, Position(1, 1, b"s" * 16, (1 << 64) - 1)).pack()
    )
    status, page, _ = await site.get(f"/?page={forged}")
    assert status == 400
    assert "page_token: not a token" in page


async def test_health(site: Site) -> None:
    """Alive always, ready until it drains; metrics in Prometheus' format."""
    assert (await site.get("/healthz"))[:2] == (200, "alive\n")
    assert (await site.get("/readyz"))[:2] == (200, "ready\n")
    site.is_ready = False
    assert (await site.get("/readyz"))[0] == 503
    assert "# TYPE infertap_storage_records_total counter" in (await site.get("/metrics"))[1]


def test_states_have_names() -> None:
    """Every state that the form offers is one of the contract's."""
    from storage.web.asked import Asked

    for state in ("INFERENCING", "COMPLETED", "FAILED", "CANCELLED"):
        assert list(Asked(state=state).filter().states) == [v1.State.Value(state)]


async def test_calls_in_flight(site: Site, making: "Making") -> None:
    """They stand above the records, with their age, and have a page of their own."""
    site.archive.append([making.entry(1)], NOW)
    stream = site.in_flight.begin(b"t" * 16, 0)
    open_call = making.record(2, b"t" * 16, state=v1.INFERENCING, path=HOSTILE)
    site.in_flight.take(b"t" * 16, stream, v1.InFlight(calls=[open_call]), 0)
    _, page, _ = await site.get("/")
    assert page.index("Inferencing") < page.index("Completed</span>")
    assert "<script>alert" not in page
    _, page, _ = await site.get("/?state=INFERENCING")
    assert "Completed</span>" not in page
    status, page, _ = await site.get(f"/calls/{open_call.call_id}")
    assert (status, "Inferencing" in page) == (200, True)
    _, page, _ = await site.get("/?state=COMPLETED")
    assert 'class="inferencing"' not in page


async def test_feedback_of_a_call(site: Site, making: "Making") -> None:
    """The page of a call shows what was given to it, latest first, and hostile text as text."""
    site.archive.append([making.entry(1)], NOW)
    for number, comment in enumerate((HOSTILE, "second"), 1):
        given = v1.Feedback(
            feedback_id=f"f-{number}", request_id="r-1", comment=comment, source="web", rating=number
        )
        given.received_at.FromNanoseconds(NOW)
        site.archive.attach([given])
    status, page, _ = await site.get(f"/calls/{making.record(1).call_id}")
    assert status == 200
    assert page.index("comment: second") < page.index("rating 1")
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("tags=beta,%20eu", [3]),
        ("cohort=b&application_version=1.4", [4]),
        ("error_type=rate_*", [5]),
        ("redaction_class=email", [6]),
        ("finish_reasons=length,stop", [7]),
        ("min_tokens=40", [8]),
        ("min_duration=0.009", [9]),
        ("since=2026-01-01T00:00:09", [9]),
        ("until=2026-01-01T00:00:03%2B00:00", [2, 1]),
        ("request_id=r-2", [2]),
        ("order=start_time", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("order=duration+desc&min_duration=0.007", [9, 8, 7]),
        ("order=nonsense", [9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ],
)
async def test_more_filters(site: Site, making: "Making", asked: str, found: list[int]) -> None:
    """Whatever the API can filter and order by, the page can too."""
    made = [making.entry(sequence).parsed for sequence in range(1, 10)]
    made[2].tags.extend(["beta", "eu"])
    made[3].cohort, made[3].application_version = "b", "1.4"
    made[4].error.type = "rate_limit_error"
    made[5].request.redactions.add(count=1, field="body", **{"class": "email"})
    made[6].model.finish_reasons.append("stop")
    made[7].model.input_tokens = 41
    entries = [
        dataclasses.replace(making.entry(sequence), parsed=record, record=record.SerializeToString())
        for sequence, record in enumerate(made, 1)
    ]
    site.archive.append(entries, NOW)
    status, page, _ = await site.get(f"/?{asked}")
    assert status == 200
    assert [int(number) for number in re.findall(r'<td class="number">(\d+)</td>', page)] == found
    assert "<details open>" in page or "nonsense" in asked


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("since=yesterday", "since: expected a time"),
        ("since=9999-12-31T23:59:59-14:00", "since: expected a time"),
        ("min_duration=nan", "min_duration: expected milliseconds"),
        ("min_duration=-1", "min_duration: expected milliseconds"),
        ("min_tokens=1e9", "min_tokens: expected a whole number"),
        ("min_tokens=99999999999999999999", "min_tokens: expected a whole number"),
        ("order=duration+desc&state=INFERENCING", "order_by: calls in flight"),
        ("cohort=" + "x" * 1025, "filter.cohort"),
    ],
)
async def test_filters_that_can_not_be_meant(site: Site, asked: str, named: str) -> None:
    """What is no time or number is said by its name, on the page."""
    status, page, _ = await site.get(f"/?{asked}")
    assert status == 400
    assert named in page


async def test_pages_go_on_with_what_was_asked(site: Site, making: "Making") -> None:
    """Older and latest keep filter and order."""
    site.archive.append([making.entry(sequence, cohort="b") for sequence in range(1, 131)], NOW)
    _, page, _ = await site.get("/?cohort=b&order=start_time")
    [older] = re.findall(r'<a href="(/\?[^"]*page=[^"]*)">Older</a>', page)
    _, rest, _ = await site.get(older.replace("&amp;", "&"))
    assert re.findall(r'<td class="number">(\d+)</td>', rest) == [str(n) for n in range(101, 131)]
    assert 'href="/?cohort=b&amp;order=start_time"' in rest
