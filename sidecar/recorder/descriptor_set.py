"""Descriptor set: the file of INFERTAP_DESCRIPTOR_SET, which describes services that no reader knows.

Touches that file only.
"""

from typing import Final

from infertap.setting_files import UnusableFileError, read_file
from sidecar.recorder.payloads import DESCRIPTOR_BYTES, DescriptorError, MethodTypes, read_set

_SETTING: Final = "INFERTAP_DESCRIPTOR_SET"


class DescriptorSetError(Exception):
    """The file can't be used; the message names the setting and says why."""


def read_descriptor_set(path: str | None) -> dict[str, MethodTypes]:
    """The methods in the file at `path`; none without one. Raises DescriptorSetError."""
    if path is None:
        return {}
    try:
        return read_set(read_file(path, DESCRIPTOR_BYTES))
    except UnusableFileError as error:
        raise DescriptorSetError(f"{_SETTING}: {error}") from None
    except DescriptorError as error:
        raise DescriptorSetError(f"{_SETTING}: {path}: {error}") from None
