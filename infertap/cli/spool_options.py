"""Options of `infertap spool`."""

import argparse

from infertap.cli.options import add_common

_MOST_SEQUENCE = (1 << 63) - 1


def add_spool(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `spool`."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    letters = kinds.add_parser("dead-letters", help="records that storage refused for good")
    actions = letters.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="which there are, and why; no payload")
    _add_where(listing, "print a JSON object for each")
    showing = actions.add_parser("show", help="one in full, redacted as it lies in the spool")
    _add_where(showing, "print it as JSON")
    showing.add_argument("sequence", type=_sequence, metavar="SEQUENCE")
    resending = actions.add_parser("resend", help="let storage be asked again")
    _add_where(resending, "")
    chosen = resending.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="all there are")
    chosen.add_argument("sequences", nargs="*", default=[], type=_sequence, metavar="SEQUENCE")


def _add_where(parser: argparse.ArgumentParser, as_json: str) -> None:
    add_common(parser, "the sidecar's API, tls:HOST:PORT with TLS; else 127.0.0.1:9901", as_json)


def _sequence(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_SEQUENCE:
        raise argparse.ArgumentTypeError(f"expected a sequence from 1, not {text!r}")
    return int(text)
