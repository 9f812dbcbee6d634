"""How peers are set up."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import tools
from bench.peers import envoy, haproxy, nginx
from bench.ports import Ports

PORTS, UP = Ports(21001, 21002, 21003), Ports(22001, 22002, 22003)


def filters(configuration) -> list[str]:
    listeners = configuration["static_resources"]["listeners"]
    (names,) = {
        tuple(
            each["name"]
            for each in listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        )
        for listener in listeners
    }
    return list(names)


def test_envoy() -> None:
    """A listener and a cluster for each port, the router, and HTTP/2 where it is spoken."""
    resources = envoy.configuration(PORTS, UP)["static_resources"]
    ports = [each["address"]["socket_address"]["port_value"] for each in resources["listeners"]]
    assert ports == [21001, 21002, 21003]
    assert ["typed_extension_protocol_options" in each for each in resources["clusters"]] == [
        False,
        True,
        False,
    ]
    assert filters(envoy.configuration(PORTS, UP)) == ["envoy.filters.http.router"]


def test_envoy_with_its_tap(tmp_path: Path) -> None:
    """The tap is before the router, and writes into the directory."""
    tapped = envoy.configuration(PORTS, UP, tmp_path)
    assert filters(tapped) == ["envoy.filters.http.tap", "envoy.filters.http.router"]
    assert str(tmp_path / "call") in str(tapped)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_haproxy(tmp_path: Path) -> None:
    """HAProxy takes its configuration."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy.configuration(PORTS, UP))
    assert run("haproxy", "-c", "-f", str(path)) == ""


@pytest.mark.skipif(tools.nginx_lacks_streams(), reason="nginx with its stream module is not installed")
@pytest.mark.parametrize("form", ["upstream", "proxy", "stream"])
def test_nginx(tmp_path: Path, form: str) -> None:
    """nginx takes each of its configurations."""
    path = tmp_path / "nginx.conf"
    texts = {
        "upstream": lambda: nginx.upstream(tmp_path, PORTS),
        "proxy": lambda: nginx.proxy(tmp_path, PORTS, UP),
        "stream": lambda: nginx.stream(tmp_path, PORTS, UP, tools.nginx_stream_module()),
    }
    path.write_text(texts[form]())
    assert run("nginx", "-t", "-q", "-c", str(path), "-e", str(tmp_path / "err")) == ""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr + done.stdout if done.returncode else ""
