"""Service: FeedbackService: what becomes known of calls afterwards, checked, redacted, kept, joined.

It promises: what is answered is durable, and its giver's tenant's; texts are redacted before they are kept,
or withheld; feedback finds its calls by their ids whenever these come. Touches the wall clock and the
archive.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from infertap import v1
from infertap.query import (
    InvalidArgumentError,
    PageTokens,
    abort_exhausted,
    abort_invalid,
    read_call_id,
    read_page_size,
)
from storage.archive import Archive, ArchiveError, FeedbackPage, Interrupt
from storage.feedback.checks import MOST_AT_ONCE, check_feedback
from storage.identity import FeedbackRates, caller_of
from storage.numbers import Numbers
from storage.query import Asking
from storage.redaction import TextRedaction, redact_feedback

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# Told in one answer; of one request id a tenth of them at most.
_MOST_CALLS: Final = 10_000
_NUMBER_BYTES: Final = 8


class NoRedactionError(Exception):
    """Texts can't be redacted here, so none are taken."""


class TooMuchFeedbackError(Exception):
    """The caller gives more than it may; `seconds` until there is room again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"more feedback than this identity may give; again in {seconds:.0f} s")
        self.seconds = seconds


class Attaching:
    """Takes feedback, by whatever way it comes, for the tenant of whoever gives it."""

    def __init__(
        self,
        archive: Archive,
        numbers: Numbers,
        redaction: TextRedaction | None,
        rates: FeedbackRates | None = None,
    ) -> None:
        """Without `rates` anybody may give any number."""
        self._archive = archive
        self._rates = rates
        self._numbers = numbers
        self._redaction = redaction
        # One at a time: whoever waits for the disk leaves the threads to the queries.
        self._writing = asyncio.Lock()

    async def attach(
        self, given: Sequence[v1.Feedback], field: str = "feedback"
    ) -> list[v1.AttachedFeedback]:
        """Keep all of `given`, which is changed on the way, or none.

        Raises InvalidArgumentError, TooMuchFeedbackError, NoRedactionError and ArchiveError.
        """
        if not 0 < len(given) <= MOST_AT_ONCE:
            raise InvalidArgumentError(field, f"expected 1 to {MOST_AT_ONCE}")
        caller = caller_of(None)
        if self._rates is not None and (wait := self._rates.take(caller, len(given))):
            raise TooMuchFeedbackError(wait)
        async with self._writing:
            is_new = await asyncio.to_thread(self._keep, given, field, caller.writes_as)
        self._numbers.feedback.inc(sum(is_new))
        request_ids = {each.request_id for each in given if each.request_id}
        most = _MOST_CALLS // max(len(request_ids), 10)
        calls = await asyncio.to_thread(self._archive.calls_of, request_ids, most, caller.writes_as)
        return [
            v1.AttachedFeedback(
                feedback_id=each.feedback_id,
                call_ids=[each.call_id] if each.call_id else calls[each.request_id],
                was_known=not new,
            )
            for each, new in zip(given, is_new, strict=True)
        ]

    def _keep(self, given: Sequence[v1.Feedback], field: str, tenant: str) -> list[bool]:
        for number, each in enumerate(given):
            check_feedback(each, f"{field}[{number}]")
            each.tenant = tenant
        if self._redaction is None:
            raise NoRedactionError("no redaction is installed here, so feedback can't be kept")
        received_ns = time.time_ns()
        for number, each in enumerate(given):
            _check_id(each.feedback_id, self._redaction, f"{field}[{number}].feedback_id")
            redact_feedback(each, self._redaction)
            if not (each.call_id or each.request_id):
                raise InvalidArgumentError(f"{field}[{number}].request_id", "can't be redacted")
            each.feedback_id = each.feedback_id or str(uuid.uuid4())
            each.received_at.FromNanoseconds(received_ns)
            if not each.HasField("time"):
                each.time.CopyFrom(each.received_at)
        return self._archive.attach(given)


class Feedback(v1.FeedbackServiceServicer):
    """Serves the contract's FeedbackService."""

    def __init__(self, archive: Archive, attaching: Attaching, numbers: Numbers, asking: Asking) -> None:
        self._archive = archive
        self._asking = asking
        self._attaching = attaching
        self._numbers = numbers

    async def AttachFeedback(  # noqa: N802
        self, request: v1.AttachFeedbackRequest, context: Context
    ) -> v1.AttachFeedbackResponse:
        """See the contract."""
        self._numbers.queries.labels("AttachFeedback").inc()
        try:
            return v1.AttachFeedbackResponse(attached=await self._attaching.attach(request.feedback))
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        except TooMuchFeedbackError as error:
            await abort_exhausted(context, "feedback", str(error))
        except NoRedactionError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except ArchiveError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the archive takes nothing now: {error}")
        raise AssertionError("abort returns never")

    async def ListFeedback(  # noqa: N802
        self, request: v1.ListFeedbackRequest, context: Context
    ) -> v1.ListFeedbackResponse:
        """See the contract."""
        self._numbers.queries.labels("ListFeedback").inc()
        try:
            tokens, size = PageTokens(_Asked(request), _NUMBER_BYTES), read_page_size(request.page_size)
            packed = tokens.unpack(request.page_token)
            call_id = str(uuid.UUID(bytes=read_call_id(request.call_id))) if request.call_id else ""
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        below = None if packed is None else min(int.from_bytes(packed, "big"), (1 << 63) - 1)
        tenant = caller_of(context).tenant
        about = (call_id, request.request_id)
        page = await self._asking.answer(
            context, lambda interrupt: self._page(about, below, size, tenant, interrupt)
        )
        follows = "" if page.after is None else tokens.pack(page.after.to_bytes(_NUMBER_BYTES, "big"))
        return v1.ListFeedbackResponse(feedback=page.feedback, next_page_token=follows)

    def _page(
        self,
        about: tuple[str, str],
        below: int | None,
        size: int,
        tenant: str | None,
        interrupt: Interrupt,
    ) -> FeedbackPage:
        call_id, request_id = about
        if call_id and not request_id:
            record = self._archive.get(call_id, tenant, interrupt)
            request_id = record.request_id if record is not None else ""
        return self._archive.feedback(call_id, request_id, below, size, tenant=tenant, interrupt=interrupt)


class _Asked:
    """Whose feedback is listed, for page tokens."""

    def __init__(self, request: v1.ListFeedbackRequest) -> None:
        asked = f"feedback {request.call_id!r} {request.request_id!r}"
        self.digest = sha256(asked.encode()).digest()[:8]


def _check_id(feedback_id: str, redaction: TextRedaction, field: str) -> None:
    """An id is what repeats are told by, so it can't be masked."""
    if feedback_id and redaction.text(feedback_id)[0] != feedback_id:
        raise InvalidArgumentError(field, "looks like personal data or a secret")
