"""Message tree: a message of any schema as a document that rules can read.

Pure. Names are the schema's own. Bytes that are text are shown as text, others by their size; a message of
google.protobuf is shown as protobuf's mapping to JSON has it; what an Any holds is shown where the schema
knows its type.
"""

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.recorder.payloads.decoded import Document
from sidecar.recorder.payloads.tensors import binary_mark, readable_text

_ANY: Final = "google.protobuf.Any"
# These have a form of their own in JSON.
_PLAIN: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Empty"),
        *("BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue"),
        "StringValue",
    )
)


def read_message(message: Message) -> Document:
    """The document of `message`, of which fields that its schema lacks are taken out.

    Raises ValueError where a value is none of its field's type.
    """
    size = message.ByteSize()
    message.DiscardUnknownFields()
    is_cut = message.ByteSize() < size
    reader = _Reader()
    tree = reader.tree(message)
    return Document(tree if isinstance(tree, dict) else {"value": tree}, reader.is_readable, is_cut)


class _Reader:
    def __init__(self) -> None:
        self.is_readable = True

    def tree(self, message: Message) -> Any:
        name = message.DESCRIPTOR.full_name
        if name in _PLAIN:
            return MessageToDict(message)
        if name == _ANY:
            return self._any(message)
        return {_name(field): self._field(field, value) for field, value in message.ListFields()}

    def _field(self, field: FieldDescriptor, value: Any) -> Any:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            held = kind.fields_by_name["value"]
            return {_key(key): self._value(held, value[key]) for key in value}
        if field.is_repeated:
            return [self._value(field, each) for each in value]
        return self._value(field, value)

    def _value(self, field: FieldDescriptor, value: Any) -> Any:
        if field.message_type is not None:
            return self.tree(value)
        if field.enum_type is not None:
            named = field.enum_type.values_by_number.get(value)
            return named.name if named is not None else value
        return self._bytes(value) if isinstance(value, bytes) else value

    def _bytes(self, value: bytes) -> str:
        text = readable_text(value)
        if text is not None:
            return text
        self.is_readable = False
        return binary_mark(value)

    def _any(self, message: Any) -> dict[str, Any]:
        said = {"@type": message.type_url}
        try:
            kind = message.DESCRIPTOR.file.pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
            held = GetMessageClass(kind).FromString(message.value)
        except (KeyError, DecodeError):
            return said | {"value": self._bytes(message.value)}
        held.DiscardUnknownFields()
        if held.SerializeToString() != message.value:
            self.is_readable = False  # more is in its bytes than can be shown
        tree = self.tree(held)
        return said | (tree if isinstance(tree, dict) else {"value": tree})


def _name(field: FieldDescriptor) -> str:
    return f"[{field.full_name}]" if field.is_extension else field.name


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
