"""Systems: the upstream, and what stands between it and the load: nothing, nginx, Envoy, infertap.

One core for the system under test, the other for everything else: load, upstream, and infertap's recorder.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TESTED_CORE: Final = 0
OTHER_CORE: Final = 1
_READY_SECONDS: Final = 20.0
_SETTLED_SECONDS: Final = 60.0

_ANSWER: Final = (
    '{"model_name":"iris","id":"1","outputs":[{"name":"predict","shape":[1],"datatype":"INT64","data":[2]}]}'
)
_NGINX: Final = """\
worker_processes 1; daemon off; pid %(directory)s/%(name)s.pid; error_log %(directory)s/%(name)s.err crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 2m;
  client_body_temp_path %(directory)s/%(name)s-body; proxy_temp_path %(directory)s/%(name)s-proxy;
  fastcgi_temp_path %(directory)s/%(name)s-f; uwsgi_temp_path %(directory)s/%(name)s-u;
  scgi_temp_path %(directory)s/%(name)s-s;
  %(servers)s
}
"""
_UPSTREAM: Final = """
  default_type application/json;
  server { listen 127.0.0.1:%(h1)d backlog=4096; location / { return 200 '%(answer)s'; } }
  server { listen 127.0.0.1:%(h2)d http2 backlog=4096; location / { return 200 '%(answer)s'; } }
"""
_PROXY: Final = """
  upstream h1 { server 127.0.0.1:%(up_h1)d; keepalive 64; keepalive_requests 100000000; }
  upstream h2 { server 127.0.0.1:%(up_h2)d; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:%(h1)d backlog=4096;
    location / {
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header x-request-id $request_id;
      proxy_pass http://h1;
    }
  }
  server {
    listen 127.0.0.1:%(h2)d http2 backlog=4096;
    location / { grpc_set_header x-request-id $request_id; grpc_pass grpc://h2; }
  }
"""


@dataclass(frozen=True, slots=True)
class System:
    """Where a system listens."""

    name: str
    h1: int
    h2: int
    # Of infertap only: where its account is.
    admin: int | None = None

    def account(self) -> dict[str, Any]:
        """The account of law 4, once nothing is in transit; empty for other systems."""
        if self.admin is None:
            return {}
        until = time.monotonic() + _SETTLED_SECONDS
        while time.monotonic() < until:
            account = _get_json(self.admin, "/account")
            if account["calls"]["open"] == account["hand_over"]["in_transit"] == 0:
                return account
            time.sleep(0.2)
        raise TimeoutError(f"{self.name}: calls are still in transit after {_SETTLED_SECONDS:.0f} s")


@contextmanager
def upstream(directory: Path) -> Iterator[System]:
    """The model's place: nginx that answers a small JSON."""
    system = System("direct", free_port(), free_port())
    servers = _UPSTREAM % {"h1": system.h1, "h2": system.h2, "answer": _ANSWER}
    with _nginx(directory, "upstream", servers, OTHER_CORE, system):
        yield system


@contextmanager
def nginx(directory: Path, up: System) -> Iterator[System]:
    """nginx as a reverse proxy that adds a request id."""
    system = System("nginx", free_port(), free_port())
    servers = _PROXY % {"h1": system.h1, "h2": system.h2, "up_h1": up.h1, "up_h2": up.h2}
    with _nginx(directory, "proxy", servers, TESTED_CORE, system):
        yield system


@contextmanager
def envoy(directory: Path, up: System, binary: Path) -> Iterator[System]:
    """Envoy passing through: one worker, its router and nothing else."""
    system = System("envoy", free_port(), free_port())
    listeners = [_envoy_listener("h1", system.h1), _envoy_listener("h2", system.h2)]
    clusters = [_envoy_cluster("h1", up.h1, False), _envoy_cluster("h2", up.h2, True)]
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    command = [
        str(binary),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--log-level",
        "off",
        "--disable-hot-restart",
    ]
    with _process(command, TESTED_CORE, directory / "envoy.log"):
        _await_ports(system)
        yield system


@contextmanager
def infertap(directory: Path, up: System, recorder: str) -> Iterator[System]:
    """The product: its relay on the tested core; on the other its recorder, which redacts everything."""
    system = System("infertap", free_port(), free_port(), free_port())
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")} | {
        "INFERTAP_ROUTES": f"127.0.0.1:{system.h1}=127.0.0.1:{up.h1},127.0.0.1:{system.h2}=127.0.0.1:{up.h2}",
        "INFERTAP_ADMIN_LISTEN": f"127.0.0.1:{system.admin}",
        "INFERTAP_API_LISTEN": f"127.0.0.1:{free_port()}",
        "INFERTAP_SPOOL_DIR": str(directory / "spool"),
        "INFERTAP_RECORDER_PRIORITY": recorder,
        "INFERTAP_DRAIN_DELAY_SECONDS": "0",
    }
    log = directory / "infertap.log"
    with _process([sys.executable, "-m", "sidecar"], OTHER_CORE, log, environ):
        _await_ports(system)
        for child, pid in _children(log).items():
            os.sched_setaffinity(pid, {TESTED_CORE if child.startswith("relay") else OTHER_CORE})
        yield system


def _children(log: Path) -> dict[str, int]:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        if any(event["event"] == "recording" for event in events):
            return {event["child"]: event["pid"] for event in events if event["event"] == "child started"}
        time.sleep(0.05)
    raise TimeoutError(f"infertap does not start: {log.read_text()[-500:]}")


# -- processes and ports


@contextmanager
def _nginx(directory: Path, name: str, servers: str, core: int, system: System) -> Iterator[None]:
    config = directory / f"{name}.conf"
    config.write_text(_NGINX % {"directory": directory, "name": name, "servers": servers})
    with _process(
        ["nginx", "-c", str(config), "-e", str(directory / f"{name}.err")], core, directory / f"{name}.log"
    ):
        _await_ports(system)
        yield


@contextmanager
def _process(
    command: list[str], core: int, log: Path, environ: dict[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    with ExitStack() as stack:
        out = stack.enter_context(log.open("wb"))
        pinned = ["taskset", "-c", str(core), *command]
        process = subprocess.Popen(pinned, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _await_ports(system: System) -> None:
    until = time.monotonic() + _READY_SECONDS
    for port in (system.h1, system.h2):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise TimeoutError(f"{system.name} does not listen on {port}") from None
                time.sleep(0.05)


def _get_json(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


# -- Envoy's configuration

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def _socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_listener(name: str, port: int) -> dict[str, Any]:
    manager = {
        "@type": f"type.googleapis.com/{_HCM}",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"type.googleapis.com/{_ROUTER}"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": _socket_address(port), "filter_chains": [chain]}


def _envoy_cluster(name: str, port: int, http2: bool) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _socket_address(port)}}
    cluster: dict[str, Any] = {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {
            _OPTIONS: {
                "@type": f"type.googleapis.com/{_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return cluster
