"""gRPC by the real client: grpcio's asyncio stub of the Open Inference Protocol, one channel.

    python -m bench.load.grpc_calls PORT SECONDS CONCURRENT          prints the figures as JSON

A process of its own for each load: grpcio's threads outlive the event loop they were made for.
"""

import asyncio
import json
import sys
import time
from typing import Any, Final

import grpc

from bench.load.measuring import Figures, LoadError, latencies, said_by
from infertap.oip import open_inference_pb2 as pb
from infertap.oip import open_inference_pb2_grpc as pb_grpc

_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)


def grpc_calls(port: int, seconds: float, concurrent: int) -> Figures:
    """Unary ModelInfer with 1 KiB of tensor, `concurrent` at a time; answers are decoded, status read."""
    command = [sys.executable, "-m", "bench.load.grpc_calls", str(port), str(seconds), str(concurrent)]
    return dict(json.loads(said_by(command, seconds)))


def request() -> pb.ModelInferRequest:
    """A tensor of 1 KiB."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="predict", datatype="FP32", shape=[256])
    return pb.ModelInferRequest(model_name="iris", inputs=[tensor], raw_input_contents=[bytes(1024)])


def answer() -> bytes:
    """What the upstream answers, in gRPC's frame: not compressed, length, message."""
    tensor = pb.ModelInferResponse.InferOutputTensor(name="predict", datatype="INT64", shape=[1])
    message = pb.ModelInferResponse(
        model_name="iris", outputs=[tensor], raw_output_contents=[bytes(8)]
    ).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


async def _put_on(port: int, seconds: float, concurrent: int) -> Figures:
    times: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        stub: Any = pb_grpc.GRPCInferenceServiceStub(channel)
        began = time.perf_counter()
        try:
            await asyncio.gather(*(_call_until(began + seconds, stub, times) for _ in range(concurrent)))
        except grpc.aio.AioRpcError as error:
            raise LoadError(f"{error.code().name}: {error.details()}") from None
        took = time.perf_counter() - began
    count = float(len(times))
    return {"requests_per_second": count / took, **latencies(times), "calls": count}


async def _call_until(end: float, stub: Any, times: list[float]) -> None:
    asked = request()
    while (begins := time.perf_counter()) < end:
        answered = await stub.ModelInfer(asked)
        if answered.model_name != "iris":
            raise LoadError("another answer than the upstream's")
        times.append((time.perf_counter() - begins) * 1e6)


if __name__ == "__main__":
    try:
        print(json.dumps(asyncio.run(_put_on(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))))
    except LoadError as error:
        sys.exit(str(error))
