"""Setting files: has the files that settings name checked at the start, when a fault can still be mended.

Touches a short-lived process, as the checks need what the parent does not load.
"""

import subprocess
import sys
from typing import Final

from sidecar.config import Settings
from sidecar.parent.sockets import StartError

_COMMAND: Final = (sys.executable, "-m", "sidecar.recorder.setting_files")
_SECONDS: Final = 30.0


def check_setting_files(settings: Settings) -> None:
    """Raises StartError with a line for each fault of a file."""
    named = {
        "INFERTAP_REDACT_RULES_FILE": settings.redact_rules_file,
        "INFERTAP_DESCRIPTOR_SET": settings.descriptor_set,
    }
    names = ", ".join(name for name, path in named.items() if path is not None)
    if not names:
        return
    try:
        checked = subprocess.run(  # noqa: S603
            [*_COMMAND, *(path or "" for path in named.values())],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{names}: can't be checked: {type(error).__name__}") from None
    if checked.returncode:
        # A traceback would quote the files.
        faults = checked.stderr.strip() if checked.returncode == 2 else ""
        raise StartError(faults or f"{names}: can't be checked")
