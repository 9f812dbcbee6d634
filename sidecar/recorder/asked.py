"""Asked: what the first segment of a call tells of it, for those that follow.

The request is in the first; filters by model, and whoever looks at a later one alone, want it there too.
Holds redacted values only, of MOST calls at most: what is forgotten is missing in later segments and no more.
"""

from collections import OrderedDict
from typing import Final

from infertap import v1

MOST: Final = 1000
# What is no name or number of a few characters is left to the first segment.
_MOST_PARAMETERS: Final = 4 << 10


class Asked:
    """What is known of calls that go on."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, v1.Record] = OrderedDict()

    def go_on(self, call_id: bytes, record: v1.Record) -> None:
        """Fill into a segment what earlier ones told; and remember it where another follows."""
        known = self._known.pop(call_id, None) if record.segment else None
        if known is not None:
            record.model.MergeFrom(known.model)
            record.payload_id = known.payload_id or record.payload_id
        if record.is_continued:
            self._known[call_id] = _asked(record)
            while len(self._known) > MOST:
                self._known.popitem(last=False)


def _asked(record: v1.Record) -> v1.Record:
    parameters = record.model.parameters_json
    return v1.Record(
        payload_id=record.payload_id,
        model=v1.Model(
            name=record.model.name,
            version=record.model.version,
            parameters_json=parameters if len(parameters) <= _MOST_PARAMETERS else "",
        ),
    )
