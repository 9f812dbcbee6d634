"""Forwarder: one spool's way to one storage, connection after connection.

Whatever goes wrong ends the connection, and the next one starts from what the spool still holds as pending;
storage keeps each sequence once, so sending twice is harmless, and so is losing an acknowledgement. It never
gives up. The decisions (`backoff`, `window`) are apart from the I/O (`connection`, and here).
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from infertap import v1
from infertap.connection import AccessError
from infertap.connection import Connection as Way
from sidecar.event_log import log_event
from sidecar.forwarder.backoff import LONGEST_SECONDS, Backoff
from sidecar.forwarder.caution import Caution
from sidecar.forwarder.connection import Connection, Signals, Tally, Timing, Trouble
from sidecar.in_flight import InFlight
from sidecar.spool import Spool

_MIB: Final = 1 << 20
_CHANNEL_OPTIONS: Final = (
    # A batch is a MiB, or one record of up to three.
    ("grpc.max_send_message_length", 8 * _MIB),
    # A welcome lists ranges; a spool with very many holes makes it long.
    ("grpc.max_receive_message_length", 16 * _MIB),
    # Servers take pings this seldom by default (grpc/grpc doc/keepalive.md); a storage that hangs with
    # something under way is noticed sooner, by the acknowledgement it owes.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # The backoff is ours alone.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """What the counters page shows of the way to storage."""

    connected: bool
    batches_sent: int
    # Connections that ended or failed.
    reconnects: int
    entries_acked: int
    rejected: int
    # Why the last connection ended, in our words; empty before any did.
    last_trouble: str


class Forwarder:
    """One spool's way to one storage. Its event loop is the one `run` is called in."""

    def __init__(
        self,
        spool: Spool,
        way: Way,
        hello: v1.Hello,
        *,
        in_flight: InFlight,
        calls: Callable[[], Mapping[str, int]] = dict,
        welcome_timeout_seconds: float = 10.0,
        ack_timeout_seconds: float = 30.0,
        poll_seconds: float = 5.0,
    ) -> None:
        """`way` leads to storage; `hello.spool_id` is filled in from the spool at each connection; `calls`
        gives the terms of the account of calls, for heartbeats.
        """
        self._spool = spool
        self._in_flight = in_flight
        self._calls = calls
        self._way = way
        # What the event log was last told of why storage is not reached.
        self._told = ""
        self._hello = hello
        self._timing = Timing(welcome_timeout_seconds, ack_timeout_seconds, poll_seconds)
        self._tally = Tally()
        self._backoff = Backoff()
        self._caution = Caution()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = Signals(news=asyncio.Event(), draining=asyncio.Event())
        self._ended = asyncio.Event()

    @property
    def status(self) -> ForwarderStatus:
        """A snapshot. From any thread."""
        return ForwarderStatus(**asdict(self._tally))

    def wake(self) -> None:
        """Records were appended. From any thread; never blocks; harmless before and after `run`."""
        loop = self._loop
        if loop is not None:
            # The loop may close between the two.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._signals.news.set)

    async def run(self) -> None:
        """Connect, send, settle; until drained or cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while not await self._connect():
                await self._pause()
        finally:
            self._loop = None
            self._ended.set()

    async def drain(self, seconds: float) -> bool:
        """Send what is pending, for at most `seconds`; True if all was settled, and then `run` has ended.

        Call it when nothing is appended any more. When it returns False, cancel `run`.
        """
        self._signals.draining.set()
        self._signals.news.set()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return await self._is_settled()

    async def _connect(self) -> bool:
        """One connection; True if it ended because everything is drained."""
        if self._signals.draining.is_set() and await self._is_settled():
            return True
        begun = time.monotonic()
        try:  # certificates and token as they are now
            channel, shown = self._way.aio_channel(_CHANNEL_OPTIONS), self._way.metadata()
        except AccessError as error:
            self._missed(str(error))
            return False
        async with channel:
            call = v1.IngestServiceStub(channel).Ingest(metadata=shown)
            connection = Connection(
                self._spool,
                call,
                self._tally,
                self._timing,
                self._signals,
                caution=self._caution,
                in_flight=self._in_flight,
                calls=self._calls,
                on_progress=self._reached,
            )
            try:
                await connection.run(self._hello)
            except Trouble as trouble:
                self._missed(str(trouble))
            else:
                return True
        if connection.progressed or time.monotonic() - begun > LONGEST_SECONDS:
            self._backoff.succeeded()
        return False

    def _missed(self, trouble: str) -> None:
        """A connection ended, or could not be made; each new reason gets a line in the event log."""
        self._tally.last_trouble = trouble
        self._tally.reconnects += 1
        if trouble != self._told:
            self._told = trouble
            log_event("recorder", "no way to storage", address=self._way.target, why=trouble)

    def _reached(self) -> None:
        """Storage took something; where that was told to be impossible, it is told to be over."""
        if self._told:
            self._told = ""
            log_event("recorder", "storage reached again", address=self._way.target)

    async def _pause(self) -> None:
        """Wait as long as is due; a drain that begins meanwhile tries at once."""
        wait = self._backoff.failed(random.random())  # noqa: S311  (spreads load, keeps no secret)
        if self._signals.draining.is_set():
            await asyncio.sleep(wait)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._signals.draining.wait()

    async def _is_settled(self) -> bool:
        return not await asyncio.to_thread(self._spool.lease, 0, 1, 1)
