"""A gRPC service that infertap has never heard of: recorded by field names where its schema
can be had, by field numbers where not; redacted either way.
"""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

    StartSidecar = Callable[..., Sidecar]

SECONDS = 30
SERVICE = "library.v1.Librarian"
EMAIL = "ada@example.org"
CARD = "4111 1111 1111 1111"


def schema() -> FileDescriptorProto:
    """`message Note {string text = 1; int32 shelf = 2; Note reply = 3;}` and a service of it."""
    file = FileDescriptorProto(name="library.proto", package="library.v1", syntax="proto3")
    note = file.message_type.add(name="Note")
    for number, (name, kind) in enumerate(
        [
            ("text", FieldDescriptorProto.TYPE_STRING),
            ("shelf", FieldDescriptorProto.TYPE_INT32),
            ("reply", FieldDescriptorProto.TYPE_MESSAGE),
        ],
        1,
    ):
        field = note.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if name == "reply":
            field.type_name = ".library.v1.Note"
    service = file.service.add(name="Librarian")
    service.method.add(name="Ask", input_type=".library.v1.Note", output_type=".library.v1.Note")
    service.method.add(
        name="Tell", input_type=".library.v1.Note", output_type=".library.v1.Note", server_streaming=True
    )
    return file


POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(schema().SerializeToString())
Note: Any = GetMessageClass(POOL.FindMessageTypeByName("library.v1.Note"))


class Librarian:
    """A server of grpcio; `reflects` where it tells its schema."""

    def __init__(self, reflects: bool) -> None:
        self.reflected = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        coded = {"request_deserializer": Note.FromString, "response_serializer": Note.SerializeToString}
        handlers = {
            "Ask": grpc.unary_unary_rpc_method_handler(self.ask, **coded),
            "Tell": grpc.unary_stream_rpc_method_handler(self.tell, **coded),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        if reflects:
            reflection.enable_server_reflection([SERVICE], self._server, POOL)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def ask(self, note: Any, _: grpc.ServicerContext) -> Message:
        answer: Message = Note(text=f"to {EMAIL}", reply=note)
        return answer

    def tell(self, note: Any, _: grpc.ServicerContext) -> Iterator[Message]:
        for token in ("card ", "4111 11", "11 1111 ", "1111", " it is"):
            yield Note(text=token, shelf=note.shelf)

    def stop(self) -> None:
        self._server.stop(0).wait(SECONDS)


@pytest.fixture
def librarian() -> Iterator[Callable[[bool], Librarian]]:
    servers: list[Librarian] = []

    def start(reflects: bool) -> Librarian:
        servers.append(Librarian(reflects))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def call(sidecar: "Sidecar", method: str, note: Message) -> list[Any]:
    host, port = sidecar.address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        coded = {"request_serializer": Note.SerializeToString, "response_deserializer": Note.FromString}
        if method == "Tell":
            return list(channel.unary_stream(f"/{SERVICE}/Tell", **coded)(note, timeout=SECONDS))
        return [channel.unary_unary(f"/{SERVICE}/{method}", **coded)(note, timeout=SECONDS)]


def views(record: v1.Record) -> tuple[Any, Any]:
    return json.loads(record.request.decoded_json), json.loads(record.response.decoded_json)


def test_without_a_schema(librarian: Callable[[bool], Librarian], start_sidecar: "StartSidecar") -> None:
    """Field numbers, nested messages and streams; what is kept of bytes is a message still, with masks."""
    sidecar = start_sidecar(librarian(False).address, protocol="h2")
    answers = call(sidecar, "Ask", Note(text="a question", shelf=7))
    assert answers[0].text == f"to {EMAIL}"
    assert "".join(each.text for each in call(sidecar, "Tell", Note(shelf=3))) == f"card {CARD} it is"
    records = {record.path.rpartition("/")[2]: record for record in sidecar.await_records(2)}
    asked, answered = views(records["Ask"])
    assert asked == {"1": "a question", "2": 7}
    assert answered == {"1": "to <email>", "3": {"1": "a question", "2": 7}}
    kept = Note.FromString(records["Ask"].response.data[5:])
    assert (kept.text, kept.reply.text, kept.reply.shelf) == ("to <email>", "a question", 7)
    told = views(records["Tell"])[1]
    assert "".join(each.get("1", "") for each in told) == "card <payment_card> it is"
    assert not list(records["Tell"].logging_error_codes)
    assert all(b"4111" not in record.SerializeToString() for record in records.values())


def test_by_reflection(librarian: Callable[[bool], Librarian], start_sidecar: "StartSidecar") -> None:
    """The first call is read without a schema; once the model has told it, names are the schema's."""
    sidecar = start_sidecar(librarian(True).address, protocol="h2")
    latest: list[Any] = []

    def is_named() -> bool:
        call(sidecar, "Ask", Note(text="a question", shelf=7))
        latest.append(views(sidecar.await_records(len(latest) + 1)[0])[0])
        return "text" in latest[-1]

    for _ in range(50):
        if is_named():
            break
    assert latest[-1] == {"text": "a question", "shelf": 7}
    assert all(view in (latest[-1], {"1": "a question", "2": 7}) for view in latest)


def test_by_descriptor_set(
    librarian: Callable[[bool], Librarian], start_sidecar: "StartSidecar", tmp_path: Path
) -> None:
    """A file tells the schema from the first call on; rules on fields name its fields."""
    described = tmp_path / "library.binpb"
    described.write_bytes(FileDescriptorSet(file=[schema()]).SerializeToString())
    sidecar = start_sidecar(
        librarian(False).address,
        protocol="h2",
        descriptor_set=str(described),
        grpc_reflection="off",
        redact_fields="$.reply.text=mask",
    )
    call(sidecar, "Ask", Note(text="a question", shelf=7))
    asked, answered = views(sidecar.await_records(1)[0])
    assert asked == {"text": "a question", "shelf": 7}
    assert answered == {"text": "to <email>", "reply": {"text": "<field>", "shelf": 7}}
