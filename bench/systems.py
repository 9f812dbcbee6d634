"""Systems: what stands between load and upstream, each pinned alone to the tested core with one worker.

STARTERS has them by name: each is a context in which the system runs and listens. Of infertap only the relay
is on that core; its recorder, which redacts everything, shares the load core, and so does its parent.
"""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import tools
from bench.load.grpc_calls import answer
from bench.load.measuring import LOAD_CORE
from bench.peers import envoy, haproxy, nginx
from bench.ports import Ports
from bench.processes import StartError, await_ports, free_port, pin, started

TESTED_CORE: Final = 0
_READY_SECONDS: Final = 20.0
_SETTLED_SECONDS: Final = 60.0
_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Site:
    """Where systems are set up: a directory for their files, the upstream, infertap's further settings."""

    directory: Path
    up: Ports
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class System:
    """One that runs. `pids` are its processes (descendants not named); direct has none."""

    name: str
    ports: Ports
    pids: tuple[int, ...] = ()
    # Of infertap only: where its account is, and the two processes that are looked at alone.
    admin: int | None = None
    relay: int | None = None
    recorder: int | None = None

    def account(self) -> dict[str, Any]:
        """The account of law 4, once nothing is in transit; empty for other systems."""
        if self.admin is None:
            return {}
        until = time.monotonic() + _SETTLED_SECONDS
        while time.monotonic() < until:
            account = _get_json(self.admin, "/account")
            if account["calls"]["open"] == account["hand_over"]["in_transit"] == 0:
                return account
            time.sleep(0.1)
        raise TimeoutError(f"{self.name}: calls are still in transit after {_SETTLED_SECONDS:.0f} s")


def absent(name: str) -> str | None:
    """Why a system can't be had here; None where it can."""
    if name == "infertap_compiled" and tools.compiled() is None:
        return "not built, or older than its source (make compiled)"
    return None


@contextmanager
def upstream(directory: Path) -> Iterator[Ports]:
    """The model's place, on the load core: nginx for small answers, our own for bodies and events."""
    ports = _free_ports()
    (directory / "answer.grpc").write_bytes(answer())
    small = _nginx_command(directory, "upstream", nginx.upstream(directory, ports))
    bulk = [sys.executable, "-m", "bench.model", str(ports.bulk)]
    with (
        _listening(small, LOAD_CORE, directory / "upstream.log", (ports.h1, ports.h2)),
        _listening(bulk, LOAD_CORE, directory / "model.log", (ports.bulk,)),
    ):
        yield ports


@contextmanager
def _listening(command: list[str], core: int, log: Path, ports: Iterable[int]) -> Iterator[int]:
    with started(command, core, log) as process:
        await_ports(process, log, ports)
        yield process.pid


@contextmanager
def _peer(name: str, command: list[str], site: Site, ports: Ports, at: Iterable[int]) -> Iterator[System]:
    with _listening(command, TESTED_CORE, site.directory / f"{name}.log", at) as pid:
        yield System(name, ports, (pid,))


def _direct(site: Site) -> AbstractContextManager[System]:
    return nullcontext(System("direct", site.up))


def _proxy_nginx(site: Site) -> AbstractContextManager[System]:
    ports = _free_ports()
    command = _nginx_command(site.directory, "nginx", nginx.proxy(site.directory, ports, site.up))
    return _peer("nginx", command, site, ports, ports.all())


def _stream_nginx(site: Site) -> AbstractContextManager[System]:
    ports = _free_ports()
    text = nginx.stream(site.directory, ports, site.up, tools.nginx_stream_module())
    command = _nginx_command(site.directory, "nginx_stream", text)
    return _peer("nginx_stream", command, site, ports, ports.all())


def _nginx_command(directory: Path, name: str, text: str) -> list[str]:
    config = directory / f"{name}.conf"
    config.write_text(text)
    return ["nginx", "-c", str(config), "-e", "stderr"]


@contextmanager
def _envoy(name: str, site: Site) -> Iterator[System]:
    ports, config = _free_ports(), site.directory / f"{name}.json"
    with tools.scratch_memory() as taps:
        tapped = taps if name == "envoy_tap" else None
        config.write_text(json.dumps(envoy.configuration(ports, site.up, tapped)))
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        command = [str(tools.envoy()), "-c", str(config), *options]
        with _peer(name, command, site, ports, ports.all()) as system:
            yield system


def _haproxy(site: Site) -> AbstractContextManager[System]:
    ports, config = _free_ports(), site.directory / "haproxy.cfg"
    config.write_text(haproxy.configuration(ports, site.up))
    return _peer("haproxy", ["haproxy", "-db", "-q", "-f", str(config)], site, ports, ports.all())


def _mitmproxy(site: Site) -> AbstractContextManager[System]:
    ports = _free_ports()
    modes = [
        f"--mode=reverse:http://127.0.0.1:{to}@127.0.0.1:{at}"
        for at, to in ((ports.h1, site.up.h1), (ports.bulk, site.up.bulk))
    ]
    addon = str(_HERE / "peers" / "mitmproxy_addon.py")
    home = f"--set=confdir={site.directory / 'mitmproxy'}"
    command = [str(tools.mitmdump()), "--quiet", *modes, home, "-s", addon]
    return _peer("mitmproxy", command, site, ports, (ports.h1, ports.bulk))


def _aiohttp(site: Site) -> AbstractContextManager[System]:
    ports = _free_ports()
    routes = [f"{ports.h1}={site.up.h1}", f"{ports.bulk}={site.up.bulk}"]
    command = [sys.executable, "-m", "bench.peers.aiohttp_proxy", *routes]
    return _peer("aiohttp", command, site, ports, (ports.h1, ports.bulk))


def _grpc_aio(site: Site) -> AbstractContextManager[System]:
    ports = _free_ports()
    command = [sys.executable, "-m", "bench.peers.grpc_proxy", str(ports.h2), str(site.up.h2)]
    return _peer("grpc_aio", command, site, ports, (ports.h2,))


@contextmanager
def _infertap(name: str, site: Site) -> Iterator[System]:
    ports, admin, log = _free_ports(), free_port(), site.directory / f"{name}.log"
    environ = _environment(name, site, ports, admin)
    with started([sys.executable, "-m", "sidecar"], LOAD_CORE, log, environ) as process:
        children = _children(log)
        relay = next(pid for child, pid in children.items() if child.startswith("relay"))
        pin([relay], TESTED_CORE)
        await_ports(process, log, ports.all())
        yield System(name, ports, (process.pid,), admin, relay, children["recorder"])


def _environment(name: str, site: Site, ports: Ports, admin: int) -> dict[str, str]:
    routes = zip(ports.all(), site.up.all(), strict=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
    environ |= {
        "INFERTAP_ROUTES": ",".join(f"127.0.0.1:{at}=127.0.0.1:{to}" for at, to in routes),
        "INFERTAP_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "INFERTAP_API_LISTEN": f"127.0.0.1:{free_port()}",
        "INFERTAP_SPOOL_DIR": str(site.directory / f"{name}-spool"),
        "INFERTAP_DRAIN_DELAY_SECONDS": "0",
        "INFERTAP_DRAIN_SECONDS": "1",
        "INFERTAP_SAMPLE_ERROR_MAX_PER_SECOND": "off",  # loads that end cut off calls: each is to count
        "INFERTAP_RECORDER_PRIORITY": "nice" if name == "infertap_nice" else "idle",
    }
    return environ | dict(site.settings) | tools.code_path(compiled=name == "infertap_compiled")


def _children(log: Path) -> dict[str, int]:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        if any(event["event"] == "recording" for event in events):
            return {event["child"]: event["pid"] for event in events if event["event"] == "child started"}
        time.sleep(0.05)
    raise StartError(f"does not start: {log.read_text()[-300:]}")


Starter = Callable[[Site], AbstractContextManager[System]]
STARTERS: Final[Mapping[str, Starter]] = {
    "direct": _direct,
    "infertap": partial(_infertap, "infertap"),
    "infertap_nice": partial(_infertap, "infertap_nice"),
    "infertap_compiled": partial(_infertap, "infertap_compiled"),
    "nginx": _proxy_nginx,
    "nginx_stream": _stream_nginx,
    "haproxy": _haproxy,
    "envoy": partial(_envoy, "envoy"),
    "envoy_tap": partial(_envoy, "envoy_tap"),
    "mitmproxy": _mitmproxy,
    "aiohttp": _aiohttp,
    "grpc_aio": _grpc_aio,
}


def _free_ports() -> Ports:
    return Ports(free_port(), free_port(), free_port())


def _get_json(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()
