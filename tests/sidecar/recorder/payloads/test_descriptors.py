"""Services that files of protobuf describe: their methods, and their messages as documents."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.message import Message

from sidecar.recorder.payloads import DescriptorError, decode_grpc, frame, read_methods, read_set

PATH = "/clinic.v1.Clinic/Diagnose"


def files() -> list[descriptor_pb2.FileDescriptorProto]:
    """A service in a file, of messages in another, which uses files of protobuf itself."""
    messages = descriptor_pb2.FileDescriptorProto(
        name="clinic/messages.proto",
        package="clinic.v1",
        syntax="proto3",
        dependency=["google/protobuf/any.proto", "google/protobuf/timestamp.proto"],
    )
    patient = messages.message_type.add(name="Patient")
    named: list[tuple[str, int, str]] = [
        ("name", Field.TYPE_STRING, ""),
        ("number", Field.TYPE_INT64, ""),
        ("scan", Field.TYPE_BYTES, ""),
        ("seen", Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
        ("ward", Field.TYPE_ENUM, ".clinic.v1.Ward"),
        ("more", Field.TYPE_MESSAGE, ".google.protobuf.Any"),
        ("parent", Field.TYPE_MESSAGE, ".clinic.v1.Patient"),
        ("notes", Field.TYPE_MESSAGE, ".clinic.v1.Patient.NotesEntry"),
        ("scores", Field.TYPE_DOUBLE, ""),
    ]
    for number, (name, kind, type_name) in enumerate(named, 1):
        field = patient.field.add(name=name, number=number, type=kind, type_name=type_name or None)
        field.label = Field.LABEL_REPEATED if name in ("notes", "scores") else Field.LABEL_OPTIONAL
    entry = patient.nested_type.add(name="NotesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    ward = messages.enum_type.add(name="Ward")
    ward.value.add(name="WARD_UNKNOWN", number=0)
    ward.value.add(name="WARD_EAST", number=1)
    service = descriptor_pb2.FileDescriptorProto(
        name="clinic/service.proto",
        package="clinic.v1",
        syntax="proto3",
        dependency=["clinic/messages.proto"],
    )
    service.service.add(name="Clinic").method.add(
        name="Diagnose", input_type=".clinic.v1.Patient", output_type=".clinic.v1.Patient"
    )
    return [service, messages]


METHODS = read_methods(files())


def patient(**fields: Any) -> Any:
    return METHODS[PATH][0](**fields)


def decoded(message: Message) -> Any:
    types = METHODS[PATH]
    return decode_grpc(PATH, True, "", frame(message.SerializeToString()), 1 << 20, types)


def test_methods_are_found() -> None:
    """By path; each set has types of its own."""
    methods = read_set(descriptor_pb2.FileDescriptorSet(file=files()).SerializeToString())
    assert list(methods) == [PATH]
    assert methods[PATH][0].DESCRIPTOR.full_name == "clinic.v1.Patient"
    assert read_methods(files())[PATH][0] is not methods[PATH][0]


def test_documents() -> None:
    """Names are the schema's; enums, maps, times and nested messages show as one reads them."""
    message = patient(
        name="Ada",
        number=1 << 40,
        scan=b"a text",
        seen={"seconds": 0},
        ward=1,
        parent=patient(name="Byron"),
        notes={"mood": "fine"},
        scores=[0.5, 2],
    )
    read = decoded(message)
    assert read.documents == (
        {
            "name": "Ada",
            "number": 1 << 40,
            "scan": "a text",
            "seen": "1970-01-01T00:00:00Z",
            "ward": "WARD_EAST",
            "parent": {"name": "Byron"},
            "notes": {"mood": "fine"},
            "scores": [0.5, 2.0],
        },
    )
    assert not read.is_cut
    assert type(message).FromString(read.data[5:]) == message


def test_binary_fields() -> None:
    """Bytes that are no text show by their size, and the message's bytes are not kept."""
    read = decoded(patient(scan=b"\xff\x00"))
    assert (read.documents, read.data) == (({"scan": "<binary 2 bytes>"},), b"")


def test_unknown_enum_and_fields() -> None:
    """A value without a name is its number; fields that the schema lacks are left out, and that is told."""
    read = decoded(patient(ward=7))
    assert read.documents == ({"ward": 7},)
    types = METHODS[PATH]
    read = decode_grpc(PATH, True, "", frame(b"\x0a\x03Ada\xa2\x06\x05other"), 1 << 20, types)
    assert read is not None
    assert (read.documents, read.data, read.is_cut) == (({"name": "Ada"},), frame(b"\x0a\x03Ada"), True)


def test_any() -> None:
    """What an Any holds is shown where its type is known; else it is bytes."""
    message = patient()
    message.more.Pack(patient(name="Ada"))
    read = decoded(message)
    url = "type.googleapis.com/clinic.v1.Patient"
    assert read.documents == ({"more": {"@type": url, "name": "Ada"}},)
    assert read.data
    message.more.value += b"\xa2\x06\x05other"
    assert decoded(message).data == b""
    message.more.type_url = "type.googleapis.com/other.Type"
    assert decoded(message).documents[0]["more"]["value"].startswith("<binary")


def test_other_bytes() -> None:
    """Bytes that are none of the method's messages are told as such."""
    types = METHODS[PATH]
    assert decode_grpc(PATH, True, "", frame(b"\x0a\x05ab"), 1 << 20, types) is None
    assert decode_grpc(PATH, True, "", frame(b"\x0a\x02\xff\xff"), 1 << 20, types) is None


def test_a_set_that_lacks_a_file() -> None:
    """The fault names the import."""
    with pytest.raises(DescriptorError, match=r"clinic/messages\.proto"):
        read_methods(files()[:1])


@pytest.mark.parametrize("data", [b"\xff", b"no set at all"])
def test_no_set(data: bytes) -> None:
    """Bytes that are no FileDescriptorSet."""
    with pytest.raises(DescriptorError, match="FileDescriptorSet"):
        read_set(data)


def test_files_that_contradict() -> None:
    """Files that no pool takes are a fault, not an exception of protobuf's."""
    service, messages = files()
    messages.message_type[0].field[0].number = 2
    with pytest.raises(DescriptorError, match="contradict"):
        read_methods([service, messages])
    service, messages = files()
    messages.dependency.append("clinic/service.proto")
    with pytest.raises(DescriptorError, match="contradict"):
        read_methods([service, messages])


def test_documents_are_the_json_of_protobuf() -> None:
    """Bar 64-bit integers and bytes, a document is what protobuf's own mapping reads as the same message."""
    message = patient(name="Ada", ward=1, notes={"a": "b"}, scores=[1.5], seen={"seconds": 9})
    assert json_format.ParseDict(decoded(message).documents[0], patient()) == message
