"""Audit: keys, checkpoints, spools, findings and exports, as `infertap audit` shows and writes them."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message

from infertap import v1
from infertap.audit import AuditClient, AuditError, entry_of
from infertap.cli.progress import Progress
from infertap.cli.verify import UnusableError, connect, read_keys, tell
from infertap.rendering import counted, visible
from infertap.verification import (
    Inclusion,
    LoggedEntry,
    LogId,
    NoteError,
    PublicKey,
    Tombstone,
    check_claim,
    make_key,
    read_private_key,
    write_entry,
    write_log,
)


def run_audit(read: argparse.Namespace) -> int:
    """Run `infertap audit …`; returns the exit status."""
    try:
        if read.action == "key":
            return _key(Path(read.file), read.name)
        with connect(read) as client:
            return _ask(client, read)
    except (AuditError, UnusableError) as error:
        return tell(visible(str(error)))
    except NoteError as error:
        return tell(f"{read.action}: {error}")
    except OSError as error:
        return tell(f"{error.filename}: {error.strerror}")


def _ask(client: AuditClient, read: argparse.Namespace) -> int:
    if read.action == "spools":
        listed = client.spools(read.wrong)
        _show(listed.spools, spool_line, read.json, "no spools")
        if listed.total > len(listed.spools):
            print(f"and {listed.total - len(listed.spools):,} more", file=sys.stderr)
    elif read.action == "findings":
        _show(client.findings(), finding_line, read.json, "nothing was found wrong as it came in")
    elif read.action == "checkpoint":
        found = client.make_checkpoint() if read.make else client.checkpoint()
        if found is None:
            raise AuditError("nothing is signed: storage has no key, or had nothing to sign (--make: now)")
        print(found.note, end="")
    elif read.action == "proof":
        prove(client, read.call_id, read_keys(read.key))
    else:
        _export(client, Path(read.directory), read.first_day, read.last_day)
    return 0


def _key(file: Path, name: str) -> int:
    """Print the public keys in a key file; first add a new one where there is a name for it."""
    if name:
        line = make_key(name).secret() + "\n"
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(handle, "w", encoding="ascii") as opened:
            opened.write(line)
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    for line in lines:
        if line.strip() and not line.startswith("#"):
            print(read_private_key(line.strip()).public)
    return 0


def _show(messages: Iterable[Message], line_of: object, as_json: bool, nothing: str) -> None:
    is_empty = True
    for message in messages:
        is_empty = False
        print(_json(message) if as_json else line_of(message))  # type: ignore[operator]
    if is_empty and not as_json:
        print(nothing)


def _json(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=True)


def spool_line(spool: v1.Spool) -> str:
    """How a spool stands, in words."""
    name = visible("/".join(filter(None, (spool.namespace, spool.pod, spool.container)))) or "-"
    facts = [f"{spool.received} received"]
    if spool.pending:
        gone = spool.state in (v1.Spool.VANISHED, v1.Spool.QUARANTINED)
        facts.append(f"{spool.pending} {'never sent' if gone else 'to be sent'}")
    if spool.dead_lettered:
        facts.append(counted(spool.dead_lettered, "dead letter"))
    if spool.missing:
        facts.append(f"{spool.missing} missing")
    if spool.quarantined:
        facts.append("an unreadable spool lies beside it")
    state = v1.Spool.State.Name(spool.state).lower()
    return (
        f"{spool.spool_id.hex()}  {state:<11}  {spool.last_seen.ToJsonString()}  {name}  {', '.join(facts)}"
    )


def finding_line(finding: v1.Finding) -> str:
    """A finding, in words."""
    kind = v1.Finding.Kind.Name(finding.kind).lower().replace("_", " ")
    where = f"spool {finding.spool_id.hex()}, " if finding.spool_id else ""
    if finding.first:
        where += f"{finding.first} to {finding.last}: "
    return f"{finding.found_at.ToJsonString()}  {kind}: {where}{visible(finding.detail)}"


def _export(client: AuditClient, directory: Path, first_day: str, last_day: str) -> None:
    """Write an audit export into a new directory, which has its name once it is whole."""
    if directory.exists():
        raise UnusableError(f"{directory} is there already")
    draft = directory.with_name(f"{directory.name}.part")
    draft.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.chmod(0o700)  # records are private
    checkpoint = client.checkpoint()
    (draft / "checkpoint").write_text(checkpoint.note if checkpoint else "", encoding="utf-8")
    damaged = [each.detail for each in client.findings() if each.kind == v1.Finding.DAMAGED]
    (draft / "said.txt").write_text("".join(f"{visible(each)}\n" for each in damaged), encoding="utf-8")
    with (draft / "heads.jsonl").open("wb") as heads:
        for statement in client.statements():
            heads.write((statement if len(statement) != 32 else statement.hex().encode()) + b"\n")
    with (draft / "logs.jsonl").open("w", encoding="utf-8") as logs, Progress("entries") as progress:
        for each in client.entries(first_day, last_day):
            if isinstance(each, LogId):
                logs.write(write_log(each))
            else:
                logs.write(write_entry(each))
                progress.add()
    draft.rename(directory)
    print(f"exported to {directory}", file=sys.stderr)


def _sealed(entry: LoggedEntry, call_id: str) -> v1.Record | None:
    """The record that the leaf tells of; None where only a tombstone is left. Raises AuditError where it is
    not there, or is another call's, which storage may have answered with.
    """
    if isinstance(entry.found, Tombstone):
        return None
    if entry.found is None:
        raise AuditError("the leaf is in what was signed, but its record is gone, without a tombstone")
    try:
        record = v1.Record.FromString(entry.found.record)
    except DecodeError:
        record = v1.Record()
    if _plain(record.call_id) != _plain(call_id):
        raise AuditError(f"storage proved another record, of call {record.call_id or 'unknown'}")
    return record


def _plain(call_id: str) -> str:
    """However it was spelt: a UUID is asked for in any of its forms."""
    return call_id.lower().removeprefix("urn:uuid:").strip("{}").replace("-", "")


def _lineage(record: v1.Record) -> str:
    """What the sealed record says of its call: when, what, by which model and version, where."""
    model = f"{record.model.name or 'no model named'} {record.model.version}".strip()
    where = "/".join(filter(None, (record.source.namespace, record.source.pod))) or "-"
    said = (
        record.call_id,
        record.timing.start.ToJsonString(),
        f"{record.method} {record.path}",
        model,
        where,
    )
    return visible("  ".join(said))


def prove(client: AuditClient, call_id: str, keys: list[PublicKey]) -> None:
    """Show that the record of a call is in what was signed, whoever `client` asks. Raises AuditError."""
    proof = client.inclusion_proof(call_id)
    try:
        claim = _claim_of(proof)
        statement = check_claim(claim, keys)
    except ValueError as error:
        raise AuditError(f"the proof does not hold: {error}") from None
    record = _sealed(claim.entry, call_id)
    leaf = claim.entry.leaf
    if record is not None:
        print(f"call      {_lineage(record)}")
    print(f"record    spool {leaf.spool_id.hex()}, sequence {leaf.first}, hash {leaf.hash.hex()}")
    print(f"leaf      {claim.entry.index} of log {claim.log}, which had {statement.size} leaves")
    print(f"signed    {json.loads(statement.data)['time']} by {visible(claim.note.splitlines()[0])}")
    print(
        "it holds" if record is not None else "it holds; the record was deleted: whose it was can't be told"
    )


def _claim_of(proof: v1.InclusionProof) -> Inclusion:
    return Inclusion(
        entry=entry_of(proof.entry),
        log=LogId(proof.log.tenant, proof.log.day, proof.log.log),
        path=list(proof.path),
        statement=proof.statement.data,
        statement_index=proof.statement_index,
        statement_path=list(proof.statement_path),
        note=proof.checkpoint.note,
    )
