"""Targets: what is fuzzed, by name, and what each begins with.

A target takes any bytes and raises where a promise is broken. It needs no fuzzer: a crash is looked at with
`python -m tests.fuzz --again TARGET FILE`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import conversion, framers, parsers, seeds, taps


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes any bytes."""

    take: Callable[[bytes], None]
    seeds: seeds.Seeds


TARGETS = {
    "http1_requests": Target(framers.requests, seeds.requests),
    "http1_responses": Target(framers.responses, seeds.responses),
    "http1_tap": Target(taps.http1, seeds.http1_connections),
    "http2_tap": Target(taps.http2, seeds.http2_connections),
    "hpack": Target(parsers.hpack_blocks, seeds.hpack_blocks),
    "huffman": Target(parsers.huffman, seeds.huffman),
    "sse": Target(parsers.sse, seeds.sse),
    "sniff": Target(parsers.sniff, seeds.sniff),
    "websocket": Target(parsers.websocket, seeds.websocket),
    "inbox": Target(parsers.inbox, seeds.inbox),
    "conversion": Target(conversion.conversion, seeds.conversion),
}
