"""Descriptor set: the file of INFERTAP_DESCRIPTOR_SET, which describes services that no reader knows.

Touches that file only. `python -m sidecar.recorder.descriptor_set FILE` checks it: exit status 2 where it
can't be used. A process of its own, so that the sidecar's parent, which starts it, need not load what this
needs.
"""

import sys
from pathlib import Path
from typing import Final

from sidecar.recorder.payloads import DESCRIPTOR_BYTES, DescriptorError, MethodTypes, read_set

_SETTING: Final = "INFERTAP_DESCRIPTOR_SET"


class DescriptorSetError(Exception):
    """The file can't be used; the message names the setting and says why."""


def read_descriptor_set(path: str | None) -> dict[str, MethodTypes]:
    """The methods in the file at `path`; none without one. Raises DescriptorSetError."""
    if path is None:
        return {}
    try:
        with Path(path).open("rb") as file:
            return read_set(file.read(DESCRIPTOR_BYTES + 1))
    except OSError as error:
        raise DescriptorSetError(f"{_SETTING}: {path}: {error.strerror}") from None
    except DescriptorError as error:
        raise DescriptorSetError(f"{_SETTING}: {path}: {error}") from None


def main() -> int:
    """Check the file that the command line names; returns the exit status."""
    try:
        read_descriptor_set(sys.argv[1])
    except DescriptorSetError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
