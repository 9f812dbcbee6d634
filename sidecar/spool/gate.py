"""Gate: many may use the file, one may replace it. For threads; touches nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Shared use waits only while the file is replaced; replacing waits until nobody uses it."""

    def __init__(self) -> None:
        """Nobody is in."""
        self._change = threading.Condition()
        self._users = 0
        self._replacing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use the file; never inside `exclusive`, nor the other way round."""
        with self._change:
            self._change.wait_for(lambda: not self._replacing)
            self._users += 1
        try:
            yield
        finally:
            with self._change:
                self._users -= 1
                self._change.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Replace the file; one at a time, as callers see to."""
        with self._change:
            self._replacing = True
            self._change.wait_for(lambda: self._users == 0)
        try:
            yield
        finally:
            with self._change:
                self._replacing = False
                self._change.notify_all()
