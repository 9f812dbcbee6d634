"""Interface: what a tap is to the relay, and what all taps of one relay process share.

Pure: time, randomness and limits are arguments. A tap is handed every byte of a connection, in both
directions, and returns every byte that is to be sent on: the same ones, less an incomplete head that it
holds until the next call, plus the request id where it is missing (law 2). It never waits and never fails
traffic (law 1).

`now` is the relay's monotonic clock in nanoseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sidecar.config import Settings
from sidecar.counters import Row
from sidecar.exchange import EndedBy, Exchange
from sidecar.tap.capture import CaptureBudget
from sidecar.tap.ledger import Ledger
from sidecar.tap.request_id import RequestIds
from sidecar.tap.sampling import Sampling, SamplingRules


class Tap(Protocol):
    """Follows one connection. Not safe to share: one tap for each connection.

    What is held changes only as the last step of a call, so when `from_client` raises, `client_held + data`
    is exactly what has still to be forwarded (likewise for the model). After that the relay asks nothing
    more of the tap but the two held parts and `abandon`.
    """

    @property
    def client_held(self) -> bytes:
        """Received from the client and not yet returned for forwarding."""

    @property
    def model_held(self) -> bytes:
        """Received from the model and not yet returned for forwarding."""

    def from_client(self, data: bytes, now: int) -> bytes:
        """`data` came from the client; returns the bytes to send to the model now."""

    def from_model(self, data: bytes, now: int) -> bytes:
        """`data` came from the model; returns the bytes to send to the client now."""

    def client_ended(self, now: int) -> bytes:
        """The client sends no more; returns what was held of it."""

    def model_ended(self, now: int) -> bytes:
        """The model sends no more; returns what was held of it. Bodies that last until then are complete."""

    def lost(self, by: EndedBy, now: int) -> None:
        """The connection is gone, through `by`: settles every open call. Further calls do nothing."""

    def abandon(self, now: int) -> None:
        """The tap has failed: its open calls are counted as shed, what follows as opaque. Never raises."""


class OpeningTap(Tap, Protocol):
    """The tap of a new connection, which may leave the rest of it to another."""

    @property
    def successor(self) -> Tap | None:
        """The tap to call from now on instead of this one, which holds nothing; None while that is open."""


@dataclass(frozen=True, slots=True)
class TapSettings:
    """The part of the settings that taps go by, as plain values."""

    body_limit_bytes: int
    capture_budget_bytes: int
    # Exact paths, and prefixes of paths, whose calls are never recorded.
    skip_paths: frozenset[bytes]
    skip_prefixes: tuple[bytes, ...]
    sampling: SamplingRules

    @classmethod
    def of(cls, settings: Settings) -> "TapSettings":
        """What `settings` say to taps."""
        exact = frozenset(path.encode() for path in settings.skip_paths if not path.endswith("*"))
        prefixes = tuple(path[:-1].encode() for path in settings.skip_paths if path.endswith("*"))
        rules = SamplingRules(
            rate=settings.sample_rate,
            error_rate=settings.sample_error_rate,
            error_max_per_second=settings.sample_error_max_per_second,
            slow_ms=settings.sample_slow_ms,
            max_per_second=settings.sample_max_per_second,
            failed_statuses=settings.failed_statuses,
        )
        return cls(settings.body_limit_bytes, settings.capture_budget_bytes, exact, prefixes, rules)


@dataclass(slots=True)
class TapContext:
    """What all taps of one relay process share."""

    settings: TapSettings
    row: Row
    budget: CaptureBudget
    ledger: Ledger
    # A fresh request id: 36 visible ASCII characters.
    new_request_id: Callable[[], bytes]
    # Whether calls to this request target (`:path`) are never recorded; matched without the query.
    skips: Callable[[bytes], bool]

    @classmethod
    def make(
        cls,
        settings: TapSettings,
        row: Row,
        hand_over: Callable[[Exchange], bool],
        random_bytes: Callable[[int], bytes],
        budget: CaptureBudget | None = None,
    ) -> "TapContext":
        """A context that counts in `row` and gives calls to `hand_over`.

        `hand_over` returns whether it took the call; either way the captured bytes are then its to give back
        (`budget.give_back`). `random_bytes` is `os.urandom` or a test's. Set `ledger.wall_offset_ns` (wall
        clock less monotonic clock) before use, and again when it drifts.
        """
        if budget is None:
            budget = CaptureBudget(settings.capture_budget_bytes, settings.body_limit_bytes)
        ledger = Ledger(row, budget, Sampling(settings.sampling), hand_over)
        return cls(settings, row, budget, ledger, RequestIds(random_bytes).new, _skip_test(settings))


def _skip_test(settings: TapSettings) -> Callable[[bytes], bool]:
    exact, prefixes = settings.skip_paths, settings.skip_prefixes

    def skips(target: bytes) -> bool:
        path = target
        if not target.startswith(b"/"):  # RFC 9112, section 3.2.2: absolute form
            path = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        if b"?" in path:
            path = path[: path.index(b"?")]
        return path in exact or path.startswith(prefixes)

    return skips
