"""Options of `infertap audit` and `infertap verify`."""

import argparse
from datetime import date

from infertap.cli.options import STORAGE, add_common


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the commands under `audit`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    spools = actions.add_parser("spools", help="how every spool stood when it was last heard of")
    add_common(spools, STORAGE, "print a JSON object for each spool")
    spools.add_argument("--wrong", action="store_true", help="only those with something wrong")
    findings = actions.add_parser(
        "findings", help="what was found wrong: chains as they came in, logs, files"
    )
    add_common(findings, STORAGE, "print a JSON object for each finding")
    checkpoint = actions.add_parser("checkpoint", help="print the latest checkpoint, to be kept elsewhere")
    add_common(checkpoint, STORAGE, "")
    checkpoint.add_argument("--make", action="store_true", help="first sign all that is there now")
    proof = actions.add_parser("proof", help="check that the record of a call is in what was signed")
    add_common(proof, STORAGE, "")
    proof.add_argument("call_id", metavar="CALL_ID", help="the call's id")
    _add_keys(proof, required=True)
    exporting = actions.add_parser("export", help="write what can be verified without storage")
    add_common(exporting, STORAGE, "")
    exporting.add_argument("directory", metavar="DIRECTORY", help="a new one")
    _add_days(exporting)
    key = actions.add_parser("key", help="make a key that signs checkpoints, or show the public keys")
    key.add_argument("file", metavar="FILE", help="for INFERTAP_AUDIT_KEY_FILE; a new key is added to it")
    key.add_argument("--name", default="", metavar="NAME", help="makes one, such as storage.example.com/prod")


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument(
        "export", nargs="?", metavar="DIRECTORY", help="of `infertap audit export`; else storage is asked"
    )
    _add_keys(parser, required=False)
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="FILE",
        help="one that was kept elsewhere, or a directory of them; may be given more than once",
    )
    parser.add_argument(
        "--tenant",
        metavar="NAME",
        help="these are the logs of that tenant alone, as its readers are shown them",
    )
    parser.add_argument("--unsigned", action="store_true", help="look at chains only, without any signature")
    _add_days(parser)
    add_common(parser, STORAGE, "print what was found as one JSON object")


def _add_keys(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--key",
        action="append",
        required=required,
        metavar="KEY",
        help="public key, or a file of them, as `infertap audit key` printed it; may be given more than once",
    )


def _add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="first_day", type=_day, default="", metavar="DAY", help="came in on that day or later"
    )
    parser.add_argument(
        "--to", dest="last_day", type=_day, default="", metavar="DAY", help="came in on that day or before"
    )


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise argparse.ArgumentTypeError("expected a day such as 2026-11-21 (UTC)") from None
