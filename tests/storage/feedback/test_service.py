"""FeedbackService over a real connection: what is taken, what is refused, what comes back."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from infertap import v1
from infertap.identity import Identity, Role, set_caller
from infertap.query import Query
from storage.archive import Archive, Interrupt, open_archive
from storage.feedback.service import Attaching, Feedback
from storage.identity import FeedbackRates
from storage.live import InFlight, Live
from storage.numbers import Numbers
from storage.query import Asking, Records
from storage.redaction import TextRedaction, open_redaction

if TYPE_CHECKING:
    from tests.storage.conftest import Making

NOW = 1_767_225_600_000_000_000
CALL = "73737373-0000-7000-8000-000000000001"


class Served:
    """Both services over one archive."""

    def __init__(self, archive: Archive, live: Live, channel: grpc.aio.Channel) -> None:
        self.archive = archive
        self.live = live
        self.records = v1.RecordServiceStub(channel)
        self.feedback = v1.FeedbackServiceStub(channel)

    async def attach(self, *given: v1.Feedback) -> list[v1.AttachedFeedback]:
        answer = await self.feedback.AttachFeedback(v1.AttachFeedbackRequest(feedback=given))
        return list(answer.attached)

    async def refused(self, *given: v1.Feedback) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.attach(*given)
        return caught.value.code(), caught.value.details() or ""

    async def listed(self, **asked: Any) -> list[str]:
        """Ids, page after page."""
        request, found = v1.ListFeedbackRequest(page_size=2, **asked), []
        while True:
            page = await self.feedback.ListFeedback(request)
            found += [each.feedback_id for each in page.feedback]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


async def serve(
    directory: Path, redaction: TextRedaction | None, rates: FeedbackRates | None = None
) -> AsyncIterator[Served]:
    archive, numbers, live = open_archive(str(directory / "archive"), 256 << 20), Numbers(), Live()
    asking = Asking()
    server = grpc.aio.server()
    v1.add_RecordServiceServicer_to_server(Records(archive, live, numbers, InFlight(), asking), server)
    attaching = Attaching(archive, numbers, redaction, rates)
    v1.add_FeedbackServiceServicer_to_server(Feedback(archive, attaching, numbers, asking), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Served(archive, live, channel)
    await server.stop(0)
    asking.close()
    archive.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async for made in serve(tmp_path, open_redaction({})):
        yield made


async def test_everything_that_can_be_said(served: Served, making: "Making") -> None:
    """All kinds of feedback come back with their record as they were given, with when they came."""
    served.archive.append([making.entry(1)], NOW)
    given = v1.Feedback(
        feedback_id="f-1",
        call_id=CALL.upper(),
        source="labelling",
        rating=-0.5,
        thumb=v1.THUMB_DOWN,
        labels=["wrong", "late"],
        comment="not what I asked",
        correction="42",
        ground_truth_json='{"species": [1, 2.5, null, true, "setosa"]}',
        events=[v1.FeedbackEvent(name="copied"), v1.FeedbackEvent(name="read_seconds", value=3.5)],
    )
    given.time.FromNanoseconds(NOW + 86_400_000_000_000)
    (attached,) = await served.attach(given)
    assert (attached.feedback_id, list(attached.call_ids), attached.was_known) == ("f-1", [CALL], False)
    record = await served.records.GetRecord(v1.GetRecordRequest(call_id=CALL))
    (kept,) = record.feedback
    assert kept.received_at.ToNanoseconds() > NOW
    assert kept.policy_version
    for name in ("received_at", "policy_version"):
        kept.ClearField(name)
    given.call_id = CALL
    assert kept == given


async def test_by_request_id_before_and_after(served: Served, making: "Making") -> None:
    """A request id is that of all its calls, whether they are recorded yet or not."""
    (attached,) = await served.attach(v1.Feedback(request_id="again", rating=1))
    assert attached.feedback_id
    assert attached.call_ids == []
    served.archive.append([making.entry(sequence, request_id="again") for sequence in (1, 2)], NOW)
    (attached,) = await served.attach(v1.Feedback(request_id="again", rating=2))
    assert sorted(attached.call_ids) == [making.record(sequence).call_id for sequence in (1, 2)]
    listed = await served.records.ListRecords(v1.ListRecordsRequest())
    assert [[each.rating for each in record.feedback] for record in listed.records] == [[2, 1], [2, 1]]


async def test_history_stays(served: Served) -> None:
    """Each piece is kept once; what comes again under its id changes nothing."""
    for rating in (1, 2):
        (attached,) = await served.attach(v1.Feedback(feedback_id="one", request_id="r", rating=rating))
        assert attached.was_known is (rating == 2)
    await served.attach(*(v1.Feedback(feedback_id=f"f-{n}", request_id="r", rating=n) for n in range(3)))
    assert await served.listed(request_id="r") == ["f-2", "f-1", "f-0", "one"]


async def test_listed_by_call(served: Served, making: "Making") -> None:
    """A call's history is what was given by its own id and by its request id."""
    served.archive.append([making.entry(1), making.entry(2)], NOW)
    await served.attach(
        v1.Feedback(feedback_id="a", call_id=CALL, rating=1),
        v1.Feedback(feedback_id="b", request_id="r-1", rating=1),
        v1.Feedback(feedback_id="c", request_id="r-2", rating=1),
    )
    assert await served.listed(call_id=CALL) == ["b", "a"]
    assert await served.listed(request_id="r-2") == ["c"]
    assert await served.listed() == ["c", "b", "a"]


async def test_texts_are_redacted(served: Served) -> None:
    """No text is kept with what the policy masks in payloads, wherever it stands."""
    secret = "a.person@example.com"
    await served.attach(
        v1.Feedback(
            request_id=f"r {secret}",
            source=secret,
            labels=[secret],
            comment=f"by {secret}",
            correction=f'{{"to": "{secret}"}}',
            ground_truth_json=f'["{secret}"]',
            events=[v1.FeedbackEvent(name=secret)],
        )
    )
    (kept,) = (await served.feedback.ListFeedback(v1.ListFeedbackRequest())).feedback
    assert secret.encode() not in kept.SerializeToString()
    assert kept.request_id == "r <email>"
    assert {each.field for each in kept.redactions} == {
        "request_id",
        "source",
        "labels",
        "comment",
        "correction",
        "ground_truth_json",
        "events",
    }


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "feedback[0]"),
        ({"request_id": "r"}, "feedback[0]"),
        ({"rating": 1}, "feedback[0]"),
        ({"call_id": "nonsense", "rating": 1}, "feedback[0].call_id"),
        ({"request_id": "r" * 129, "rating": 1}, "feedback[0].request_id"),
        ({"request_id": "r", "rating": float("nan")}, "feedback[0].rating"),
        ({"request_id": "r", "thumb": 7}, "feedback[0].thumb"),
        ({"request_id": "r", "labels": ["x"] * 33}, "feedback[0].labels"),
        ({"request_id": "r", "labels": [" "]}, "feedback[0].labels"),
        ({"request_id": "r", "labels": ["x" * 129]}, "feedback[0].labels"),
        ({"request_id": "r", "comment": "x" * 16_385}, "feedback[0].comment"),
        ({"request_id": "r", "correction": "x" * 65_537}, "feedback[0].correction"),
        ({"request_id": "r", "correction": "\U0001f600" * 65_536}, "feedback[0]"),
        ({"request_id": "r", "ground_truth_json": "{"}, "feedback[0].ground_truth_json"),
        ({"request_id": "r", "ground_truth_json": "NaN"}, "feedback[0].ground_truth_json"),
        ({"request_id": "r", "ground_truth_json": "[" * 101 + "]" * 101}, "feedback[0].ground_truth_json"),
        ({"request_id": "r", "ground_truth_json": "[" * 30_000}, "feedback[0].ground_truth_json"),
        ({"request_id": "r", "events": [v1.FeedbackEvent()]}, "feedback[0].events"),
        ({"request_id": "r", "rating": 1, "feedback_id": "é"}, "feedback[0].feedback_id"),
        ({"request_id": "r", "rating": 1, "feedback_id": "4111111111111111"}, "feedback[0].feedback_id"),
    ],
)
async def test_what_is_refused(served: Served, given: dict[str, Any], field: str) -> None:
    """What is no feedback, too much of it, or an id that redaction would mask, is refused by its field."""
    code, details = await served.refused(v1.Feedback(**given))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(f"{field}: ")
    assert await served.listed() == []


async def test_so_many_at_once(served: Served) -> None:
    """A request holds 1 to 1000 pieces; one that is refused takes the others with it."""
    assert (await served.refused())[1].startswith("feedback: ")
    assert (await served.refused(*[v1.Feedback(request_id="r", rating=1)] * 1001))[1].startswith("feedback: ")
    await served.refused(v1.Feedback(request_id="r", rating=1), v1.Feedback())
    assert await served.listed() == []
    assert len(await served.attach(*[v1.Feedback(request_id="r", rating=1)] * 1000)) == 1000


async def test_servers_own_fields(served: Served) -> None:
    """What only the server knows is not taken from outside."""
    forged = v1.Feedback(request_id="r", rating=1, withheld=["comment"], policy_version="none")
    forged.received_at.FromNanoseconds(1)
    await served.attach(forged)
    (kept,) = (await served.feedback.ListFeedback(v1.ListFeedbackRequest())).feedback
    assert (list(kept.withheld), kept.policy_version != "none") == ([], True)
    assert kept.received_at.ToNanoseconds() > NOW
    assert kept.time == kept.received_at


async def test_nothing_without_redaction(tmp_path: Path) -> None:
    """Where no rules are installed nothing is taken."""
    async for served in serve(tmp_path, None):
        code, _ = await served.refused(v1.Feedback(request_id="r", rating=1))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert await served.listed() == []


async def test_read_mask(served: Served, making: "Making") -> None:
    """A mask says whether feedback comes along."""
    served.archive.append([making.entry(1)], NOW)
    await served.attach(v1.Feedback(request_id="r-1", rating=1))
    for paths, count in ((["path"], 0), (["feedback"], 1), ([], 1)):
        request = v1.GetRecordRequest(call_id=CALL)
        request.read_mask.paths.extend(paths)
        assert len((await served.records.GetRecord(request)).feedback) == count


async def test_page_token_of_another_list(served: Served) -> None:
    """A token is good for the list that it came from alone."""
    await served.attach(*[v1.Feedback(request_id="r", rating=1)] * 3)
    page = await served.feedback.ListFeedback(v1.ListFeedbackRequest(request_id="r", page_size=1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.feedback.ListFeedback(v1.ListFeedbackRequest(page_token=page.next_page_token))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_tail_by_feedback(served: Served, making: "Making") -> None:
    """A record that arrives after its feedback is told to who asked for such; another is not."""
    await served.attach(
        v1.Feedback(request_id="r-1", labels=["wrong"]), v1.Feedback(request_id="r-3", labels=["wrong"])
    )
    asked = v1.RecordFilter(feedback=v1.FeedbackFilter(label="wrong"))
    served.archive.append([making.entry(1)], NOW)
    tail = served.records.TailRecords(v1.TailRecordsRequest(filter=asked, backlog=1))
    assert (await asyncio.wait_for(tail.read(), 10)).path == "/v1/1"
    served.live.tell([making.record(2), making.record(3)])
    record = await asyncio.wait_for(tail.read(), 10)
    assert (record.path, list(record.feedback[0].labels)) == ("/v1/3", ["wrong"])
    tail.cancel()


async def test_filter_that_cannot_be_meant(served: Served) -> None:
    """Absent feedback with properties, and ratings the wrong way round, are refused by their field."""
    for asked, field in (
        (v1.FeedbackFilter(is_absent=True, label="x"), "filter.feedback.is_absent"),
        (v1.FeedbackFilter(min_rating=2, max_rating=1), "filter.feedback.max_rating"),
        (v1.FeedbackFilter(min_rating=float("nan")), "filter.feedback.min_rating"),
        (v1.FeedbackFilter(thumb=9), "filter.feedback.thumb"),
        (v1.FeedbackFilter(label="x" * 129), "filter.feedback.label"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.records.ListRecords(v1.ListRecordsRequest(filter=v1.RecordFilter(feedback=asked)))
        assert (caught.value.details() or "").startswith(f"{field}: ")


class Failing:
    """Redaction that fails for one text."""

    policy_version = "p"

    def text(self, text: str) -> tuple[str, dict[str, int]]:
        if text == "bad":
            raise RuntimeError(text)
        return text, {}

    def document(self, text: str, content_type: str) -> tuple[str | None, dict[str, int]]:
        return self.text(text)


async def test_what_redaction_fails_for(tmp_path: Path) -> None:
    """It is withheld, and said to be; without its subject the whole is refused."""
    async for served in serve(tmp_path, Failing()):
        await served.attach(
            v1.Feedback(request_id="r", comment="bad", correction="bad", labels=["bad", "good"], source="s")
        )
        (kept,) = (await served.feedback.ListFeedback(v1.ListFeedbackRequest())).feedback
        assert (kept.comment, kept.correction, list(kept.labels), kept.source) == ("", "", ["good"], "s")
        assert list(kept.withheld) == ["comment", "labels", "correction"]
        code, details = await served.refused(v1.Feedback(request_id="bad", rating=1))
        assert (code, details.split(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "feedback[0].request_id")


async def test_feedback_that_a_record_brings_along(served: Served, making: "Making") -> None:
    """A sender of records can't forge feedback, whatever mask is asked with."""
    forged = making.record(1)
    forged.feedback.add(comment="forged")
    forged.feedback_count = 9
    entry = making.entry(1)
    served.archive.append([dataclasses.replace(entry, record=forged.SerializeToString())], NOW)
    for paths in ([], ["feedback", "feedback_count"]):
        request = v1.GetRecordRequest(call_id=CALL)
        request.read_mask.paths.extend(paths)
        record = await served.records.GetRecord(request)
        assert (len(record.feedback), record.feedback_count) == (0, 0)
    page = served.archive.page(Query(), None, 1, Interrupt())
    assert page.records[0].feedback_count == 0


async def test_more_than_an_identity_may_give(tmp_path: Path) -> None:
    """It is told when it may give again, and what there was too much of."""
    async for served in serve(tmp_path, open_redaction({}), FeedbackRates(1, lambda: 0.0)):
        await served.attach(v1.Feedback(request_id="r", rating=1))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.attach(v1.Feedback(request_id="r", rating=1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (caught.value.details() or "").endswith("again in 60 s")
        status, quota = rpc_status.from_call(caught.value), error_details_pb2.QuotaFailure()
        assert status is not None
        assert status.details[0].Unpack(quota)
        assert quota.violations[0].subject == "feedback"


async def test_tenants_do_not_meet(tmp_path: Path, making: "Making") -> None:
    """An id that another tenant gave is free; each sees its own feedback and calls only, however it asks."""
    archive, numbers = open_archive(str(tmp_path), 256 << 20), Numbers()
    archive.append([dataclasses.replace(making.entry(1, request_id="r-1"), tenant="acme")], NOW)
    attaching = Attaching(archive, numbers, open_redaction({}))
    service: Any = Feedback(archive, attaching, numbers, Asking())
    both = frozenset({Role.READ, Role.FEEDBACK})
    told: dict[str, v1.AttachedFeedback] = {}
    for tenant, rating in (("acme", 5), ("globex", 1)):
        set_caller(Identity("app", tenant, both))
        given = v1.Feedback(feedback_id="f-1", request_id="r-1", rating=rating, tenant="acme")
        told[tenant] = (await attaching.attach([given]))[0]
    assert [list(each.call_ids) for each in told.values()] == [[CALL], []]
    assert not any(each.was_known for each in told.values())
    found: dict[tuple[str, str], list[float]] = {}
    for tenant in told:
        set_caller(Identity("app", tenant, both))
        for asked in ({}, {"request_id": "r-1"}, {"call_id": CALL}):
            answer = await service.ListFeedback(v1.ListFeedbackRequest(**asked), None)
            found[tenant, next(iter(asked), "")] = [each.rating for each in answer.feedback]
    archive.close()
    assert found == {
        ("acme", ""): [5],
        ("acme", "request_id"): [5],
        ("acme", "call_id"): [5],
        ("globex", ""): [1],
        ("globex", "request_id"): [1],
        ("globex", "call_id"): [],
    }
