"""A generic proxy in grpc.aio: any method of any kind, messages as bytes, metadata and status passed on.

python -m bench.peers.grpc_proxy LISTEN UPSTREAM          loopback ports

Where a model ends a call before it has read its requests, grpc.aio may tell INTERNAL instead of its status.
"""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

_NO_PROXY: Final = (("grpc.enable_http_proxy", 0),)


class Relay(grpc.GenericRpcHandler):
    """Every method is one of two streams, which holds for unary ones too."""

    def __init__(self, model: grpc.aio.Channel) -> None:
        self._model = model

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """See grpc."""
        call: Any = self._model.stream_stream(handler_call_details.method)

        async def relay(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            given = tuple(context.invocation_metadata())
            answers = call(requests, metadata=_with_id(given), timeout=context.time_remaining())
            try:
                await context.send_initial_metadata(await answers.initial_metadata())
                async for answer in answers:
                    yield answer
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata()))

        return grpc.stream_stream_rpc_method_handler(relay)


def _with_id(given: tuple[tuple[str, str | bytes], ...]) -> tuple[tuple[str, str | bytes], ...]:
    passed = tuple((name, value) for name, value in given if name != "user-agent")
    if any(name == "x-request-id" for name, _ in passed):
        return passed
    return (*passed, ("x-request-id", str(uuid.uuid4())))


async def serve(listen: int, upstream: int) -> None:
    """Serve for ever."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream}", options=_NO_PROXY) as model:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Relay(model),))
        server.add_insecure_port(f"127.0.0.1:{listen}")
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
