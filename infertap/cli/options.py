"""Options: what `infertap records` understands, and how text becomes times and durations."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_STATES: Final = ("inferencing", "completed", "failed", "cancelled")


def add_records(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `records`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="records that match, newest first")
    _add_common(listing)
    _add_filters(listing)
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (50)")
    getting = actions.add_parser("get", help="one record in full")
    _add_common(getting)
    getting.add_argument("call_id", metavar="CALL_ID", help="the call's id")
    tailing = actions.add_parser("tail", help="records as they arrive")
    _add_common(tailing)
    _add_filters(tailing)
    tailing.add_argument("--backlog", type=_backlog, default=10, metavar="N", help="begin with so many (10)")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="storage or a sidecar's API; else INFERTAP_ADDRESS, else 127.0.0.1:9903",
    )
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
    }
    return {name: value for name, value in asked.items() if value}


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
