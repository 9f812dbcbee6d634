"""The examples in the docstrings of both clients are true of a real storage."""

import asyncio
import doctest
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from infertap import AsyncClient, Client, v1
from tests.journeys.filling import fill, made

if TYPE_CHECKING:
    from tests.journeys.conftest import Storage


def test_examples(start_storage: "Callable[..., Storage]") -> None:
    """Each example gives what it says it gives."""
    storage = start_storage()
    records = [made(1), made(2), made(3)]
    records[1].state, records[1].http_status = v1.FAILED, 500
    fill(storage.address, records)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with Client(storage.address) as client:
        names = {
            "Client": Client,
            "AsyncClient": AsyncClient,
            "address": storage.address,
            "asyncio": asyncio,
            "call_id": records[0].call_id,
            "client": client,
            "timedelta": timedelta,
        }
        examples = [
            test
            for documented in (Client, AsyncClient)
            for test in doctest.DocTestFinder().find(documented, globs=names)
            if test.examples
        ]
        for test in examples:
            runner.run(test, clear_globs=False)
    assert len(examples) >= 10
    assert runner.summarize().failed == 0
