"""Explain: shows on a sample what redaction would do: `python -m sidecar.recorder.explain FILE`.

Touches that file (`-`: standard input), the environment, what its settings name, and the terminal. It
promises: of what is found the class, the number and the place are told, never the value. The command
`infertap redact --explain` becomes this one.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar import config
from sidecar.hash_key import HashKeyError, read_hash_key
from sidecar.recorder.policy import policy_of
from sidecar.recorder.redaction import Findings, Policy, RedactedBody, Redactor, RulesFileError

# As much as a body may become when its content encoding is opened.
_MOST_BYTES: Final = 16 << 20
_MOST_PLACES: Final = 20
_TYPES: Final = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".sse": "text/event-stream",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".html": "text/html",
    ".xml": "application/xml",
    ".txt": "text/plain",
}
KEPT, WITHHELD, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Explain the file that the command line names; returns the exit status.

    0: it would be kept, masked as shown. 1: it would be withheld. 2: settings or file can't be used.
    """
    read = _arguments(arguments)
    try:
        settings = config.read(os.environ)
        policy = policy_of(settings, read_hash_key(settings.hash_key_file))
        data = _sample(read.file)
    except OSError as error:
        print(f"{read.file}: {error.strerror}", file=sys.stderr)
        return UNUSABLE
    except (ValueError, HashKeyError, RulesFileError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    content_type = read.content_type or _TYPES.get(Path(read.file).suffix.lower(), "")
    findings = Findings()
    body = Redactor(policy).body(content_type, data, findings)
    sys.stdout.buffer.write(body.data + b"\n" * (not body.data.endswith(b"\n") and bool(body.data)))
    sys.stdout.flush()
    print("\n".join(_account(policy, content_type, data, body, findings)), file=sys.stderr)
    return KEPT if body.withheld is None else WITHHELD


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="infertap redact --explain",
        description="What the policy of the INFERTAP_* settings would keep of a body. Standard output gets "
        "what would be kept, standard error what was found in it.",
    )
    parser.add_argument("file", metavar="FILE", help="a sample of a body; - for standard input")
    parser.add_argument(
        "--content-type",
        default="",
        metavar="TYPE",
        help="what its header would say; else by the file's name",
    )
    return parser.parse_args(arguments)


def _sample(name: str) -> bytes:
    """The sample's bytes; raises OSError, ValueError."""
    if name == "-":
        data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    else:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{name}: more than {_MOST_BYTES >> 20} MiB")
    return data


def _account(
    policy: Policy, content_type: str, data: bytes, body: RedactedBody, findings: Findings
) -> Iterator[str]:
    yield f"policy   {policy.version}"
    yield f"type     {content_type or 'not said'}"
    if body.withheld is not None:
        yield f"withheld {body.withheld}"
        return
    yield f"found    {findings.total}"
    for finding in findings.listed():
        yield f"         {finding.kind} x {finding.count}"
    places = list(_places(_document(data), body.documents[0])) if len(body.documents) == 1 else []
    for place in places[:_MOST_PLACES]:
        yield f"changed  {place}"
    if len(places) > _MOST_PLACES:
        yield f"         and {len(places) - _MOST_PLACES} more"


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _places(before: Any, after: Any, path: str = "$") -> Iterator[str]:
    """Where two documents differ, as paths that INFERTAP_REDACT_FIELDS takes. Names are the redacted ones."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in after:
            if name in before:
                yield from _places(before[name], after[name], f"{path}.{name}")
        if before.keys() != after.keys():
            yield f"{path} (names)"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _places(one, other, f"{path}[{index}]")
    elif before != after:
        yield path


if __name__ == "__main__":
    sys.exit(main())
