"""Spool: `infertap spool dead-letters list | show | resend`: what storage refuses of a sidecar's records.

Asks the sidecar, not the file of its spool: the recorder that runs is the one writer of that. A list tells no
payload; `show` prints the record, redacted as it lies in the spool. Exit status 0, 1 where it failed.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToJson

from infertap import v1
from infertap.cli.options import access
from infertap.connection import AccessError, Connection
from infertap.rendering import in_full, visible

DEFAULT_ADDRESS: Final = "127.0.0.1:9901"
_SECONDS: Final = 60.0
_PAGE: Final = 1000
_OPTIONS: Final = (("grpc.max_receive_message_length", 16 << 20),)


def run_spool(read: argparse.Namespace) -> int:
    """Run `infertap spool …`; returns the exit status."""
    address = read.address or DEFAULT_ADDRESS
    try:
        connection = Connection.of(address, **access(read))
        with connection.channel(_OPTIONS) as channel:
            asking = _Asking(v1.SpoolServiceStub(channel), connection)
            if read.action == "list":
                _list(asking, read.json)
            elif read.action == "show":
                _show(asking, read.sequence, read.json)
            else:
                _resend(asking, read.sequences)
    except AccessError as error:
        return _tell(str(error))
    except grpc.RpcError as error:
        return _tell(f"{address}: {error.code().name}: {error.details() or 'no answer'}")
    return 0


class _Asking:
    """One sidecar's SpoolService."""

    def __init__(self, stub: "v1.SpoolServiceStub", connection: Connection) -> None:
        self._stub = stub
        self._connection = connection

    def ask(self, method: str, request: Any) -> Any:
        """The answer; raises grpc.RpcError, AccessError."""
        metadata = self._connection.metadata()
        return getattr(self._stub, method)(request, timeout=_SECONDS, metadata=metadata)

    def letters(self) -> Iterator[v1.DeadLetter]:
        """All dead letters, oldest first."""
        request = v1.ListDeadLettersRequest(page_size=_PAGE)
        while True:
            page = self.ask("ListDeadLetters", request)
            yield from page.dead_letters
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _list(asking: _Asking, as_json: bool) -> None:
    is_empty = True
    for letter in asking.letters():
        is_empty = False
        print(_json(letter) if as_json else _line(letter))
    if is_empty and not as_json:
        print("no dead letters")


def _show(asking: _Asking, sequence: int, as_json: bool) -> None:
    found = asking.ask("GetDeadLetter", v1.GetDeadLetterRequest(sequence=sequence))
    if as_json:
        print(_json(found))
        return
    print(_line(found.dead_letter))
    print(in_full(found.record) if found.HasField("record") else "its bytes are no record")


def _resend(asking: _Asking, sequences: list[int]) -> None:
    """Named ones, or all where none is."""
    request = v1.ResendDeadLettersRequest(sequences=sequences, all=not sequences)
    resent = asking.ask("ResendDeadLetters", request).resent
    print(f"{resent} pending again; what storage refuses again will be listed again")


def _line(letter: v1.DeadLetter) -> str:
    size = f"{letter.size_bytes} bytes" if letter.size_bytes else "can't be read"
    return f"{letter.sequence:>10}  {letter.call_id:36}  {size:>15}  {visible(letter.reason)}"


def _json(message: v1.DeadLetter | v1.GetDeadLetterResponse) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=True)


def _tell(what: str) -> int:
    print(f"infertap: {visible(what)}", file=sys.stderr)
    return 1
