"""Serve both protocols from one process until SIGINT or SIGTERM."""

import argparse
import asyncio
import contextlib
import signal

import uvicorn

from model_server import http_app, inference_grpc
from model_server.iris import train_models
from model_server.markov import MarkovText


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="model_server", description=__doc__)
    parser.add_argument("--http", default="127.0.0.1:8000", metavar="HOST:PORT", help="REST and chat")
    parser.add_argument("--grpc", default="127.0.0.1:8001", metavar="HOST:PORT", help="inference over gRPC")
    parser.add_argument("--gap-ms", type=float, default=25.0, help="mean time between generated tokens")
    return parser.parse_args()


async def serve(arguments: argparse.Namespace) -> None:
    models = train_models()
    host, _, port = arguments.http.rpartition(":")
    app = http_app.build(models, MarkovText.from_file(), arguments.gap_ms / 1000)
    http_server = uvicorn.Server(uvicorn.Config(app, host=host, port=int(port), log_level="warning"))
    grpc_server = inference_grpc.build(models, arguments.grpc)

    await grpc_server.start()
    try:
        await http_server.serve()  # returns after SIGINT or SIGTERM
    finally:
        await grpc_server.stop(grace=1.0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(read_arguments()))
