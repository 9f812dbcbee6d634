"""Records as sinks get them."""

from collections.abc import Callable
from typing import Any

import pytest

from infertap import v1

SPOOL = b"s" * 16


@pytest.fixture
def served(making) -> Callable[..., v1.Record]:
    """A record as the query service serves it: with spool, number and tenant."""

    def made(sequence: int = 1, **fields: Any) -> v1.Record:
        record = making.record(sequence, **fields)
        record.spool_id, record.sequence, record.tenant = SPOOL, sequence, "acme"
        return record

    return made
