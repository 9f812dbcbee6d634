"""Calls as the readers get them, and hostile ones."""

from collections.abc import Callable
from typing import Any

import pytest

from sidecar.recorder.payloads import CallPayloads, Side, View, understand

Read = Callable[..., View]


@pytest.fixture(scope="session")
def read() -> Read:
    """What a call of one request and so many answers tells."""

    def reading(
        path: str,
        request: Any = None,
        *answers: Any,
        media_type: str = "application/json",
        status: int = 200,
        data: bytes = b"",
        **others: Any,
    ) -> View:
        asked = Side("application/json", () if request is None else (request,))
        return understand(CallPayloads(path, asked, Side(media_type, answers, data), status, **others))

    return reading
