"""The Open Inference Protocol V2 over gRPC: `inference.GRPCInferenceService`."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from infertap.oip import open_inference_pb2 as pb
from infertap.oip import open_inference_pb2_grpc as pb_grpc
from model_server.iris import (
    FEATURES,
    INPUT,
    SPECIES,
    VERSION,
    InvalidRequestError,
    IrisModel,
    UnknownModelError,
    find,
    rows_of,
)


class Inference(pb_grpc.GRPCInferenceServiceServicer):
    def __init__(self, models: Mapping[str, IrisModel]) -> None:
        self._models = models

    async def ServerLive(self, request: Any, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=request.name in self._models)

    async def ServerMetadata(self, request: Any, context: Any) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="model_server", version="1.0")

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        model = await self._find(request.name, request.version, context)
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[VERSION],
            platform="sklearn_logisticregression",
            inputs=[tensor(name=INPUT, datatype="FP64", shape=[-1, len(FEATURES)])],
            outputs=[
                tensor(name="species", datatype="BYTES", shape=[-1]),
                tensor(name="probabilities", datatype="FP64", shape=[-1, len(SPECIES)]),
            ],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        model = await self._find(request.model_name, request.model_version, context)
        try:
            return await asyncio.to_thread(infer, model, request)
        except InvalidRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise  # abort has raised

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        """An answer for each request, in order; a bad one is answered by its error."""
        async for request in requests:
            try:
                model = find(self._models, request.model_name, request.model_version)
                answer = await asyncio.to_thread(infer, model, request)
            except InvalidRequestError as error:
                yield pb.ModelStreamInferResponse(error_message=str(error))
            else:
                yield pb.ModelStreamInferResponse(infer_response=answer)

    async def _find(self, name: str, version: str, context: Any) -> IrisModel:
        try:
            return find(self._models, name, version)
        except UnknownModelError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            raise  # abort has raised


def infer(model: IrisModel, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    if len(request.inputs) != 1:
        raise InvalidRequestError(f"expected one input, {INPUT!r}; got {len(request.inputs)}")
    tensor = request.inputs[0]
    values = values_of(tensor, request.raw_input_contents)
    prediction = model.predict(rows_of(tensor.name, tensor.datatype, tensor.shape, values))
    count = len(prediction.species)
    answer = pb.ModelInferResponse(model_name=model.name, model_version=VERSION, id=request.id)
    species = answer.outputs.add(name="species", datatype="BYTES", shape=[count])
    species.contents.bytes_contents.extend(label.encode() for label in prediction.species)
    probabilities = answer.outputs.add(name="probabilities", datatype="FP64", shape=[count, len(SPECIES)])
    probabilities.contents.fp64_contents.extend(value for row in prediction.probabilities for value in row)
    return answer


def values_of(tensor: pb.ModelInferRequest.InferInputTensor, raw: Sequence[bytes]) -> Sequence[float]:
    """A tensor's values, wherever the caller put them: typed contents, or little-endian bytes beside them."""
    if not raw:
        return tensor.contents.fp32_contents or tensor.contents.fp64_contents
    code, width = ("f", 4) if tensor.datatype == "FP32" else ("d", 8)
    if len(raw) != 1 or len(raw[0]) % width:
        raise InvalidRequestError(f"raw_input_contents does not hold one {tensor.datatype} tensor")
    return struct.unpack(f"<{len(raw[0]) // width}{code}", raw[0])


def build(models: Mapping[str, IrisModel], address: str) -> grpc.aio.Server:
    """A server on `address`, not yet started."""
    server = grpc.aio.server()
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(Inference(models), server)
    if not server.add_insecure_port(address):
        raise OSError(f"cannot listen on {address}")
    return server
