"""Server: a gRPC server of ours, which strangers can't end.

grpc.aio decodes the path of a call to a method that it does not have as UTF-8, outside of any call's own
task: one call with another path, from whoever reaches the port, ends its loop, and nothing is served any
more. So calls to unknown methods are answered here, with UNIMPLEMENTED, and their path is never looked at.
That is by the hook `_make_request_call_future`, which is not grpc's public interface (grpcio 1.84, 1.85): a
test says when it is no longer what it was.

It promises: whatever is asked for, the methods that were added are served on.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _server

Options = Sequence[tuple[str, Any]]


def make_server(interceptors: Sequence[grpc.aio.ServerInterceptor], options: Options) -> "grpc.aio.Server":
    """A server without methods. Those that are added must be registered ones, as generated code adds them."""
    return _Server(interceptors, options)  # type: ignore[return-value]  # the stubs know no other class


class _Server(_server.Server):
    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Options) -> None:
        self._loop = cygrpc.get_working_loop()
        augmented = _server._augment_channel_arguments(options, None)
        self._server = _Core(self._loop, None, (), tuple(interceptors), augmented, None)


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # no stubs
    def _make_request_call_future(self, method: bytes | None) -> Any:
        """The next call of that registered method; None: of any other, which never comes."""
        if method is None:
            return asyncio.get_running_loop().create_task(self._answer_unknown())
        return super()._make_request_call_future(method)

    async def _answer_unknown(self) -> None:
        """Answer, until the server ends, which raises what grpc expects."""
        loop = asyncio.get_running_loop()
        answering: set[asyncio.Task[None]] = set()
        while True:
            state = await self._request_call()
            answer = cygrpc._handle_rpc(_NAMELESS, _NoMethods(), (), state, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, state, loop, _NAMELESS))
            answering.add(task)
            task.add_done_callback(answering.discard)


_NAMELESS: Final = "unknown"


class _NoMethods:
    def resolve_handler(self, _: object) -> None:
        """There is none, so the answer is UNIMPLEMENTED."""
