"""The web application: both REST protocols, and how their errors look."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from model_server import chat, inference_rest
from model_server.iris import InvalidRequestError, IrisModel, UnknownModelError
from model_server.markov import MarkovText


def build(models: Mapping[str, IrisModel], text: MarkovText, gap_seconds: float) -> FastAPI:
    # debug: a crash is answered with its traceback, as on many a server that went live in a hurry.
    app = FastAPI(title="model_server", debug=True)
    app.include_router(inference_rest.routes(models))
    app.include_router(chat.routes(text, gap_seconds))

    @app.exception_handler(InvalidRequestError)
    async def invalid(_: Request, error: InvalidRequestError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 404 if isinstance(error, UnknownModelError) else 400)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"] if step != "body")
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        if request.url.path.startswith("/v1/"):
            return chat.error(400, message, where or None)
        return JSONResponse({"error": message}, 400)

    return app
