"""`infertap redact --explain` shows on a sample what the policy of the settings would keep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMAIL = "ada@example.org"


def explain(
    *arguments: str, given: bytes = b"", cwd: Path | None = None, **settings: str
) -> "subprocess.CompletedProcess[bytes]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
    environ |= {f"INFERTAP_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "infertap.cli", "redact", *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, timeout=60, check=False, env=environ, cwd=cwd
    )


def test_a_sample(tmp_path: Path) -> None:
    """Output is what would be kept; what was found is told by class, number and place, never by value."""
    sample = tmp_path / "request.json"
    sample.write_text(f'{{"messages":[{{"content":"mail {EMAIL} or {EMAIL}"}}],"password":"hunter2","n":1}}')
    done = explain("--explain", str(sample))
    assert done.stdout == (
        b'{"messages":[{"content":"mail <email> or <email>"}],"password":"<secret>","n":1}\n'
    )
    told = done.stderr.decode()
    assert done.returncode == 0
    assert "type     application/json" in told
    assert "email x 2" in told
    assert "secret x 1" in told
    assert "changed  $.messages[0].content" in told
    assert "changed  $.password" in told
    assert EMAIL not in told
    assert "hunter2" not in told


def test_settings_are_those_of_the_sidecar(tmp_path: Path) -> None:
    """Classes, fields and actions come from the environment, and so does the policy's version."""
    sample = tmp_path / "a.json"
    sample.write_text(f'{{"name":"Ada","mail":"{EMAIL}"}}')
    done = explain("--explain", str(sample), redact="none", redact_fields="$.name=mask")
    assert done.stdout == f'{{"name":"<field>","mail":"{EMAIL}"}}\n'.encode()
    other = explain("--explain", str(sample))
    versions = [each.stderr.splitlines()[0] for each in (done, other)]
    assert versions[0] != versions[1]
    assert all(version.startswith(b"policy   ") for version in versions)


def test_standard_input_and_type() -> None:
    """A sample may come by standard input; the type decides how it is read."""
    done = explain("--content-type", "text/csv", "--explain", "-", given=b"token,b\nx,y\n")
    assert (done.returncode, done.stdout) == (0, b"token,b\n<secret>,y\n")


def test_what_would_be_withheld(tmp_path: Path) -> None:
    """Ends with status 1, and says why."""
    sample = tmp_path / "image.png"
    sample.write_bytes(b"\x89PNG\0\0")
    done = explain("--explain", str(sample))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"withheld digested" in done.stderr


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("none.json", {}, b"none.json: No such file"),
        ("a.json", {"redact": "emial"}, b"no redaction class 'emial'"),
        ("a.json", {"redact_rules_file": "/none"}, b"INFERTAP_REDACT_RULES_FILE: /none"),
    ],
)
def test_what_can_not_be_used(tmp_path: Path, name: str, settings: dict[str, str], said: bytes) -> None:
    """A wrong setting, or no such file, ends with status 2 and a line that says so."""
    (tmp_path / "a.json").write_text("{}")
    done = explain("--explain", name, cwd=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_explain_must_be_said() -> None:
    """The command does nothing else."""
    done = explain()
    assert done.returncode == 2
    assert b"--explain" in done.stderr
