"""A strict server of the bulk API, by its documentation: what it does not know it refuses.

It holds documents by index and id, as Elasticsearch does for actions that create, and keeps `faults` for ids
that end in a text: status and error's type.
"""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PREFIX = "/search"
_CREATE_KEYS = {"_index", "_id"}


@dataclass
class BulkServer:
    """The server's state, and what tests tell it to do."""

    documents: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    # Answers to whole requests, first come first.
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    pipelines: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    most_bytes: int = 100 << 20

    def app(self) -> web.Application:
        app = web.Application(client_max_size=200 << 20)
        app.router.add_post(f"{PREFIX}/_bulk", self._bulk)
        return app

    async def _bulk(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("authorization", ""))
        self.pipelines.append(request.query.get("pipeline", ""))
        # aiohttp has opened the gzip already.
        body = await request.read()
        assert request.headers["content-encoding"] == "gzip"
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.json_response(
                {"error": {"type": "x"}, "status": status}, status=status, headers=headers
            )
        if len(body) > self.most_bytes:
            return web.json_response({}, status=413)
        if request.content_type not in ("application/x-ndjson", "application/json") or not body.endswith(
            b"\n"
        ):
            return web.json_response({"error": {"type": "illegal_argument_exception"}}, status=400)
        lines = body[:-1].split(b"\n")
        assert len(lines) % 2 == 0
        self.sizes.append(len(lines) // 2)
        items = [self._create(*map(json.loads, pair)) for pair in zip(lines[::2], lines[1::2], strict=True)]
        return _answer(items, request.query["filter_path"])

    def _create(self, action: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        ((kind, told),) = action.items()
        assert kind == "create"
        assert set(told) == _CREATE_KEYS
        assert len(told["_id"].encode()) <= 512
        assert "@timestamp" in document
        for suffix, (status, type_) in self.faults.items():
            if told["_id"].endswith(suffix):
                return _failed(told, status, type_)
        index = self.documents.setdefault(told["_index"], {})
        if told["_id"] in index:
            return _failed(told, 409, "version_conflict_engine_exception")
        index[told["_id"]] = document
        return {
            "_index": told["_index"],
            "_id": told["_id"],
            "_version": 1,
            "result": "created",
            "status": 201,
        }


def _failed(told: dict[str, Any], status: int, type_: str) -> dict[str, Any]:
    error = {"type": type_, "reason": "failed to parse field [model]: 'secret payload'"}
    return {"_index": told["_index"], "_id": told["_id"], "status": status, "error": error}


def _answer(items: list[dict[str, Any]], filter_path: str) -> web.Response:
    """As `filter_path` asks: nothing else is answered."""
    assert filter_path == "errors,items.*.status,items.*.error.type"
    told = []
    for item in items:
        shown: dict[str, Any] = {"status": item["status"]}
        if "error" in item:
            shown["error"] = {"type": item["error"]["type"]}
        told.append({"create": shown})
    body = json.dumps({"errors": any(item["status"] >= 300 for item in items), "items": told})
    return web.Response(
        body=gzip.compress(body.encode()),
        headers={"content-encoding": "gzip"},
        content_type="application/vnd.elasticsearch+json",
    )
