"""The proxies written for the benchmark pass calls on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from bench.load import bodies, events
from bench.processes import await_ports, free_port, started


@contextmanager
def listening(log: Path, module: str, *arguments: str, port: int) -> Iterator[int]:
    with started([sys.executable, "-m", module, *arguments], 0, log) as process:
        await_ports(process, log, [port])
        yield port


def test_aiohttp(tmp_path: Path) -> None:
    """Bodies pass whole both ways, events as they come."""
    model, proxy = free_port(), free_port()
    with (
        listening(tmp_path / "model", "bench.model", str(model), port=model),
        listening(tmp_path / "proxy", "bench.peers.aiohttp_proxy", f"{proxy}={model}", port=proxy),
    ):
        assert bodies(proxy, 0.1, "up")["calls"] >= 4
        assert bodies(proxy, 0.1, "down")["calls"] >= 4
        assert events(proxy, 0.4, 5)["events_per_second"] > 200


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        def echo(requests, context):
            metadata = dict(context.invocation_metadata())
            context.send_initial_metadata((("seen-id", "1" if metadata.get("x-request-id") else "0"),))
            if handler_call_details.method == "/x/Fail":
                assert list(requests) == [b""]
                context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
            yield from requests

        return grpc.stream_stream_rpc_method_handler(echo)


def test_grpc(tmp_path: Path) -> None:
    """Messages, metadata and status pass, of unary calls and of streams, with an id added."""
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(2), handlers=(Echo(),))
    model, proxy = server.add_insecure_port("127.0.0.1:0"), free_port()
    server.start()
    try:
        with (
            listening(tmp_path / "log", "bench.peers.grpc_proxy", str(proxy), str(model), port=proxy),
            grpc.insecure_channel(f"127.0.0.1:{proxy}", options=[("grpc.enable_http_proxy", 0)]) as channel,
        ):
            answer, call = channel.unary_unary("/x/Echo").with_call(b"abc", timeout=10)
            assert (answer, dict(call.initial_metadata())["seen-id"]) == (b"abc", "1")
            assert list(channel.stream_stream("/x/Echo")(iter([b"1", b"2"]), timeout=10)) == [b"1", b"2"]
            with pytest.raises(grpc.RpcError, match="no such thing"):
                channel.unary_unary("/x/Fail")(b"", timeout=10)
    finally:
        server.stop(None).wait()
