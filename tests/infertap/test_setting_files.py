"""Files that settings name are read at once or refused."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infertap.setting_files import UnusableFileError, read_file


def odd_files(directory: Path) -> list[str]:
    """What is no regular file: a FIFO, a link to it, a device that never ends, a directory, a socket."""
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
    return [*(str(directory / name) for name in ("fifo", "link", "socket")), "/dev/zero", str(directory)]


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    """Its content, up to the limit and no further; a link to it is as good."""
    (tmp_path / "file").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to("file")
    assert read_file(str(tmp_path / "link"), 10) == b"x" * 10
    with pytest.raises(UnusableFileError, match="file: more than 9 bytes"):
        read_file(str(tmp_path / "file"), 9)
    with pytest.raises(UnusableFileError, match="none: No such file"):
        read_file(str(tmp_path / "none"), 9)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, and a device without end, hold nobody up."""
    for path in odd_files(tmp_path):
        with pytest.raises(UnusableFileError, match=r"not a regular file|No such device or address"):
            read_file(path, 10)


@pytest.mark.parametrize(
    "setting",
    [
        "INFERTAP_HASH_KEY_FILE",
        "INFERTAP_REDACT_RULES_FILE",
        "INFERTAP_DESCRIPTOR_SET",
        "INFERTAP_TLS_CERT_FILE",
        "INFERTAP_UPSTREAM_CA_FILE",
    ],
)
def test_a_sidecar_whose_file_is_a_fifo_says_so(tmp_path: Path, setting: str) -> None:
    """It ends with status 2 and one line that names setting and file, whatever file it is."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    environ = {setting: fifo, "INFERTAP_ROUTES": "tls:127.0.0.1:0=127.0.0.1:1"}
    environ |= {"INFERTAP_TLS_CERT_FILE": fifo, "INFERTAP_TLS_KEY_FILE": fifo} if "CERT" in setting else {}
    if setting == "INFERTAP_UPSTREAM_CA_FILE":
        environ["INFERTAP_ROUTES"] = "127.0.0.1:0=tls:127.0.0.1:1"
    elif "CERT" not in setting:
        del environ["INFERTAP_ROUTES"]
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert setting in ended.stderr
    assert f"{fifo}: not a regular file" in ended.stderr
    assert ended.stderr.count("\n") == 1
