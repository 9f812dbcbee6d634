"""Checks: which feedback is taken as it is given. Pure."""

import json
import math
import re
import uuid
from collections.abc import Iterable
from typing import Final, NoReturn

from infertap import v1
from infertap.query import InvalidArgumentError

MOST_AT_ONCE: Final = 1000
# Encoded.
MOST_BYTES: Final = 256 << 10
_MOST_LISTED: Final = 32
_MOST_DEPTH: Final = 100
_CHARACTERS: Final = {
    "request_id": 128,
    "source": 128,
    "comment": 16_384,
    "correction": 65_536,
    "ground_truth_json": 65_536,
}
_NAME_CHARACTERS: Final = 128
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# 9999-12-31 (google/protobuf/timestamp.proto).
_LAST_SECOND: Final = 253_402_300_799
_SAYS: Final = ("labels", "comment", "correction", "ground_truth_json", "events")
_SERVERS_OWN: Final = ("received_at", "redactions", "withheld", "policy_version", "tenant")


def check_feedback(given: v1.Feedback, field: str) -> None:
    """Make `given` what storage keeps, but for redaction: ids as records have them, the server's own fields
    empty. Raises InvalidArgumentError that names the field, below `field`.
    """
    for name in _SERVERS_OWN:
        given.ClearField(name)
    given.DiscardUnknownFields()
    if given.feedback_id and _ID.fullmatch(given.feedback_id) is None:
        raise InvalidArgumentError(f"{field}.feedback_id", "expected 1 to 128 of A-Z a-z 0-9 . _ : -")
    _check_subject(given, field)
    for name, most in _CHARACTERS.items():
        if len(getattr(given, name)) > most:
            raise InvalidArgumentError(f"{field}.{name}", f"longer than {most} characters")
    _check_numbers(given, field)
    _check_names(given.labels, f"{field}.labels")
    _check_names((event.name for event in given.events), f"{field}.events")
    if given.ground_truth_json:
        _check_json(given.ground_truth_json, f"{field}.ground_truth_json")
    if not (given.HasField("rating") or given.thumb or any(getattr(given, name) for name in _SAYS)):
        raise InvalidArgumentError(field, "says nothing; give a rating, thumb, label, comment, …")
    if given.ByteSize() > MOST_BYTES:
        raise InvalidArgumentError(field, f"more than {MOST_BYTES} bytes")


def _check_subject(given: v1.Feedback, field: str) -> None:
    if given.call_id:
        try:
            given.call_id = str(uuid.UUID(given.call_id))
        except ValueError:
            raise InvalidArgumentError(f"{field}.call_id", "expected a UUID") from None
    elif not given.request_id:
        raise InvalidArgumentError(field, "about what? give call_id or request_id")


def _check_numbers(given: v1.Feedback, field: str) -> None:
    time = given.time
    if not (0 <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < 1_000_000_000):
        raise InvalidArgumentError(f"{field}.time", "not a time between the years 1970 and 9999")
    if not math.isfinite(given.rating):
        raise InvalidArgumentError(f"{field}.rating", "not a finite number")
    if not all(math.isfinite(event.value) for event in given.events):
        raise InvalidArgumentError(f"{field}.events", "a value is not a finite number")
    if given.thumb not in v1.Thumb.values():
        raise InvalidArgumentError(f"{field}.thumb", "expected THUMB_UP or THUMB_DOWN")


def _check_names(names: Iterable[str], field: str) -> None:
    listed = list(names)
    if len(listed) > _MOST_LISTED:
        raise InvalidArgumentError(field, f"more than {_MOST_LISTED}")
    if not all(0 < len(name) <= _NAME_CHARACTERS and name.strip() for name in listed):
        raise InvalidArgumentError(field, f"expected names of 1 to {_NAME_CHARACTERS} characters")


def _check_json(text: str, field: str) -> None:
    try:
        too_deep = _depth(json.loads(text, parse_constant=_no_number)) > _MOST_DEPTH
    except RecursionError:
        too_deep = True
    except ValueError:
        raise InvalidArgumentError(field, "not JSON") from None
    if too_deep:
        raise InvalidArgumentError(field, f"deeper than {_MOST_DEPTH}")


def _depth(tree: object) -> int:
    members = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return 1 + max(map(_depth, members), default=0)


def _no_number(_: str) -> NoReturn:
    raise ValueError("no JSON number")
