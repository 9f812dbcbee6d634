"""Setting files: has the files that settings name checked at the start, when a fault can still be mended.

Touches short-lived processes, as the checks need what the parent does not load.
"""

import subprocess
import sys
from typing import Final

from sidecar.config import Settings
from sidecar.parent.sockets import StartError

_CHECK_SECONDS: Final = 30.0


def check_setting_files(settings: Settings) -> None:
    """Raises StartError with a line for each fault of a file."""
    _check("INFERTAP_REDACT_RULES_FILE", settings.redact_rules_file, "sidecar.recorder.redaction")
    _check("INFERTAP_DESCRIPTOR_SET", settings.descriptor_set, "sidecar.recorder.descriptor_set")


def _check(name: str, path: str | None, module: str) -> None:
    if path is None:
        return
    command = [sys.executable, "-m", module, path]
    try:
        checked = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"{name}: {path}: can't be checked: {type(error).__name__}") from None
    if checked.returncode:
        raise StartError(checked.stderr.strip() or f"{name}: {path}: can't be checked")
