"""Scenarios: what is measured, on which systems, with what load. SCENARIOS has all, in running order.

Each runs only the systems for which it makes sense: those that speak the protocol, and as many peers as tell
something. A sustained scenario has one round, in which infertap goes on for a minute at the default length.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench import load
from bench.load import Figures
from bench.load.measuring import LOAD_CORE
from bench.observing import growth, proportional_mib, sampled, shares
from bench.processes import pin, stopped
from bench.systems import TESTED_CORE, System

Load = Callable[[System, float], Figures]
PRODUCTS: Final = ("infertap", "infertap_nice", "infertap_compiled")
# A sustained round, in lengths of a round: of infertap, and of the others.
_SUSTAINED: Final = (20.0, 3.0)
_FULL_LOAD: Final = {"connections": 64, "body_bytes": 16 << 10}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of them; `settings` are infertap's own. `once` is for figures that hardly vary."""

    name: str
    title: str
    load: Load
    systems: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    once: bool = False
    sustained: bool = False

    def rounds(self, asked: int) -> int:
        """How many rounds it has where `asked` are the rule."""
        return 1 if self.once or self.sustained else asked

    def seconds(self, system: str, asked: float) -> float:
        """How long a round of `system` lasts where `asked` is the rule."""
        if not self.sustained:
            return asked
        return asked * _SUSTAINED[0 if system in PRODUCTS else 1]


# -- loads: which of a system's ports, and what is done to it meanwhile


def _h1(system: System, seconds: float, connections: int) -> Figures:
    return load.h1_closed(system.ports.h1, seconds, connections)


def _h1_open(system: System, seconds: float, rate: float) -> Figures:
    return load.h1_open(system.ports.h1, seconds, rate)


def _h2(system: System, seconds: float, connections: int, streams: int) -> Figures:
    return load.h2_closed(system.ports.h2, seconds, connections, streams)


def _grpc(system: System, seconds: float, connections: int, streams: int) -> Figures:
    return load.grpc_closed(system.ports.h2, seconds, connections, streams)


def _grpc_client(system: System, seconds: float, concurrent: int) -> Figures:
    return load.grpc_calls(system.ports.h2, seconds, concurrent)


def _body_up(system: System, seconds: float) -> Figures:
    return load.bodies(system.ports.bulk, seconds, "up")


def _body_down(system: System, seconds: float) -> Figures:
    return load.bodies(system.ports.bulk, seconds, "down")


def _events(system: System, seconds: float, streams: int) -> Figures:
    return load.events(system.ports.bulk, seconds, streams)


def _idle(system: System, seconds: float) -> Figures:
    time.sleep(seconds)
    return {"pss_mib": proportional_mib(system.pids)}


def _one_core(system: System, seconds: float) -> Figures:
    """First with the recorder stopped, then with as much to do for it as the relay can offer."""
    assert system.relay is not None
    assert system.recorder is not None
    pin([system.relay], LOAD_CORE)
    try:
        with stopped(system.recorder):
            alone = _h1(system, seconds, 16)
        before = system.account()
        beside = _h1(system, seconds, 16)
        return (
            beside
            | shares(before, system.account())
            | {f"{metric}_stopped_us": alone[f"{metric}_us"] for metric in ("p50", "p99")}
        )
    finally:
        pin([system.relay], TESTED_CORE)


def _memory(system: System, seconds: float) -> Figures:
    with sampled(system.pids) as samples:
        figures = load.h1_closed(system.ports.h1, seconds, **_FULL_LOAD)
    return figures | growth(samples)


def _memory_recorder_stopped(system: System, seconds: float) -> Figures:
    assert system.recorder is not None
    with stopped(system.recorder):
        return _memory(system, seconds)


# -- who is in which

_ALWAYS: Final = ("direct", "infertap")
_BARRED: Final = ("direct", *PRODUCTS, "nginx", "haproxy", "envoy")
_PLAIN: Final = (*_ALWAYS, "nginx", "haproxy", "envoy")
_GRPC: Final = (*_ALWAYS, "infertap_compiled", "nginx", "haproxy", "envoy", "grpc_aio")
_BODY: Final = (*_ALWAYS, "infertap_compiled", "nginx_stream", "nginx", "haproxy", "envoy", "aiohttp")
_OPEN: Final = (*_ALWAYS, "nginx", "envoy")
_NOBODY: Final = "127.0.0.1:9"  # the discard port: storage that is away

SCENARIOS: Final = (
    Scenario(
        "h1_1k_c1",
        "HTTP/1.1, POST 1 KiB, one call at a time",
        partial(_h1, connections=1),
        (*_BARRED, "mitmproxy", "aiohttp"),
    ),
    Scenario(
        "h1_1k_c16",
        "HTTP/1.1, POST 1 KiB, 16 connections",
        partial(_h1, connections=16),
        (*_BARRED, "envoy_tap", "nginx_stream", "mitmproxy", "aiohttp"),
    ),
    Scenario(
        "h1_1k_c256",
        "HTTP/1.1, POST 1 KiB, 256 connections",
        partial(_h1, connections=256),
        (*_PLAIN, "aiohttp"),
    ),
    Scenario(
        "h1_1k_c16_sample01",
        "As above with 16 connections, sampling at 0.1",
        partial(_h1, connections=16),
        (*_ALWAYS, "nginx"),
        {"INFERTAP_SAMPLE_RATE": "0.1"},
    ),
    Scenario(
        "h1_1k_c16_sample0",
        "As above with 16 connections, sampling at 0",
        partial(_h1, connections=16),
        (*_ALWAYS, "infertap_compiled", "nginx"),
        {"INFERTAP_SAMPLE_RATE": "0"},
    ),
    Scenario(
        "h1_1k_1000rps",
        "HTTP/1.1, POST 1 KiB, 1,000 calls due each second",
        partial(_h1_open, rate=1000.0),
        _OPEN,
        sustained=True,
    ),
    Scenario(
        "h1_1k_4000rps",
        "HTTP/1.1, POST 1 KiB, 4,000 calls due each second",
        partial(_h1_open, rate=4000.0),
        (*_OPEN, "infertap_nice"),
        sustained=True,
    ),
    Scenario(
        "one_core_saturated",
        "Everything on one core, HTTP/1.1, POST 1 KiB, 16 connections, recorder with all it can do",
        _one_core,
        PRODUCTS,
    ),
    Scenario(
        "h2_1k_1x1",
        "HTTP/2, POST 1 KiB, one call at a time",
        partial(_h2, connections=1, streams=1),
        _BARRED,
    ),
    Scenario(
        "h2_1k_4x16",
        "HTTP/2, POST 1 KiB, 4 connections with 16 streams, 10,000 paths",
        partial(_h2, connections=4, streams=16),
        (*_BARRED, "envoy_tap"),
    ),
    Scenario(
        "h2_1k_32x8",
        "HTTP/2, POST 1 KiB, 32 connections with 8 streams, 10,000 paths",
        partial(_h2, connections=32, streams=8),
        (*_PLAIN, "infertap_compiled"),
    ),
    Scenario(
        "grpc_client",
        "gRPC, unary, 1 KiB, 16 at a time on one channel of grpcio",
        partial(_grpc_client, concurrent=16),
        _GRPC,
    ),
    Scenario(
        "grpc_h2load",
        "gRPC, unary, 1 KiB, by h2load, 4 connections with 16 streams",
        partial(_grpc, connections=4, streams=16),
        _GRPC,
    ),
    Scenario("body_16m_up", "HTTP/1.1, requests of 16 MiB, 4 connections", _body_up, _BODY),
    Scenario(
        "body_16m_down", "HTTP/1.1, responses of 16 MiB, 4 connections", _body_down, (*_BODY, "mitmproxy")
    ),
    Scenario(
        "sse_200x50",
        "Server-sent events, 200 streams, 50 a second on each",
        partial(_events, streams=200),
        (*_PLAIN, "infertap_compiled", "mitmproxy", "aiohttp"),
    ),
    Scenario(
        "idle",
        "Memory after the start",
        _idle,
        ("infertap", "infertap_compiled", "nginx", "haproxy", "envoy", "mitmproxy", "aiohttp", "grpc_aio"),
        once=True,
    ),
    Scenario(
        "memory_recorder_stopped",
        "Memory at full load (POST 16 KiB, 64 connections), recorder stopped by SIGSTOP",
        _memory_recorder_stopped,
        ("infertap",),
        sustained=True,
    ),
    Scenario(
        "memory_storage_away",
        "Memory at full load (POST 16 KiB, 64 connections), storage away, spool of 64 MiB",
        _memory,
        ("infertap",),
        {"INFERTAP_STORAGE": _NOBODY, "INFERTAP_SPOOL_BYTES": "64MiB"},
        sustained=True,
    ),
)
