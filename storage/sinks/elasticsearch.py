"""Elasticsearch: records as documents, by the bulk API of Elasticsearch and OpenSearch. Touches the network.

    POST URL/_bulk                                        application/x-ndjson
    {"create":{"_index":"infertap-2026.11.21","_id":"RECORD"}}
    {"@timestamp":"…","call_id":"…",…}                    a document for each action, each on its line

`create` by the record's id: what is there already (409) has arrived, so repeats leave nothing twice. What the
engine can't map is refused with the type of its error, never with the reason's text, which quotes values.
"""

import asyncio
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from infertap import v1
from storage.sinks.elasticsearch_documents import Form, to_lines
from storage.sinks.endpoint import Endpoint, EndpointSettings, NotTaken
from storage.sinks.halving import send_rest
from storage.sinks.interface import Batch, OpenSink, Refused, SinkError
from storage.sinks.settled import Settled
from storage.sinks.sink_table import SinkTable

# No reasons, which quote what was sent.
_WANTED: Final = "filter_path=errors,items.*.status,items.*.error.type"
_TYPE: Final = re.compile(r"[a-z0-9_]{1,64}")
# What 400 says of the index or the cluster, not of the document.
_SET_UP: Final = frozenset(
    {
        "invalid_index_name_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "invalid_alias_name_exception",
        "validation_exception",
        "cluster_block_exception",
        "security_exception",
        "pipeline_missing_exception",
        "no_write_index_exception",
    }
)
_HEADERS: Final = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
_TOO_LARGE: Final = 413
# Of 1 to 9: most of what more would gain, for a third of the time.
_GZIP_LEVEL: Final = 3
_ARRIVED: Final = (200, 201, 409)
# Of 4xx those that are about who we are, the index or the load.
_NOT_DOCUMENTS: Final = (401, 403, 404, 429)
_NAMED: Final = re.compile(r"(?![-_+.])(?:[^A-Z\s{}\\/*?\"<>|,#:]|\{day\}|\{month\}|\{tenant\})+")


def read_kind(table: SinkTable) -> OpenSink:
    """Its settings; raises ValueError."""
    settings = EndpointSettings.read(table)
    index = table.text("index", "infertap-{day}")
    if not _NAMED.fullmatch(index):
        raise ValueError("index: expected a name in lower case, which may have {day}, {month} or {tenant}")
    most = table.size_bytes("payload_bytes", "32KiB", 1, 1 << 20)
    form = Form(index, most if table.switch("payloads", False) else 0)
    path = f"/_bulk?{_WANTED}" + _pipeline(table.text("pipeline", ""))
    url = settings.url.rstrip("/") + path

    async def opened() -> ElasticsearchSink:
        return ElasticsearchSink(Endpoint(replace(settings, url=url)), form)

    return opened


class ElasticsearchSink:
    """An index, or several of one pattern."""

    def __init__(self, endpoint: Endpoint, form: Form) -> None:
        """`endpoint` is that of the bulk API."""
        self._endpoint = endpoint
        self._form = form
        self._settled = Settled()

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """Once every document is there, or refused. Raises SinkError; then only what is missing is sent."""
        return await send_rest(batch, self._settled, self._send)

    async def close(self) -> None:
        """Let go of connections."""
        await self._endpoint.close()

    async def _send(self, batch: Batch, indexes: Sequence[int]) -> None:
        records = [batch.records[each] for each in indexes]
        body = await asyncio.to_thread(_compressed, records, self._form)
        try:
            answer = await self._endpoint.post(body, _HEADERS)
        except NotTaken as refusal:
            if refusal.status == _TOO_LARGE:
                raise
            # Actions are of one form, so this is none of the documents' doing.
            raise SinkError(str(refusal)) from None
        self._settle(indexes, _items(answer, len(indexes)))

    def _settle(self, indexes: Sequence[int], items: list[tuple[int, str]]) -> None:
        """Sort what became of each; raises SinkError for what has to be tried again."""
        again: list[tuple[int, str]] = []
        for index, (status, kind) in zip(indexes, items, strict=True):
            if status in _ARRIVED:
                self._settled.arrive([index])
            elif 400 <= status < 500 and status not in _NOT_DOCUMENTS and kind not in _SET_UP:
                self._settled.refuse([Refused(index, kind)])
            else:
                again.append((status, kind))
        if again:
            status, kind = again[0]
            raise SinkError(f"{status} {kind}")


def _pipeline(name: str) -> str:
    return f"&pipeline={quote(name, safe='')}" if name else ""


def _compressed(records: Sequence[v1.Record], form: Form) -> bytes:
    return gzip.compress(to_lines(records, form), _GZIP_LEVEL)


def _items(body: bytes, expected: int) -> list[tuple[int, str]]:
    """Status and error's type of each action, in their order; raises SinkError where that is not told."""
    try:
        items = list(map(_item, _listed(json.loads(body))))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        raise SinkError("answer not understood") from None
    if len(items) != expected:
        raise SinkError("answer not understood")
    return items


def _listed(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (item["create"] for item in answer["items"])


def _item(told: dict[str, Any]) -> tuple[int, str]:
    kind = told.get("error", {}).get("type", "")
    return int(told["status"]), kind if _TYPE.fullmatch(kind) else "other"
