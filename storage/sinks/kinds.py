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


KINDS: Final = {
    "jsonl": Kind("storage.sinks.jsonl"),
    "cloudevents": Kind("storage.sinks.cloudevents"),
    "objects": Kind("storage.sinks.objects", "export"),
    "delta": Kind("storage.sinks.delta", "delta"),
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
