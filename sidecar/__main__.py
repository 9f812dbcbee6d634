"""The sidecar: `python -m sidecar`. Reads the settings, then runs the parent of its processes until it is
told to end.

Exit status 0 after a drain, 2 with one line for each fault where the settings or the addresses can't be used.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from infertap.faults import tell_without_text
from infertap.settings import describe
from sidecar import config, hash_key, parent, tls
from sidecar.event_log import log_event

_USAGE = """\
usage: infertap sidecar [--help]        (or python -m sidecar)

Relays the traffic of a model and records its calls. It has no arguments; settings are environment variables:
"""


def help_text() -> str:
    """What --help prints: every setting with its default and meaning."""
    return _USAGE + describe(config.Settings)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the sidecar; returns its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given:
        wanted = given[0] in ("-h", "--help")
        print(help_text() if wanted else _USAGE, end="", file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    try:
        return parent.run(config.read(environ))
    except (config.SettingsError, parent.StartError, tls.TlsError, hash_key.HashKeyError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    tell_without_text(partial(log_event, "parent"))
    sys.exit(main())
