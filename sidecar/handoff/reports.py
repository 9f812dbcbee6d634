"""Reports: what the relay tells of calls in flight, at a pace of its own. The relay's side.

May touch the event loop's clock and, through `send`, the hand-off socket. It promises: however many calls
are open, a turn of the loop packs a few (a fifth of a millisecond) and a second some thousands; each is told
of in full once for each recorder, and of its progress at most once a second; at most MOST_CALLS are told of;
hand-overs go before; nothing here waits, or keeps more of a call than a reference.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.exchange import Exchange
from sidecar.handoff import report_packets

MOST_CALLS: Final = 10_000
# Between two turns while there is something to tell.
STEP_SECONDS: Final = 0.01
ROUND_SECONDS: Final = 1.0
# After a turn that found no room.
RETRY_SECONDS: Final = 0.25
# In one turn: calls told of in full, and in all.
_FRESH_CALLS: Final = 24
_CALLS: Final = 64
# Call numbers in one packet of ends.
_ENDS: Final = 4096


class Reports:
    """The calls in flight of one relay."""

    def __init__(self, send: Callable[[bytes], bool], recorder_started: Callable[[], int]) -> None:
        """`send` sends a packet now, or returns False. `recorder_started` tells one recorder from the next,
        which knows nothing.
        """
        self._send = send
        self._recorder_started = recorder_started
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Exchange] = {}
        # Bytes of the segments that went before, by call number: request, response.
        self._before: dict[int, tuple[int, int]] = {}
        # Call numbers: told of, and to be told of in turn. What is not in `_calls` any more is passed over.
        self._told: set[int] = set()
        self._fresh: deque[int] = deque()
        self._round: deque[int] = deque()
        self._ended: deque[int] = deque()
        self._round_number = self._round_left = 0
        self._round_due = 0.0
        self._recorder = recorder_started()
        self._has_begun = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_awake = False
        self._wake()

    def begin(self, call: Exchange) -> bool:
        """See `sidecar.tap.ledger.Reports`."""
        if self._is_closed or len(self._calls) >= MOST_CALLS or len(self._fresh) >= 2 * MOST_CALLS:
            return False
        self._calls[call.call_number] = call
        self._fresh.append(call.call_number)
        self._wake()
        return True

    def go_on(self, call: Exchange) -> None:
        """See `sidecar.tap.ledger.Reports`."""
        number = call.call_number
        if (earlier := self._calls.get(number)) is not None:
            request, response = self._before.get(number, (0, 0))
            self._before[number] = (request + earlier.request.size, response + earlier.response.size)
            self._calls[number] = call

    def end(self, call: Exchange, is_recorded: bool) -> None:
        """See `sidecar.tap.ledger.Reports`."""
        number = call.call_number
        self._before.pop(number, None)
        if self._calls.pop(number, None) is not None and number in self._told:
            self._told.discard(number)
            if not is_recorded:
                self._ended.append(number)
                self._wake()

    def close(self) -> None:
        """Tell of the last ends, if there is room, and then nothing more."""
        self._tell_ends()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    # -- turns

    def _wake(self) -> None:
        if not (self._is_awake or self._is_closed):
            self._is_awake = True
            self._step_after(STEP_SECONDS)

    def _step_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._step)

    def _step(self) -> None:
        self._timer = None
        self._has_begun = self._has_begun or self._send(report_packets.begun_packet())
        if self._has_begun:
            self._ask_recorder()
        # Each only where the one before found room.
        found_room = self._has_begun and self._tell_ends() and self._tell_fresh() and self._tell_progress()
        self._is_awake = bool(self._fresh or self._ended or self._round_left or not found_room)
        if self._is_awake:
            self._step_after(STEP_SECONDS if found_room else RETRY_SECONDS)
        elif self._calls:
            self._step_after(max(self._round_due - self._loop.time(), STEP_SECONDS))

    def _ask_recorder(self) -> None:
        """A new recorder knows of no call."""
        started = self._recorder_started()
        if started != self._recorder:
            self._recorder = started
            self._fresh.extend(number for number in self._round if number in self._told)
            self._round.clear()
            self._told.clear()
            self._round_left = 0

    def _tell_ends(self) -> bool:
        if self._ended:
            some = [self._ended.popleft() for _ in range(min(len(self._ended), _ENDS))]
            if not self._send(report_packets.ended_packet(some)):
                self._ended.extendleft(reversed(some))
                return False
        return True

    def _tell_fresh(self) -> bool:
        numbers: list[int] = []
        packed: list[bytes] = []
        size = 0
        while self._fresh and len(numbers) < _FRESH_CALLS:
            number = self._fresh[0]
            if number in self._calls:
                report = report_packets.pack_report(self._calls[number])
                size += len(report)
                if size > report_packets.REPORT_BYTES and packed:
                    break
                numbers.append(number)
                packed.append(report)
            self._fresh.popleft()
        if packed and not self._send(report_packets.report_packet(packed)):
            self._fresh.extendleft(reversed(numbers))
            return False
        self._told.update(numbers)
        self._round.extendleft(reversed(numbers))
        self._round_left += len(numbers)
        return True

    def _tell_progress(self) -> bool:
        if not self._round_left and self._loop.time() >= self._round_due:
            self._round_number += 1
            self._round_left = len(self._round)
            self._round_due = self._loop.time() + ROUND_SECONDS
        numbers: list[int] = []
        while self._round_left and len(numbers) < _CALLS:
            number = self._round.popleft()
            self._round_left -= 1
            if number in self._told:
                numbers.append(number)
        if not numbers:
            return True
        rows = map(self._row, numbers)
        if not self._send(report_packets.progress_packet(self._round_number, rows)):
            self._round.extendleft(reversed(numbers))
            self._round_left += len(numbers)
            return False
        self._round.extend(numbers)
        return True

    def _row(self, number: int) -> tuple[int, int, int, int, int]:
        call = self._calls[number]
        request, response = self._before.get(number, (0, 0))
        return (
            number,
            request + call.request.size,
            response + call.response.size,
            call.status,
            call.first_response_byte,
        )
