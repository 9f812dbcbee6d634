"""Options: what `infertap records` and `infertap feedback` understand, and how text is read."""

import argparse
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infertap import v1

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_STATES: Final = ("inferencing", "completed", "failed", "cancelled")


def add_records(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `records`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="records that match, newest first")
    add_common(listing)
    _add_filters(listing)
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (50)")
    getting = actions.add_parser("get", help="one record in full")
    add_common(getting)
    getting.add_argument("call_id", metavar="CALL_ID", help="the call's id")
    tailing = actions.add_parser("tail", help="records as they arrive")
    add_common(tailing)
    _add_filters(tailing)
    tailing.add_argument("--backlog", type=_backlog, default=10, metavar="N", help="begin with so many (10)")


def add_feedback(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `feedback`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    adding = actions.add_parser("add", help="give feedback to a call, or to all calls of a request id")
    add_common(adding)
    _add_subject(adding, required=True)
    group = adding.add_argument_group("what is said of it, at least one")
    group.add_argument("--rating", type=float, metavar="NUMBER")
    group.add_argument("--thumb", choices=("up", "down"), default="")
    group.add_argument("--label", action="append", metavar="LABEL", help="may be given more than once")
    group.add_argument("--comment", default="", metavar="TEXT")
    group.add_argument("--correction", default="", metavar="TEXT", help="what the answer should have been")
    group.add_argument("--ground-truth", type=_json, metavar="JSON", help="what was true")
    group.add_argument(
        "--event",
        action="append",
        type=_event,
        metavar="NAME[=VALUE]",
        help="what the user did; more than once",
    )
    adding.add_argument("--id", default="", metavar="ID", help="its own id: given twice it is kept once")
    adding.add_argument("--source", default="", metavar="NAME", help="who or what gives it")
    adding.add_argument("--time", type=read_time, metavar="TIME", help="when it was given; else now")
    listing = actions.add_parser("list", help="what was given, latest first")
    add_common(listing)
    _add_subject(listing, required=False)
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (50)")


def _add_subject(parser: argparse.ArgumentParser, *, required: bool) -> None:
    subject = parser.add_mutually_exclusive_group(required=required)
    subject.add_argument("--call-id", default="", metavar="ID")
    subject.add_argument("--request-id", default="", metavar="ID")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add where to ask, how to be let in, and --json."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="storage or a sidecar's API, tls:HOST:PORT with TLS; else INFERTAP_ADDRESS, else 127.0.0.1:9903",
    )
    access = parser.add_argument_group(
        "how to be let in", "else as INFERTAP_TLS_* and INFERTAP_TOKEN_FILE say"
    )
    access.add_argument("--ca-file", metavar="FILE", help="what the server's certificate is checked against")
    access.add_argument("--cert-file", metavar="FILE", help="a client certificate, if one is asked for")
    access.add_argument("--key-file", metavar="FILE", help="its key")
    access.add_argument("--server-name", metavar="NAME", help="in the server's certificate, if not the host")
    access.add_argument("--token-file", metavar="FILE", help="the token that is shown")
    parser.add_argument("--json", action="store_true", help="a JSON object for each record")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which records")
    group.add_argument(
        "--since", type=read_time, metavar="TIME", help="2026-01-31T12:00:00Z, or ago: 15m, 2h, 1d"
    )
    group.add_argument("--until", type=read_time, metavar="TIME", help="the same; not itself included")
    group.add_argument("--model", metavar="NAME")
    group.add_argument("--model-version", metavar="VERSION")
    group.add_argument("--state", action="append", choices=_STATES, help="may be given more than once")
    group.add_argument("--http-status", action="append", type=int, metavar="STATUS")
    group.add_argument("--grpc-status", action="append", type=int, metavar="NUMBER")
    group.add_argument("--method", metavar="METHOD")
    group.add_argument("--path", metavar="PATH", help="exact, or a beginning that ends with *")
    group.add_argument("--min-duration", type=read_duration, metavar="DURATION", help="such as 250ms or 2s")
    group.add_argument("--request-id", metavar="ID")
    group.add_argument("--user", metavar="HASH", help="as records show it")
    group.add_argument("--text", metavar="TEXT", help="in either body, whatever the case")
    group.add_argument("--feedback", choices=("any", "none"), help="with feedback, or without any")
    group.add_argument("--feedback-label", metavar="LABEL")
    group.add_argument("--thumb", choices=("up", "down"))
    group.add_argument("--min-rating", type=float, metavar="NUMBER")
    group.add_argument("--max-rating", type=float, metavar="NUMBER")


def conditions(read: argparse.Namespace) -> dict[str, Any]:
    """The filter's fields that the options ask for."""
    asked = {
        "start_time": read.since,
        "end_time": read.until,
        "model": read.model,
        "model_version": read.model_version,
        "states": [state.upper() for state in read.state or ()],
        "http_statuses": read.http_status,
        "grpc_statuses": read.grpc_status,
        "method": read.method,
        "path": read.path,
        "min_duration": read.min_duration,
        "request_id": read.request_id,
        "user": read.user,
        "text": read.text,
        "feedback": _feedback(read),
    }
    return {name: value for name, value in asked.items() if value not in (None, "", [])}


def _feedback(read: argparse.Namespace) -> "v1.FeedbackFilter | None":
    """What feedback is asked for; None where it does not matter."""
    from infertap import v1  # noqa: PLC0415  (not before it is asked for)

    asked = v1.FeedbackFilter(
        is_absent=read.feedback == "none",
        min_rating=read.min_rating,
        max_rating=read.max_rating,
        label=read.feedback_label or "",
        thumb=v1.Thumb.Value(f"THUMB_{(read.thumb or 'unspecified').upper()}"),
    )
    return asked if read.feedback or asked != v1.FeedbackFilter() else None


def read_duration(text: str) -> timedelta:
    """`250ms`, `1.5s`, `2h`; raises argparse's error."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a duration such as 250ms, 15m, 2h or 1d, not {text!r}")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise argparse.ArgumentTypeError(
            f"expected a duration that a calendar can hold, not {text!r}"
        ) from None


def read_time(text: str) -> datetime:
    """RFC 3339, local where it names no zone; or a duration, which is so long ago."""
    try:
        if _DURATION.fullmatch(text):
            return datetime.now(UTC) - read_duration(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2026-01-31T12:00:00Z or 15m, not {text!r}"
        ) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, not {text!r}")
    return int(text)


def _backlog(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000, not {text!r}")
    return int(text)


def _json(text: str) -> list[Any]:
    """The value in a list of one, so that null is something."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        raise argparse.ArgumentTypeError('expected JSON; a text is "in quotation marks"') from None


def _event(text: str) -> tuple[str, float | None]:
    name, equals, value = text.partition("=")
    try:
        return name, float(value) if equals else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME or NAME=NUMBER, not {text!r}") from None
