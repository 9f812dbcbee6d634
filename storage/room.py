"""Room: how much may be under way at a time: bytes of the batches of all streams, or what else is counted.

Whoever wants more than there is waits, first come first served, and so its sender does: its stream isn't read
meanwhile. What is larger than all the room is let in alone. Touches nothing.
"""

import asyncio
from collections import deque


class Room:
    """A bounded amount. For one event loop."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """What is under way."""
        return self._most - self._free

    async def take(self, size: int) -> int:
        """Wait until there is room; returns what is to be given back."""
        wanted = min(size, self._most)
        if self._waiting or wanted > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((wanted, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._leave(wanted, turn)
                raise
        else:
            self._free -= wanted
        return wanted

    def give_back(self, taken: int) -> None:
        """What `take` returned is no longer under way."""
        self._free += taken
        self._let_in()

    def _leave(self, wanted: int, turn: "asyncio.Future[None]") -> None:
        """Who waited waits no longer; its turn may have come at the same moment."""
        if not turn.cancelled():
            self.give_back(wanted)
        else:
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif wanted <= self._free:
                self._waiting.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return
