"""Checks a file of own rules: `python -m sidecar.recorder.redaction FILE`; exit status 2 where it has faults.

A process of its own, so that the sidecar's parent, which starts it, need not load what redaction needs.
"""

import sys

from sidecar.recorder.redaction.own_rules import RulesFileError, read_own_rules


def main() -> int:
    """Check the file that the command line names; returns the exit status."""
    try:
        read_own_rules(sys.argv[1])
    except RulesFileError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
