"""TensorFlow Serving's messages over gRPC, as documents: a tensor is its type, its shape and its values, by
whichever field carried them.

Pure. Numbers in `tensor_content` are little-endian and packed, as a tensor of the Open Inference Protocol has
them; of BYTES there are no such (tensorflow/core/framework/tensor.proto).
"""

from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from infertap.serving import tensorflow
from sidecar.recorder.payloads import tensors
from sidecar.recorder.payloads.decoded import Document

# DataType (tensorflow/core/framework/types.proto), and the type of the Open Inference Protocol whose raw
# values look alike; empty for none.
_TYPES: Final = {
    1: ("DT_FLOAT", "FP32"),
    2: ("DT_DOUBLE", "FP64"),
    3: ("DT_INT32", "INT32"),
    4: ("DT_UINT8", "UINT8"),
    5: ("DT_INT16", "INT16"),
    6: ("DT_INT8", "INT8"),
    7: ("DT_STRING", ""),
    8: ("DT_COMPLEX64", ""),
    9: ("DT_INT64", "INT64"),
    10: ("DT_BOOL", "BOOL"),
    14: ("DT_BFLOAT16", "BF16"),
    17: ("DT_UINT16", "UINT16"),
    18: ("DT_COMPLEX128", ""),
    19: ("DT_HALF", "FP16"),
    22: ("DT_UINT32", "UINT32"),
    23: ("DT_UINT64", "UINT64"),
}
_HALF: Final = "FP16"


def predict_request(message: Any) -> Document:
    """A PredictRequest."""
    document = _with_tensors(message, "inputs", message.inputs)
    if message.output_filter:
        document.tree["output_filter"] = list(message.output_filter)
    return document


def predict_response(message: Any) -> Document:
    """A PredictResponse."""
    return _with_tensors(message, "outputs", message.outputs)


def examples_request(message: Any) -> Document:
    """A ClassificationRequest or RegressionRequest: features by name, of each example."""
    return _with_examples(_spec(message), message)


def multi_request(message: Any) -> Document:
    """A MultiInferenceRequest: what several models, or signatures, are asked about the same examples."""
    tasks = [_spec(each) | {"method_name": each.method_name} for each in message.tasks]
    return _with_examples({"tasks": tasks}, message)


def multi_response(message: Any) -> Document:
    """A MultiInferenceResponse."""
    return Document({"results": [plain(each).tree for each in message.results]})


def _with_examples(tree: dict[str, Any], message: Any) -> Document:
    kind = message.input.WhichOneof("kind")
    listed = getattr(message.input, kind) if kind else None
    found: list[tensors.Values] = []
    tree["examples"] = [_features(each, found) for each in listed.examples] if listed else []
    if kind == "example_list_with_context":
        tree["context"] = _features(listed.context, found) if listed else {}
    return _document(tree, found)


def plain(message: Message) -> Document:
    """A message without tensors."""
    tree = dict(MessageToDict(message, preserving_proto_field_name=True))
    return Document(tree | _spec(message))


def _document(tree: dict[str, Any], found: list[tensors.Values]) -> Document:
    return Document(tree, all(each.is_readable for each in found), any(each.is_cut for each in found))


def _spec(message: Any) -> dict[str, Any]:
    if not message.HasField("model_spec"):
        return {}
    spec = message.model_spec
    said: dict[str, Any] = {"name": spec.name}
    if spec.HasField("version"):
        said["version"] = spec.version.value
    said |= {name: value for name in ("version_label", "signature_name") if (value := getattr(spec, name))}
    return {"model_spec": said}


def _with_tensors(message: Any, side: str, named: Any) -> Document:
    found: list[tensors.Values] = []
    tree = _spec(message)
    tree[side] = {name: _tensor(named[name], found) for name in named}
    return _document(tree, found)


def _tensor(tensor: Any, found: list[tensors.Values]) -> dict[str, Any]:
    name, raw_type = _TYPES.get(tensor.dtype, (f"DT_{tensor.dtype}", ""))
    values = _values(tensor, raw_type)
    found += values
    return {
        "dtype": name,
        "shape": [each.size for each in tensor.tensor_shape.dim],
        "data": [value for each in values for value in each.listed],
    }


def _values(tensor: Any, raw_type: str) -> list[tensors.Values]:
    """The values of whichever fields hold some; there should be one of them."""
    values = []
    if tensor.tensor_content:
        values.append(tensors.of_raw(raw_type, tensor.tensor_content))
    if tensor.string_val:
        values.append(tensors.of_elements(tensor.string_val))
    if tensor.half_val:  # the bits of each, as an integer of 16
        bits = b"".join((each & 0xFFFF).to_bytes(2, "little") for each in tensor.half_val)
        values.append(tensors.of_raw(raw_type if raw_type == "BF16" else _HALF, bits))
    for descriptor, listed in tensor.ListFields():
        if descriptor.name.endswith("_val") and descriptor.name not in ("string_val", "half_val"):
            values.append(tensors.of_numbers(listed, len(listed)))
    return values


def _features(example: Any, found: list[tensors.Values]) -> dict[str, Any]:
    feature = example.features.feature
    return {name: _feature(feature[name], found) for name in feature}


def _feature(feature: Any, found: list[tensors.Values]) -> list[Any]:
    kind = feature.WhichOneof("kind")
    if kind is None:
        return []
    listed = getattr(feature, kind).value
    values = tensors.of_elements(listed) if kind == "bytes_list" else tensors.of_numbers(listed, len(listed))
    found.append(values)
    return values.listed


READERS: Final = {
    tensorflow.PredictRequest: predict_request,
    tensorflow.PredictResponse: predict_response,
    tensorflow.ExamplesRequest: examples_request,
    tensorflow.ClassificationResponse: plain,
    tensorflow.RegressionResponse: plain,
    tensorflow.MultiInferenceRequest: multi_request,
    tensorflow.MultiInferenceResponse: multi_response,
}
_SERVICE: Final = "/tensorflow.serving.PredictionService/"
# Request and response of each known method.
METHODS: Final = {
    _SERVICE + "Predict": (tensorflow.PredictRequest, tensorflow.PredictResponse),
    _SERVICE + "Classify": (tensorflow.ExamplesRequest, tensorflow.ClassificationResponse),
    _SERVICE + "Regress": (tensorflow.ExamplesRequest, tensorflow.RegressionResponse),
    _SERVICE + "MultiInference": (tensorflow.MultiInferenceRequest, tensorflow.MultiInferenceResponse),
}
