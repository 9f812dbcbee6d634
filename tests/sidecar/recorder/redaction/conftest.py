"""A redactor for each test, by settings."""

from collections.abc import Callable

import pytest

from sidecar import config
from sidecar.recorder.redaction import Policy, Redactor

KEY = b"a key for tests"


@pytest.fixture
def redactor() -> Callable[..., Redactor]:
    def make(hash_key: bytes | None = KEY, **settings: str) -> Redactor:
        environ = {f"INFERTAP_{name.upper()}": value for name, value in settings.items()}
        return Redactor(Policy.of(config.read(environ), hash_key))

    return make
