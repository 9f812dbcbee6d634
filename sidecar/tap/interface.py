"""Interface: what a tap is to the relay, and what all taps of one relay process share.

Pure: time, randomness and limits are arguments. A tap is handed every byte of a connection, in both
directions, and returns every byte that is to be sent on: the same ones, less an incomplete head that it
holds until the next call, plus the request id where it is missing (law 2). It never waits and never fails
traffic (law 1).

`now` is the relay's monotonic clock in nanoseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sidecar.config import Settings
from sidecar.counters import Row
from sidecar.exchange import EndedBy, Exchange
from sidecar.tap.capture import CaptureBudget
from sidecar.tap.ledger import SEGMENT_AFTER_NS, Ledger, Reports
from sidecar.tap.request_id import RequestIds
from sidecar.tap.sampling import Sampling, SamplingRules


class Refused(Exception):  # noqa: N818  (an outcome, no error of ours)
    """The settings say that this connection is closed rather than relayed. Raised by any method of a tap that
    is handed bytes; its open calls are settled before, and the relay asks nothing more of it.
    """

    def __init__(self, onward: bytes = b"", answer: bytes = b"") -> None:
        """`onward` may still be sent on in the direction of the bytes handed in; `answer` (a 400, a GOAWAY)
        to the client, before both sides are closed.
        """
        super().__init__("refused")
        self.onward = onward
        self.answer = answer


# What is remembered of targets that were asked about.
_KNOWN_TARGETS: Final = 1024
_LONGEST_KNOWN_TARGET: Final = 256


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

    @property
    def held_since(self) -> int:
        """When the oldest byte that is held came, of either side; -1 where none is held, and 0 where the tap
        has stopped with bytes of the other side held, which `give_up` then returns. Asked for by the relay
        about once a second, never on the hot path.
        """

    @property
    def is_idle(self) -> bool:
        """No call is open and nothing is held: the connection can end without harm to a call. Never so while
        what passes is not followed, and has not ended.
        """

    @property
    def weight(self) -> int:
        """Roughly how many bytes are kept for this connection outside the capture budget: what is held,
        unfinished blocks, header tables, heads of open calls. Asked for as `held_since` is.
        """

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

    def tick(self, now: int) -> None:
        """Called about once a second: tells the ledger of calls that last (`Ledger.report`), and ends
        segments that are over (`Ledger.next_segment`). Forwards nothing.
        """

    def drain(self, now: int) -> bytes:
        """The relay will end: ask the client to go elsewhere, and return what is to be sent to it now.

        Called when draining begins, perhaps before any byte came; and again right before a connection that
        has become idle is ended. HTTP/2: GOAWAY (last stream 2**31-1, NO_ERROR) at the next frame boundary,
        now or in a later return of `from_model`; later streams are still followed. HTTP/1: `Connection:
        close` in the next final response heads that lack it. Opaque: nothing.
        """

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """A budget of the relay is exceeded (`why` is the flag): what was held for the model and for the
        client, to be sent on; open calls are settled as cut, what follows is opaque. Raises Refused where
        the settings refuse what can't be recorded.
        """

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
    # Requests whose framing is ambiguous are answered 400, and the connection closed.
    rejects_ambiguous: bool = False
    # A connection that can't be followed any more is closed.
    refuses_unrecordable: bool = False
    # Calls that last longer are told to the recorder while they are open.
    report_after_ns: int = 1_000_000_000
    # Calls that last longer are recorded in segments.
    segment_after_ns: int = SEGMENT_AFTER_NS

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
        return cls(
            settings.body_limit_bytes,
            settings.capture_budget_bytes,
            exact,
            prefixes,
            rules,
            rejects_ambiguous=settings.ambiguous_framing == "reject",
            refuses_unrecordable=settings.unrecordable == "refuse",
        )


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
        *,
        reports: Reports | None = None,
    ) -> "TapContext":
        """A context that counts in `row` and gives calls to `hand_over`.

        `hand_over` returns whether it took the call; either way the captured bytes are then its to give back
        (`budget.give_back`). `reports` is told of calls in flight. `random_bytes` is `os.urandom` or a
        test's. Set `ledger.wall_offset_ns` (wall clock less monotonic clock) before use, and again when it
        drifts.
        """
        if budget is None:
            budget = CaptureBudget(settings.capture_budget_bytes, settings.body_limit_bytes)
        ledger = Ledger(
            row,
            budget,
            Sampling(settings.sampling),
            hand_over,
            reports=reports,
            segment_after_ns=settings.segment_after_ns,
        )
        return cls(settings, row, budget, ledger, RequestIds(random_bytes).new, _skip_test(settings))


def _skip_test(settings: TapSettings) -> Callable[[bytes], bool]:
    exact, prefixes = settings.skip_paths, settings.skip_prefixes
    known: dict[bytes, bool] = {}  # most targets come again

    def skips(target: bytes) -> bool:
        said = known.get(target)
        if said is not None:
            return said
        path = target
        if not target.startswith(b"/"):  # RFC 9112, section 3.2.2: absolute form
            path = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        if b"?" in path:
            path = path[: path.index(b"?")]
        said = path in exact or path.startswith(prefixes)
        if len(target) <= _LONGEST_KNOWN_TARGET:
            if len(known) >= _KNOWN_TARGETS:
                known.clear()
            known[target] = said
        return said

    return skips
