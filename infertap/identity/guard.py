"""Guard: stands before every method of a gRPC server. Decides who calls, and whether this may be.

    guard = Guard(roster, refusals, reads)
    server = grpc.aio.server(interceptors=[guard], ...)

Touches the calls of its server and, by `look`, the identities file. It promises: no code of a service runs
for a caller that lacks the method's role, and no message of theirs is read; a method without a role is
refused; callers learn whether they are unknown or not allowed, and nothing else; a stream whose caller has
lost its credential, or its role, ends at the next `look`; calls under way are bounded, in all and of one
identity, and so is how long the one request of a call may take to come. Streams of those who ingest are not
counted here: whoever serves them does.
"""

import asyncio
import contextlib
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from infertap.identity.caller import ANYONE, NOBODY, Identity, Role, set_caller
from infertap.identity.changing import Changing
from infertap.identity.ending import end_call
from infertap.identity.required import KNOWN, OPEN, ROLES
from infertap.identity.roster import Evidence, Refusal, Roster

_UNKNOWN: Final = (grpc.StatusCode.UNAUTHENTICATED, "no token or certificate that is known here")
_NOT_ALLOWED: Final = (grpc.StatusCode.PERMISSION_DENIED, "not allowed to this identity")
_STATUS: Final = {
    Refusal.NO_CREDENTIALS: _UNKNOWN,
    Refusal.UNKNOWN_TOKEN: _UNKNOWN,
    Refusal.UNKNOWN_CERTIFICATE: _UNKNOWN,
    Refusal.ROLE: _NOT_ALLOWED,
    Refusal.METHOD: _NOT_ALLOWED,
    Refusal.TENANT: _NOT_ALLOWED,
}
# As grpc names them in a peer's authentication context.
_NAMES: Final = {"peer_dns": "dns", "peer_uri": "uri", "peer_email": "email", "x509_common_name": "cn"}
_BEARER: Final = "bearer "
_TOO_MANY: Final = "too many calls under way; try again later"
MOST_CALLS: Final = 1000
# Of those that need no identity.
_MOST_OPEN: Final = 64
REQUEST_SECONDS: Final = 15.0
# Requests of one identity that are being read at a time; large ones also until they are answered.
_MOST_READ: Final = 16
_MOST_TURNS: Final = 10_000
# Of a request, but for those that bring what is kept.
_MOST_SMALL: Final = 64 << 10

Context = grpc.aio.ServicerContext[Any, Any]


class Refusals(Protocol):
    """Who is told of refused calls."""

    def refused(self, method: str, reason: Refusal, peer: str, name: str) -> None:
        """A call was refused; `name` is the identity's, empty where it is not known."""


class Reading(Protocol):
    """One call that fetches what was recorded, as the log of reads follows it."""

    # Whether a call with one answer is told of before it is served, too, since it changes something.
    is_act: bool

    async def begin(self) -> None:
        """The call is allowed; nothing has been done or answered yet."""

    def count(self, answer: Any) -> None:
        """This is about to be answered."""

    async def end(self) -> None:
        """All answers are known; the last one leaves when this returns."""

    def over(self, *, is_failed: bool) -> None:
        """A stream has ended, whoever ended it; or a call failed."""


class Reads(Protocol):
    """The log of reads."""

    def of(self, identity: Identity, method: str, request: Any, peer: str) -> Reading | None:
        """How this call is to be followed; None where it fetches nothing of the kind."""


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """A call that was let in."""

    method: str
    evidence: Evidence
    identity: Identity
    context: Context
    task: "asyncio.Task[Any] | None"


class Guard(grpc.aio.ServerInterceptor):
    """The guard of one server. `roster` None: no identities are configured, and everybody may call."""

    def __init__(
        self,
        roster: Changing[Roster] | None,
        refusals: Refusals,
        reads: Reads | None = None,
        *,
        most_calls: int = MOST_CALLS,
    ) -> None:
        """At most `most_calls` are under way at a time, and a quarter of them of one identity."""
        self._roster = roster
        self._counts = _Counts(most_calls, most_calls if roster is None else max(most_calls // 4, 1))
        self._open_counts = _Counts(_MOST_OPEN, _MOST_OPEN)
        self._refusals = refusals
        self._reads = reads
        self._guarded: dict[str, Any] = {}
        # By name or address.
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._streams: set[_Call] = set()
        self._endings: set[asyncio.Task[None]] = set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, guarded; None where the server has no such method."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        guarded = self._guarded.get(method)
        if guarded is None:
            guarded = self._guarded[method] = self._guard(method, handler)
        return guarded

    async def look(self) -> None:
        """Read the identities file again where it has changed; end the streams of who is not allowed now."""
        if self._roster is None or not await asyncio.to_thread(self._roster.look):
            return
        for stream in list(self._streams):
            found = self.decide(stream.method, stream.evidence)
            if found != stream.identity:
                self._end(stream, found if isinstance(found, Refusal) else Refusal.ROLE)

    def decide(self, method: str, evidence: Evidence) -> Identity | Refusal:
        """Who calls, where the call is allowed."""
        return decide(ROLES.get(method), method in KNOWN, evidence, self._roster)

    def _end(self, call: _Call, reason: Refusal) -> None:
        """End it; nobody waits for callers that take no answers."""
        self._refusals.refused(call.method, reason, call.context.peer(), call.identity.name)
        ending = asyncio.create_task(end_call(call.context, call.task, *_STATUS[reason]))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _admit(self, method: str, context: Context) -> tuple[Identity, Evidence]:
        """Let the call in, or end it."""
        evidence = ANY_EVIDENCE if self._roster is None else evidence_of(context)
        found = self.decide(method, evidence)
        if isinstance(found, Refusal):
            await self._refuse(method, found, context, self._name(evidence))
            raise AssertionError("abort returns never")  # noqa: TRY004
        set_caller(found)
        return found, evidence

    async def _refuse(self, method: str, reason: Refusal, context: Context, name: str) -> None:
        self._refusals.refused(method, reason, context.peer(), name)
        await context.abort(*_STATUS[reason])

    def _name(self, evidence: Evidence) -> str:
        found = None if self._roster is None else self._roster.current.identify(evidence)
        return found.name if isinstance(found, Identity) else ""

    # -- the calls

    def _guard(self, method: str, handler: Any) -> Any:
        """All four kinds are served as streams, which on the wire they are: so nothing is read before the
        caller is let in.
        """
        serve = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        is_open, is_counted = method in OPEN, ROLES.get(method) is not Role.INGEST
        parse = handler.request_deserializer or bytes
        has_large = handler.request_streaming or ROLES.get(method) is Role.FEEDBACK
        most_bytes = 0 if has_large else _MOST_SMALL
        serving = self._stream if handler.response_streaming else self._unary

        async def guarded(received: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            identity, evidence = (NOBODY, ANY_EVIDENCE) if is_open else await self._admit(method, context)
            counts = self._open_counts if is_open else self._counts
            if is_counted and not counts.enter(identity.name):
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _TOO_MANY)
            try:
                async with contextlib.AsyncExitStack() as held:
                    requests = _parsed(received, parse, context, most_bytes)
                    request = requests
                    if not handler.request_streaming:
                        request = await self._request(requests, identity.name, held, context)
                        if most_bytes:
                            await held.aclose()  # what is small may be held by as many calls as there are
                    if inspect.iscoroutinefunction(serve) and handler.response_streaming:
                        await serve(request, context)  # it writes by itself
                        return
                    call = _Call(method, evidence, identity, context, asyncio.current_task())
                    async with contextlib.aclosing(serving(call, serve, request)) as answers:
                        async for answer in answers:
                            yield answer
            except grpc.aio.AbortError:
                if context.code() is grpc.StatusCode.PERMISSION_DENIED:
                    self._refusals.refused(method, Refusal.TENANT, context.peer(), identity.name)
                raise
            finally:
                if is_counted:
                    counts.leave(identity.name)

        return grpc.stream_stream_rpc_method_handler(guarded, None, handler.response_serializer)

    async def _request(
        self,
        requests: AsyncIterator[Any],
        name: str,
        held: contextlib.AsyncExitStack,
        context: Context,
    ) -> Any:
        """The one request of a call that has one, in its caller's turn, which `held` holds."""
        if len(self._turns) >= _MOST_TURNS:
            self._turns.clear()
        # Who is nobody in particular is known by the address.
        who = name or context.peer().rpartition(":")[0]
        turns = self._turns.setdefault(who, asyncio.Semaphore(_MOST_READ))
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await held.enter_async_context(turns)
                async for request in requests:
                    return request
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not come in time")
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request")
        raise AssertionError("abort returns never")

    async def _unary(self, call: _Call, serve: Any, request: Any) -> AsyncGenerator[Any, None]:
        reading = self._reading(call, request)
        if reading is None:
            yield await serve(request, call.context)
            return
        if reading.is_act:
            await self._logged(reading.begin(), call.context)
        try:
            answer = await serve(request, call.context)
        except BaseException:
            reading.over(is_failed=True)
            raise
        reading.count(answer)
        await self._logged(reading.end(), call.context)
        yield answer

    async def _stream(self, call: _Call, serve: Any, request: Any) -> AsyncGenerator[Any, None]:
        reading = self._reading(call, request)
        self._streams.add(call)
        try:
            if reading is not None:
                await self._logged(reading.begin(), call.context)
            async with contextlib.aclosing(serve(request, call.context)) as answers:
                async for answer in answers:
                    if reading is not None:
                        reading.count(answer)
                    yield answer
        finally:
            self._streams.discard(call)
            if reading is not None:
                reading.over(is_failed=False)

    def _reading(self, call: _Call, request: Any) -> Reading | None:
        if self._reads is None:
            return None
        return self._reads.of(call.identity, call.method, request, call.context.peer())

    async def _logged(self, writing: Awaitable[None], context: Context) -> None:
        """What can't be logged is not answered."""
        try:
            await writing
        except OSError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "reads can't be logged now")


ANY_EVIDENCE: Final = Evidence()


class _Counts:
    """Calls under way, by identity."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._of: Counter[str] = Counter()

    def enter(self, name: str) -> bool:
        """Whether there is room for one more of that identity; then it is counted."""
        if self._of.total() >= self._most or self._of[name] >= self._most_of_one:
            return False
        self._of[name] += 1
        return True

    def leave(self, name: str) -> None:
        self._of[name] -= 1
        if not self._of[name]:
            del self._of[name]


async def _parsed(
    received: AsyncIterator[bytes], parse: Callable[[bytes], Any], context: Context, most_bytes: int
) -> AsyncIterator[Any]:
    """The messages; what is none, or larger than it may be (0: as large as gRPC takes), ends the call."""
    async for each in received:
        if most_bytes and len(each) > most_bytes:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"more than {most_bytes} bytes")
        try:
            parsed = parse(each)
        except Exception:  # whatever a codec raises; grpc would write it to stderr with its traceback
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a message of this method")
        yield parsed


def decide(
    role: Role | None, is_for_known: bool, evidence: Evidence, roster: Changing[Roster] | None
) -> Identity | Refusal:
    """Who shows `evidence`, where they have `role`. Without one nobody is allowed, but for what everybody who
    is known may do.
    """
    if role is None and not is_for_known:
        return Refusal.METHOD
    if roster is None:
        return ANYONE
    found = roster.current.identify(evidence)
    if isinstance(found, Identity) and role is not None and role not in found.roles:
        return Refusal.ROLE
    return found


def evidence_of(context: Context) -> Evidence:
    """What the caller of a gRPC call shows."""
    names = frozenset(
        (kind, each.decode("utf-8", "replace"))
        for key, kind in _NAMES.items()
        for each in (context.auth_context() or {}).get(key, ())
    )
    headers = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return Evidence(_token(headers), names)


def _token(headers: list[Any]) -> str | None:
    """The bearer token (RFC 6750, section 2.1); empty, which nobody has, where the header is no such."""
    if not headers:
        return None
    header = headers[0] if len(headers) == 1 and isinstance(headers[0], str) else ""
    return header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
