"""Any order of appends, acknowledgements, refusals, rewinds and reopenings, against a plain model."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from sidecar.spool import Gap, Spool, Spooled

if TYPE_CHECKING:
    from hypothesis.stateful import MultipleResults

PENDING, ACKED, DEAD = "pending", "acked", "dead"
sizes = st.sampled_from([0, 10, 4000, 100_000, 1_500_000])


class SpoolMachine(RuleBasedStateMachine):
    """The model knows of each sequence its record and what storage said of it."""

    sequences: Bundle[int] = Bundle("sequences")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="spool-"))
        self.records: dict[int, bytes] = {}
        self.said: dict[int, str] = {}

    @initialize()
    def open(self) -> None:
        self.spool = Spool.open(self.directory, 16 << 20, ring=False)

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)

    @rule(target=sequences, some=st.lists(sizes, min_size=1, max_size=3))
    def append(self, some: list[int]) -> "MultipleResults[int]":
        first = len(self.records) + 1
        numbers = range(first, first + len(some))
        batch = [
            (number.to_bytes(16, "big"), b"%d " % number + b"x" * size)
            for number, size in zip(numbers, some, strict=True)
        ]
        assert self.spool.append(batch) == numbers
        for number, (_, record) in zip(numbers, batch, strict=True):
            self.records[number] = record
            self.said[number] = PENDING
        return multiple(*numbers)

    @rule(one=sequences, other=sequences)
    def ack(self, one: int, other: int) -> None:
        first, last = min(one, other), max(one, other)
        self.spool.ack([(first, last)])
        for number in range(first, last + 1):
            self.said[number] = ACKED

    @rule(number=sequences)
    def dead_letter(self, number: int) -> None:
        self.spool.dead_letter(number, "no")
        if self.said[number] == PENDING:
            # A gap that is refused is forgotten as if it were acknowledged.
            self.said[number] = DEAD if self.spool.get(number) else ACKED

    @rule(upto=sequences)
    def rewind(self, upto: int) -> None:
        """Storage has the first ones and no others."""
        self.spool.rewind([(1, upto)])
        for number in self.said:
            if number <= upto:
                self.said[number] = ACKED
            elif self.said[number] == ACKED:
                self.said[number] = PENDING

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.open()

    @invariant()
    def nothing_is_lost(self) -> None:
        """What is pending is leased, as record or gap, each sequence once; the rest is not."""
        if not hasattr(self, "spool"):
            return
        leased: dict[int, Spooled | Gap] = {}
        after = 0
        while entries := self.spool.lease(after, 7, 4 << 20):
            for entry in entries:
                leased.update((number, entry) for number in range(entry.first, entry.last + 1))
            after = entries[-1].last
        wanted = {number for number, said in self.said.items() if said == PENDING}
        dead_and_gone = {number for number, said in self.said.items() if said == DEAD} & set(leased)
        assert set(leased) == wanted | dead_and_gone
        for number, entry in leased.items():
            if isinstance(entry, Spooled):
                assert entry.record == self.records[number]
            else:
                assert self.spool.get(number) is None

    @invariant()
    def account_balances(self) -> None:
        if not hasattr(self, "spool"):
            return
        account = self.spool.account()
        terms = (account.pending, account.acked, account.evicted_unacked, account.dead_lettered)
        assert account.appended == len(self.records) == sum(terms)
        assert min(terms) >= 0
        assert account.live_bytes <= 16 << 20


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=25, stateful_step_count=25)
