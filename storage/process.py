"""Process: storage from start to end: open, serve, drain.

Touches the listening addresses, signals and the archive. It promises: SIGTERM takes nothing new, lets commits
under way finish, and ends with exit status 0; what was acknowledged is durable, whatever ends it.
"""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Mapping
from typing import Final

import grpc.aio
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from infertap import v1
from infertap.settings import Address
from storage.archive import Archive, open_archive
from storage.config import Settings
from storage.event_log import log_event
from storage.feedback import Attaching, Feedback
from storage.in_flight import InFlight
from storage.ingest import Ingest
from storage.live import Live
from storage.numbers import Numbers
from storage.query import Records
from storage.redaction import TextRedaction, open_redaction
from storage.web import Pages, PostedFeedback, make_app
from storage.writer import Writer

_SERVICES: Final = (
    v1.ListRecordsRequest.DESCRIPTOR.file.services_by_name["RecordService"].full_name,
    v1.IngestRequest.DESCRIPTOR.file.services_by_name["IngestService"].full_name,
    v1.AttachFeedbackRequest.DESCRIPTOR.file.services_by_name["FeedbackService"].full_name,
)
_MOST_CALLS: Final = 1000
_DRAIN_SECONDS: Final = 5.0
_SWEEP_SECONDS: Final = 1.0
_OPTIONS: Final = (
    # A batch is a MiB, or one record of up to three.
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", _MOST_CALLS),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class StartError(Exception):
    """Storage can't start; the message is one line for the person who set it up."""


class Storage:
    """One storage process, once its loop runs."""

    def __init__(self, settings: Settings, archive: Archive, redaction: TextRedaction | None) -> None:
        self._settings = settings
        self._archive = archive
        self._numbers = Numbers()
        self._attaching = Attaching(archive, self._numbers, redaction)
        self._live = Live()
        self._in_flight = InFlight()
        self._numbers.watch(self._in_flight)
        self._writer = Writer(archive, self._live, self._numbers, self._in_flight)
        self._health = health.aio.HealthServicer()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to end. Raises StartError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        working = [asyncio.create_task(self._writer.run()), asyncio.create_task(self._sweep())]
        server, port = await self._serve_grpc()
        runner = await self._serve_web()
        _, web_port = runner.addresses[0][:2]
        log_event(
            "storage started",
            listen=str(Address(self._settings.listen.host, port)),
            web=str(Address(self._settings.web_listen.host, web_port)),
            archive=self._settings.archive,
        )
        await self._stop.wait()
        log_event("draining", seconds=_DRAIN_SECONDS)
        await self._health.enter_graceful_shutdown()
        await server.stop(_DRAIN_SECONDS)
        await runner.cleanup()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        log_event("storage ended")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic_ns()
            self._live.tell_in_flight(self._in_flight.sweep(now), now)

    async def _serve_grpc(self) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        v1.add_RecordServiceServicer_to_server(
            Records(self._archive, self._live, self._numbers, self._in_flight), server
        )
        v1.add_IngestServiceServicer_to_server(
            Ingest(self._archive, self._writer, self._numbers, self._in_flight, self._live), server
        )
        v1.add_FeedbackServiceServicer_to_server(
            Feedback(self._archive, self._attaching, self._numbers), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        try:
            port = server.add_insecure_port(str(self._settings.listen))
        except RuntimeError:
            raise StartError(f"INFERTAP_STORAGE_LISTEN: can't listen on {self._settings.listen}") from None
        await server.start()
        for service in ("", *_SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return server, port

    async def _serve_web(self) -> web.AppRunner:
        listen = self._settings.web_listen
        runner = web.AppRunner(
            make_app(
                Pages(self._archive, self._in_flight, self._numbers, self._is_ready),
                PostedFeedback(self._attaching, self._settings.feedback_origins),
            ),
            access_log=None,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise StartError(
                f"INFERTAP_WEB_LISTEN: can't listen on {listen}: {os.strerror(error.errno or 0)}"
            ) from None
        return runner

    def _is_ready(self) -> bool:
        return not self._stop.is_set()


def _open_redaction(environ: Mapping[str, str]) -> TextRedaction | None:
    try:
        redaction = open_redaction(environ)
    except ValueError as error:
        raise StartError(str(error)) from None
    if redaction is None:
        log_event("feedback refused", why="no redaction is installed")
    return redaction


def run(settings: Settings, environ: Mapping[str, str]) -> None:
    """Run storage to its end, in this process; `environ` has the settings of redaction. Raises StartError and
    ArchiveError.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)  # what the engine writes is nobody else's to read
    redaction = _open_redaction(environ)
    archive = open_archive(settings.archive, settings.archive_memory_bytes)
    try:
        asyncio.run(Storage(settings, archive, redaction).run())
    finally:
        archive.close()
