"""Filter options: which records a command is about, and how times, durations and ranges are read."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infertap import v1

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_RANGE: Final = re.compile(r"(\d{1,18})?(\.\.)?(\d{1,18})?")
_STATES: Final = ("inferencing", "completed", "failed", "cancelled")
# Fields of a filter that an option has by the same name.
_ALIKE: Final = (
    "model",
    "model_version",
    "method",
    "path",
    "min_duration",
    "request_id",
    "user",
    "text",
    "tags",
    "cohort",
    "redaction_class",
    "finish_reasons",
    "error_type",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "session",
    "application_version",
)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of a filter."""
    group = parser.add_argument_group("which records")
    group.add_argument(
        "--since", action=_Time, metavar="TIME", help="2026-01-31T12:00:00Z, or ago: 15m, 2h, 1d"
    )
    group.add_argument("--until", action=_Time, metavar="TIME", help="the same; not itself included")
    group.add_argument("--model", metavar="NAME")
    group.add_argument("--model-version", metavar="VERSION")
    group.add_argument("--state", action="append", choices=_STATES, help="may be given more than once")
    group.add_argument("--http-status", action="append", type=int, metavar="STATUS")
    group.add_argument("--grpc-status", action="append", type=int, metavar="NUMBER")
    group.add_argument("--method", metavar="METHOD")
    group.add_argument("--path", metavar="PATH", help="exact, or a beginning that ends with *")
    group.add_argument("--min-duration", type=read_duration, metavar="DURATION", help="such as 250ms or 2s")
    group.add_argument("--request-id", metavar="ID")
    group.add_argument("--text", metavar="TEXT", help="in either body, whatever the case")
    _add_callers(group)
    _add_answers(group)
    _add_feedback(group)


class _Time(argparse.Action):
    """Keeps what was typed beside the time that it means, as `since_typed`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        try:
            setattr(namespace, self.dest, read_time(values))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        setattr(namespace, f"{self.dest}_typed", values)


def _add_callers(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--user", metavar="HASH", help="as records show it")
    group.add_argument("--session", metavar="HASH", help="as records show it")
    group.add_argument("--cohort", metavar="NAME")
    group.add_argument("--application-version", metavar="VERSION")
    group.add_argument(
        "--tag", dest="tags", action="append", metavar="TAG", help="given more than once: all of these"
    )


def _add_answers(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--error-type", metavar="TYPE", help="exact, or a beginning that ends with *")
    group.add_argument(
        "--finish-reason",
        dest="finish_reasons",
        action="append",
        metavar="REASON",
        help="given more than once: one of these",
    )
    for side in ("input", "output", "total"):
        group.add_argument(
            f"--{side}-tokens", type=read_range, metavar="RANGE", help="100..200, 100.., ..200 or 100"
        )
    group.add_argument(
        "--redaction-class", metavar="CLASS", help="of which something was redacted, such as email"
    )


def _add_feedback(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--feedback", choices=("any", "none"), help="with feedback, or without any")
    group.add_argument("--feedback-label", metavar="LABEL")
    group.add_argument("--thumb", choices=("up", "down"))
    group.add_argument("--min-rating", type=float, metavar="NUMBER")
    group.add_argument("--max-rating", type=float, metavar="NUMBER")


def conditions(read: argparse.Namespace) -> dict[str, Any]:
    """The filter's fields that the options ask for."""
    asked = {name: getattr(read, name) for name in _ALIKE} | {
        "start_time": read.since,
        "end_time": read.until,
        "states": [state.upper() for state in read.state or ()],
        "http_statuses": read.http_status,
        "grpc_statuses": read.grpc_status,
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


def read_range(text: str) -> tuple[int | None, int | None]:
    """`100..200`, either end left out for none; or `100`, which is exactly that; raises argparse's error."""
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[3]) or (match[3] and not match[2]):
        raise argparse.ArgumentTypeError(f"expected a range such as 100..200 or 100.., not {text!r}")
    low = None if match[1] is None else int(match[1])
    high = None if match[3] is None else int(match[3])
    return (low, high) if match[2] else (low, low)
