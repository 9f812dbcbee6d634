"""Own rules: has the file of redaction rules checked at the start, when a fault can still be mended.

Touches a short-lived process, as the check needs what the parent does not load.
"""

import subprocess
import sys
from typing import Final

from sidecar.parent.sockets import StartError

_CHECK_SECONDS: Final = 30.0


def check_own_rules(path: str | None) -> None:
    """Raises StartError with a line for each fault of the file at `path`."""
    if path is None:
        return
    command = [sys.executable, "-m", "sidecar.recorder.redaction", path]
    try:
        checked = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(
            f"INFERTAP_REDACT_RULES_FILE: {path}: can't be checked: {type(error).__name__}"
        ) from None
    if checked.returncode:
        raise StartError(checked.stderr.strip() or f"INFERTAP_REDACT_RULES_FILE: {path}: can't be checked")
