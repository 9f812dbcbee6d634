"""Posted feedback: `POST /v1/feedback`, for web applications.

    {"request_id": "…", "thumb": "THUMB_UP"}                           one piece: infertap.v1.Feedback as JSON
    {"feedback": [{…}, …]}                                             or several
    200 {"attached": [{"feedback_id": "…", "call_ids": […]}]}
    4xx, 5xx {"error": {"field": "feedback[0].rating", "message": "…"}}

`ground_truth` may stand for `ground_truth_json`, and holds the value itself. Pages of other origins may send
where the settings name them (the Fetch standard's CORS); since only JSON is taken, a browser asks first, and
since credentials are not allowed there, such a page must know a token itself.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from infertap import v1
from infertap.query import InvalidArgumentError
from storage.archive import ArchiveError
from storage.feedback import Attaching, NoRedactionError, TooMuchFeedbackError

MOST_BODY_BYTES: Final = 1 << 20
_PATH: Final = "/v1/feedback"
_READ_SECONDS: Final = 20.0
# Bodies that are held in memory at a time.
_MOST_AT_ONCE: Final = 16
_MAX_AGE_SECONDS: Final = 600
_MOST_DEPTH: Final = 20


class PostedFeedback:
    """Takes feedback over HTTP."""

    def __init__(self, attaching: Attaching, origins: tuple[str, ...]) -> None:
        self._attaching = attaching
        self._origins = frozenset(origins)
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [web.post(_PATH, self.post), web.options(_PATH, self.preflight)]

    async def preflight(self, request: web.Request) -> web.Response:
        """What a browser asks before it sends a page's feedback."""
        if not self._may_send(request):
            return _failed(403, "", "this origin may not send feedback (INFERTAP_FEEDBACK_ORIGINS)")
        asked = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Max-Age": str(_MAX_AGE_SECONDS),
        }
        return web.Response(status=204, headers=asked)

    async def post(self, request: web.Request) -> web.Response:
        """Keep what is posted."""
        if not self._may_send(request):
            return _failed(403, "", "this origin may not send feedback (INFERTAP_FEEDBACK_ORIGINS)")
        async with self._room:
            return await self._answer(request)

    @web.middleware
    async def sharing(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let the page that asked read the answer, a refusal too."""
        response = await handler(request)
        if request.path == _PATH and self._may_send(request):
            response.headers.update(self._shared_with(request))
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _failed(415, "", "expected application/json")
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await request.read()
            attached = await self._attaching.attach(_read(body))
        except TimeoutError:
            return _failed(408, "", "the body did not come in time")
        except web.HTTPRequestEntityTooLarge:
            return _failed(413, "", f"more than {MOST_BODY_BYTES} bytes")
        except InvalidArgumentError as error:
            return _failed(400, error.field, error.why)
        except TooMuchFeedbackError as error:
            answer = _failed(429, "", str(error))
            answer.headers["Retry-After"] = str(math.ceil(error.seconds))
        except (NoRedactionError, ArchiveError) as error:
            return _failed(503, "", f"feedback can't be kept now: {error}")
        else:
            answers = [MessageToDict(each, preserving_proto_field_name=True) for each in attached]
            answer = web.json_response({"attached": answers})
        return answer

    def _may_send(self, request: web.Request) -> bool:
        """Whoever is no browser, pages of this very server, and those that the settings name.

        A browser would send along what its user typed for this server, whoever's page makes it send.
        """
        origin = request.headers.get("Origin")
        if origin is None:  # W3C, Fetch Metadata: only browsers send it, and no page can forge it
            return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        own = f"{request.scheme}://{request.host}"
        return origin == own or "*" in self._origins or origin in self._origins

    def _shared_with(self, request: web.Request) -> dict[str, str]:
        origin = request.headers.get("Origin")
        return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def _failed(status: int, field: str, message: str) -> web.Response:
    error = {"field": field} if field else {}
    return web.json_response({"error": error | {"message": message}}, status=status)


def _read(body: bytes) -> list[v1.Feedback]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgumentError("body", "not JSON") from None
    if not isinstance(said, dict):
        raise InvalidArgumentError("body", "expected an object")
    pieces = said["feedback"] if said.keys() == {"feedback"} else [said]
    if not isinstance(pieces, list):
        raise InvalidArgumentError("feedback", "expected a list")
    return [_parsed(each, f"feedback[{number}]") for number, each in enumerate(pieces)]


def _parsed(said: Any, field: str) -> v1.Feedback:
    if not isinstance(said, Mapping):
        raise InvalidArgumentError(field, "expected an object")
    members = dict(said)
    try:
        if "ground_truth" in members:
            members["ground_truth_json"] = json.dumps(members.pop("ground_truth"), ensure_ascii=False)
        return ParseDict(members, v1.Feedback(), max_recursion_depth=_MOST_DEPTH)
    except (ParseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(field, _said(error)) from None


def _said(error: Exception) -> str:
    """Which member is wrong; never its value, which the parser quotes behind a colon or in brackets."""
    known = [name for name in v1.Feedback.DESCRIPTOR.fields_by_name if name in str(error)[:60]]
    return f"{known[0]} can't be read" if known else "not infertap.v1.Feedback as JSON"
