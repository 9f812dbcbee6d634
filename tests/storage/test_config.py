"""Storage's settings, and how it ends where they can't be used."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infertap.settings import Address
from storage import config, process
from storage.__main__ import help_text
from storage.archive import UnreachableError


def test_defaults() -> None:
    """Nothing set: loopback only."""
    settings = config.read({})
    assert settings.listen == Address("127.0.0.1", 9903)
    assert settings.archive_memory_bytes == 512 << 20


def test_settings_of_the_sidecar_are_known() -> None:
    """Both may share an environment."""
    assert config.read({"INFERTAP_LISTEN": "127.0.0.1:1"}) == config.read({})


def test_help_names_every_setting() -> None:
    """--help prints all of them with their defaults."""
    assert "INFERTAP_WEB_LISTEN=127.0.0.1:9904" in help_text()


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environ = {f"INFERTAP_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "storage", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"archiv": "/x"}, "INFERTAP_ARCHIV: no such setting; did you mean INFERTAP_ARCHIVE?"),
        ({"archive_memory_bytes": "1"}, "INFERTAP_ARCHIVE_MEMORY_BYTES='1': expected"),
        ({"storage_listen": "9903"}, "INFERTAP_STORAGE_LISTEN='9903': expected host:port"),
        ({"archive": "/dev/null"}, "INFERTAP_ARCHIVE: /dev/null"),
        (
            {"archive": "s3://key:secret@x"},
            "INFERTAP_ARCHIVE: s3://…: expected a directory, or clickhouse://",
        ),
        ({"archive": "clickhouse://ada@127.0.0.1:1/"}, "INFERTAP_ARCHIVE: database: expected a name"),
    ],
)
def test_wrong_settings(settings: dict[str, str], said: str) -> None:
    """A setting that can't be used ends storage at once with one line."""
    ended = run(**settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1


def test_nobody_answers_for_the_archive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Storage says once that it waits, and gives up after a while with one line."""
    monkeypatch.setattr(process, "_UNREACHABLE_SECONDS", 0.3)
    monkeypatch.setattr(process, "_AGAIN_SECONDS", 0.05)
    settings = config.read({"INFERTAP_ARCHIVE": "clickhouse://ada:s3cret@127.0.0.1:1/x"})
    with pytest.raises(UnreachableError, match=r"ClickHouse at 127\.0\.0\.1:1: no answer \(\w+\)"):
        process._open_archive(settings)
    said = "".join(capsys.readouterr())
    assert said.count("waiting for the archive") == 1
    assert "s3cret" not in said


def test_taken_port(tmp_path: Path) -> None:
    """So does an address that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for name in ("storage_listen", "web_listen"):
            others = {"storage_listen": "127.0.0.1:0", "web_listen": "127.0.0.1:0"}
            ended = run(archive=str(tmp_path / name), **(others | {name: address}))
            assert ended.returncode == 2
            assert f"INFERTAP_{name.upper()}: can't listen on {address}" in ended.stderr
            assert "fault" not in ended.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"identities_file"}, "INFERTAP_IDENTITIES_FILE: "),
        (
            {"server_tls_cert_file", "server_tls_key_file"},
            "INFERTAP_SERVER_TLS_CERT_FILE, INFERTAP_SERVER_TLS_KEY_FILE: ",
        ),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, named: set[str], said: str) -> None:
    """The line names the file and the settings that name it."""
    absent = str(tmp_path / "absent")
    ended = run(archive=str(tmp_path / "archive"), **dict.fromkeys(named, absent))
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"{said}{absent}: No such file or directory"


def test_arguments() -> None:
    """It has none but --help."""
    assert run("--help").returncode == 0
    assert run("serve").returncode == 2
