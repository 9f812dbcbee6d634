"""The time that redaction may take: beyond it a body is withheld, and no later one."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar import config
from sidecar.recorder.redaction import (
    WHOLE,
    Findings,
    OverTimeError,
    Policy,
    Redactor,
    Withheld,
    read_own_rules,
)
from sidecar.recorder.redaction.classes import shapes_of
from sidecar.recorder.redaction.scanner import Scanner
from sidecar.recorder.redaction.time_allowed import SECONDS, TimeAllowed

MEBIBYTE = 1 << 20
# A clock that runs ahead, so that nobody waits for the time to be over.
HASTE = 40
# Each letter may be the first of a match, so that no automaton has room for what it would have to remember.
HEAVY = """
[[rule]]
name = "heavy_{number}"
pattern = '[a-q][^x]{{{length}}}z{number:03}'
finds = ["a{filler}z{number:03}"]
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Redactor:
    """A redactor with two hundred rules of a site's own, of which each takes long."""
    path = tmp_path_factory.mktemp("rules") / "rules.toml"
    path.write_text(
        "".join(
            HEAVY.format(number=number, length=200 + number, filler="b" * (200 + number))
            for number in range(200)
        )
    )
    policy = Policy.of(config.read({}), None)
    own = [rule.shape for rule in read_own_rules(str(path))]
    hasty = Scanner(shapes_of(policy.kinds), own, TimeAllowed(lambda: HASTE * time.thread_time()))
    return Redactor(dataclasses.replace(policy, scanner=hasty))


def words(size: int) -> bytes:
    """So many bytes of text, no two words alike."""
    return " ".join(f"abcdefgh{number}" for number in range(size // 10)).encode()[:size]


def test_body_is_withheld_when_time_is_over(slow: Redactor) -> None:
    """A body on which rules take too long is withheld, with that reason."""
    body = slow.body("text/plain", words(4 * MEBIBYTE), Findings())
    assert (body.data, body.documents, body.withheld) == (b"", (), Withheld.OVER_TIME)


def test_time_begins_anew_with_each_body(slow: Redactor) -> None:
    """After one that took too long a small one is redacted as ever, by the built-in rules and its own."""
    assert slow.body("application/json", words(4 * MEBIBYTE), Findings()).withheld is Withheld.OVER_TIME
    small = slow.body("application/json", b'{"to":"ada@example.org"}', Findings())
    assert small.documents == ({"to": "<email>"},)


@pytest.mark.parametrize(
    "redact",
    [
        lambda redactor, text: redactor.documents(({"a": text},), Findings()),
        lambda redactor, text: redactor.messages([json.dumps({"a": text})], Findings(), WHOLE),
        lambda redactor, text: (
            redactor.body(
                "multipart/form-data; boundary=b",
                f'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n{text}\r\n--b--\r\n'.encode(),
                Findings(),
            ).withheld
        ),
    ],
    ids=["documents", "messages", "multipart"],
)
def test_reason_is_told(slow: Redactor, redact: Callable[[Redactor, str], object]) -> None:
    """Whatever the body is, what is told is that the time was over."""
    assert redact(slow, words(4 * MEBIBYTE).decode()) is Withheld.OVER_TIME


def test_text_beside_bodies_raises(slow: Redactor) -> None:
    """A path or a header on which rules take too long is no text that may go on."""
    with pytest.raises(OverTimeError):
        slow.raw(words(4 * MEBIBYTE), "path", Findings())


def test_thread_has_its_own_time() -> None:
    """What one thread began another does not end."""
    now = 0.0
    allowed = TimeAllowed(lambda: now)
    allowed.begin(0)
    allowed.spend(MEBIBYTE)
    other = threading.Thread(target=lambda: allowed.begin(1 << 40))
    other.start()
    other.join()
    now = SECONDS + 1
    with pytest.raises(OverTimeError):
        allowed.spend(MEBIBYTE)


def test_larger_body_has_more_time() -> None:
    """Beside the time for any text there is some for each byte."""
    now = 0.0
    allowed = TimeAllowed(lambda: now)
    allowed.begin(8 * MEBIBYTE)
    allowed.spend(MEBIBYTE)
    now = SECONDS + 1.9
    allowed.spend(MEBIBYTE)
    now = SECONDS + 2.1
    with pytest.raises(OverTimeError):
        allowed.spend(MEBIBYTE)


def test_heavy_rule_hides_nothing(tmp_path: Path) -> None:
    """A rule that takes long keeps no other from finding its own, nor what is built in."""
    path = tmp_path / "rules.toml"
    path.write_text(
        HEAVY.format(number=1, length=900, filler="b" * 900)
        + "[[rule]]\nname = 'own'\npattern = 'EMP-[0-9]+'\nfinds = ['EMP-1']\n"
    )
    redactor = Redactor(Policy.of(config.read({}), None, read_own_rules(str(path))))
    text = words(100_000)
    found = Findings()
    body = redactor.body("text/plain", text + b" EMP-12 ada@example.org " + text, found)
    assert {each.kind: each.count for each in found.listed()} == {"own": 1, "email": 1}
    assert b" <own> <email> " in body.data
