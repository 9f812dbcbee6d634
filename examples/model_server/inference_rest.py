"""The Open Inference Protocol V2 over REST; errors are `{"error": "..."}` with a status, as it says."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from model_server.iris import FEATURES, INPUT, SPECIES, VERSION, InvalidRequestError, IrisModel, find, rows_of


class InputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any]


class InferRequest(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[InputTensor]


def flatten(data: list[Any]) -> Iterator[float]:
    """Tensors come flat or nested, row-major either way."""
    for item in data:
        if isinstance(item, list):
            yield from flatten(item)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield float(item)
        else:
            raise InvalidRequestError(f"input {INPUT!r} holds {type(item).__name__}; expected numbers")


def metadata(model: IrisModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "sklearn_logisticregression",
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, len(FEATURES)]}],
        "outputs": [
            {"name": "species", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(SPECIES)]},
        ],
    }


def infer(model: IrisModel, request: InferRequest) -> dict[str, Any]:
    if len(request.inputs) != 1:
        raise InvalidRequestError(f"expected one input, {INPUT!r}; got {len(request.inputs)}")
    tensor = request.inputs[0]
    prediction = model.predict(
        rows_of(tensor.name, tensor.datatype, tensor.shape, list(flatten(tensor.data)))
    )
    count = len(prediction.species)
    flat = [value for row in prediction.probabilities for value in row]
    return {
        "model_name": model.name,
        "model_version": VERSION,
        "id": request.id or "",
        "outputs": [
            {"name": "species", "datatype": "BYTES", "shape": [count], "data": prediction.species},
            {"name": "probabilities", "datatype": "FP64", "shape": [count, len(SPECIES)], "data": flat},
        ],
    }


def routes(models: Mapping[str, IrisModel]) -> APIRouter:
    """All routes of the protocol, with and without a version in the path."""
    router = APIRouter(prefix="/v2")

    @router.get("")
    async def server_metadata() -> dict[str, Any]:
        return {"name": "model_server", "version": "1.0", "extensions": []}

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @router.get("/models/{name}")
    @router.get("/models/{name}/versions/{version}")
    async def model_metadata(name: str, version: str = "") -> dict[str, Any]:
        return metadata(find(models, name, version))

    @router.get("/models/{name}/ready")
    @router.get("/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str = "") -> dict[str, Any]:
        return {"name": find(models, name, version).name, "ready": True}

    @router.post("/models/{name}/infer")
    @router.post("/models/{name}/versions/{version}/infer")
    async def model_infer(name: str, request: InferRequest, version: str = "") -> dict[str, Any]:
        return await asyncio.to_thread(infer, find(models, name, version), request)

    return router
