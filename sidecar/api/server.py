"""Server: the gRPC server around records and dead letters: health checking, reflection, limits."""

import asyncio
from collections.abc import Callable
from typing import Final

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from infertap import v1
from infertap.identity import make_server
from infertap.setting_files import UnusableFileError
from infertap.settings import Address
from sidecar.api.access import ApiAccess, ApiFiles
from sidecar.api.dead_letters import DeadLetters
from sidecar.api.records import Records
from sidecar.in_flight import InFlight
from sidecar.spool import Spool

_SERVICES: Final = (
    v1.ListRecordsRequest.DESCRIPTOR.file.services_by_name["RecordService"].full_name,
    v1.ListDeadLettersRequest.DESCRIPTOR.file.services_by_name["SpoolService"].full_name,
)
_MOST_CALLS: Final = 64
_STOP_SECONDS: Final = 0.5
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 << 10),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", _MOST_CALLS),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_allowed_incoming_connections", 256),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


class CannotServeError(Exception):
    """The address can't be had now, or a file can't be used; the message says which and why."""


class Api:
    """The sidecar's own gRPC API."""

    def __init__(
        self,
        spool: Spool,
        in_flight: InFlight,
        listen: Address,
        files: ApiFiles | None = None,
        *,
        resent: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `files` everybody may ask. `resent` is called when dead letters are to be sent again."""
        self._listen = listen
        self._files = files or ApiFiles()
        self._records = Records(spool, in_flight)
        self._dead_letters = DeadLetters(spool, resent)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        # Where it listens, once it does.
        self.port = 0

    def wake(self) -> None:
        """Records were appended; call it on the event loop."""
        self._records.wake()

    async def serve(self) -> None:
        """Serve until cancelled, and stop then; raises CannotServeError where that can't begin now."""
        access = await self.start()
        try:
            await access.watch()
        finally:
            await self.stop()

    async def start(self) -> ApiAccess:
        """Serve from now on, to whom the answer says. Raises CannotServeError."""
        try:
            access = await asyncio.to_thread(ApiAccess, self._files)
        except UnusableFileError as error:
            raise CannotServeError(str(error)) from None
        await self._start(access)
        return access

    async def _start(self, access: ApiAccess) -> None:
        server = make_server([access.guard], _OPTIONS)
        v1.add_RecordServiceServicer_to_server(self._records, server)
        v1.add_SpoolServiceServicer_to_server(self._dead_letters, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        try:
            if access.certificates is None:
                self.port = server.add_insecure_port(str(self._listen))
            else:
                self.port = server.add_secure_port(str(self._listen), access.certificates.for_grpc())
        except RuntimeError:
            raise CannotServeError(f"can't listen on {self._listen}") from None
        for service in ("", *_SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Serve no more; calls under way have a moment to end."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(_STOP_SECONDS)
