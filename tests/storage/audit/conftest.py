"""An archive with its audit, fed by spools with true chains, that a test can open behind storage's back."""

import contextlib
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from infertap import v1
from infertap.audit import entry_of
from infertap.verification import Ledger, LogId, PublicKey, Report, Verifier, make_key, read_heads
from storage.archive import GapEntry, RecordEntry, open_archive
from storage.audit import Auditing, Signing, Sources
from storage.audit.exporting import batches_of

SPOOL = b"s" * 16
OTHER = b"t" * 16
SECOND = 1_000_000_000
# 2026-01-01T00:00:00Z
NOW = 1_767_225_600 * SECOND
KEY = make_key("storage.example/test")


class Vault:
    """One archive over several runs of storage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_ns = NOW
        # The last hash of each spool.
        self.last: dict[bytes, bytes] = {}
        self.told: list[v1.Finding] = []
        # What was kept elsewhere.
        self.notes: list[str] = []
        self.signing = Signing([KEY])
        self.open()

    def open(self) -> None:
        self.archive: Any = open_archive(str(self.directory), 256 << 20)
        sources = Sources(self.archive.audit, self.archive.heads, self.archive.received)
        self.auditing = Auditing(sources, self.signing, lambda *_, **__: None, self.told.append)
        self.archive.on_drop = lambda _, part: self.auditing.checkpointing.drop(
            [each for each in self.archive.audit.logs() if each.part == part], self.now_ns
        )

    def close(self) -> None:
        self.auditing.spools.flush()
        self.archive.close()

    def restart(self) -> None:
        """Another run; it looks at what earlier ones left."""
        self.close()
        self.open()
        found = self.auditing.checkpointing.close_earlier(self.now_ns)
        self.auditing.findings.keep(found, self.now_ns)

    # -- spools

    def entry(
        self,
        sequence: int,
        spool_id: bytes = SPOOL,
        *,
        tenant: str = "",
        user: str = "",
        model: str = "",
    ) -> RecordEntry:
        """The next record of a spool."""
        record = v1.Record(
            call_id=f"{spool_id[:4].hex()}-0000-7000-8000-{sequence:012x}", state=v1.COMPLETED, path="/v1"
        )
        record.timing.start.FromNanoseconds(NOW + sequence)
        record.request.data = b"question %d" % sequence
        record.caller.user = user
        record.model.name = model
        encoded, salt = record.SerializeToString(), os.urandom(16)
        previous = self.last.get(spool_id, bytes(32))
        own = sealed(previous, sequence, salt, encoded)
        self.last[spool_id] = own
        return RecordEntry(spool_id, sequence, previous, own, salt, encoded, record, tenant)

    def feed(self, first: int, last: int, spool_id: bytes = SPOOL, **said: Any) -> list[RecordEntry]:
        """The spool's next records come in."""
        entries = [self.entry(sequence, spool_id, **said) for sequence in range(first, last + 1)]
        self.take(entries)
        return entries

    def gap(self, first: int, last: int, spool_id: bytes = SPOOL) -> GapEntry:
        """Records that are lost, as the spool declares it."""
        for sequence in range(first, last + 1):
            self.entry(sequence, spool_id)
        return GapEntry(spool_id, first, last, self.last[spool_id], "evicted")

    def take(self, entries: list[Any]) -> None:
        """As the writer does it."""
        self.now_ns += SECOND
        self.auditing.check(entries, self.now_ns)
        self.archive.append(entries, self.now_ns)

    def sign(self) -> str:
        """A checkpoint, which somebody keeps elsewhere."""
        self.now_ns += SECOND
        made = self.auditing.checkpointing.make(self.now_ns)
        assert made is not None
        self.notes.append(made.note)
        return made.note

    # -- behind storage's back

    def tamper(self, *statements: str, file: str = "records-*.duckdb", **values: Any) -> None:
        """Change the archive's files with the engine's own client; then storage starts again."""
        with self.opened(file) as connection:
            for statement in statements:
                connection.execute(statement, values)

    @contextlib.contextmanager
    def opened(self, file: str = "records-*.duckdb") -> Iterator[Any]:
        """A file of the archive, opened by the engine's own client while storage is down."""
        self.close()
        (path,) = self.directory.glob(file)
        with duckdb.connect(str(path)) as connection:
            yield connection
        self.open()

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """What a file of records says, read behind storage's back."""
        with self.opened() as connection:
            found: list[tuple[Any, ...]] = connection.execute(select).fetchall()
        return found

    # -- verification

    def verify(self, notes: list[str] | None = None, key: PublicKey = KEY.public) -> Report:
        """What a verifier finds who has the checkpoints that were kept elsewhere, and the key."""
        report = Report()
        statements = self.auditing.checkpointing.statements(0, 1000)
        heads = read_heads(self.notes if notes is None else notes, [key], statements, report)
        with Ledger() as ledger:
            verifier = Verifier(heads, report, ledger)
            for answer in batches_of(self.archive.audit, None, "", ""):
                if answer.HasField("log"):
                    verifier.begin(LogId(answer.log.tenant, answer.log.day, answer.log.log))
                for entry in map(entry_of, answer.entries):
                    verifier.take(entry)
            verifier.end()
        return report


def sealed(previous: bytes, sequence: int, salt: bytes, record: bytes) -> bytes:
    """The hash of an entry, as the spool makes it."""
    return sha256(previous + sequence.to_bytes(8, "big") + salt + record).digest()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = Vault(tmp_path / "archive")
    yield made
    made.close()
