"""Main: reads the command line and hands over to the command.

Exit status 0, 1 where something failed, 2 where the command line is wrong.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Final

import infertap

_EXAMPLES: Final = """\
examples:
  infertap records list --state failed --since 1h
  infertap records get 01a1fca6-3690-7b75-982b-979712d2d16f
  infertap records tail --model iris --json
  infertap records export --since 7d --format parquet --out calls
  infertap stats --by model,time --bucket 1h --since 1d
  infertap feedback add --request-id checkout-17 --thumb down --comment "wrong price"
  INFERTAP_UPSTREAM=127.0.0.1:8000 infertap sidecar
  INFERTAP_REDACT=all,-phone infertap redact --explain request.json
"""

# What is asked of a storage that runs; all else behind `infertap storage` is the process's own.
_OF_A_STORAGE: Final = ("delete", "backup", "status", "sinks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (else the command line) ask for; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # gRPC's own lines on refused handshakes; what went wrong is in the error that is printed.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if given[:1] == ["sidecar"]:
        return _become("sidecar", given[1:])
    if given[:1] == ["storage"]:
        return _run_storage(given[1:])
    read = _parser().parse_args(given)
    if read.command == "redact":
        typed = ["--content-type", read.content_type] if read.content_type else []
        return _become("sidecar.recorder.explain", [*typed, "--", read.explain])
    if read.command in ("demo", "token"):
        return _run_alone(read)
    if read.command in ("audit", "verify"):
        return _run_audit(read)
    return _run_asking(read)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infertap",
        description="Records what goes into a model and what comes out, without touching the model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"infertap {infertap.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("sidecar", help="relay a model's traffic and record its calls", add_help=False)
    commands.add_parser("storage", help="keep the records of sidecars and serve them", add_help=False)
    redact = commands.add_parser("redact", help="show on a sample what redaction keeps of it")
    redact.add_argument("--explain", required=True, metavar="FILE", help="a body; - for standard input")
    redact.add_argument(
        "--content-type", metavar="TYPE", help="what its header would say; else by the file's name"
    )
    demo = commands.add_parser("demo", help="run the main job for real, on this machine")
    demo.add_argument("--once", action="store_true", help="end by itself once everything has been shown")
    token = commands.add_parser("token", help="make a token, and print the hash that storage knows it by")
    token.add_argument("file", metavar="FILE", help="where the token goes; must not be there yet")
    from infertap.cli.audit_options import add_audit, add_verify  # noqa: PLC0415
    from infertap.cli.options import add_feedback, add_records, add_stats  # noqa: PLC0415
    from infertap.cli.spool_options import add_spool  # noqa: PLC0415

    add_records(commands.add_parser("records", help="fetch records"))
    add_stats(commands.add_parser("stats", help="count and measure the calls that records stand for"))
    add_feedback(commands.add_parser("feedback", help="say what became known of a call afterwards"))
    add_spool(commands.add_parser("spool", help="what storage refuses of a sidecar's records"))
    add_audit(commands.add_parser("audit", help="keys, checkpoints, spools, and what was found wrong"))
    add_verify(commands.add_parser("verify", help="hold what is kept against what was signed"))
    return parser


def _run_alone(read: argparse.Namespace) -> int:
    if read.command == "demo":
        from infertap.demo import run_demo  # noqa: PLC0415  (imports nothing before it is asked for)

        return run_demo(once=read.once)
    from infertap.cli.new_token import run_token  # noqa: PLC0415

    return run_token(read.file)


def _run_asking(read: argparse.Namespace) -> int:
    if read.command == "feedback":
        from infertap.cli.feedback import run_feedback  # noqa: PLC0415

        return run_feedback(read)
    if read.command == "spool":
        from infertap.cli.spool import run_spool  # noqa: PLC0415

        return run_spool(read)
    if read.command == "stats":
        from infertap.cli.stats import run_stats  # noqa: PLC0415

        return run_stats(read)
    if read.action == "export":
        from infertap.cli.export import run_export  # noqa: PLC0415

        return run_export(read)
    from infertap.cli.records import run_records  # noqa: PLC0415

    return run_records(read)


def _run_audit(read: argparse.Namespace) -> int:
    if importlib.util.find_spec("cryptography") is None:
        print("infertap audit needs another package: pip install 'infertap[audit]'", file=sys.stderr)
        return 2
    if read.command == "verify":
        from infertap.cli.verify import run_verify  # noqa: PLC0415

        return run_verify(read)
    from infertap.cli.audit import run_audit  # noqa: PLC0415

    return run_audit(read)


def _become(module: str, arguments: list[str]) -> int:
    """Replace this process by `python -m module`; settings come from the environment.

    Neither it nor its children import from the working directory: whoever starts them has a `storage` there,
    or a `random.py`.
    """
    sys.stdout.flush()
    # gRPC would say at each handshake that fails, which anybody can bring about, that it did.
    environ = {"GRPC_VERBOSITY": "ERROR"} | dict(os.environ) | {"PYTHONSAFEPATH": "1"}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environ)  # noqa: S606
    raise AssertionError("execve returns never")


def _run_storage(arguments: list[str]) -> int:
    if arguments[:1] and arguments[0] in _OF_A_STORAGE:
        from infertap.cli.storage import run_storage  # noqa: PLC0415

        return run_storage(arguments)
    if importlib.util.find_spec("duckdb") is None:
        print("infertap storage needs more packages: pip install 'infertap[storage]'", file=sys.stderr)
        return 1
    return _become("storage", arguments)
