"""Process: storage from start to end: open, serve, drain.

Touches the listening addresses, signals and the archive. It promises: SIGTERM takes nothing new, lets commits
under way finish, and ends with exit status 0; what was acknowledged is durable, whatever ends it.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final

import grpc.aio
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from infertap import core_files, v1
from infertap.identity import ServerFiles, make_server
from infertap.setting_files import UnusableFileError
from infertap.settings import Address
from storage.archive import (
    Archive,
    ArchiveError,
    SharedArchive,
    UnreachableError,
    describe_location,
    open_archive,
)
from storage.audit import Audit, Auditing, KeyFileError
from storage.config import Settings
from storage.event_log import log_event
from storage.feedback import Attaching, Feedback
from storage.identity import Access, AccessFiles, FeedbackRates
from storage.ingest import FollowingDeletions, Forgetting, Ingest, Recalling, Room, Streams, Writer, take_all
from storage.listening import listening_options, raise_descriptors
from storage.live import Following, InFlight, Live
from storage.memory import Memory
from storage.numbers import Numbers
from storage.query import Asking, Records
from storage.redaction import TextRedaction, open_redaction
from storage.sinks import Around, Sinks, read_sinks
from storage.upkeep import Admin, Audited, Retaining, open_auditing, retention_lease
from storage.web import CannotListenError, Pages, PostedFeedback, listen_web, make_app

_SERVICES: Final = (
    v1.DeleteRecordsRequest.DESCRIPTOR.file.services_by_name["AdminService"].full_name,
    v1.ListRecordsRequest.DESCRIPTOR.file.services_by_name["RecordService"].full_name,
    v1.IngestRequest.DESCRIPTOR.file.services_by_name["IngestService"].full_name,
    v1.AttachFeedbackRequest.DESCRIPTOR.file.services_by_name["FeedbackService"].full_name,
    v1.ListSpoolsRequest.DESCRIPTOR.file.services_by_name["AuditService"].full_name,
)
_DRAIN_SECONDS: Final = 5.0
# A connection of the web port without a request.
_KEEP_SECONDS: Final = 75.0
_SWEEP_SECONDS: Final = 1.0
# How long storage waits at its start for a database that does not answer, and between two attempts.
_UNREACHABLE_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 1.0
# Between commits to an archive that is shared: each makes new parts of tables, which must be merged.
_PACE_SECONDS: Final = 0.25


class StartError(Exception):
    """Storage can't start; the message is one line for the person who set it up."""


class Storage:
    """One storage process, once its loop runs."""

    def __init__(self, settings: Settings, archive: Archive, redaction: TextRedaction | None) -> None:
        """Raises StartError."""
        self._settings = settings
        self._archive = archive
        self._numbers = Numbers()
        self._access = _open_access(settings, self._numbers)
        rates = FeedbackRates(settings.feedback_per_minute, time.monotonic)
        self._attaching = Attaching(archive, self._numbers, redaction, rates)
        self._asking = Asking()
        self._numbers.watch_questions(lambda: self._asking.under_way)
        self._live = Live()
        self._in_flight = InFlight()
        self._memory = Memory()
        self._streams = Streams(settings.ingest_streams, settings.ingest_streams_per_identity)
        self._numbers.watch(self._in_flight)
        self._following: Following | None = None
        told = self._live
        if isinstance(archive, SharedArchive):
            # Whoever stored a record, this tells of it.
            self._following, told = Following(archive, self._live), Live()
        self._auditing = _open_auditing(settings, archive, self._numbers)
        self._writer = _make_writer(archive, told, self._numbers, self._in_flight, self._auditing)
        self._sinks = _open_sinks(settings, archive, self._numbers)
        self._forgetting = Forgetting()
        self._recalling = Recalling()
        self._retaining = Retaining(
            archive, settings.retention, self._numbers, self._recalling.recall, retention_lease(archive)
        )
        limit_bytes = settings.archive_disk_bytes
        self._admin = Admin(
            archive, self._forgetting, self._numbers, redaction, limit_bytes, sinks=self._sinks
        )
        self._health = health.aio.HealthServicer()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to end. Raises StartError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._archive.on_forgotten(self._forgetting.from_threads(loop))
        working = self._begin_work()
        auditing = None if self._auditing is None else asyncio.create_task(self._auditing.run())
        server, port = await self._serve_grpc()
        runner, web_server = await self._serve_web_beside(server)
        web_port = web_server.sockets[0].getsockname()[1]
        log_event(
            "storage started",
            listen=str(Address(self._settings.listen.host, port)),
            web=str(Address(self._settings.web_listen.host, web_port)),
            archive=describe_location(self._settings.archive),
            **self._access.describe(),
        )
        self._say_who_may_call()
        await self._stop.wait()
        log_event("draining", seconds=_DRAIN_SECONDS)
        await self._health.enter_graceful_shutdown()
        await server.stop(_DRAIN_SECONDS)
        web_server.close()
        await runner.cleanup()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await asyncio.to_thread(self._asking.close)
        if auditing is not None:
            # Last, so that what it signs at the end is all that was kept.
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)
        self._access.close()
        log_event("storage ended")

    def _begin_work(self) -> list[asyncio.Task[None]]:
        """What goes on beside serving."""
        acts = (
            self._writer.run(),
            self._sweep(),
            self._access.watch(),
            self._retaining.run(),
            self._sinks.run(),
        )
        working = [asyncio.create_task(act) for act in acts]
        if self._following is not None:
            working.append(asyncio.create_task(self._following.run()))
        if isinstance(self._archive, SharedArchive):
            deletions = FollowingDeletions(self._archive, self._forgetting)
            working.append(asyncio.create_task(deletions.run()))
        return working

    def _say_who_may_call(self) -> None:
        settings = self._settings
        if settings.identities_file is not None:
            return
        is_local = settings.listen.is_loopback and settings.web_listen.is_loopback
        to = "this machine" if is_local else "whoever the mesh or the network lets through"
        log_event("everybody may read, write and delete: no identities are configured", open_to=to)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic_ns()
            self._live.tell_in_flight(self._in_flight.sweep(now), now)
            self._streams.sweep(time.monotonic())
            if self._memory.is_short:
                self._streams.relieve()

    async def _serve_grpc(self) -> tuple[grpc.aio.Server, int]:
        server = make_server([self._access.guard], listening_options(self._settings.ingest_streams))
        self._add_services(server)
        try:
            port = self._add_port(server, str(self._settings.listen))
        except RuntimeError:
            raise StartError(f"INFERTAP_STORAGE_LISTEN: can't listen on {self._settings.listen}") from None
        await server.start()
        for service in ("", *_SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return server, port

    def _add_services(self, server: grpc.aio.Server) -> None:
        v1.add_RecordServiceServicer_to_server(
            Records(
                self._archive, self._live, self._numbers, self._in_flight, self._asking, now=self._writer.now
            ),
            server,
        )
        v1.add_IngestServiceServicer_to_server(
            Ingest(
                self._archive,
                self._writer,
                self._numbers,
                self._in_flight,
                self._live,
                room=Room(self._settings.ingest_bytes),
                streams=self._streams,
                spools=None if self._auditing is None else self._auditing.spools,
                forgetting=self._forgetting,
                recalling=self._recalling,
            ),
            server,
        )
        if self._auditing is not None:
            v1.add_AuditServiceServicer_to_server(Audit(self._auditing, ArchiveError), server)
        v1.add_FeedbackServiceServicer_to_server(
            Feedback(self._archive, self._attaching, self._numbers, self._asking), server
        )
        v1.add_AdminServiceServicer_to_server(self._admin, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )

    def _add_port(self, server: grpc.aio.Server, listen: str) -> int:
        certificates = self._access.certificates
        if certificates is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, certificates.for_grpc())

    async def _serve_web_beside(self, server: grpc.aio.Server) -> tuple[web.AppRunner, asyncio.Server]:
        try:
            return await self._serve_web()
        except StartError:
            await server.stop(None)
            raise

    async def _serve_web(self) -> tuple[web.AppRunner, asyncio.Server]:
        listen, certificates = self._settings.web_listen, self._access.certificates
        runner = web.AppRunner(
            make_app(
                Pages(
                    self._archive,
                    self._in_flight,
                    self._numbers,
                    self._asking,
                    self._is_ready,
                    spools=self._spools_of,
                ),
                PostedFeedback(self._attaching, self._settings.feedback_origins),
                self._access.web_guard,
            ),
            access_log=None,
            keepalive_timeout=_KEEP_SECONDS,
        )
        await runner.setup()
        try:
            server = await listen_web(
                runner, listen, None if certificates is None else certificates.for_http()
            )
        except CannotListenError as error:
            raise StartError(f"INFERTAP_WEB_LISTEN: can't listen on {listen}: {error}") from None
        return runner, server

    def _spools_of(self, tenant: str | None) -> list[v1.Spool]:
        return [] if self._auditing is None else self._auditing.spools.listed(tenant, time.time_ns())

    def _is_ready(self) -> bool:
        return not self._stop.is_set()


def _open_access(settings: Settings, numbers: Numbers) -> Access:
    server = None
    if settings.server_cert_file and settings.server_key_file:
        server = ServerFiles(settings.server_cert_file, settings.server_key_file, settings.client_ca_file)
    files = AccessFiles(server, settings.identities_file, settings.access_log_file)
    try:
        return Access(files, lambda method, reason: numbers.refused.labels(method, reason).inc())
    except UnusableFileError as error:
        raise StartError(f"{_named_by(settings, str(error))}: {error}") from None
    except OSError as error:
        raise StartError(f"INFERTAP_ACCESS_LOG_FILE: {error.filename}: {error.strerror}") from None


def _named_by(settings: Settings, fault: str) -> str:
    """The settings that name the file which `fault` begins with."""
    named = {
        "INFERTAP_IDENTITIES_FILE": settings.identities_file,
        "INFERTAP_SERVER_CLIENT_CA_FILE": settings.client_ca_file,
    }
    found = [name for name, path in named.items() if path and fault.startswith(f"{path}:")]
    return found[0] if found else "INFERTAP_SERVER_TLS_CERT_FILE, INFERTAP_SERVER_TLS_KEY_FILE"


def _open_auditing(settings: Settings, archive: Archive, numbers: Numbers) -> Auditing | None:
    try:
        return open_auditing(settings, archive, numbers)
    except KeyFileError as error:
        raise StartError(f"INFERTAP_AUDIT_KEY_FILE: {error}") from None


def _make_writer(
    archive: Archive, told: Live, numbers: Numbers, in_flight: InFlight, auditing: Auditing | None
) -> Writer:
    return Writer(
        archive,
        told,
        numbers,
        in_flight,
        check=take_all if auditing is None else auditing.check,
        pace_seconds=_PACE_SECONDS if isinstance(archive, SharedArchive) else 0.0,
        last_ns=_last_ns(archive),
    )


def _last_ns(archive: Archive) -> int:
    """When the last record was stored, of an archive with one writer: what it stores comes after it."""
    if isinstance(archive, SharedArchive):
        return 0
    last_ns = archive.latest_arrival().stored_ns - 1
    ahead_seconds = (last_ns - time.time_ns()) // 1_000_000_000
    if ahead_seconds > 0:
        log_event("the clock went back: records are stored by the later time", ahead_seconds=ahead_seconds)
    return last_ns


def _open_sinks(settings: Settings, archive: Archive, numbers: Numbers) -> Sinks:
    try:
        found = read_sinks(settings.sinks_file) if settings.sinks_file else []
    except UnusableFileError as error:
        raise StartError(f"INFERTAP_SINKS_FILE: {error}") from None
    assert isinstance(archive, Audited)  # as every engine is: it keeps how far a sink came
    is_shared = isinstance(archive, SharedArchive)
    around = Around(archive, archive.audit, log_event, 1.0 if is_shared else 0.25)
    return Sinks(found, around, numbers.sinks, is_shared=is_shared)


def _open_redaction(environ: Mapping[str, str]) -> TextRedaction | None:
    try:
        redaction = open_redaction(environ)
    except ValueError as error:
        raise StartError(str(error)) from None
    if redaction is None:
        log_event("feedback refused", why="no redaction is installed")
    return redaction


def _open_archive(settings: Settings) -> Archive:
    """The archive; where nobody answers for it, once somebody does, if not for long. Raises ArchiveError."""
    ends = time.monotonic() + _UNREACHABLE_SECONDS
    is_told = False
    while True:
        try:
            return open_archive(
                settings.archive,
                settings.archive_memory_bytes,
                settings.archive_password_file or "",
                disk_bytes=settings.archive_disk_bytes,
                tell=log_event,
            )
        except UnreachableError as error:
            if not is_told:
                log_event("waiting for the archive", why=str(error), seconds=_UNREACHABLE_SECONDS)
                is_told = True
            if time.monotonic() > ends:
                raise
        time.sleep(_AGAIN_SECONDS)


def run(settings: Settings, environ: Mapping[str, str]) -> None:
    """Run storage to its end, in this process; `environ` has the settings of redaction. Raises StartError and
    ArchiveError.
    """
    core_files.forbid()
    os.umask(0o077)  # what the engine writes is nobody else's to read
    # How long taking in records waits for a query that holds the interpreter: a fifth of what is usual.
    sys.setswitchinterval(0.001)
    if lacking := raise_descriptors(settings.ingest_streams):
        log_event("few descriptors", lacking=lacking, why="limit on open files (ulimit -n)")
    redaction = _open_redaction(environ)
    archive = _open_archive(settings)
    # What is there by now stays: else the collector goes through all of it again with every few batches.
    gc.freeze()
    try:
        asyncio.run(Storage(settings, archive, redaction).run())
    finally:
        gc.unfreeze()
        archive.close()
