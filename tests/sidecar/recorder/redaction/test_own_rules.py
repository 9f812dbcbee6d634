"""Rules of a site's own: read from its file, tried on their own examples, and then like the built-in ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import config
from sidecar.parent import StartError
from sidecar.parent.setting_files import check_setting_files
from sidecar.recorder.redaction import Findings, Policy, Redactor, RulesFileError, read_own_rules

GOOD = """
[[rule]]
name = "employee_number"
pattern = 'EMP-(?:[0-9]{6})'
finds = ["EMP-123456 has left", "and EMP-000000"]
passes = ["EMP-12"]

[[rule]]
name = "customer"
pattern = 'C[0-9]{10}'
finds = ["C1234567890"]
action = "last4"
"""


def written(directory: Path, text: str) -> str:
    """The path of a file with that text."""
    path = directory / "rules.toml"
    path.write_text(text)
    return str(path)


def test_rules_are_like_built_in_ones(tmp_path: Path) -> None:
    """What they find is masked by their action, in every encoding, and changes the policy's version."""
    rules = read_own_rules(written(tmp_path, GOOD))
    settings = config.read({})
    policy = Policy.of(settings, None, rules)
    assert policy.version != Policy.of(settings, None).version
    findings = Findings()
    body = b'{"a":"EMP-123456, \\u0045MP-654321","b":"C1234567890","c":"ada@example.org"}'
    redacted = Redactor(policy).body("application/json", body, findings)
    assert redacted.documents == (
        {"a": "<employee_number>, <employee_number>", "b": "<customer:7890>", "c": "<email>"},
    )
    assert findings.total == 4


def rule(**said: str) -> str:
    """One rule, of which something is said otherwise."""
    members = {"name": '"own"', "pattern": "'x[0-9]+'", "finds": '["x1"]'} | said
    return "[[rule]]\n" + "".join(f"{name} = {value}\n" for name, value in members.items() if value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[rule", "no TOML"),
        ("rule = 1", "expected \\[\\[rule\\]\\] tables"),
        ("other = 1", "expected \\[\\[rule\\]\\] tables"),
        (rule(colour='"red"'), "rule 1: expected only"),
        (rule(name='"Own Rule"'), "rule 1: name"),
        (rule(name='"email"'), "rule 1: name: email is taken"),
        (rule() + rule(), "rule 2: name: own is taken"),
        (rule(pattern="'x('"), "rule 1: pattern: not RE2 syntax"),
        (rule(pattern="'(?=x)'"), "rule 1: pattern: not RE2 syntax"),
        (rule(pattern="'x*'"), "rule 1: pattern: it matches nothing at all"),
        (rule(pattern=""), "rule 1: pattern: expected a text"),
        (rule(finds=""), "rule 1: finds: expected at least one"),
        (rule(finds='["x1", "y"]'), "rule 1: finds: nothing is found in example 2"),
        (rule(finds="[1]"), "rule 1: finds: expected a list of texts"),
        (rule(passes='["x2"]'), "rule 1: passes: something is found in example 1"),
        (rule(action='"blur"'), "rule 1: action: expected one of mask, hash, drop, last4"),
    ],
)
def test_faults(tmp_path: Path, text: str, fault: str) -> None:
    """What is wrong is told with the setting, the file and the rule."""
    with pytest.raises(RulesFileError, match=f"INFERTAP_REDACT_RULES_FILE: .*rules.toml: {fault}"):
        read_own_rules(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is a fault; no file at all is none."""
    with pytest.raises(RulesFileError, match="No such file"):
        read_own_rules(str(tmp_path / "none"))
    assert read_own_rules(None) == ()


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """A file beyond the limit is a fault: what is cut off could be whole rules."""
    with pytest.raises(RulesFileError, match="more than 1048576 bytes"):
        read_own_rules(written(tmp_path, GOOD + "# " + "x" * (1 << 20)))


def test_every_fault_is_told_at_the_start(tmp_path: Path) -> None:
    """The sidecar's parent has the file checked, and ends with a line for each fault."""
    check_setting_files(config.read({}))
    check_setting_files(config.read({"INFERTAP_REDACT_RULES_FILE": written(tmp_path, GOOD)}))
    bad = written(tmp_path, rule(action='"x"') + rule(name='"b"', pattern="'('"))
    with pytest.raises(StartError, match=r"rule 1: action(?s:.*)rule 2: pattern"):
        check_setting_files(config.read({"INFERTAP_REDACT_RULES_FILE": bad}))


def test_a_sidecar_with_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """The command says what is wrong and ends with status 2."""
    environment = {"INFERTAP_REDACT_RULES_FILE": written(tmp_path, rule(pattern="'('"))}
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "rule 1: pattern: not RE2 syntax" in ended.stderr
