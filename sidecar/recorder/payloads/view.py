"""View: what goes into the reading of a call's payloads, and what comes out of it. Values only."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

# A tensor has no more dimensions than this, and a call no more tensors, that anyone would want to list.
MOST_TENSORS: Final = 256
MOST_DIMENSIONS: Final = 16
# What redaction puts in place of what a cut may have halved.
_WITHHELD: Final = "<cut>"
# Types of bodies that are many documents.
STREAMS: Final = frozenset(
    {
        "text/event-stream",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
    }
)


@dataclass(frozen=True, slots=True)
class Side:
    """One direction: its media type and its redacted documents, one for each event, line or message."""

    media_type: str = ""
    documents: tuple[Any, ...] = ()
    # The redacted bytes that the documents were read from, where they are kept.
    data: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        """The first document where it is an object; else an empty one."""
        first = self.documents[0] if self.documents else None
        return first if isinstance(first, dict) else {}

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Those documents that are objects; of one that is a list (a stream sent as one), its objects."""
        only = self.documents[0] if len(self.documents) == 1 else None
        listed = only if isinstance(only, list) else self.documents
        return [each for each in listed if isinstance(each, dict)]

    @property
    def is_stream(self) -> bool:
        """Whether its documents are pieces of one answer."""
        return self.media_type in STREAMS or len(self.documents) > 1


@dataclass(frozen=True, slots=True)
class CallPayloads:
    """A call as the readers see it; everything in it is redacted."""

    # Without the query; "/package.Service/Method" for gRPC.
    path: str
    request: Side = field(default_factory=Side)
    response: Side = field(default_factory=Side)
    # Of HTTP; 0 where none was seen.
    status: int = 0
    # Of gRPC; -1 where none was seen.
    grpc_status: int = -1
    grpc_message: str = ""
    # The messages in the details of its status (google.rpc), each with its type's name as `@type`.
    grpc_details: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call says of its failure."""

    # As the model names it.
    type: str = ""
    message: str = ""
    stack_trace: str = ""

    def __bool__(self) -> bool:
        return bool(self.type or self.message or self.stack_trace)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as its protocol describes it, without its values."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True)
class View:
    """What a call's payloads tell. Empty where they don't."""

    # Whose interface the call speaks, and what it asks of it; see docs/records.md.
    api: str = ""
    operation: str = ""
    model_name: str = ""
    # As the payload says, and as the path does.
    model_version: str = ""
    path_version: str = ""
    # The caller's own id inside the body.
    payload_id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    finish_reasons: list[str] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    # The call as one reads it, where that is not what the body says already: a stream put together.
    request_view: Any = None
    response_view: Any = None
    # An answer that says in its body that it failed, whatever its status.
    failed: bool = False
    failure: Failure = Failure()
    # A payload is not as the interface has it.
    is_odd: bool = False


def text_of(value: Any) -> str:
    """`value` where it is text (or a number that names something), else empty."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def name_of(value: Any) -> str:
    """As `text_of`; empty where redaction withheld it beside a cut, which is no name."""
    name = text_of(value)
    return "" if name == _WITHHELD else name


def count_of(value: Any) -> int | None:
    """`value` where it counts something that a record can hold."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return value if is_count else None


def object_of(value: Any) -> dict[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """`value` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def named(names: Collection[str], *documents: dict[str, Any]) -> dict[str, Any]:
    """Those members of `documents` that have one of `names`; of two alike the later document's."""
    return {name: value for document in documents for name, value in document.items() if name in names}


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of nested lists, as their first members have it; empty for none."""
    sizes: list[int] = []
    while isinstance(value, list) and len(sizes) < MOST_DIMENSIONS:
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)


def sizes_of(shape: Any) -> tuple[int, ...]:
    """A shape as it is told; sizes that no record can hold are left out."""
    listed = list_of(shape)[:MOST_DIMENSIONS]
    return tuple(size for size in listed if isinstance(size, int) and -(1 << 63) <= size < 1 << 63)
