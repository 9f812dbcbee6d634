"""The OpenAI-compatible endpoint: `/v1/chat/completions`, whole or streamed as server-sent events."""

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from model_server.markov import MarkovText, tokens_of

MODEL = "alice-markov"


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float = Field(1.0, ge=0, le=2)
    seed: int | None = None
    max_tokens: int = Field(40, ge=1, le=400)
    stop: list[str] = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)
    user: str | None = None


class Completion:
    """One answer under way: its tokens, why it ended, and what it cost."""

    def __init__(self, request: ChatRequest, text: MarkovText, gap_seconds: float) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.finish_reason = "length"
        self.completion_tokens = 0
        self._request = request
        self._text = text
        self._gap_seconds = gap_seconds

    async def tokens(self) -> AsyncIterator[str]:
        """Generate; the first token takes longest, as reading the prompt does."""
        request = self._request
        pace = random.Random(request.seed)
        await asyncio.sleep(3 * self._gap_seconds)
        for token in self._text.generate(request.messages[-1].content, request.temperature, request.seed):
            if token.strip() in request.stop:
                self.finish_reason = "stop"
                return
            self.completion_tokens += 1
            yield token
            if self.completion_tokens == request.max_tokens:
                return
            await asyncio.sleep(self._gap_seconds * pace.lognormvariate(-0.1, 0.5))

    def usage(self) -> dict[str, int]:
        prompt = sum(len(tokens_of(message.content)) for message in self._request.messages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.completion_tokens,
            "total_tokens": prompt + self.completion_tokens,
        }

    async def whole(self) -> dict[str, Any]:
        content = "".join([token async for token in self.tokens()])
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": content},
            "finish_reason": self.finish_reason,
        }
        return self._object("chat.completion", [choice]) | {"usage": self.usage()}

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: the role, a delta for each token, why it ended, usage if asked, [DONE]."""
        yield self._chunk({"role": "assistant", "content": ""})
        async for token in self.tokens():
            yield self._chunk({"content": token})
        yield self._chunk({}, self.finish_reason)
        if self._request.stream_options.include_usage:
            yield _event(self._object("chat.completion.chunk", []) | {"usage": self.usage()})
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event(self._object("chat.completion.chunk", [choice]))

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": MODEL, "choices": choices}


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"


def error(status: int, message: str, param: str | None = None) -> JSONResponse:
    """An error as this protocol's clients expect it."""
    kind = "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": None}}, status)


def routes(text: MarkovText, gap_seconds: float) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "example"}]}

    @router.post("/chat/completions", response_model=None)
    async def chat_completions(request: ChatRequest) -> Response:
        if request.model != MODEL:
            return error(404, f"The model {request.model!r} does not exist", "model")
        completion = Completion(request, text, gap_seconds)
        if request.stream:
            return StreamingResponse(completion.events(), media_type="text/event-stream")
        return JSONResponse(await completion.whole())

    return router
