"""MLServer with a model of scikit-learn, called by tritonclient over HTTP and gRPC."""

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar
    from tests.journeys.peers.conftest import Drive

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]

DATATYPES = {"predict": "INT64", "predict_proba": "FP64"}
Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def calls(
    mlserver: tuple[str, str], start_sidecar: "Callable[..., Sidecar]", drive: "Drive"
) -> dict[str, tuple[dict[str, Any], v1.Record]]:
    """What tritonclient told of each call, with the call's record, by the call's name."""
    sidecars = [start_sidecar(address) for address in mlserver]
    addresses = ["{}:{}".format(*sidecar.address) for sidecar in sidecars]
    told: Told = drive("mlserver", "drive_triton.py", *addresses)
    records = {}
    for kind, sidecar in zip(("http", "grpc"), sidecars, strict=True):
        count = sum(call.startswith(kind) for call in told)
        records |= {record.request_id: record for record in sidecar.await_records(count)}
        account = sidecar.await_settled()["calls"]
        assert (account["seen"], account["handed_over"]) == (count, count)
    assert records.keys() == told.keys()
    return {call: (told[call], records[call]) for call in told}


def body(record: v1.Record, payload: v1.Payload) -> Any:
    """A payload as its protocol reads it: the decoded message of gRPC, else JSON."""
    return json.loads(payload.decoded_json if record.protocol == v1.GRPC else payload.data)


def flat(values: Any) -> list[Any]:
    """Nested lists in one row."""
    return [each for value in values for each in flat(value)] if isinstance(values, list) else [values]


def assert_request(record: v1.Record, told: dict[str, Any], call: str) -> None:
    """Model, tensor and values are those that the client was given."""
    flowers = told["sent"]["flowers"]
    shape = [len(flowers), len(flowers[0])]
    assert (record.method, record.payload_id) == ("POST", call)
    assert (record.model.name, record.model.api) == (told["sent"]["model"], "open_inference")
    assert record.model.operation == "infer"
    [tensor] = record.model.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("flowers", "FP64", shape)
    request = body(record, record.request)
    assert request["id"] == call
    [sent] = request["inputs"]
    assert (sent["name"], sent["datatype"], sent["shape"]) == ("flowers", "FP64", shape)
    assert sent["data"] == flat(flowers)
    assert [output["name"] for output in request["outputs"]] == list(DATATYPES)


def assert_answer(record: v1.Record, told: dict[str, Any], call: str) -> None:
    """Version, tensors and values are those that the client read from the answer."""
    seen = told["seen"]
    assert (record.state, record.http_status) == (v1.COMPLETED, 200)
    assert record.model.version == seen["version"] == "v7"
    answer = body(record, record.response)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("iris", "v7", call)
    assert [output["name"] for output in answer["outputs"]] == list(DATATYPES)
    for tensor, output in zip(record.model.outputs, answer["outputs"], strict=True):
        values = seen["outputs"][output["name"]]
        shape = [len(values), len(values[0])]
        assert (tensor.name, tensor.datatype) == (output["name"], DATATYPES[output["name"]])
        assert list(tensor.shape) == output["shape"] == shape
        assert output["datatype"] == tensor.datatype
        assert all(map(math.isclose, output["data"], flat(values)))


def test_calls_are_recorded(calls: dict[str, tuple[dict[str, Any], v1.Record]]) -> None:
    """Every call, good or failed, has the model, version, tensors, values and status that its client saw."""
    good = {"http", "http-version", "http-gzip", "grpc", "grpc-version", "grpc-gzip"}
    failed = {"http-binary", "http-unknown", "http-shape", "grpc-unknown"}
    assert calls.keys() == good | failed | {"http-metadata"}
    for call in sorted(good | failed):
        told, record = calls[call]
        assert record.protocol == (v1.GRPC if call.startswith("grpc") else v1.HTTP1)
        assert_request(record, told, call)
        assert not record.logging_error_codes
    for call in sorted(good):
        told, record = calls[call]
        assert_answer(record, told, call)
        assert not record.HasField("error")

    for call in ("http", "http-version"):
        version = calls[call][0]["sent"].get("version")
        assert calls[call][1].path == f"/v2/models/iris{f'/versions/{version}' if version else ''}/infer"
    for call in ("grpc", "grpc-version", "grpc-gzip"):
        record = calls[call][1]
        assert record.path == "/inference.GRPCInferenceService/ModelInfer"
        assert record.grpc_status == 0
    assert_compressed(calls["http-gzip"][1], calls["grpc-gzip"][1])
    assert_failures(calls)

    told, record = calls["http-metadata"]
    assert (record.method, record.path, record.http_status) == ("GET", "/v2/models/iris", 200)
    assert (record.model.name, record.model.operation) == ("iris", "metadata")
    assert json.loads(record.response.data) == told["seen"]


def assert_compressed(over_http: v1.Record, over_grpc: v1.Record) -> None:
    """What came compressed is counted as it came, and kept readable."""
    assert over_http.response.content_encoding == "gzip"
    for payload in (over_http.response, over_grpc.request):
        assert 0 < payload.size_bytes == payload.captured_bytes < len(payload.data)


def assert_failures(calls: dict[str, tuple[dict[str, Any], v1.Record]]) -> None:
    """Failures have the status that the client saw, and what the server said of them."""
    for told, record in calls.values():
        if "error" not in told["seen"]:
            continue
        assert record.state == v1.FAILED
        if record.protocol == v1.HTTP1:
            assert record.http_status == int(told["seen"]["status"])
    assert {call: calls[call][1].http_status for call in ("http-binary", "http-unknown", "http-shape")} == {
        "http-binary": 422,
        "http-unknown": 404,
        "http-shape": 500,
    }
    told, record = calls["http-unknown"]
    assert record.error.message == told["seen"]["error"]
    told, record = calls["grpc-unknown"]
    assert told["seen"]["status"] == "StatusCode.NOT_FOUND"
    assert (record.http_status, record.grpc_status, record.error.type) == (200, 5, "NOT_FOUND")
    assert record.grpc_message == record.error.message == told["seen"]["error"]
    # A page of plain text with the traceback.
    error = calls["http-shape"][1].error
    assert error.type == "ValueError"
    assert "3 features" in error.message
    assert error.stack_trace.startswith("Traceback (most recent call last):")
