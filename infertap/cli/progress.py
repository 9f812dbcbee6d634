"""Progress: how far a long command has come, on one line of a terminal. Writes to stderr, if that is one."""

import sys
import time
from typing import Final, TextIO

_EVERY_SECONDS: Final = 0.1
_WIDTH: Final = 30


class Progress:
    """A bar from 0 to `total`; a count where there is no total. A context manager."""

    def __init__(self, what: str, total: int = 0, stream: TextIO | None = None) -> None:
        """`what` is counted: "entries"."""
        self._what = what
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._is_shown = self._stream.isatty()
        self._done = 0
        self._next = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def add(self, count: int = 1) -> None:
        """So many more are done."""
        self.reach(self._done + count, self._total)

    def reach(self, done: int, total: int) -> None:
        """So many are done now, of so many."""
        self._done, self._total = done, total
        if self._is_shown and (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY_SECONDS
            self._stream.write(f"\r\x1b[K{self.line()}")
            self._stream.flush()

    def line(self) -> str:
        """What is shown now."""
        if not self._total:
            return f"{self._done:,} {self._what}"
        share = min(self._done / self._total, 1.0)
        bar = "█" * int(share * _WIDTH)
        return f"{bar:·<{_WIDTH}} {share:4.0%}  {self._done:,} of {self._total:,} {self._what}"
