"""Messages of model servers over gRPC, generated from proto/infertap/serving by `make proto`."""

from infertap.serving import tensorflow_pb2 as tensorflow
from infertap.serving import torchserve_pb2 as torchserve

__all__ = ["tensorflow", "torchserve"]
