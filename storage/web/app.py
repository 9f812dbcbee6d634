"""App: the HTTP routes, and what every answer carries."""

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TypeVar

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from infertap import v1
from infertap.query import (
    LATEST_FIRST,
    InvalidArgumentError,
    PageTokens,
    Query,
    page_in_flight,
    read_call_id,
)
from storage.archive import Archive, ArchiveError, Interrupt, Page
from storage.identity import SHOWN, WebGuard, caller_of
from storage.live import InFlight
from storage.numbers import Numbers
from storage.query import PLACE_BYTES, Asking, Place, TookTooLongError, TooManyQuestionsError
from storage.web import shown
from storage.web.asked import Asked
from storage.web.posted_feedback import MOST_BODY_BYTES, PostedFeedback

_ROWS: Final = 100
# Calls in flight above them.
_OPEN_ROWS: Final = 50
_SPOOLS: Final = 500
_QUERY_SECONDS: Final = 5.0
_FEEDBACK_BYTES: Final = 512 << 10
_STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript"}
_HEADERS: Final = {
    # No inline script, nothing from elsewhere, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

R = TypeVar("R")
SpoolList = Callable[[str | None], list[v1.Spool]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The pages, over one archive and what is in flight."""

    def __init__(
        self,
        archive: Archive,
        in_flight: InFlight,
        numbers: Numbers,
        asking: Asking,
        is_ready: Callable[[], bool],
        *,
        spools: SpoolList = lambda _: [],
    ) -> None:
        """`spools` are those of a tenant, None for all, those with something wrong first."""
        self._spools = spools
        self._archive = archive
        self._asking = asking
        self._in_flight = in_flight
        self._numbers = numbers
        self._is_ready = is_ready
        self._templates = Environment(
            loader=PackageLoader("storage.web"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters.update(shown.FILTERS)

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/", self.calls),
            web.get("/rows", self.rows),
            web.get("/calls/{call_id}", self.call),
            web.get("/spools", self.spools),
            web.get("/static/{name}", self.static),
            web.get("/healthz", self.alive),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def calls(self, request: web.Request) -> web.Response:
        """The latest calls as a table that refreshes itself."""
        return await self._table(request, "calls.html")

    async def rows(self, request: web.Request) -> web.Response:
        """The table's rows alone, for the refresh."""
        return await self._table(request, "rows.html")

    async def _table(self, request: web.Request, template: str) -> web.Response:
        asked = Asked.of(request.query)
        fault, page, token = "", Page([], None), ""
        try:
            query = Query.of(asked.filter(), asked.order_by, caller_of(request).tenant)
            tokens = PageTokens(query, PLACE_BYTES)
            place = Place.unpack(tokens.unpack(asked.page), time.time_ns())
            if query.wants_records:
                page = await self._page(query, place)
            token = tokens.pack(Place(place.as_of_ns, page.after).pack()) if page.after else ""
            if place.after is None and query.order == LATEST_FIRST:
                page.records[:0] = await self._open_calls(query)
        except InvalidArgumentError as error:
            fault = str(error)
        response = self._render(
            template, 400 if fault else 200, page=page, asked=asked, next_page=token, fault=fault
        )
        response[SHOWN] = len(page.records)
        return response

    async def _page(self, query: Query, place: Place) -> Page:
        # The first page shows whatever is there.
        query = query if place.after is None else dataclasses.replace(query, as_of_ns=place.as_of_ns)
        return await self._asking.ask(
            lambda interrupt: self._archive.page(query, place.after, _ROWS, interrupt),
            seconds=_QUERY_SECONDS,
            is_long=bool(query.text),
        )

    async def _open_calls(self, query: Query) -> list[v1.Record]:
        """The latest calls in flight, or just lost, that match: they stand above the records."""
        calls, now = self._in_flight.calls(), time.monotonic_ns()
        page = await asyncio.to_thread(page_in_flight, calls, now, query, None, _OPEN_ROWS)
        return page.records

    async def call(self, request: web.Request) -> web.Response:
        """One call in full."""
        call_id = request.match_info["call_id"].lower()
        try:
            read_call_id(call_id)
        except InvalidArgumentError:
            return self._render("missing.html", 404, call_id=call_id[:100])
        tenant = caller_of(request).tenant
        in_flight = self._in_flight.find(uuid.UUID(call_id).bytes, tenant)
        record = await self._ask(lambda interrupt: self._archive.get(call_id, tenant, interrupt))
        if record is None and in_flight is not None:
            record = in_flight.shown(time.monotonic_ns())
        if record is None or tenant not in (None, record.tenant):
            return self._render("missing.html", 404, call_id=call_id)
        found = [record]
        await self._ask(lambda interrupt: self._archive.join_feedback(found, _FEEDBACK_BYTES, interrupt))
        response = self._render("call.html", 200, record=record)
        response[SHOWN] = 1
        return response

    async def _ask(self, read: Callable[[Interrupt], R]) -> R:
        return await self._asking.ask(read, seconds=_QUERY_SECONDS)

    async def spools(self, request: web.Request) -> web.Response:
        """How the spools stood when they were last heard of."""
        spools = await asyncio.to_thread(self._spools, caller_of(request).tenant)
        return self._render("spools.html", 200, spools=spools[:_SPOOLS], is_cut=len(spools) > _SPOOLS)

    async def static(self, request: web.Request) -> web.Response:
        """The style sheet and the script."""
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        text = (files("storage.web") / "static" / name).read_text("utf-8")
        return web.Response(text=text, content_type=_STATIC[name])

    async def alive(self, _: web.Request) -> web.Response:
        """The process answers."""
        return web.Response(text="alive\n")

    async def ready(self, _: web.Request) -> web.Response:
        """It takes records and queries."""
        is_ready = self._is_ready()
        return web.Response(status=200 if is_ready else 503, text="ready\n" if is_ready else "draining\n")

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(
            body=self._numbers.exposition(), headers={"Content-Type": self._numbers.content_type}
        )

    def _render(self, template: str, status: int, **values: object) -> web.Response:
        html = self._templates.get_template(template).render(values)
        return web.Response(status=status, text=html, content_type="text/html")


@web.middleware
async def _secure(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    except ArchiveError:
        response = web.Response(status=503, text="the archive can't be read now\n")
    except TookTooLongError as error:
        response = web.Response(status=503, text=f"{error}\n")
    except TooManyQuestionsError:
        response = web.Response(status=503, text="too many questions wait already; ask again later\n")
    response.headers.update(_HEADERS)
    return response


def make_app(pages: Pages, posted: PostedFeedback, guard: WebGuard) -> web.Application:
    """The web application of these."""
    app = web.Application(
        middlewares=[_secure, posted.sharing, guard.middleware], client_max_size=MOST_BODY_BYTES
    )
    app.add_routes([*pages.routes(), *posted.routes()])
    return app
