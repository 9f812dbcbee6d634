"""Connection: one stream to storage, from hello to its end.

Six tasks: *send* leases and writes batches while the window has room; *receive* reads answers; *settle*
writes what was answered into the spool, all that came meanwhile in one transaction, and only then opens the
window; *watch* ends the connection when storage owes an answer for too long; where storage takes it, *tell*
writes once a second what is in flight, and *beat* every ten how the spool stands. Touches the spool, in
threads, and its one call. Promises: an entry is settled in the spool only by storage's word, and only in the
spool that the stream was begun for: where a file was set aside meanwhile, the connection ends.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from infertap import v1
from sidecar.forwarder import messages
from sidecar.forwarder.caution import Caution
from sidecar.forwarder.heartbeat import heartbeat
from sidecar.forwarder.in_flight import Snapshots
from sidecar.forwarder.window import Range, Window
from sidecar.in_flight import InFlight
from sidecar.spool import Spool, SpoolError, SpoolForked

MAX_ENTRIES: Final = 256
MAX_BYTES: Final = 1 << 20
# Of storage's words, in the reason of a dead letter.
_WHY_MOST: Final = 200
# Answers read and not yet settled.
_MAX_ANSWERS: Final = 64
# Between what storage is told of calls in flight; and for its last word when all is told.
TELL_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 1.0
# Between heartbeats; a drain is told of at once.
BEAT_SECONDS: Final = 10.0

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[v1.IngestRequest, v1.IngestResponse]


class Trouble(Exception):  # noqa: N818  (an expected end, not an error of ours)
    """The connection can't go on; the message says why, in our words."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, in seconds."""

    # From dialling to storage's welcome.
    welcome_seconds: float
    # From a batch, or the last answer, to the next answer.
    ack_seconds: float
    # Between looks into the spool that nobody asked for.
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What others tell the connection."""

    # There may be more to send.
    news: asyncio.Event
    # Nothing more will come: end when nothing is pending.
    draining: asyncio.Event


@dataclass(slots=True)
class Tally:
    """What happened, over all connections."""

    connected: bool = False
    batches_sent: int = 0
    reconnects: int = 0
    entries_acked: int = 0
    rejected: int = 0
    last_trouble: str = ""


class Connection:
    """One connection. `run` it once."""

    def __init__(
        self,
        spool: Spool,
        call: "Call",
        tally: Tally,
        timing: Timing,
        signals: Signals,
        *,
        caution: Caution,
        in_flight: InFlight,
        calls: Callable[[], Mapping[str, int]],
        on_progress: Callable[[], None],
    ) -> None:
        """The call is new and goes with the connection; tally, signals and caution outlive it. `on_progress`
        is called once, when storage has settled something.
        """
        self._caution = caution
        self._spool = spool
        # Whose stream it is.
        self._spool_id = spool.spool_id
        caution.begin(self._spool_id)
        self._in_flight = in_flight
        # What storage knows of it by this stream; None where it does not take it.
        self._snapshots: Snapshots | None = None
        self._calls = calls
        self._on_progress = on_progress
        self._takes_heartbeats = False
        # gRPC takes one message at a time.
        self._writing = asyncio.Lock()
        self._is_over = False
        self._call = call
        self._tally = tally
        self._timing = timing
        self._news = signals.news
        self._draining = signals.draining
        self._window = Window()
        self._answers: asyncio.Queue[v1.IngestResponse] = asyncio.Queue(_MAX_ANSWERS)
        # Storage settled something.
        self.progressed = False

    async def run(self, hello: v1.Hello) -> None:
        """Return when drained; raises Trouble for any other end."""
        try:
            await self._introduce(hello)
            self._tally.connected = True
            await _first_of(
                self._send(), self._receive(), self._settle(), self._watch(), self._tell(), self._beat()
            )
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The latter: written after the stream's end, which `_receive` has not been told of yet.
            code = await self._call.code()
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                await self._refused(await self._call.details() or "")
            raise Trouble(f"storage: {code.name}") from None
        except SpoolForked:
            raise Trouble("the spool goes on under a new id") from None
        except SpoolError as error:
            raise Trouble(str(error)) from None
        finally:
            self._tally.connected = False
            self._call.cancel()

    async def _introduce(self, hello: v1.Hello) -> None:
        try:
            async with asyncio.timeout(self._timing.welcome_seconds):
                await self._call.write(messages.hello(hello, self._spool_id))
                answer = await self._read()
        except TimeoutError:
            raise Trouble("storage: no welcome in time") from None
        if answer.WhichOneof("message") != "welcome":
            raise Trouble("storage: no welcome")
        if answer.welcome.takes_in_flight:
            self._snapshots = Snapshots()
        self._takes_heartbeats = answer.welcome.takes_heartbeats
        received = messages.ranges(answer.welcome.received)
        await asyncio.to_thread(self._spool.rewind, received, self._spool_id)

    async def _refused(self, why: str) -> None:
        """Storage refuses all that is under way; an entry that is alone in it is set aside."""
        guilty = self._caution.refused(self._window.under_way)
        # With answers that nobody has read yet it may be one that storage took: the next connection tells.
        if guilty is not None and self._answers.empty():
            with suppress(SpoolError):  # then it is refused again
                await asyncio.to_thread(
                    self._spool.dead_letter, guilty, f"INVALID_ARGUMENT: {why[:_WHY_MOST]}", self._spool_id
                )
                self._tally.rejected += 1

    async def _read(self) -> v1.IngestResponse:
        answer = await self._call.read()
        if isinstance(answer, v1.IngestResponse):
            return answer
        raise Trouble(f"storage ended the stream: {(await self._call.code()).name}")

    async def _send(self) -> None:
        after = 0
        while True:
            self._news.clear()
            entries = await self._lease(after)
            if entries:
                after = entries[-1].last
                self._window.sent([(each.first, each.last) for each in entries], time.monotonic())
                async with self._writing:
                    await self._call.write(messages.batch(entries))
                self._tally.batches_sent += 1
            elif self._window.is_empty and after > 0:
                # Something earlier may be pending again.
                after = 0
            elif self._window.is_empty and self._draining.is_set():
                await self._take_leave()
                return
            else:
                await self._wait_for_news()

    async def _lease(self, after: int) -> Sequence[messages.Outgoing]:
        is_due = self._caution.is_due(after)
        if not self._window.has_room or (is_due and not self._window.is_empty):
            return []
        most = 1 if is_due else MAX_ENTRIES
        leased = await asyncio.to_thread(self._spool.lease, after, most, MAX_BYTES)
        self._require_same()
        return leased

    def _require_same(self) -> None:
        """What was read is of the spool that this stream is for: ask after reading; no id comes back."""
        if self._spool.spool_id != self._spool_id:
            raise Trouble("the spool was set aside, and goes on under a new id")

    async def _wait_for_news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.poll_seconds):
                await self._news.wait()

    async def _take_leave(self) -> None:
        """Tell what has ended, and how the spool is left, and let storage read it: it ends the stream then,
        which *receive* hears of.
        """
        told = self._takes_heartbeats
        if self._snapshots is not None and not self._snapshots.is_empty:
            await self._tell_once(self._snapshots)
            told = True
        if self._takes_heartbeats:
            await self._beat_once()
        if told:
            self._is_over = True
            await self._call.done_writing()
            await asyncio.sleep(LEAVE_SECONDS)

    async def _receive(self) -> None:
        while True:
            try:
                answer = await self._read()
            except Trouble:
                if self._is_over:
                    return
                raise
            await self._answers.put(answer)

    async def _settle(self) -> None:
        while True:
            answers = [await self._answers.get()]
            while not self._answers.empty():
                answers.append(self._answers.get_nowait())
            acked = [each for answer in answers for each in messages.ranges(answer.ack.ranges)]
            rejects = [answer.reject for answer in answers if answer.HasField("reject")]
            forgotten = [each for answer in answers for each in messages.ranges(answer.forget.ranges)]
            await asyncio.to_thread(self._keep, acked, rejects, forgotten)
            if acked or rejects:
                self._count(acked, rejects)
                self._news.set()

    def _keep(self, acked: list[Range], rejects: list[v1.Reject], forgotten: list[Range]) -> None:
        if acked:
            self._spool.ack(acked, self._spool_id)
        for reject in rejects:
            self._spool.dead_letter(reject.sequence, reject.reason, self._spool_id)
        if forgotten:
            self._spool.forget(forgotten, self._spool_id)

    def _count(self, acked: list[Range], rejects: list[v1.Reject]) -> None:
        now = time.monotonic()
        self._window.acked(acked, now)
        for reject in rejects:
            self._window.rejected(reject.sequence, now)
        self._tally.entries_acked += sum(last - first + 1 for first, last in acked)
        self._tally.rejected += len(rejects)
        if not self.progressed:
            self.progressed = True
            self._on_progress()

    async def _watch(self) -> None:
        limit = self._timing.ack_seconds
        while True:
            since = self._window.waiting_since
            patience = limit if since is None else since + limit - time.monotonic()
            if patience <= 0:
                raise Trouble(f"storage: no acknowledgement for {limit:g} s")
            await asyncio.sleep(patience)

    async def _tell(self) -> None:
        if self._snapshots is None:
            await asyncio.Event().wait()  # for ever
            return
        while not self._is_over:
            await self._tell_once(self._snapshots)
            await asyncio.sleep(TELL_SECONDS)

    async def _tell_once(self, snapshots: Snapshots) -> None:
        """What is in flight as of now: under the lock, so that no record that it lacks was sent before."""
        async with self._writing:
            now = time.monotonic_ns()
            calls = self._in_flight.calls(now)
            if calls or not snapshots.is_empty:
                message = await asyncio.to_thread(snapshots.next, calls, now)
                if message is not None and not self._is_over:
                    await self._call.write(v1.IngestRequest(in_flight=message))

    async def _beat(self) -> None:
        while self._takes_heartbeats and not self._is_over:
            is_draining = self._draining.is_set()
            await self._beat_once()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await (asyncio.Event() if is_draining else self._draining).wait()
        await asyncio.Event().wait()  # for ever

    async def _beat_once(self) -> None:
        account = await asyncio.to_thread(self._spool.account)
        self._require_same()
        async with self._writing:
            if not self._is_over:
                is_leaving = self._draining.is_set()
                await self._call.write(heartbeat(account, self._calls(), time.time_ns(), is_leaving))


async def _first_of(*acts: Coroutine[None, None, None]) -> None:
    """Run until one ends, end the others, and end as the first did."""
    tasks = [asyncio.ensure_future(act) for act in acts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
