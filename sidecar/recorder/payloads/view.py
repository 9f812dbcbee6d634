"""View: what goes into the reading of a call's payloads, and what comes out of it. Values only."""

from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True, slots=True)
class CallPayloads:
    """A call as the readers see it; everything in it is redacted."""

    # Without the query; "/package.Service/Method" for gRPC.
    path: str
    request: Side = field(default_factory=Side)
    response: Side = field(default_factory=Side)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as its protocol describes it, without its values."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True)
class View:
    """What a call's payloads tell. Empty where they don't."""

    model_name: str = ""
    model_version: str = ""
    # The caller's own id inside the body.
    payload_id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    finish_reasons: list[str] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    # The call as one reads it, where that is not what the body says already: a stream put together.
    request_view: Any = None
    response_view: Any = None
    # An answer that says in its body that it failed, whatever its status.
    failed: bool = False


def text_of(value: Any) -> str:
    """`value` where it is text (or a number that names something), else empty."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def count_of(value: Any) -> int | None:
    """`value` where it counts something that a record can hold."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return value if is_count else None
