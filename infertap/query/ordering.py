"""Ordering: what `order_by` means (google.aip.dev/132), the same wherever records are listed. Pure."""

from dataclasses import dataclass
from typing import Final

from infertap import v1
from infertap.query.errors import InvalidArgumentError

_FIELD: Final = "order_by"
TOKEN_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
KEYS: Final = ("start_time", "duration", *TOKEN_COUNTS)
# What a count that was not reported is ordered as: below all others.
NOT_COUNTED: Final = -1
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Order:
    """By one key; records that are alike in it by start, spool id and sequence, in the same direction."""

    # One of KEYS.
    key: str = "start_time"
    is_descending: bool = True

    @classmethod
    def of(cls, asked: str) -> "Order":
        """What `asked` says; latest start first where it is empty. Raises InvalidArgumentError."""
        words = asked.split()
        if not words:
            return cls()
        if words[0] not in KEYS or words[1:] not in ([], ["desc"]):
            raise InvalidArgumentError(_FIELD, f'expected one of {", ".join(KEYS)}, " desc" behind it or not')
        return cls(words[0], len(words) == 2)

    def value_of(self, record: v1.Record) -> int:
        """What `record` is ordered by; fits into 64 bits."""
        if self.key == "start_time":
            return record.timing.start.ToNanoseconds()
        if self.key == "duration":
            return record.timing.duration_us
        count = token_count(record.model, self.key)
        return NOT_COUNTED if count is None else max(_LEAST, min(count, _MOST))


def token_count(model: v1.Model, key: str) -> int | None:
    """`input_tokens`, `output_tokens` or `total_tokens`, the sum of those reported; None where none is."""
    read = model.input_tokens if model.HasField("input_tokens") else None
    written = model.output_tokens if model.HasField("output_tokens") else None
    counts = {"input_tokens": [read], "output_tokens": [written]}.get(key, [read, written])
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


LATEST_FIRST: Final = Order()
