"""Auditing: the audit of one storage process: what is called as entries come in, and what goes on beside it.

Touches the archive (from threads) and the clock. It promises: no finding is lost with the entry that it is
about, for it is kept before that is; what goes wrong beside is told, and tried again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infertap import v1
from infertap.verification import LogId, PrivateKey
from storage.audit.chain import ChainCheck
from storage.audit.chain_ends import ChainEnds
from storage.audit.checkpointing import Checkpointing
from storage.audit.findings import Findings
from storage.audit.interface import AuditArchive, LogSize
from storage.audit.proofs import Proofs
from storage.audit.sharing import LEASE_SECONDS, Lease, ReadHeads
from storage.audit.spools import FLUSH_SECONDS, Range, Spools

Say = Callable[..., None]
# The most of the time that looking at all spools may take.
_LOOKING = 0.1


@dataclass(frozen=True, slots=True)
class Sources:
    """What the audit is about: notes and leaves, the heads of logs that grow, what has been received."""

    archive: AuditArchive
    heads: Callable[[], Mapping[LogId, tuple[int, bytes]]]
    received: Callable[[bytes], Sequence[Range]]
    # Other processes keep the same archive: one of them signs, and `heads` is not asked.
    is_shared: bool = False
    # A finding for each file that could not be read and was set aside; always the same ones.
    damaged: Callable[[], Sequence[v1.Finding]] = tuple
    # Spools that an identity may begin; None: any number.
    new_spools_a_day: int | None = None


@dataclass(frozen=True, slots=True)
class Signing:
    """How checkpoints are made; without keys there are none."""

    keys: Sequence[PrivateKey] = ()
    directory: Path | None = None
    seconds: float = 3600.0


class Auditing:
    """One process's audit. `check` is for the writer's thread, everything else for any."""

    def __init__(
        self,
        sources: Sources,
        signing: Signing,
        say: Say,
        told: Callable[[v1.Finding], None],
        *,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`say` writes events, `told` hears of findings; `tick` is called every FLUSH_SECONDS. Raises
        ArchiveError.
        """
        self._tick = tick
        self.findings = Findings(sources.archive, told)
        self.spools = Spools(
            sources.archive,
            sources.received,
            new_a_day=sources.new_spools_a_day,
            is_shared=sources.is_shared,
        )
        self._lease = Lease(sources.archive) if sources.is_shared else None
        heads = ReadHeads(sources.archive) if sources.is_shared else sources.heads
        self.checkpointing = Checkpointing(sources.archive, heads, signing.keys, signing.directory)
        if isinstance(heads, ReadHeads):
            heads.stated = self.checkpointing.stated_head
        self.proofs = Proofs(sources.archive)
        self.archive = sources.archive
        self._damaged = sources.damaged
        self._seconds = signing.seconds
        self._chain = ChainCheck(sources.archive)
        self._ends = ChainEnds(self._chain.tail_of, sources.archive)
        self._next_look = 0.0
        self._say = say

    def check(self, entries: Sequence[Any], now_ns: int) -> None:
        """Entries are about to be kept: hold them against what came before. Raises ArchiveError."""
        found = self._chain.check(entries)
        if found:
            self.findings.keep(found, now_ns)

    async def run(self) -> None:
        """Flush, watch and sign, until cancelled; then once more."""
        await self._try("damaged files", self._look_for_damage)
        await self._try("logs of earlier runs", self._close_earlier)
        signing = asyncio.create_task(self._sign())
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self._try("spools", lambda: self.watch(time.time_ns()))
                await self._try("damaged files", self._look_for_damage)
        finally:
            signing.cancel()
            await asyncio.gather(signing, return_exceptions=True)
            self.end()

    def end(self) -> None:
        """Keep and sign what there is; failures are told."""
        acts = (("spools", self.spools.flush), ("checkpoint", self._make), ("lease", self._release))
        for what, act in acts:
            try:
                act()
            except Exception as error:
                self._say("audit failed", what=what, why=type(error).__name__)

    def _release(self) -> None:
        if self._lease is not None:
            self._lease.release()

    async def _sign(self) -> None:
        while True:
            await self._try("checkpoint", self._make)
            # Whoever does not sign takes over when the one that does is gone.
            is_ours = self._lease is None or self._lease.is_held
            await asyncio.sleep(self._seconds if is_ours else min(self._seconds, LEASE_SECONDS))

    async def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(act)
        except Exception as error:
            self._say("audit failed", what=what, why=type(error).__name__)

    def sign(self) -> v1.Checkpoint | None:
        """Sign all that is here now; None where there is nothing, or another process is the one that signs.
        Raises ArchiveError and OSError.
        """
        if self._lease is not None:
            if not self._lease.hold(time.time_ns()):
                return None
            self.checkpointing.refresh()
        return self.checkpointing.make(time.time_ns())

    def drop(self, logs: Sequence[LogSize]) -> None:
        """These logs are about to be deleted with their records. Raises ArchiveError."""
        if self._lease is None:
            self.checkpointing.drop(logs, time.time_ns())
        else:
            self.checkpointing.announce_drop(logs, time.time_ns())

    def _close_earlier(self) -> None:
        now_ns = time.time_ns()
        if not self.checkpointing.can_sign:
            return
        if self._lease is None:
            found = self.checkpointing.close_earlier(now_ns)
        else:  # others write too, so no log is an earlier run's: all are read as they grow
            found = self.checkpointing.check_signed()
        self.findings.keep(found, now_ns)

    def _look_for_damage(self) -> None:
        self.findings.keep(self._damaged(), time.time_ns())

    def _make(self) -> None:
        if self.checkpointing.can_sign:
            self.sign()

    def watch(self, now_ns: int) -> None:
        """Keep what was heard of spools, look at them, and keep what is wrong. Raises ArchiveError."""
        self._tick()
        self.spools.flush()
        self._look(now_ns)
        if self._lease is not None:
            if self._lease.is_held:
                self._lease.hold(now_ns)
            self.checkpointing.refresh()
        found = self.spools.find_holes(now_ns) + self._ends.check(self.spools.take_said())
        self.findings.keep(found, now_ns)

    def _look(self, now_ns: int) -> None:
        """At all spools, which where there are very many takes long, and so is done more seldom."""
        began = time.monotonic()
        if began >= self._next_look:
            self.spools.look(now_ns)
            ended = time.monotonic()
            self._next_look = ended + (ended - began) / _LOOKING
