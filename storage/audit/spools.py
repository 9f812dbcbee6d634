"""Spools: how each spool stood when it was last heard of, and which of them went away with records unsent.

In the archive's notes, kind "spool": key = spool id, value = an encoded infertap.v1.Spool without what is
computed when it is asked for (state, received, missing). It promises: what a heartbeat said is durable within
FLUSH_SECONDS, and at the end of storage; a spool belongs to the tenant that first sent as it, through kills
and for all storages that keep one archive once it `is_kept`; how many are begun, remembered and looked at is
bounded, whatever sidecars say.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from infertap import v1
from storage.audit.allowance import Allowance
from storage.audit.chain_ends import SaidEnd
from storage.audit.interface import AuditArchive

FLUSH_SECONDS: Final = 10.0
# Not heard of for so long: gone. Heartbeats come every ten seconds.
_GONE_NS: Final = 60_000_000_000
# A hole that lasts this long is a finding: until then, what is missing may be on its way again.
_HOLE_NS: Final = 60_000_000_000
# How long spools that are gone are shown, and how many of a tenant: beyond, the longest gone are forgotten.
_LEFT_NS: Final = 7 * 86_400 * 1_000_000_000
_WRONG_NS: Final = 90 * 86_400 * 1_000_000_000
MOST_OF_TENANT: Final = 50_000
# Of one spool; who has more of them has them found one after the other, as they are filled.
_MOST_HOLES: Final = 100
# Characters of what a sidecar calls itself; a name in Kubernetes has 253.
_MOST_NAME: Final = 253
_HASH_BYTES: Final = 32
_KIND: Final = "spool"
_PAGE: Final = 1000


class ForeignSpoolError(Exception):
    """The spool is another tenant's."""


class TooManySpoolsError(Exception):
    """The caller has begun as many new ones as it may."""


Range = tuple[int, int]
Received = Callable[[bytes], Sequence[Range]]


class Spools:
    """All spools that were ever heard of. Safe from any thread."""

    def __init__(
        self,
        archive: AuditArchive,
        received: Received,
        *,
        new_a_day: int | None = None,
        is_shared: bool = False,
    ) -> None:
        """`received` tells which sequences of a spool need not be sent; `new_a_day` is how many new spools an
        identity may begin; `is_shared`: other processes note spools too. Raises ArchiveError.
        """
        self._is_shared = is_shared
        self._archive = archive
        self._new = Allowance(new_a_day)
        self._received = received
        self._lock = threading.Lock()
        # Held by whoever flushes: who comes next finds it done.
        self._flushing = threading.Lock()
        self._known: dict[bytes, v1.Spool] = {}
        self._connected: dict[bytes, int] = {}
        self._changed: set[bytes] = set()
        # Those of which it is not durable yet whose they are.
        self._unkept: set[bytes] = set()
        # Holes of each spool, and since when they have been seen.
        self._holes: dict[bytes, dict[Range, int]] = {}
        self._to_watch: set[bytes] = set()
        # What heartbeats said of the ends of chains.
        self._said: dict[bytes, SaidEnd] = {}
        # All of them, as of the last look.
        self.latest: list[v1.Spool] = []
        for spool_id, value in self._stored():
            self._known[spool_id] = v1.Spool.FromString(value)
            self._to_watch.add(spool_id)

    def _stored(self) -> Iterator[tuple[bytes, bytes]]:
        after = b""
        while notes := self._archive.notes(_KIND, after, _PAGE):
            yield from notes
            after = notes[-1][0]

    # -- what is heard

    def recall(self, spool_id: bytes) -> None:
        """Learn of a spool that only another storage knows. Raises ArchiveError."""
        if not self._is_shared or spool_id in self._known:
            return
        before = (int.from_bytes(spool_id, "big") - 1) % (1 << 8 * len(spool_id))
        after = b"" if not any(spool_id) else before.to_bytes(len(spool_id), "big")
        for found, value in self._archive.notes(_KIND, after, 1):
            if found == spool_id:
                with self._lock:
                    self._known.setdefault(spool_id, v1.Spool.FromString(value))

    def connected(self, hello: v1.Hello, tenant: str, now_ns: int, identity: str = "") -> None:
        """A spool's stream begins, of that identity of that tenant; call `recall` before, `disconnected`
        after. Raises ForeignSpoolError, and TooManySpoolsError for one that is new.
        """
        with self._lock:
            spool = self._known.get(hello.spool_id)
            if spool is not None and spool.tenant not in ("", tenant):
                raise ForeignSpoolError
            if spool is None:
                if not self._new.take(identity, now_ns):
                    raise TooManySpoolsError("no more new ones for now; try again later")
                spool = self._known[hello.spool_id] = v1.Spool(spool_id=hello.spool_id)
                self._unkept.add(hello.spool_id)
            elif spool.tenant != tenant:
                self._unkept.add(hello.spool_id)
            spool.tenant = tenant
            for name in ("pod", "namespace", "node", "container", "infertap_version"):
                setattr(spool, name, getattr(hello, name)[:_MOST_NAME])
            spool.state = v1.Spool.STATE_UNSPECIFIED
            spool.last_seen.FromNanoseconds(now_ns)
            self._connected[hello.spool_id] = self._connected.get(hello.spool_id, 0) + 1
            self._note(hello.spool_id)

    def heard(self, spool_id: bytes, beat: v1.Heartbeat, now_ns: int) -> None:
        """A heartbeat of a connected spool. What it says of the time is the pod's own clock, and not kept."""
        with self._lock:
            spool = self._known[spool_id]
            spool.last_seen.FromNanoseconds(now_ns)
            spool.next_sequence, spool.last_hash = beat.next_sequence, beat.last_hash[:_HASH_BYTES]
            if beat.next_sequence > 1 and len(beat.last_hash) == _HASH_BYTES:
                self._said[spool_id] = SaidEnd(spool.tenant, beat.next_sequence - 1, beat.last_hash)
            spool.pending, spool.dead_lettered = beat.pending, beat.dead_lettered
            spool.quarantined = beat.quarantined
            spool.account.clear()
            for name in sorted(beat.account)[:64]:
                spool.account[name[:64]] = beat.account[name]
            spool.state = v1.Spool.LEFT if beat.is_leaving else v1.Spool.STATE_UNSPECIFIED
            self._note(spool_id)

    def disconnected(self, spool_id: bytes, now_ns: int) -> None:
        """Its stream has ended."""
        with self._lock:
            self._connected[spool_id] -= 1
            if not self._connected[spool_id]:
                del self._connected[spool_id]
            self._known[spool_id].last_seen.FromNanoseconds(now_ns)
            self._note(spool_id)

    def take_said(self) -> dict[bytes, SaidEnd]:
        """How chains end, as heartbeats said since this was asked last."""
        with self._lock:
            said, self._said = self._said, {}
        return said

    def _note(self, spool_id: bytes) -> None:
        self._changed.add(spool_id)
        self._to_watch.add(spool_id)

    # -- what is kept and found

    def is_kept(self, spool_id: bytes) -> bool:
        """Whether it is durable whose that spool is."""
        return spool_id not in self._unkept

    def flush(self) -> None:
        """Keep what changed; durable on return. Raises ArchiveError, and then keeps it next time."""
        with self._flushing:
            with self._lock:
                changed = {
                    spool_id: self._known[spool_id].SerializeToString() if spool_id in self._known else b""
                    for spool_id in self._changed
                }
                self._changed.clear()
            if not changed:
                return
            try:
                self._archive.put(_KIND, changed)
            except BaseException:
                with self._lock:
                    self._changed |= changed.keys()
                raise
            with self._lock:
                self._unkept -= changed.keys() - self._changed

    def find_holes(self, now_ns: int) -> list[v1.Finding]:
        """Sequences that never came and were not declared lost, for a minute, of spools heard of lately."""
        found: list[v1.Finding] = []
        with self._lock:
            watched, self._to_watch = self._to_watch, set()
        for spool_id in watched:
            before = self._holes.pop(spool_id, {})
            latest = itertools.islice(_holes(self._received(spool_id)), _MOST_HOLES)
            holes = {hole: before.get(hole, now_ns) for hole in latest}
            if holes:
                self._holes[spool_id] = holes
                with self._lock:
                    self._to_watch.add(spool_id)
            known = self._known.get(spool_id)
            tenant = "" if known is None else known.tenant
            found += [
                v1.Finding(
                    kind=v1.Finding.GAP,
                    spool_id=spool_id,
                    tenant=tenant,
                    first=first,
                    last=last,
                    detail="never came, and was not declared lost",
                )
                for (first, last), since in holes.items()
                if now_ns - since >= _HOLE_NS
            ]
        return found

    # -- what is shown

    def look(self, now_ns: int) -> None:
        """Bring `latest` up to date, and forget what is long gone. Raises ArchiveError."""
        self.latest = self.listed(None, now_ns)
        gone = [each.spool_id for each in self.latest if _is_forgotten(each, now_ns)]
        gone += _too_many(self.latest)
        with self._lock:
            for spool_id in gone:
                if spool_id not in self._connected and self._known.pop(spool_id, None) is not None:
                    self._changed.add(spool_id)
                    self._to_watch.discard(spool_id)
                    self._holes.pop(spool_id, None)

    def listed(self, tenant: str | None, now_ns: int) -> list[v1.Spool]:
        """Spools of that tenant (None: all) as they stand now; those with something wrong first, then by the
        time they were last seen. Another storage's are as they were flushed.
        """
        shown = self._merged()
        # The latest spool of each pod that set one aside; whoever has no name is nobody's successor.
        quarantining = {
            _place(each): each.spool_id
            for each in sorted(shown, key=lambda each: each.last_seen.ToNanoseconds())
            if each.quarantined and each.pod
        }
        of_tenant = [each for each in shown if tenant in (None, each.tenant)]
        for spool in of_tenant:
            self._complete(spool, quarantining, now_ns)
        of_tenant.sort(key=lambda each: (not is_wrong(each), -each.last_seen.ToNanoseconds()))
        return of_tenant

    def _merged(self) -> list[v1.Spool]:
        there = {spool_id: v1.Spool.FromString(value) for spool_id, value in self._stored()}
        with self._lock:
            for spool_id, known in self._known.items():
                other = there.get(spool_id)
                if other is None or other.last_seen.ToNanoseconds() <= known.last_seen.ToNanoseconds():
                    there[spool_id] = v1.Spool.FromString(known.SerializeToString())
        return list(there.values())

    def _complete(self, spool: v1.Spool, quarantining: dict[tuple[str, ...], bytes], now_ns: int) -> None:
        received = self._received(spool.spool_id)
        spool.received = _count(received)
        # What came since the heartbeat is pending no more.
        absent = spool.next_sequence - 1 - _count(_below(received, spool.next_sequence))
        spool.pending = min(spool.pending, max(absent, 0))
        # The next sequence is not known of a sidecar that sends no heartbeats.
        end = max(spool.next_sequence - 1, max((last for _, last in received), default=0))
        spool.missing = max(end - spool.received - spool.pending - spool.dead_lettered, 0)
        has_left = spool.state == v1.Spool.LEFT and not spool.pending
        is_near = now_ns - spool.last_seen.ToNanoseconds() < _GONE_NS
        if spool.spool_id in self._connected or (is_near and not has_left):
            spool.state = v1.Spool.LIVE
        elif has_left:
            spool.state = v1.Spool.LEFT
        elif quarantining.get(_place(spool), spool.spool_id) != spool.spool_id:
            spool.state = v1.Spool.QUARANTINED
        else:
            spool.state = v1.Spool.VANISHED


def _is_forgotten(spool: v1.Spool, now_ns: int) -> bool:
    """Whether it went as it should and a week ago, or otherwise and a quarter of a year ago."""
    if spool.state == v1.Spool.LIVE:
        return False
    return now_ns - spool.last_seen.ToNanoseconds() > (_WRONG_NS if is_wrong(spool) else _LEFT_NS)


def _too_many(spools: Iterable[v1.Spool]) -> Iterator[bytes]:
    """Of each tenant those that it has too many: gone as they should first, and the longest gone."""
    of_tenant: dict[str, list[v1.Spool]] = defaultdict(list)
    for spool in spools:
        if spool.state != v1.Spool.LIVE:
            of_tenant[spool.tenant].append(spool)
    for gone in of_tenant.values():
        if len(gone) > MOST_OF_TENANT:
            gone.sort(key=lambda each: (is_wrong(each), each.last_seen.ToNanoseconds()))
            yield from (each.spool_id for each in gone[: len(gone) - MOST_OF_TENANT])


def is_wrong(spool: v1.Spool) -> bool:
    """Whether a person should look at it: gone without a word, or with something missing."""
    return spool.state in (v1.Spool.VANISHED, v1.Spool.QUARANTINED) or spool.missing > 0


def _place(spool: v1.Spool) -> tuple[str, ...]:
    return spool.tenant, spool.namespace, spool.pod, spool.container


def _count(ranges: Iterable[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _below(ranges: Iterable[Range], end: int) -> Iterator[Range]:
    """The parts of ranges below `end`."""
    for first, last in ranges:
        if first < end:
            yield first, min(last, end - 1)


def _holes(ranges: Sequence[Range]) -> Iterator[Range]:
    """What lies between ascending ranges, and before the first."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield expected, first - 1
        expected = last + 1
