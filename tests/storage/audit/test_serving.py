"""AuditService over a real connection, and the commands that ask it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
import pytest

from infertap import v1
from infertap.audit import AuditClient, AuditError
from infertap.cli import main
from infertap.cli.audit import prove
from infertap.connection import Connection
from infertap.identity import Guard, Identity, Role, set_caller
from infertap.verification import (
    Inclusion,
    LogId,
    ProofError,
    check_claim,
    check_consistency,
    leaf_hash,
    make_key,
    open_checkpoint,
)
from storage.archive import ArchiveError
from storage.audit import Audit, Signing
from tests.storage.audit.conftest import KEY, NOW, OTHER, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault

PUBLIC = str(KEY.public)
CALL = "73737373-0000-7000-8000-000000000007"


class Served:
    """A vault's AuditService on a free port, in a thread of its own."""

    def __init__(self, vault: "Vault") -> None:
        self.vault = vault
        self.audit = Audit(vault.auditing, ArchiveError)
        self.address = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server(interceptors=[Guard(None, _Nobody())])
        v1.add_AuditServiceServicer_to_server(self.audit, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.stop(0)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def client(self) -> AuditClient:
        return AuditClient(Connection(self.address))


class _Nobody:
    def refused(self, *_: object) -> None:
        raise AssertionError("nobody is refused here")


@pytest.fixture
def served(vault: "Vault") -> Iterator[Served]:
    """Records of two spools, signed twice."""
    vault.feed(1, 5)
    vault.sign()
    vault.feed(6, 12)
    vault.take([vault.gap(13, 15)])
    vault.feed(1, 4, OTHER)
    vault.sign()
    running = Served(vault)
    yield running
    running.stop()


def claim_of(proof: v1.InclusionProof, client: AuditClient) -> Inclusion:
    (entry,) = [each for each in client.entries() if getattr(each, "index", None) == proof.entry.index]
    assert not isinstance(entry, LogId)
    return Inclusion(
        entry=entry,
        log=LogId(proof.log.tenant, proof.log.day, proof.log.log),
        path=list(proof.path),
        statement=proof.statement.data,
        statement_index=proof.statement_index,
        statement_path=list(proof.statement_path),
        note=proof.checkpoint.note,
    )


def test_every_record_can_be_proved(served: Served) -> None:
    """From the record to the signature: each step holds, and none holds for another record."""
    with served.client() as client:
        for number in range(1, 13):
            proof = client.inclusion_proof(f"73737373-0000-7000-8000-{number:012x}")
            assert proof.entry.first == number
            claim = claim_of(proof, client)
            assert check_claim(claim, [KEY.public]).log == claim.log
            proof.entry.index += 1
            with pytest.raises(ProofError):
                check_claim(claim_of(proof, client), [KEY.public])


def test_a_proof_of_what_is_not_signed_yet(served: Served) -> None:
    """It is said so, and possible after the next checkpoint; what is not there is not found."""
    served.vault.feed(16, 16)
    call_id = "73737373-0000-7000-8000-000000000010"
    with served.client() as client:
        with pytest.raises(AuditError, match="not signed yet"):
            client.inclusion_proof(call_id)
        client.make_checkpoint()
        assert client.inclusion_proof(call_id).entry.first == 16
        with pytest.raises(AuditError, match="NOT_FOUND"):
            client.inclusion_proof("73737373-0000-7000-8000-0000000000ff")
        with pytest.raises(AuditError, match="INVALID_ARGUMENT"):
            client.inclusion_proof("no id")


def test_two_checkpoints_are_consistent(served: Served) -> None:
    """The later one goes on from the earlier one, as anyone can check who has both."""
    with grpc.insecure_channel(served.address) as channel:
        stub = v1.AuditServiceStub(channel)
        listed = stub.ListCheckpoints(v1.ListCheckpointsRequest(page_size=1))
        rest = stub.ListCheckpoints(v1.ListCheckpointsRequest(page_token=listed.next_page_token))
        new, old = (
            open_checkpoint(each.note, [KEY.public]) for each in (*listed.checkpoints, *rest.checkpoints)
        )
        path = stub.GetConsistencyProof(v1.GetConsistencyProofRequest(old_size=old.size)).path
        check_consistency(old.size, old.root, new.size, new.root, list(path))
        assert stub.GetCheckpoint(v1.GetCheckpointRequest(size=old.size)).note == served.vault.notes[0]
        for wrong in (0, new.size + 1):
            with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
                stub.GetConsistencyProof(v1.GetConsistencyProofRequest(old_size=wrong))
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.GetCheckpoint(v1.GetCheckpointRequest(size=77))
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.GetCheckpoint(v1.GetCheckpointRequest(size=(1 << 64) - 1))
        with pytest.raises(grpc.RpcError, match="page_token"):
            stub.ListCheckpoints(v1.ListCheckpointsRequest(page_token="ff" * 16))
        for token in ("zz", "00"):
            with pytest.raises(grpc.RpcError, match="page_token"):
                stub.ListFindings(v1.ListFindingsRequest(page_token=token))


async def test_callers_of_a_tenant_see_its_own(vault: "Vault") -> None:
    """Spools, findings, logs and proofs of another tenant are not there; its statements are hashes only."""
    vault.feed(1, 3, tenant="acme")
    vault.feed(1, 2, OTHER, tenant="globex")
    vault.auditing.spools.connected(v1.Hello(spool_id=SPOOL), "acme", NOW)
    vault.auditing.spools.connected(v1.Hello(spool_id=OTHER), "globex", NOW)
    vault.auditing.findings.keep([v1.Finding(kind=v1.Finding.GAP, spool_id=OTHER, tenant="globex")], NOW)
    vault.sign()
    audit: Any = Audit(vault.auditing, ArchiveError)
    set_caller(Identity("reader", "acme", frozenset({Role.READ})))
    spools = (await audit.ListSpools(v1.ListSpoolsRequest(), None)).spools
    assert [each.spool_id for each in spools] == [SPOOL]
    assert not (await audit.ListFindings(v1.ListFindingsRequest(), None)).findings
    statements = (await audit.ListStatements(v1.ListStatementsRequest(), None)).statements
    theirs = [each for each in statements if each.data]
    assert (len(statements), len(theirs)) == (2, 1)
    assert b'"tenant":"acme"' in theirs[0].data
    assert all(len(each.hash) == 32 for each in statements)
    exported = [each async for each in audit.ExportLog(v1.ExportLogRequest(), None)]
    assert {entry.spool_id for each in exported for entry in each.entries} == {SPOOL}
    place = audit._place("", v1.EntryId(spool_id=OTHER, sequence=1), "acme")
    assert place is None
    assert audit._place("74747474-0000-7000-8000-000000000001", v1.EntryId(), "acme") is None


def run(served: Served, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main([*arguments, "--address", served.address])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_verifying_a_running_storage(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """`infertap verify` says what it looked at, and that it holds; with another key it does not."""
    assert run(served, capsys, "verify", "--key", PUBLIC) == (
        0,
        "looked at: 16 records, 0 tombstones, 1 gap, 0 deletions, 2 spools, 1 log, 1 checkpoint\n"
        "days 2026-01-01 to 2026-01-01, signed last at 2026-01-01T00:00:06Z\n"
        "can't be told: an older state of the whole archive would hold too: "
        "give a --checkpoint that was kept elsewhere\n"
        "everything that is signed holds\n",
    )
    status, said = run(served, capsys, "verify", "--key", str(make_key("storage.example/test").public))
    assert status == 1
    assert "checkpoint can't be trusted" in said
    assert run(served, capsys, "verify")[0] == 2
    assert run(served, capsys, "verify", "--key", "no+key")[0] == 2
    status, said = run(served, capsys, "verify", "--unsigned")
    assert (status, said.splitlines()[-1]) == (0, "the chains hold; no signature was looked at")


def test_verifying_an_export(served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was exported is verified without storage; an edited line is named by its sequence."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "checkpoint-1").write_text(served.vault.notes[0])
    (kept / "checkpoint-2").write_text(served.vault.notes[1])
    assert run(served, capsys, "audit", "export", str(tmp_path / "export"))[0] == 0
    (tmp_path / "keys").write_text(PUBLIC + "\n")
    offline = ["verify", str(tmp_path / "export"), "--key", str(tmp_path / "keys"), "--checkpoint", str(kept)]
    assert main(offline) == 0
    said = capsys.readouterr().out
    assert "2 checkpoints\n" in said
    assert said.endswith("\neverything that is signed holds\n")
    private = (tmp_path / "export").stat().st_mode
    assert private & 0o077 == 0, "records are for their owner alone"
    lines = (tmp_path / "export" / "logs.jsonl").read_text().splitlines()
    seventh = json.loads(lines[7])
    seventh["salt"] = "00" * 16
    lines[7] = json.dumps(seventh)
    (tmp_path / "export" / "logs.jsonl").write_text("\n".join(lines) + "\n")
    assert main(offline) == 1
    said = capsys.readouterr().out
    assert f"WRONG  spool {SPOOL.hex()}, sequence 7: edited" in said
    assert f"first bad sequence of spool {SPOOL.hex()}: 7" in said
    assert main([*offline, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_bad"] == {SPOOL.hex(): 7}
    (tmp_path / "export" / "logs.jsonl").write_text("{}\n")
    assert main(offline) == 2
    assert "logs.jsonl, line 1" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere"), "--key", PUBLIC]) == 2


def test_a_range_of_days(served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Days that are not looked at are not missed, and it is said that they can't be told. Which days they are
    says who verifies, not the export.
    """
    served.vault.now_ns += 86_400_000_000_000
    served.vault.feed(16, 18)
    served.vault.sign()
    status, said = run(served, capsys, "verify", "--key", PUBLIC, "--from", "2026-01-02")
    assert status == 0, said
    assert "looked at: 3 records" in said
    assert "15 sequences may be in logs that are not looked at" in said
    export, days = str(tmp_path / "export"), ["--from", "2026-01-02", "--to", "2026-01-02"]
    assert run(served, capsys, "audit", "export", export, *days)[0] == 0
    assert main(["verify", export, "--key", PUBLIC, *days]) == 0
    assert main(["verify", export, "--key", PUBLIC]) == 1
    assert "log missing: -/2026-01-01/" in capsys.readouterr().out


def test_proof_spools_findings_and_checkpoint(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what there is in lines, or as JSON."""
    status, said = run(served, capsys, "audit", "proof", CALL, "--key", PUBLIC)
    assert (status, said.splitlines()[-1]) == (0, "it holds")
    assert said.startswith(f"call      {CALL}  2026-01-01T00:00:00.000000007Z   /v1  no model named  -")
    assert run(served, capsys, "audit", "spools") == (0, "no spools\n")
    spools = served.vault.auditing.spools
    spools.connected(v1.Hello(spool_id=SPOOL, pod="a\x1bpod", namespace="models"), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=20, pending=2, dead_lettered=1, quarantined=1), NOW)
    spools.disconnected(SPOOL, NOW)
    status, said = run(served, capsys, "audit", "spools", "--wrong")
    assert "vanished" in said
    assert "15 received, 2 never sent, 1 dead letter, 1 missing, an unreadable spool lies beside it" in said
    assert "\x1b" not in said
    assert json.loads(run(served, capsys, "audit", "spools", "--json")[1])["pod"] == "a\x1bpod"
    finding = v1.Finding(kind=v1.Finding.BROKEN_CHAIN, spool_id=SPOOL, first=7, last=7, detail="so")
    served.vault.auditing.findings.keep([finding], NOW)
    assert "broken chain: spool 7373" in run(served, capsys, "audit", "findings")[1]
    served.vault.feed(16, 16)
    made = run(served, capsys, "audit", "checkpoint", "--make")[1]
    assert made.splitlines()[1] == "3"
    assert run(served, capsys, "audit", "checkpoint")[1] == made


def test_keys_are_made_and_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A key file that only its owner can read; with two keys both are shown, and never their secrets."""
    file = tmp_path / "key"
    assert main(["audit", "key", str(file), "--name", "storage.example/prod"]) == 0
    first = capsys.readouterr().out
    assert file.stat().st_mode & 0o077 == 0
    assert main(["audit", "key", str(file), "--name", "storage.example/prod"]) == 0
    assert capsys.readouterr().out.startswith(first)
    assert main(["audit", "key", str(file)]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 2
    assert not any(line.split("+", 4)[4] in shown for line in file.read_text().splitlines())
    assert main(["audit", "key", str(tmp_path / "absent")]) == 2
    assert main(["audit", "key", str(file), "--name", "two words"]) == 2


def test_an_archive_without_a_key(vault: "Vault", capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing is signed, which is said; chains can be looked at, and an export be made, all the same."""
    vault.signing = Signing()
    vault.restart()
    vault.feed(1, 5)
    running = Served(vault)
    try:
        assert run(running, capsys, "audit", "checkpoint") == (
            2,
            "infertap: nothing is signed: storage has no key, or had nothing to sign (--make: now)\n",
        )
        assert "INFERTAP_AUDIT_KEY_FILE" in run(running, capsys, "audit", "checkpoint", "--make")[1]
        export = str(tmp_path / "export")
        assert run(running, capsys, "audit", "export", export)[0] == 0
        assert run(running, capsys, "audit", "export", export) == (
            2,
            f"infertap: {export} is there already\n",
        )
    finally:
        running.stop()
    assert main(["verify", export, "--unsigned"]) == 0
    assert "can't be told: nothing is signed" in capsys.readouterr().out
    assert main(["verify", export, "--key", PUBLIC]) == 2
    assert "there is no checkpoint, so nothing is signed" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there(
    served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An empty directory, as where a volume is not mounted, is no checkpoint that was kept elsewhere."""
    status, said = run(served, capsys, "verify", "--key", PUBLIC, "--checkpoint", str(tmp_path))
    assert (status, said) == (2, f"infertap: --checkpoint {tmp_path}: no checkpoint in it\n")


def test_a_checkpoint_without_a_key(
    served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It says nothing without one, which is no wrong of the archive."""
    (tmp_path / "checkpoint").write_text(served.vault.notes[0])
    status, said = run(served, capsys, "verify", "--unsigned", "--checkpoint", str(tmp_path))
    assert (status, said) == (2, "infertap: --checkpoint: whose signature on it counts? (--key)\n")


def test_statements_that_an_export_hides(
    served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An export that lost a log, its statement shown as another tenant's would be, is not taken for whole."""
    export = tmp_path / "export"
    assert run(served, capsys, "audit", "export", str(export))[0] == 0
    hashes = [leaf_hash(line).hex() for line in (export / "heads.jsonl").read_bytes().splitlines()]
    (export / "heads.jsonl").write_text("\n".join(hashes) + "\n")
    (export / "logs.jsonl").write_text("")
    assert main(["verify", str(export), "--key", PUBLIC]) == 2
    assert "2 signed statements are shown by their hashes alone" in capsys.readouterr().err
    assert main(["verify", str(export), "--key", PUBLIC, "--tenant", "acme"]) == 0
    assert "can't be told: 2 signed statements" in capsys.readouterr().out


class Liar:
    """A storage that answers what it likes."""

    def __init__(self, proof: v1.InclusionProof) -> None:
        self.proof = proof

    def inclusion_proof(self, _: str) -> v1.InclusionProof:
        return self.proof


def test_a_proof_of_something_else(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Storage can't answer with another call's proof, with a gap's, nor with one whose record is gone; nor
    say when it was signed.
    """
    keys = [KEY.public]
    with served.client() as client:
        proof = client.inclusion_proof(CALL)
        stub = v1.AuditServiceStub(client._channel)
        gap = stub.GetInclusionProof(v1.GetInclusionProofRequest(id=v1.EntryId(spool_id=SPOOL, sequence=14)))
    liar: Any = Liar(proof)
    with pytest.raises(AuditError, match="proved another record"):
        prove(liar, "73737373-0000-7000-8000-000000000008", keys)
    proof.checkpoint.made_at.FromNanoseconds(0)
    prove(liar, CALL.replace("-", "").upper(), keys)
    assert "signed    2026-01-01T00:00:06Z by storage.example/test" in capsys.readouterr().out
    with pytest.raises(AuditError, match="tells of no record"):
        prove(cast("Any", Liar(gap)), CALL, keys)
    proof.entry.ClearField("envelope")
    with pytest.raises(AuditError, match="its record is gone"):
        prove(liar, CALL, keys)
    proof.entry.tombstone.reason = "request"
    prove(liar, CALL, keys)
    assert "it holds; the record was deleted" in capsys.readouterr().out


def test_statements_of_others_are_verified_by_their_hashes(served: Served) -> None:
    """What is signed can be recomputed from hashes where the statements are not to be seen."""
    with served.client() as client:
        assert all(len(leaf_hash(each)) == 32 for each in client.statements())
