"""Caution: what is sent at once after storage has ended a stream for what it was sent. Pure.

A storage of ours refuses an entry alone, and goes on. One that refuses all it was sent (INVALID_ARGUMENT)
does not say for which entry: what was under way is sent again one by one, until the guilty one stands alone.
Else it would hold up everything behind it for ever.
"""

from collections.abc import Sequence

from sidecar.forwarder.window import Range


class Caution:
    """Of one forwarder: of its spool, over all its connections, until it has another."""

    def __init__(self) -> None:
        """None is called for."""
        self._spool_id = b""
        self._until = 0

    def begin(self, spool_id: bytes) -> None:
        """A connection begins, for that spool."""
        if spool_id != self._spool_id:
            self._spool_id, self._until = spool_id, 0

    def is_due(self, after: int) -> bool:
        """Whether what follows `after` goes one by one."""
        return after < self._until

    def refused(self, under_way: Sequence[Range]) -> int | None:
        """All of that was refused; the sequence of the guilty entry, once it is known."""
        if len(under_way) == 1:
            return under_way[0][0]
        self._until = max((last for _, last in under_way), default=self._until)
        return None
