"""Redaction hostile: texts made to cost the most, and what they cost."""

import base64
import random
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from sidecar import config
from sidecar.recorder.redaction import Findings, Policy, Redactor

_ROUNDS: Final = 3


def _repeated(unit: str) -> Callable[[int], bytes]:
    return lambda size: unit.encode() * (size // len(unit.encode()))


def _digits(size: int) -> bytes:
    rng = random.Random(1)
    return b" ".join(b"%04d" % rng.randrange(10000) for _ in range(size // 5))


def _lines_of_digits(size: int) -> bytes:
    rng = random.Random(4)
    return b"\n".join(b"%013d" % rng.randrange(10**13) for _ in range(size // 14))


def _mixed_groups(size: int) -> bytes:
    rng = random.Random(5)
    return b" ".join(b"%d" % rng.randrange(10 ** rng.randint(3, 6)) for _ in range(size // 3))[:size]


def _base64(size: int) -> bytes:
    rng = random.Random(2)
    text = " ".join(f"word{rng.randrange(10**6)}" for _ in range(size // 10))
    return base64.b64encode(text.encode())[:size]


def _base64_of_bytes(size: int) -> bytes:
    return base64.b64encode(random.Random(3).randbytes(size * 3 // 4))[:size]


# Each what a step of redaction finds hardest: candidates everywhere, and nothing in them.
INPUTS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "one_letter": _repeated("a"),
    "digits": _repeated("1"),
    "spaced_digits": _repeated("4 "),
    "card_groups": _repeated("4111 "),
    "random_groups": _digits,
    "dashes": _repeated("123-45-"),
    "at_signs": _repeated("a@"),
    "addresses_cut": _repeated("aaaaaaaaaaaaaaa@bbbbbbbbbbbbbb."),
    "dots": _repeated("1."),
    "colons": _repeated("a:"),
    "iban_starts": _repeated("DE89 "),
    "iban_starts_of_letters": _repeated("FR89 "),
    "ibans_wrong": _repeated("FR89 3704 0044 0532 0130 00AB C12\n"),
    "jwt_starts": _repeated("eyJ"),
    "pem_starts": _repeated("-----BEGIN PRIVATE KEY"),
    "urls": _repeated("a://b"),
    "named": _repeated("password="),
    "born": _repeated("born on "),
    "percent": _repeated("%25"),
    "escapes": _repeated("\\u005c"),
    "newlines": _repeated("\\n"),
    "entities": _repeated("&amp;"),
    "mixed_escapes": _repeated("\\u0041%41&#65;"),
    "quoted": _repeated("=3D"),
    "full_width": _repeated("\uff11"),
    "spaces_without_width": _repeated("1\u200b"),
    "hexadecimal": _repeated("61626364"),
    "base64": _base64,
    "base64_of_bytes": _base64_of_bytes,
    "base64_short": _repeated("aGVsbG8gd29ybGQx "),
    "card_numbers_wrong": _repeated("4111 1111 1111 1112\n"),
    "lines_of_digits": _lines_of_digits,
    "mixed_groups": _mixed_groups,
    "long_numbers": _repeated("12345678901234567890 "),
    "hosts_cut": _repeated("255.255.255.256 "),
    "hex_groups": _repeated("a1:b2:c3:"),
    "colons_and_digits": _repeated("::1"),
    "mac_cut": _repeated("00-1b-44-11-3a "),
    "jwt_dots": _repeated("eyJaaaaa.eyJ."),
    "keys_cut": _repeated("sk-AKIAghp_"),
    "bearers": _repeated("bearer "),
    "passports": _repeated("passport no: A"),
    "slashes": _repeated("://a:b"),
    "json_in_json": _repeated('{\\"a\\":'),
    "utf8_and_digits": _repeated("\u06611"),
    "zeros": _repeated("0 "),
}


@cache
def _redactor() -> Redactor:
    return Redactor(Policy.of(config.read({}), b"of the benchmark"))


def milliseconds(data: bytes) -> float:
    """CPU time to redact `data` as plain text, for each MiB of it; the least of some rounds."""
    redactor = _redactor()
    spent = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        redactor.body("text/plain", data, Findings())
        spent.append(time.process_time() - began)
    return 1000 * min(spent) * (1 << 20) / len(data)
