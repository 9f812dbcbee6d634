"""Server: the gRPC server around the record service: health checking, reflection, limits."""

from typing import Final

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from infertap import v1
from infertap.settings import Address
from sidecar.api.records import Records
from sidecar.in_flight import InFlight
from sidecar.spool import Spool

_SERVICE: Final = v1.ListRecordsRequest.DESCRIPTOR.file.services_by_name["RecordService"].full_name
_MOST_CALLS: Final = 64
_STOP_SECONDS: Final = 0.5
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 << 10),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", _MOST_CALLS),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class Api:
    """The sidecar's own gRPC API."""

    def __init__(self, spool: Spool, in_flight: InFlight, listen: Address) -> None:
        self._listen = listen
        self._records = Records(spool, in_flight)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        # Where it listens, once it does.
        self.port = 0

    def wake(self) -> None:
        """Records were appended; call it on the event loop."""
        self._records.wake()

    async def start(self) -> bool:
        """Serve from now on; False where the address can't be had now."""
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        v1.add_RecordServiceServicer_to_server(self._records, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            self.port = server.add_insecure_port(str(self._listen))
        except RuntimeError:
            return False
        for service in ("", _SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._server = server
        return True

    async def stop(self) -> None:
        """Serve no more; calls under way have a moment to end."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(_STOP_SECONDS)
