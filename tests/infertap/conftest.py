"""A small server of records, for those who fetch them."""

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from infertap import v1


class RecordsServer(v1.RecordServiceServicer, v1.FeedbackServiceServicer):
    """Serves `records`, newest last, in pages of at most `most`; `requests` tells what it was asked."""

    def __init__(self) -> None:
        self.records: list[v1.Record] = []
        self.given: list[v1.Feedback] = []
        self.requests: list[Any] = []
        self.stats = v1.GetStatsResponse()
        self.most = 1000
        # Set where every request is to fail.
        self.fails_with: tuple[grpc.StatusCode, str] | None = None
        # So many requests fail before one is answered.
        self.failures = 0
        # An export breaks off after so many records.
        self.breaks_after: int | None = None
        self.tail_has_ended = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        v1.add_RecordServiceServicer_to_server(self, self._server)
        v1.add_FeedbackServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _asked(self, request: Any, context: grpc.ServicerContext) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.requests.append(copy)
        if self.fails_with is not None:
            context.abort(*self.fails_with)
        if self.failures:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")

    def GetRecord(  # noqa: N802
        self, request: v1.GetRecordRequest, context: grpc.ServicerContext
    ) -> v1.Record:
        self._asked(request, context)
        for record in self.records:
            if record.call_id == request.call_id:
                return record
        context.abort(grpc.StatusCode.NOT_FOUND, f"no record of call {request.call_id}")
        raise AssertionError

    def ListRecords(  # noqa: N802
        self, request: v1.ListRecordsRequest, context: grpc.ServicerContext
    ) -> v1.ListRecordsResponse:
        self._asked(request, context)
        start = int(request.page_token or 0)
        end = start + min(request.page_size or 50, self.most)
        newest_first = self.records[::-1]
        token = str(end) if end < len(newest_first) else ""
        return v1.ListRecordsResponse(records=newest_first[start:end], next_page_token=token)

    def GetStats(  # noqa: N802
        self, request: v1.GetStatsRequest, context: grpc.ServicerContext
    ) -> v1.GetStatsResponse:
        self._asked(request, context)
        return self.stats

    def TailRecords(  # noqa: N802
        self, request: v1.TailRecordsRequest, context: grpc.ServicerContext
    ) -> Iterator[v1.Record]:
        self._asked(request, context)
        context.add_callback(self.tail_has_ended.set)
        yield from self.records[-request.backlog :] if request.backlog else []
        self.tail_has_ended.wait(30)

    def ExportRecords(  # noqa: N802
        self, request: v1.ExportRecordsRequest, context: grpc.ServicerContext
    ) -> Iterator[v1.ExportRecordsResponse]:
        """Ten records in each answer; a token is how many were given."""
        self._asked(request, context)
        start = int(request.resume_token or 0)
        for first in range(start, len(self.records), 10):
            if self.breaks_after is not None and first >= self.breaks_after:
                self.breaks_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            batch = self.records[first : first + 10]
            answer = v1.ExportRecordsResponse(records=batch, resume_token=str(first + len(batch)))
            if first == start:
                answer.total = len(self.records)
            yield answer

    def AttachFeedback(  # noqa: N802
        self, request: v1.AttachFeedbackRequest, context: grpc.ServicerContext
    ) -> v1.AttachFeedbackResponse:
        self._asked(request, context)
        self.given += request.feedback
        ids = [each.feedback_id for each in request.feedback]
        attached = [v1.AttachedFeedback(feedback_id=each, call_ids=["call-1"]) for each in ids]
        return v1.AttachFeedbackResponse(attached=attached)

    def ListFeedback(  # noqa: N802
        self, request: v1.ListFeedbackRequest, context: grpc.ServicerContext
    ) -> v1.ListFeedbackResponse:
        self._asked(request, context)
        start = int(request.page_token or 0)
        end = start + min(request.page_size or 50, self.most)
        token = str(end) if end < len(self.given) else ""
        return v1.ListFeedbackResponse(feedback=self.given[::-1][start:end], next_page_token=token)

    def stop(self) -> None:
        self._server.stop(0).wait(30)


@pytest.fixture
def server() -> Iterator[RecordsServer]:
    """A running server without records."""
    running = RecordsServer()
    yield running
    running.tail_has_ended.set()
    running.stop()


@pytest.fixture
def record() -> v1.Record:
    """A record with something in most fields."""
    made = v1.Record(
        call_id="01a1fca6-3690-7b75-982b-979712d2d16f",
        request_id="req-1",
        state=v1.COMPLETED,
        protocol=v1.HTTP1,
        method="POST",
        path="/v1/chat/completions",
        query="a=1",
        http_status=200,
        ended_by=v1.EndedBy.MODEL,
        sequence=7,
        spool_id=b"\xab" * 16,
    )
    made.timing.start.FromNanoseconds(1_767_225_600_123_456_789)
    made.timing.duration_us = 2_500
    made.timing.first_response_byte_us = 900
    made.model.name = "iris"
    made.model.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    made.sampling.reason = v1.Sampling.RATE
    made.sampling.fraction = 0.25
    made.request.data = b'{"mail":"<email>"}'
    made.request.size_bytes = 20
    made.request.content_type = "application/json"
    made.request.redactions.add(count=1, field="body", **{"class": "email"})
    return made
