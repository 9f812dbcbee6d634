"""`/invocations`: how MLflow and SageMaker ask a model whatever it is.

MLflow has tables (`dataframe_split`, `dataframe_records`), rows (`instances`) or tensors (`inputs`);
SageMaker has whatever the container takes, mostly JSON, JSON Lines or CSV. Of CSV the rows are shown.
"""

import csv
import re
from collections.abc import Iterator
from typing import Any, Final

from sidecar.recorder.payloads.predict_v1 import described
from sidecar.recorder.payloads.view import (
    CallPayloads,
    Side,
    Tensor,
    View,
    list_of,
    object_of,
    shape_of,
    text_of,
)

_PATH: Final = re.compile(r"/(?:endpoints/([^/]+)/)?invocations(?:-response-stream)?$")
_SERVED: Final = re.compile(r"/serving-endpoints/([^/]+)(?:/served-models/([^/]+))?/invocations$")
# Cells of CSV that are shown.
_MOST_CELLS: Final = 10_000
_ASKED: Final = ("instances", "inputs")
_ANSWERED: Final = ("predictions", "outputs")


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    served = _SERVED.search(call.path)
    request, answer = call.request.document, call.response.document
    return View(
        api="invocations",
        operation="predict",
        model_name=served[1] if served else match[1] or text_of(request.get("model")),
        path_version=(served[2] or "") if served else "",
        parameters=object_of(request.get("params")) | object_of(request.get("parameters")),
        inputs=_asked(call.request),
        outputs=_table(call.response, "predictions") or described(answer, _ANSWERED),
        request_view=_rows(call.request),
        response_view=_rows(call.response),
        failed="error_code" in answer,
    )


def _asked(side: Side) -> list[Tensor]:
    document = side.document
    split = object_of(document.get("dataframe_split"))
    if split:
        rows = list_of(split.get("data"))
        return [Tensor("dataframe_split", "", shape_of(rows)[:2])]
    if "dataframe_records" in document:
        records = list_of(document["dataframe_records"])
        columns = len(records[0]) if records and isinstance(records[0], dict) else 0
        return [Tensor("dataframe_records", "", (len(records), columns))]
    return described(document, _ASKED) or _table(side, "rows")


def _table(side: Side, name: str) -> list[Tensor]:
    """CSV by its rows and columns; several documents, or a list of rows, by their number."""
    if side.media_type == "text/csv":
        rows = [row for row in _parsed(side) if row]
        return [Tensor(name, "", (len(rows), len(rows[0])))] if rows else []
    if len(side.documents) > 1:
        return [Tensor(name, "", (len(side.documents),))]
    shape = shape_of(side.documents[0]) if side.documents else ()
    return [Tensor(name, "", shape)] if shape else []


def _rows(side: Side) -> dict[str, Any] | None:
    """The first rows of CSV, each cell as text; whole rows, but for a first one that is too long."""
    if side.media_type != "text/csv" or not side.data:
        return None
    rows: list[list[str]] = []
    room = _MOST_CELLS
    for row in filter(None, _parsed(side)):
        if rows and len(row) > room:
            break
        rows.append(row[:room])
        room -= len(row)
    return {"rows": rows}


def _parsed(side: Side) -> Iterator[list[str]]:
    return csv.reader(side.data.decode("utf-8", "replace").splitlines())
