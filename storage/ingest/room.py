"""Room: how much may be under way at a time: bytes of the batches of all streams, or what else is counted.

Whoever wants more than there is waits, and so its sender does: its stream isn't read meanwhile. Callers take
turns, and so do the addresses of each, so that nobody waits for all that another sends; of one address it is
first come first served. What is larger than all the room is let in alone. Touches nothing.
"""

import asyncio
from collections import OrderedDict, deque
from typing import TypeAlias

# Who asks, and from where.
Asker: TypeAlias = tuple[str, str]
_NOBODY: Asker = ("", "")
_Wanted: TypeAlias = tuple[int, "asyncio.Future[None]"]


class Room:
    """A bounded amount. For one event loop."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._waiting = _Turns()

    @property
    def taken(self) -> int:
        """What is under way."""
        return self._most - self._free

    async def take(self, size: int, asker: Asker = _NOBODY) -> int:
        """Wait until there is room; returns what is to be given back."""
        wanted = min(size, self._most)
        if self._waiting or wanted > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(asker, (wanted, turn))
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
            wanted, turn = self._waiting.first
            if turn.cancelled():
                self._waiting.drop()
            elif wanted <= self._free:
                self._waiting.pass_on()
                self._free -= wanted
                turn.set_result(None)
            else:
                return


class _Turns:
    """What waits: by caller and address, whose turn is next standing first."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, OrderedDict[str, deque[_Wanted]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._callers)

    def add(self, asker: Asker, wanted: _Wanted) -> None:
        """It waits behind what its address waits for."""
        addresses = self._callers.setdefault(asker[0], OrderedDict())
        addresses.setdefault(asker[1], deque()).append(wanted)

    @property
    def first(self) -> _Wanted:
        """What is next; there is something."""
        return next(iter(next(iter(self._callers.values())).values()))[0]

    def drop(self) -> None:
        """The first one waits no longer; it is still the same one's turn."""
        caller, addresses = next(iter(self._callers.items()))
        address, waiting = next(iter(addresses.items()))
        waiting.popleft()
        if not waiting:
            del addresses[address]
        if not addresses:
            del self._callers[caller]

    def pass_on(self) -> None:
        """The first one has had its turn."""
        caller, addresses = next(iter(self._callers.items()))
        address = next(iter(addresses))
        self.drop()
        if caller in self._callers:
            self._callers.move_to_end(caller)
        if address in addresses:
            addresses.move_to_end(address)
