"""Web guard: stands before every route of the web listener, as the guard of gRPC does before methods.

A caller shows a client certificate or a token: `Authorization: Bearer TOKEN` (RFC 6750), or Basic (RFC 7617)
with the token as password and any user, which is what a browser asks its user for. There are no sessions and
no cookies. Browsers send Basic credentials along with requests that other sites cause: such reads are
withheld from those sites (no CORS, `Cross-Origin-Resource-Policy`), and the one route that changes anything
checks `Origin` itself.

It promises: a route that is not listed here is refused, whoever calls.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import hdrs, web

from infertap.identity import (
    Changing,
    Evidence,
    Identity,
    Refusal,
    Refusals,
    Role,
    Roster,
    decide,
    facts_of,
    set_caller,
    told,
)
from storage.identity.access_log import AccessLog

# By the route's path. Monitoring and kubelet ask without identity; what they are told is no payload.
ROLES: Final[dict[tuple[str, str], Role]] = {
    ("GET", "/"): Role.READ,
    ("GET", "/rows"): Role.READ,
    ("GET", "/spools"): Role.READ,
    ("GET", "/calls/{call_id}"): Role.READ,
    ("POST", "/v1/feedback"): Role.FEEDBACK,
}
OPEN: Final = frozenset(
    {
        ("GET", "/static/{name}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        # What a browser asks before a page's request, always without credentials.
        ("OPTIONS", "/v1/feedback"),
    }
)
# Reads that the access log tells of; the table's own refresh every other second would drown them, and shows
# no payload. But where it looks for a text, it tells what payloads say.
_LOGGED: Final = frozenset({"/", "/calls/{call_id}"})
_KINDS: Final = {"DNS": "dns", "URI": "uri", "email": "email"}
_NO_STORE: Final = {"Cache-Control": "no-store"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebGuard:
    """The guard of one web application. `roster` None: no identities are configured."""

    def __init__(
        self, roster: Changing[Roster] | None, refusals: Refusals, log: AccessLog | None = None
    ) -> None:
        self._roster = roster
        self._refusals = refusals
        self._log = log

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the request in, or answer 401 or 403."""
        route = _route(request)
        if route is None or route in OPEN:
            return await handler(request)
        evidence = Evidence() if self._roster is None else evidence_of(request)
        found = decide(ROLES.get(route), False, evidence, self._roster)
        if isinstance(found, Refusal):
            self._refusals.refused(" ".join(route), found, str(request.remote), self._name(evidence))
            return _refusal(found, is_page=route[0] == "GET")
        set_caller(found)
        response = await handler(request)
        if self._log is not None and (route[1] in _LOGGED or request.query.get("text")):
            await self._tell(self._log, found, request, response, route)
        return response

    def _name(self, evidence: Evidence) -> str:
        found = None if self._roster is None else self._roster.current.identify(evidence)
        return found.name if isinstance(found, Identity) else ""

    async def _tell(
        self,
        log: AccessLog,
        identity: Identity,
        request: web.Request,
        response: web.StreamResponse,
        route: tuple[str, str],
    ) -> None:
        asked = told({**request.query, **request.match_info})
        facts = facts_of(identity, " ".join(route), str(request.remote), asked)
        state = "answered" if response.status < 400 else "failed"
        try:
            await log.write("read", {**facts, "records": response.get(SHOWN, 0), "state": state})
        except OSError:
            raise web.HTTPServiceUnavailable(text="reads can't be logged now\n") from None


# Where a page says in its response how many records it shows.
SHOWN: Final = web.ResponseKey("infertap.shown", int)


def evidence_of(request: web.Request) -> Evidence:
    """What the caller of a request shows."""
    names = frozenset[tuple[str, str]]()
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if certificate:
        names = _names(certificate)
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    return Evidence(_token(headers), names)


def _names(certificate: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """The names in a certificate as `ssl` tells it."""
    names = [(_KINDS[kind], name) for kind, name in certificate.get("subjectAltName", ()) if kind in _KINDS]
    subject = [pair for relative in certificate.get("subject", ()) for pair in relative]
    names += [("cn", name) for kind, name in subject if kind == "commonName"]
    return frozenset(names)


def _token(headers: list[str]) -> str | None:
    """The token; empty, which nobody has, where there is something else."""
    if not headers:
        return None
    scheme, _, rest = headers[0].partition(" ")
    if len(headers) > 1:
        return ""
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        pair = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return pair.partition(":")[2]


def _route(request: web.Request) -> tuple[str, str] | None:
    """Method and path as they are listed; None where there is no such route, and so a 404 or 405."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    return ("GET" if request.method == "HEAD" else request.method), resource.canonical


def _refusal(reason: Refusal, *, is_page: bool) -> web.Response:
    if reason in (Refusal.ROLE, Refusal.METHOD):
        return web.json_response({"error": {"message": "not allowed to this identity"}}, status=403)
    # A page's own request must not open the browser's dialogue.
    challenge = 'Basic realm="infertap: the token is the password", charset="UTF-8"' if is_page else "Bearer"
    headers = _NO_STORE | {"WWW-Authenticate": challenge}
    error = {"message": "no token or certificate that is known here"}
    return web.json_response({"error": error}, status=401, headers=headers)
