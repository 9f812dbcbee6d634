"""docs/records.md tells of every field of a record, and of every code that one can hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from infertap import v1
from infertap.query import segments
from sidecar.counters import RELAY_COUNTERS
from sidecar.in_flight import RELAY_LOST
from sidecar.recorder import conversion, shrinking, to_record
from sidecar.recorder.redaction import Withheld
from sidecar.tap import capture, http1_stops, http2, http2_floods, sampling
from sidecar.tap.http2_streams import ID_NOT_ADDED
from sidecar.tap.http2_unrecorded import TOO_MANY
from sidecar.tap.sniffing import UNKNOWN

PAGE = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
NAMED = set(re.findall(r"`([A-Za-z0-9_]+)`", PAGE))
# Parts of these are told in words.
TOLD_BY_THEIR_WHOLE = {"Header", "Piece", "Redaction", "Tensor", "ContextEntry"}


def fields_of(message: Descriptor) -> Iterator[str]:
    """Names of a message's fields, and of the fields of its messages."""
    for field in message.fields:
        yield field.name
        inner = field.message_type
        if inner is not None and inner.file is message.file and inner.name not in TOLD_BY_THEIR_WHOLE:
            yield from fields_of(inner)


def codes() -> Iterator[str]:
    """Everything that `logging_error_codes` may hold."""
    stops = (http1_stops.AMBIGUOUS, http1_stops.UNEXPECTED, http1_stops.TOO_LARGE, http1_stops.TOO_MANY)
    for flag in (capture.BUDGET_SPENT, *stops, http1_stops.TUNNEL, UNKNOWN, sampling.REFUSED):
        yield flag.upper()
    for budget in ("head_too_slow", "state_budget_spent"):  # the relay's own, which it counts by these names
        assert budget in RELAY_COUNTERS
        yield budget.upper()
    yield RELAY_LOST
    for flag in (http2.UNREADABLE, http2.HEADERS_TOO_LARGE, ID_NOT_ADDED, TOO_MANY, *http2_floods.FLAGS):
        yield flag.upper()
    yield from (conversion.FAILED, shrinking.TOO_LARGE, to_record.NOT_UNDERSTOOD, segments.CUT)
    for side in ("REQUEST", "RESPONSE"):
        yield from (f"MAX_{side}_SIZE_EXCEEDED", f"{side}_VIEW_CUT", f"{side}_TAIL_UNREADABLE")
        yield from (f"{side}_BODY_{why.upper()}" for why in Withheld)


def test_every_field_is_documented() -> None:
    """Each field of a record, at any depth, is named on the page."""
    assert [name for name in fields_of(v1.Record.DESCRIPTOR) if name not in NAMED] == []


def test_every_code_is_documented() -> None:
    """Each code has its row in the page's table, and the table holds no others."""
    table = PAGE.partition("## Logging error codes")[2]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    assert {code for cell in first_cells for code in re.findall(r"`(\w+)`", cell)} == set(codes())


@pytest.mark.parametrize("kind", [v1.State, v1.Protocol, v1.EndedBy, v1.Sampling.Reason])
def test_every_choice_is_documented(kind: Any) -> None:
    """Each value that an enum can have is named on the page, but for those not used yet."""
    names = [each.name for each in kind.DESCRIPTOR.values if not each.name.endswith("UNSPECIFIED")]
    assert [name for name in names if name not in NAMED] in ([], ["INFERENCING"])
