"""Kinds: which kinds of sinks there are, and the module of each. Touches the import system.

A kind's module is imported when a sink of that kind is configured: whoever has no Kafka needs no client of
it. What a module has to offer is in `interface.py`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from storage.sinks.interface import OpenSink


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind is written, and the extra of infertap that has what it needs."""

    module: str
    extra: str = "storage"
    # Where settings say nothing else: how large a batch gets, and how long it is waited for more.
    batch_records: int = 500
    batch_bytes: str = "4MiB"
    linger: str = "250ms"
    # A batch is the same after a crash too: where it ends is kept before it is delivered.
    repeats_exactly: bool = False


KINDS: Final = {
    "jsonl": Kind("storage.sinks.jsonl"),
    "cloudevents": Kind("storage.sinks.cloudevents"),
    "objects": Kind("storage.sinks.objects", "export", 100_000, "32MiB", "5m", repeats_exactly=True),
    "delta": Kind("storage.sinks.delta", "delta", 100_000, "32MiB", "5m", repeats_exactly=True),
    "kafka": Kind("storage.sinks.kafka", "kafka"),
    "otlp": Kind("storage.sinks.otlp"),
    "elasticsearch": Kind("storage.sinks.elasticsearch"),
}


def reader_of(kind: str) -> Callable[[Any], OpenSink]:
    """The `read_kind` of that kind; raises ValueError, also where a package is missing."""
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}")
    try:
        module = importlib.import_module(KINDS[kind].module)
    except ImportError as error:
        raise ValueError(
            f"kind: {kind} needs {error.name or 'more packages'}: pip install 'infertap[{KINDS[kind].extra}]'"
        ) from None
    read: Callable[[Any], OpenSink] = module.read_kind
    return read
