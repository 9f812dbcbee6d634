"""Traffic: what the demo's clients ask of the model, through the sidecar. Real clients: httpx and grpcio.

None of them knows of infertap; each call is told apart afterwards by what the model would have seen anyway.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
import httpx

from infertap import oip

# Made up, and to be found in no record.
PERSONAL: Final = ("ada.lovelace@example.org", "4111 1111 1111 1111", "+44 20 7946 0958", "078-05-1120")
SECRET: Final = "sk-demo-0123456789abcdefghijklmn"  # noqa: S105  (made up)
_TIMEOUT_SECONDS: Final = 20.0

Call = tuple[str, Callable[[], str]]


class Clients:
    """The clients of one model, which they reach at the sidecar's addresses."""

    def __init__(self, http_address: str, grpc_address: str) -> None:
        # No kept connections: uvicorn ends one after a crash without telling, and a call may meet that.
        self._http = httpx.Client(
            base_url=f"http://{http_address}",
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._channel = grpc.insecure_channel(grpc_address)
        self._grpc = oip.GRPCInferenceServiceStub(self._channel)

    def calls(self) -> Iterator[Call]:
        """What is asked, in order: what it shows, and what does it and tells the answer."""
        yield "a flower to classify, over REST", lambda: self._infer([5.1, 3.5, 1.4, 0.2])
        yield "another one", lambda: self._infer([6.7, 3.0, 5.2, 2.3])
        yield "the same over gRPC", lambda: self._infer_grpc([5.9, 3.0, 4.2, 1.5])
        yield "a flower with three measurements (400)", lambda: self._infer([5.1, 3.5, 1.4])
        yield "the same over gRPC (INVALID_ARGUMENT)", lambda: self._infer_grpc([5.1, 3.5, 1.4])
        yield (
            "a model that crashes (500 with a traceback)",
            lambda: self._infer([5.1, 3.5, 1.4, 0.2], "iris-stale"),
        )
        yield "a slow model", lambda: self._infer([5.1, 3.5, 1.4, 0.2], "iris-slow")
        yield "a chat", lambda: self._chat("Alice was beginning to")
        yield "a chat, streamed token by token", lambda: self._stream("The White Rabbit")
        yield "a stream that the client breaks off", lambda: self._stream("Down the", tokens=4)
        told = "I am {}, card {}, phone {}, SSN {}. Tell me of the Rabbit".format(*PERSONAL)
        yield "a chat with personal data and a key", lambda: self._chat(told)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._channel.close()

    def _infer(self, values: list[float], model: str = "iris") -> str:
        tensor = {"name": "features", "datatype": "FP64", "shape": [1, len(values)], "data": values}
        answer = self._http.post(f"/v2/models/{model}/infer", json={"id": "demo", "inputs": [tensor]})
        if answer.status_code == 200:
            return f"200 {answer.json()['outputs'][0]['data'][0]}"
        return _failure(answer)

    def _infer_grpc(self, values: list[float]) -> str:
        tensor = oip.ModelInferRequest.InferInputTensor(
            name="features",
            datatype="FP64",
            shape=[1, len(values)],
            contents=oip.InferTensorContents(fp64_contents=values),
        )
        request = oip.ModelInferRequest(model_name="iris", id="demo-grpc", inputs=[tensor])
        try:
            answer = self._grpc.ModelInfer(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return f"{error.code().name} {(error.details() or '')[:60]}"
        return f"OK {answer.outputs[0].contents.bytes_contents[0].decode()}"

    def _prompt(self, text: str, **more: Any) -> dict[str, Any]:
        message = {"role": "user", "content": text}
        return {"model": "alice-markov", "messages": [message], "seed": 7, "max_tokens": 16, **more}

    def _chat(self, text: str) -> str:
        answer = self._http.post(
            "/v1/chat/completions", json=self._prompt(text), headers={"Authorization": f"Bearer {SECRET}"}
        )
        if answer.status_code != 200:
            return _failure(answer)
        return f"{answer.status_code} {answer.json()['choices'][0]['message']['content'].strip()[:50]}"

    def _stream(self, text: str, tokens: int | None = None) -> str:
        """Read the stream's events, or only some and then break it off."""
        prompt = self._prompt(text, stream=True, stream_options={"include_usage": True})
        events = 0
        with contextlib.ExitStack() as stack:
            # A connection of its own: breaking off ends it.
            client = stack.enter_context(
                httpx.Client(base_url=self._http.base_url, timeout=_TIMEOUT_SECONDS, trust_env=False)
            )
            answer = stack.enter_context(client.stream("POST", "/v1/chat/completions", json=prompt))
            for line in answer.iter_lines():
                events += line.startswith("data:")
                if tokens is not None and events >= tokens:
                    return f"{answer.status_code} broken off after {events} events"
        return f"{answer.status_code} {events} events"


def _failure(answer: httpx.Response) -> str:
    """Its status, and the last line of what it says."""
    return f"{answer.status_code} {answer.text.strip().rpartition(chr(10))[2][:60]}"
