"""Faults: an exception that nobody catches is told by its type and its place, never by its text.

Python prints what was raised with its message, which may quote what passed (law 3); so do asyncio, gRPC and
others through logging. `tell_without_text` takes the place of all of these in one process: touches the hooks
of sys and threading, and the root of logging. Standard library only: parent, relay, recorder and storage
begin with this.
"""

import logging
import sys
import threading
from collections.abc import Callable
from traceback import extract_tb
from types import TracebackType
from typing import Any, Final

# The last of them tell where it was.
_FRAMES: Final = 8

# Writes one event: its name, and facts that are names and numbers.
Tell = Callable[..., None]


def tell_without_text(tell: Tell) -> None:
    """From now on faults are told by `tell("fault", ...)`, which must not raise."""

    def told(source: str, kind: type[BaseException] | None, trace: TracebackType | None) -> None:
        tell("fault", source=source, fault=kind.__name__ if kind else None, at=_place(trace))

    def of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not SystemExit:
            told("thread", arguments.exc_type, arguments.exc_traceback)

    def unraisable(arguments: Any) -> None:
        told("unraisable", arguments.exc_type, arguments.exc_traceback)

    sys.excepthook = lambda kind, _, trace: told("process", kind, trace)
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Names(told))
    root.setLevel(logging.ERROR)


class _Names(logging.Handler):
    """Of what is logged tells who did, and what was raised; the text is somebody else's."""

    def __init__(self, told: Callable[[str, type[BaseException] | None, TracebackType | None], None]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, trace = record.exc_info or (None, None, None)
        self._told(record.name, kind, trace)


def _place(trace: TracebackType | None) -> str:
    """The innermost frames: file, line and function of each, without the source's text."""
    frames = extract_tb(trace, limit=-_FRAMES)
    return " > ".join(f"{_module(each.filename)}:{each.lineno} {each.name}" for each in frames)


def _module(path: str) -> str:
    return "/".join(path.rsplit("/", 3)[-3:])
