"""Tools: their versions, and whether the compiled build may be measured."""

import os
from pathlib import Path

import pytest

from bench import tools


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", "4.1.0"),
        ("h2load nghttp2/1.52.0", "1.52.0"),
        ("command not found", "?"),
    ],
)
def test_version(said: str, found: str) -> None:
    """The first thing that looks like one."""
    assert tools.version(said) == found


def test_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled build is found, unless a source is newer than it."""
    monkeypatch.chdir(tmp_path)
    assert tools.compiled() is None
    source, built = tmp_path / "sidecar/tap/http1.py", tmp_path / "build/compiled/sidecar/tap/http1.so"
    for path, changed in ((source, 100), (built, 200)):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (changed, changed))
    assert tools.compiled() == tmp_path / "build/compiled"
    assert tools.code_path(compiled=True)["PYTHONPATH"] == str(tmp_path / "build/compiled")
    assert tools.code_path(compiled=False) == {}
    os.utime(source, (300, 300))
    assert tools.compiled() is None
