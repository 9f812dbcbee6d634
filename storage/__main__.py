"""Storage: `python -m storage`. Reads the settings, then serves until it is told to end.

Exit status 0 after a drain, 2 with one line for each fault where the settings, the addresses or the archive
can't be used.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from infertap.faults import tell_without_text
from infertap.settings import describe
from storage import config, migrate, restore
from storage.archive import ArchiveError
from storage.event_log import log_event
from storage.process import StartError, run

_USAGE = """\
usage: infertap storage [--help]        (or python -m storage)
       infertap storage migrate [--cluster NAME] [--print]
       infertap storage restore BACKUP [ARCHIVE]
       infertap storage delete | backup | status | sinks [--help]

Keeps the records of sidecars and serves them; `migrate` makes the tables of a ClickHouse archive, `restore`
an archive of a backup; `delete`, `backup`, `status` and `sinks` ask a storage that runs. Settings are
environment variables:
"""


def help_text() -> str:
    """What --help prints: every setting with its default and meaning."""
    return _USAGE + describe(config.Settings)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run storage; returns its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["migrate"]:
        return migrate.main(given[1:], environ)
    if given[:1] == ["restore"]:
        return restore.main(given[1:], environ)
    if given:
        wanted = given[0] in ("-h", "--help")
        print(help_text() if wanted else _USAGE, end="", file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    try:
        run(config.read(environ), environ)
    except ArchiveError as error:
        print(f"INFERTAP_ARCHIVE: {error}", file=sys.stderr)
        return 2
    except (config.SettingsError, StartError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tell_without_text(log_event)
    sys.exit(main())
