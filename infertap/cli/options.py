"""Options: what `infertap records`, `infertap stats` and `infertap feedback` understand."""

import argparse
import json
from typing import Any, Final

from infertap.cli.filter_options import add_filters, read_duration, read_time
from infertap.settings import size_bytes

_DIMENSIONS: Final = (
    "model",
    "model_version",
    "method",
    "path",
    "state",
    "http_status",
    "grpc_status",
    "cohort",
    "error_type",
    "application_version",
    "time",
)
_FORMATS: Final = ("parquet", "jsonl", "delta", "openai-jsonl", "preference-jsonl")


def add_records(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `records`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="records that match, newest first")
    add_common(listing)
    add_filters(listing)
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (50)")
    listing.add_argument(
        "--order-by",
        default="",
        metavar="KEY",
        help='start_time, duration, input_tokens, output_tokens or total_tokens; or such as "duration desc"',
    )
    getting = actions.add_parser("get", help="one record in full")
    add_common(getting, as_json="print it as JSON")
    getting.add_argument("call_id", metavar="CALL_ID", help="the call's id")
    tailing = actions.add_parser("tail", help="records as they arrive")
    add_common(tailing)
    add_filters(tailing)
    tailing.add_argument("--backlog", type=_backlog, default=10, metavar="N", help="begin with so many (10)")
    _add_export(actions.add_parser("export", help="all records that match, to files; run again it goes on"))


def add_stats(parser: argparse.ArgumentParser) -> None:
    """Add the options of `stats`."""
    add_common(parser, as_json="print a JSON object for each row")
    parser.add_argument(
        "--by",
        action="extend",
        type=_dimensions,
        default=[],
        metavar="WHAT[,WHAT]",
        help=f"a row for each combination of some of {', '.join(_DIMENSIONS)}",
    )
    parser.add_argument(
        "--bucket", type=read_duration, metavar="DURATION", help="with time: how long a bucket is (1h)"
    )
    add_filters(parser)


def add_feedback(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `feedback`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    adding = actions.add_parser("add", help="give feedback to a call, or to all calls of a request id")
    add_common(adding, STORAGE, "print its id, and the calls that it belongs to, as JSON")
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
    add_common(listing, STORAGE, "print a JSON object for each piece")
    _add_subject(listing, required=False)
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most so many (50)")


def _add_subject(parser: argparse.ArgumentParser, *, required: bool) -> None:
    subject = parser.add_mutually_exclusive_group(required=required)
    subject.add_argument("--call-id", default="", metavar="ID")
    subject.add_argument("--request-id", default="", metavar="ID")


def _add_export(parser: argparse.ArgumentParser) -> None:
    add_common(parser, as_json="print the state as JSON when it is done, instead of a sentence")
    add_filters(parser)
    parser.add_argument("--format", choices=_FORMATS, default="parquet", help="parquet, if none is given")
    parser.add_argument(
        "--out", required=True, metavar="PLACE", help="a directory of its own, or s3://BUCKET/FOLDER"
    )
    parser.add_argument(
        "--part-bytes", type=_size, metavar="SIZE", help="how large a file becomes, about (256MiB)"
    )


_ELSE: Final = "tls:HOST:PORT with TLS; else INFERTAP_ADDRESS, else 127.0.0.1:9903"
_ANY: Final = f"storage or a sidecar's API, {_ELSE}"
STORAGE: Final = f"storage, {_ELSE}"


# What of `add_common` lets somebody in.
_ACCESS: Final = ("ca_file", "cert_file", "key_file", "server_name", "token_file")


def access(read: argparse.Namespace) -> dict[str, Any]:
    """How to be let in, as the options that `add_common` adds say: arguments of Connection.of and Client."""
    return {name: getattr(read, name) for name in _ACCESS}


def add_common(
    parser: argparse.ArgumentParser,
    address: str = _ANY,
    as_json: str = "print a JSON object for each record",
) -> None:
    """Add where to ask (`address` is the help of that), how to be let in, and --json (its help is `as_json`;
    none where that is empty).
    """
    parser.add_argument("--address", metavar="HOST:PORT", help=address)
    access = parser.add_argument_group(
        "how to be let in", "else as INFERTAP_TLS_* and INFERTAP_TOKEN_FILE say"
    )
    access.add_argument("--ca-file", metavar="FILE", help="what the server's certificate is checked against")
    access.add_argument("--cert-file", metavar="FILE", help="a client certificate, if one is asked for")
    access.add_argument("--key-file", metavar="FILE", help="its key")
    access.add_argument("--server-name", metavar="NAME", help="in the server's certificate, if not the host")
    access.add_argument("--token-file", metavar="FILE", help="the token that is shown")
    if as_json:
        parser.add_argument("--json", action="store_true", help=as_json)


def _size(text: str) -> int:
    try:
        return size_bytes(1 << 10, 1 << 40)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, not {text!r}")
    return int(text)


def _backlog(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000, not {text!r}")
    return int(text)


def _dimensions(text: str) -> list[str]:
    names = [name.strip().replace("-", "_").lower() for name in text.split(",")]
    if not set(names) <= set(_DIMENSIONS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(_DIMENSIONS)}, not {text!r}")
    return names


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
