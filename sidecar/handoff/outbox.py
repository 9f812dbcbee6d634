"""Outbox: the relay's end of the hand-off, a bounded queue that nobody ever waits for.

May touch its one socket and the event loop's clock; runs on the relay's loop only. It promises: `hand_over`
does no I/O and returns at once; what it holds is bounded by entries and bytes; numbers go out in order
without holes; a full socket (a recorder that is slow, stopped or dead) keeps packets here and costs the loop
nothing; the bytes that calls captured go back to the capture budget as soon as they are sent or refused.

One batch is packed, or one packet sent, for each turn of the loop, so traffic waits for at most one packet's
work.
"""

import asyncio
import socket
from collections import deque
from typing import Final, Protocol

from sidecar.exchange import Exchange
from sidecar.handoff import wire

# A call waits at most this long before its packet is packed.
FLUSH_SECONDS: Final = 0.005
MARK_SECONDS: Final = 1.0
MAX_ENTRIES: Final = 8192
# Keeps the packing of one turn near 0.1 ms where calls are small.
_BATCH_CALLS: Final = 32
# What a call weighs beside its bytes: its objects in this process.
_ENTRY_BYTES: Final = 2048
# A header of a list, or the time of a piece: a tuple and what it holds.
_PAIR_BYTES: Final = 128


class CaptureBudget(Protocol):
    """Where captured bytes are returned to."""

    def give_back(self, size: int, /) -> None:
        """`size` captured bytes are no longer held."""


def weigh(call: Exchange) -> int:
    """Bytes a queued call is charged with: bodies and raw heads exactly, the rest by estimate."""
    request = call.request
    response = call.response
    pairs = (
        len(request.piece_times)
        + len(response.piece_times)
        + len(call.request_headers)
        + len(call.response_headers)
        + len(call.request_trailers)
        + len(call.response_trailers)
    )
    return (
        _ENTRY_BYTES
        + pairs * _PAIR_BYTES
        + request.captured
        + response.captured
        + len(call.request_head)
        + len(call.response_head)
    )


class Outbox:
    """Queues calls and sends them. `last_number` is the number of the latest call taken."""

    def __init__(
        self,
        pair: socket.socket,
        budget: CaptureBudget,
        last_number: int,
        max_bytes: int,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        """`pair` is non-blocking; `last_number` is the slot's `handed_over` so far, told first of all by a
        MARK.
        """
        self.last_number = last_number
        self._pair = pair
        self._budget = budget
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[Exchange, int]] = deque()  # with its weight
        # Weight of all that is queued or packed but not sent.
        self._held_bytes = 0
        # Packets the kernel has not taken yet; what their calls weigh and captured is released with the last.
        self._packets: deque[bytes] = deque((wire.mark_packet(last_number),))
        self._packets_weight = 0
        self._packets_captured = 0
        # The first call of the queue, where it is packed already because it did not fit the packet before.
        self._packed_ahead: bytes | None = None
        self._awake = False
        self._closed = False
        self._idle = asyncio.Event()
        self._mark_timer = self._loop.call_later(MARK_SECONDS, self._mark)
        self._wake_soon()

    def hand_over(self, call: Exchange) -> bool:
        """Take a call that has ended; False when full. Either way its captured bytes are no longer the
        caller's.

        True means that it is numbered: the caller adds one to the slot's `handed_over`.
        """
        weight = weigh(call)
        if (
            self._held_bytes + weight > self._max_bytes
            or len(self._queue) >= self._max_entries
            or self._closed
        ):
            self._budget.give_back(call.request.captured + call.response.captured)
            return False
        self._queue.append((call, weight))
        self._held_bytes += weight
        self.last_number += 1
        if not self._awake:
            self._awake = True
            self._loop.call_later(FLUSH_SECONDS, self._step)
        return True

    def send_aside(self, packet: bytes) -> bool:
        """Send a packet that is no hand-over now, or not at all: False where there is no room, or where
        hand-overs wait for it.
        """
        if self._packets or self._closed:
            return False
        try:
            self._pair.send(packet)
        except OSError:
            return False
        return True

    async def drain(self) -> None:
        """Return once all that is queued has been sent. Does not return while the recorder takes nothing."""
        while self._packets or self._queue:
            self._idle.clear()
            self._wake_soon()
            await self._idle.wait()

    def close(self) -> None:
        """Take nothing more and send nothing more. The socket stays open: it is the caller's."""
        self._closed = True
        self._mark_timer.cancel()
        self._loop.remove_writer(self._pair)

    # -- sending: `_awake` is True while a step is scheduled or a writable socket is awaited

    def _wake_soon(self) -> None:
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        if self._closed:
            return
        if not self._packets and self._queue:
            self._pack()
        if self._packets and not self._send():
            return
        if self._packets or self._queue:
            self._loop.call_soon(self._step)
        else:
            self._awake = False
            self._idle.set()

    def _send(self) -> bool:
        """Send one packet; False when the socket takes none now."""
        try:
            self._pair.send(self._packets[0])
        except BlockingIOError:
            self._loop.add_writer(self._pair, self._writable)
            return False
        except OSError:
            # No buffers: ask again later. A lost pair means that the parent is gone, which the lifeline
            # tells.
            self._loop.call_later(FLUSH_SECONDS, self._step)
            return False
        self._packets.popleft()
        if not self._packets:
            self._release()
        return True

    def _writable(self) -> None:
        self._loop.remove_writer(self._pair)
        self._step()

    def _release(self) -> None:
        self._held_bytes -= self._packets_weight
        self._budget.give_back(self._packets_captured)
        self._packets_weight = self._packets_captured = 0

    def _pack(self) -> None:
        """Turn the front of the queue into one BATCH, or a single big call into PARTs."""
        first = self.last_number - len(self._queue) + 1
        batch: list[bytes] = []
        size = 0
        while self._queue and len(batch) < _BATCH_CALLS:
            packed = self._packed_ahead or wire.pack_exchange(self._queue[0][0])
            self._packed_ahead = None
            size += len(packed)
            if size > wire.BATCH_BYTES:
                if not batch:
                    self._take_first()
                    self._packets.extend(wire.part_packets(first, packed))
                    return
                self._packed_ahead = packed
                break
            batch.append(packed)
            self._take_first()
        self._packets.append(wire.batch_packet(first, batch))

    def _take_first(self) -> None:
        call, weight = self._queue.popleft()
        self._packets_weight += weight
        self._packets_captured += call.request.captured + call.response.captured

    def _mark(self) -> None:
        """Tell how far the numbers go, so that the recorder notices the loss of the latest ones too."""
        self._mark_timer = self._loop.call_later(MARK_SECONDS, self._mark)
        if not self._packets and not self._queue:
            self._packets.append(wire.mark_packet(self.last_number))
            self._wake_soon()
