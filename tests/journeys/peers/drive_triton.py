"""Call an Open Inference server by tritonclient, and print what was sent and seen, as JSON lines.

python drive_triton.py HTTP_ADDRESS GRPC_ADDRESS

Each line: {"call": name, "sent": {...}, "seen": {...}}. Each call carries its name as x-request-id and as the
body's id.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]])
OUTPUTS = ("predict", "predict_proba")


def tell(call: str, sent: dict[str, Any], seen: dict[str, Any]) -> None:
    print(json.dumps({"call": call, "sent": sent, "seen": seen}), flush=True)


def run(
    call: str, infer: Callable[..., Any], inputs: list[Any], sent: dict[str, Any], **options: Any
) -> None:
    """One inference, and what came of it."""
    try:
        result = infer(
            sent["model"],
            inputs,
            model_version=sent.get("version", ""),
            request_id=call,
            headers={"x-request-id": call},
            **options,
        )
    except InferenceServerException as error:
        tell(call, sent, {"error": error.message(), "status": error.status()})
        return
    outputs = {name: result.as_numpy(name) for name in OUTPUTS}
    answer = result.get_response()
    version = answer["model_version"] if isinstance(answer, dict) else answer.model_version
    seen = {name: array.tolist() for name, array in outputs.items() if array is not None}
    tell(call, sent, {"version": version, "outputs": seen})


def call_by_http(address: str) -> None:
    with over_http.InferenceServerClient(address) as client:

        def inputs(array: Any, binary: bool = False) -> list[Any]:
            tensor = over_http.InferInput("flowers", list(array.shape), "FP64")
            tensor.set_data_from_numpy(array, binary_data=binary)
            return [tensor]

        outputs = [over_http.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
        sent = {"model": "iris", "flowers": FLOWERS.tolist()}
        run("http", as_json(client.infer), inputs(FLOWERS), sent, outputs=outputs)
        run("http-version", as_json(client.infer), inputs(FLOWERS), sent | {"version": "v7"}, outputs=outputs)
        # The server compresses what is long.
        many = np.tile(FLOWERS, (50, 1))
        gzip = {"response_compression_algorithm": "gzip"}
        sent_many = sent | {"flowers": many.tolist()}
        run("http-gzip", as_json(client.infer), inputs(many), sent_many, outputs=outputs, **gzip)
        run("http-binary", client.infer, inputs(FLOWERS, binary=True), sent, outputs=outputs)
        run(
            "http-unknown",
            as_json(client.infer),
            inputs(FLOWERS),
            sent | {"model": "nobody"},
            outputs=outputs,
        )
        tell(
            "http-metadata", {}, client.get_model_metadata("iris", headers={"x-request-id": "http-metadata"})
        )
        # The last: behind a 500 the server closes the connection, and a next call might be sent twice.
        short = FLOWERS[:, :3]
        sent_short = sent | {"flowers": short.tolist()}
        run("http-shape", as_json(client.infer), inputs(short), sent_short, outputs=outputs)


def as_json(infer: Callable[..., Any]) -> Callable[..., Any]:
    """MLServer wants the type said, which this client leaves out where nothing is binary."""

    def call(*arguments: Any, headers: dict[str, str], **options: Any) -> Any:
        return infer(*arguments, headers=headers | {"content-type": "application/json"}, **options)

    return call


def call_by_grpc(address: str) -> None:
    with over_grpc.InferenceServerClient(address) as client:

        def inputs(array: Any) -> list[Any]:
            tensor = over_grpc.InferInput("flowers", list(array.shape), "FP64")
            tensor.set_data_from_numpy(array)
            return [tensor]

        outputs = [over_grpc.InferRequestedOutput(name) for name in OUTPUTS]
        sent = {"model": "iris", "flowers": FLOWERS.tolist()}
        run("grpc", client.infer, inputs(FLOWERS), sent, outputs=outputs)
        run("grpc-version", client.infer, inputs(FLOWERS), sent | {"version": "v7"}, outputs=outputs)
        many = np.tile(FLOWERS, (50, 1))
        sent_many = sent | {"flowers": many.tolist()}
        run("grpc-gzip", client.infer, inputs(many), sent_many, outputs=outputs, compression_algorithm="gzip")
        run("grpc-unknown", client.infer, inputs(FLOWERS), sent | {"model": "nobody"}, outputs=outputs)


if __name__ == "__main__":
    call_by_http(sys.argv[1])
    call_by_grpc(sys.argv[2])
