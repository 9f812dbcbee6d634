"""The example model server as its clients see it: both protocols of inference, chat, and its ways to fail."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from infertap import oip
from tests.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


def await_live(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the model server ended"
        try:
            if httpx.get(f"{url}/v2/health/live").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the model server does not answer")


@pytest.fixture(scope="module")
def addresses() -> Iterator[tuple[str, str]]:
    http, grpc_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    process = subprocess.Popen(
        [sys.executable, "-m", "model_server", "--http", http, "--grpc", grpc_address, "--gap-ms", "5"],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
        stdin=subprocess.DEVNULL,
    )
    try:
        await_live(process, f"http://{http}")
        yield http, grpc_address
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def rest(addresses: tuple[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{addresses[0]}", timeout=20) as client:
        yield client


@pytest.fixture
def stub(addresses: tuple[str, str]) -> Iterator[oip.GRPCInferenceServiceStub]:
    with grpc.insecure_channel(addresses[1]) as channel:
        yield oip.GRPCInferenceServiceStub(channel)


def infer_body(**changed: object) -> dict[str, object]:
    tensor = {"name": "features", "shape": [2, 4], "datatype": "FP64", "data": FLOWERS} | changed
    return {"id": "call-1", "inputs": [tensor]}


def infer_request(model: str = "iris", shape: tuple[int, int] = (2, 4)) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model, id="call-1")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.extend(value for row in FLOWERS for value in row)
    return request


def events_of(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


@pytest.mark.parametrize("path", ["/v2/models/iris", "/v2/models/iris/versions/1"])
def test_classifies_over_rest(rest: httpx.Client, path: str) -> None:
    """Two flowers come back as their species, with the caller's id and the model's version."""
    answer = rest.post(f"{path}/infer", json=infer_body())
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("iris", "1", "call-1")
    species, probabilities = body["outputs"]
    assert species["data"] == ["setosa", "virginica"]
    assert probabilities["shape"] == [2, 3]
    assert sum(probabilities["data"][:3]) == pytest.approx(1, abs=1e-5)
    assert rest.get(path).json()["inputs"][0]["shape"] == [-1, 4]
    assert rest.get(f"{path}/ready").json() == {"name": "iris", "ready": True}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shape": [2, 3]}, "shape [2, 3]"),
        ({"shape": [3, 4]}, "8 values"),
        ({"name": "flowers"}, "'flowers'"),
        ({"datatype": "BYTES"}, "BYTES"),
        ({"data": ["five"]}, "expected numbers"),
        ({"data": None}, "inputs.0.data"),
    ],
)
def test_rest_errors_follow_the_protocol(rest: httpx.Client, changed: dict[str, object], said: str) -> None:
    """What the caller got wrong is status 400 and `{"error": ...}` that names it."""
    answer = rest.post("/v2/models/iris/infer", json=infer_body(**changed))
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_unknown_models_are_not_found(rest: httpx.Client, stub: oip.GRPCInferenceServiceStub) -> None:
    """A model or a version that is not there is 404, and NOT_FOUND over gRPC."""
    assert rest.post("/v2/models/rose/infer", json=infer_body()).status_code == 404
    assert rest.get("/v2/models/iris/versions/9").status_code == 404
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(infer_request("rose"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_stale_model_crashes_with_its_traceback(
    rest: httpx.Client, stub: oip.GRPCInferenceServiceStub
) -> None:
    """The crash is the model's: status 500 with the traceback in the body, UNKNOWN over gRPC."""
    answer = rest.post("/v2/models/iris-stale/infer", json=infer_body())
    assert answer.status_code == 500
    assert "Traceback (most recent call last)" in answer.text
    assert "X has 4 features" in answer.text
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(infer_request("iris-stale"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN


def test_classifies_over_grpc(stub: oip.GRPCInferenceServiceStub) -> None:
    """Typed and raw tensors give the same answer as REST does."""
    typed = stub.ModelInfer(infer_request(), timeout=20)
    request = infer_request()
    del request.inputs[0].contents.fp32_contents[:]
    raw = oip.ModelInferRequest()
    raw.CopyFrom(request)
    raw.raw_input_contents.append(b"".join(_float32(value) for row in FLOWERS for value in row))
    assert list(typed.outputs[0].contents.bytes_contents) == [b"setosa", b"virginica"]
    assert (typed.model_version, typed.id) == ("1", "call-1")
    assert stub.ModelInfer(raw, timeout=20) == typed


def _float32(value: float) -> bytes:
    import struct

    return struct.pack("<f", value)


def test_bad_shapes_are_invalid_arguments(stub: oip.GRPCInferenceServiceStub) -> None:
    """A shape the model does not take is INVALID_ARGUMENT, and the message says which."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(infer_request(shape=(4, 2)), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "[4, 2]" in (caught.value.details() or "")


def chat_body(**changed: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "Tell me about the White Rabbit"}]
    return {"model": "alice-markov", "messages": messages, "seed": 7, "max_tokens": 12} | changed


def test_a_stream_holds_the_whole_answer(rest: httpx.Client) -> None:
    """Streamed deltas joined are the answer given whole for the same seed; then usage, then [DONE]."""
    whole = rest.post("/v1/chat/completions", json=chat_body()).json()
    streamed = rest.post(
        "/v1/chat/completions", json=chat_body(stream=True, stream_options={"include_usage": True})
    )
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events_of(streamed.text)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    deltas = [choice["delta"].get("content", "") for chunk in parsed for choice in chunk["choices"]]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert len([delta for delta in deltas if delta]) == 12
    assert parsed[-2]["choices"][0]["finish_reason"] == "length"
    assert parsed[-1]["usage"] == whole["usage"]
    assert whole["usage"] == {"prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18}


def test_seed_and_temperature_decide_the_text(rest: httpx.Client) -> None:
    """The same seed says the same, another seed something else, and temperature 0 needs no seed."""

    def say(**changed: object) -> str:
        answer = rest.post("/v1/chat/completions", json=chat_body(max_tokens=30, **changed)).json()
        return str(answer["choices"][0]["message"]["content"])

    assert say(seed=1) == say(seed=1) != say(seed=2)
    assert say(seed=1, temperature=0) == say(seed=2, temperature=0)


def test_stop_ends_the_answer(rest: httpx.Client) -> None:
    """A stop token ends the answer, is left out of it, and is named as the reason."""
    answer = rest.post("/v1/chat/completions", json=chat_body(stop=["the", ","], max_tokens=300)).json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "," not in choice["message"]["content"]


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"temperature": 3}, 400, "temperature"),
    ],
)
def test_chat_errors_look_as_its_clients_expect(
    rest: httpx.Client, changed: dict[str, object], status: int, param: str
) -> None:
    """An error is an object with message, type and the parameter at fault."""
    answer = rest.post("/v1/chat/completions", json=chat_body(**changed))
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
