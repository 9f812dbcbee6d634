"""Decoded: a body that is no text, taken apart into documents that can be redacted and read. Values only."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """One message as a tree; whether rules can read all of it, and whether all of it is shown."""

    tree: dict[str, Any]
    is_readable: bool = True
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """The messages of one direction, raw still."""

    # All that the messages hold as trees of JSON: what is not in them is not in `data` either.
    documents: tuple[Any, ...]
    # The messages' bytes, to be kept where nothing in the documents has to be masked; empty where something
    # in them can't be read, so that only the documents may be kept.
    data: bytes
    # What follows was cut off, or is too much to be shown.
    is_cut: bool
