"""TensorFlow Serving over gRPC."""

import struct
from typing import Any

import pytest

from infertap.serving import tensorflow
from sidecar.recorder.payloads import Tensor, decode_grpc

SERVICE = "/tensorflow.serving.PredictionService/"


def framed(message: Any) -> bytes:
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


def decoded(method: str, message: Any, is_request: bool = True) -> Any:
    found = decode_grpc(SERVICE + method, is_request, "", framed(message), 1 << 20)
    assert found is not None
    return found


def shaped(*sizes: int) -> Any:
    return tensorflow.TensorShape(dim=[tensorflow.TensorShape.Dim(size=size) for size in sizes])


def test_wire_format() -> None:
    """Bytes as any client of TensorFlow Serving writes them: model m, version 3, input x = [1.0, 2.0]."""
    spec = b"\x0a\x01m\x12\x02\x08\x03\x1a\x0fserving_default"
    tensor = b"\x08\x01\x12\x04\x12\x02\x08\x02\x2a\x08" + struct.pack("<2f", 1, 2)
    entry = b"\x0a\x01x\x12" + bytes([len(tensor)]) + tensor
    data = b"\x0a" + bytes([len(spec)]) + spec + b"\x12" + bytes([len(entry)]) + entry
    found = decode_grpc(SERVICE + "Predict", True, "", struct.pack(">BI", 0, len(data)) + data, 1 << 20)
    assert found is not None
    assert found.documents == (
        {
            "model_spec": {"name": "m", "version": 3, "signature_name": "serving_default"},
            "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [2], "data": [1.0, 2.0]}},
        },
    )


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"dtype": 9, "tensor_content": struct.pack("<2q", 1, -2)}, [1, -2]),
        ({"dtype": 9, "int64_val": [1, -2]}, [1, -2]),
        ({"dtype": 10, "bool_val": [True, False]}, [True, False]),
        ({"dtype": 19, "half_val": [0x3C00]}, [1.0]),
        ({"dtype": 14, "half_val": [0x3F80]}, [1.0]),
        ({"dtype": 7, "string_val": [b"hi"]}, ["hi"]),
        ({"dtype": 2, "double_val": [0.5]}, [0.5]),
        ({"dtype": 99}, []),
    ],
)
def test_values(given: dict[str, Any], values: list[Any]) -> None:
    """Values come packed, or in the field of their type."""
    request = tensorflow.PredictRequest(inputs={"x": tensorflow.Tensor(**given)})
    assert decoded("Predict", request).documents[0]["inputs"]["x"]["data"] == values


def test_strings_that_are_no_text() -> None:
    """An image in a string is shown by its size; the message's bytes are not kept."""
    request = tensorflow.PredictRequest(
        inputs={"x": tensorflow.Tensor(dtype=7, string_val=[b"\xff\xd8\x00"])}
    )
    found = decoded("Predict", request)
    assert (found.documents[0]["inputs"]["x"]["data"], found.data) == (["<binary 3 bytes>"], b"")


def test_content_that_is_none() -> None:
    """Content that is no whole number of values makes no document."""
    request = tensorflow.PredictRequest(inputs={"x": tensorflow.Tensor(dtype=9, tensor_content=b"123")})
    assert decode_grpc(SERVICE + "Predict", True, "", framed(request), 1 << 20) is None


def test_predict(read) -> None:
    """Model, the version that served, signature, tensors."""
    request = tensorflow.PredictRequest(
        model_spec=tensorflow.ModelSpec(name="m", version_label="stable", signature_name="s"),
        inputs={"x": tensorflow.Tensor(dtype=1, tensor_shape=shaped(1, 2), float_val=[1, 2])},
        output_filter=["y"],
    )
    answer = tensorflow.PredictResponse(
        model_spec=tensorflow.ModelSpec(name="m", version=tensorflow.Int64Value(value=12)),
        outputs={"y": tensorflow.Tensor(dtype=3, tensor_shape=shaped(1), int_val=[7])},
    )
    asked, answered = decoded("Predict", request), decoded("Predict", answer, is_request=False)
    assert asked.documents[0]["output_filter"] == ["y"]
    view = read(SERVICE + "Predict", *asked.documents, *answered.documents)
    assert (view.api, view.operation, view.model_name, view.model_version) == (
        "tensorflow_serving",
        "predict",
        "m",
        "12",
    )
    assert view.inputs == [Tensor("x", "DT_FLOAT", (1, 2))]
    assert view.outputs == [Tensor("y", "DT_INT32", (1,))]
    assert view.parameters == {"signature_name": "s"}


def test_classify_and_regress(read) -> None:
    """Features of examples by name; classes and values."""
    feature = tensorflow.Feature(bytes_list=tensorflow.BytesList(value=[b"red"]))
    ages = tensorflow.Feature(int64_list=tensorflow.Int64List(value=[3]))
    example = tensorflow.Example(features=tensorflow.Features(feature={"colour": feature, "age": ages}))
    request = tensorflow.ExamplesRequest(
        model_spec=tensorflow.ModelSpec(name="m"),
        input=tensorflow.Input(example_list=tensorflow.ExampleList(examples=[example])),
    )
    [document] = decoded("Classify", request).documents
    assert document["examples"] == [{"colour": ["red"], "age": [3]}]
    classes = tensorflow.Classifications(classes=[tensorflow.Class(label="cat", score=0.5)])
    answer = tensorflow.ClassificationResponse(
        result=tensorflow.ClassificationResult(classifications=[classes])
    )
    [answered] = decoded("Classify", answer, is_request=False).documents
    assert answered["result"]["classifications"][0]["classes"][0] == {"label": "cat", "score": 0.5}
    assert read(SERVICE + "Regress", document, answered).operation == "regress"


def length_delimited(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def test_multi_inference(read) -> None:
    """Several signatures asked about the same examples, as any client writes it: all of it is named."""
    spec = length_delimited(1, length_delimited(1, b"m") + b"\x12\x02\x08\x03")
    task = spec + length_delimited(2, b"tensorflow/serving/classify")
    value = length_delimited(2, length_delimited(1, struct.pack("<f", 1.5)))
    feature = length_delimited(1, length_delimited(1, b"f") + length_delimited(2, value))
    examples = length_delimited(1, length_delimited(1, length_delimited(1, feature)))
    request = length_delimited(1, task) * 2 + length_delimited(2, examples)
    one = length_delimited(1, b"cat") + b"\x15" + struct.pack("<f", 0.5)
    classified = length_delimited(1, length_delimited(1, one))
    answer = length_delimited(1, spec + length_delimited(2, classified))
    answer += length_delimited(1, spec + length_delimited(3, length_delimited(1, b"\x0d" + b"\0\0\0\x40")))
    sides = []
    for data, is_request in ((request, True), (answer, False)):
        framed_data = struct.pack(">BI", 0, len(data)) + data
        found = decode_grpc(SERVICE + "MultiInference", is_request, "", framed_data, 1 << 20)
        assert found is not None
        assert found.data
        sides += found.documents
    model = {"name": "m", "version": 3}
    assert sides[0] == {
        "tasks": [{"model_spec": model, "method_name": "tensorflow/serving/classify"}] * 2,
        "examples": [{"f": [1.5]}],
    }
    classes = {"classifications": [{"classes": [{"label": "cat", "score": 0.5}]}]}
    assert sides[1]["results"] == [
        {"model_spec": model, "classification_result": classes},
        {"model_spec": model, "regression_result": {"regressions": [{"value": 2.0}]}},
    ]
    view = read(SERVICE + "MultiInference", *sides)
    assert (view.api, view.operation) == ("tensorflow_serving", "multi_inference")
    assert (view.model_name, view.model_version) == ("m", "3")
