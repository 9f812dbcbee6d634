"""Classes: the shapes of personal data and secrets, and how candidates become spans.

Patterns run on RE2, whose time is linear in the text whatever the text is. They see UTF-8 as bytes. RE2 looks
neither ahead nor behind, so a pattern may begin with the byte before: what is meant is its only group, `it`;
what must not follow is asked afterwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import re2

from sidecar.recorder.redaction import checks


@dataclass(frozen=True, slots=True)
class Span:
    """Where something was found: bytes `start` to `end`."""

    start: int
    end: int
    kind: str


# From a candidate to the parts of it that count, as offsets within it.
_Narrow = Callable[[bytes], Iterator[tuple[int, int]]]


def _whole(check: Callable[[bytes], bool]) -> _Narrow:
    def narrow(candidate: bytes) -> Iterator[tuple[int, int]]:
        if check(candidate):
            yield 0, len(candidate)

    return narrow


def _iban(candidate: bytes) -> Iterator[tuple[int, int]]:
    for start in checks.iban_starts(candidate):
        length = checks.iban_length(candidate[start:])
        if length is not None:
            yield start, start + length


def _less_full_stop(candidate: bytes) -> Iterator[tuple[int, int]]:
    yield 0, len(candidate.rstrip(b"."))


def _always(candidate: bytes) -> Iterator[tuple[int, int]]:
    yield 0, len(candidate)


@dataclass(frozen=True, slots=True)
class _Shape:
    """One pattern of a class. `hint` is in every match and quick to look for; `ends` must not follow one."""

    kind: str
    hint: str
    pattern: str
    narrow: _Narrow = _always
    ends: bytes = b""


_ALNUM: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = b"0123456789"
# The byte before, for what must stand alone.
_APART: Final = r"(?:^|[^0-9A-Za-z.])"
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LOCAL: Final = r"[0-9A-Za-z%+_~.\x80-\xff-]+"
_LABEL: Final = r"[0-9A-Za-z\x80-\xff-]+"

# In the order in which one wins over another that begins at the same byte and is as long.
_SHAPES: Final = (
    _Shape(
        "jwt",
        r"eyJ[0-9A-Za-z_-]{5}",
        r"\b(?P<it>eyJ[0-9A-Za-z_-]{5,}\.[0-9A-Za-z_-]{5,}(?:\.[0-9A-Za-z_-]*){0,3})",
        _less_full_stop,
    ),
    _Shape(
        "bearer",
        r"(?i:bearer|basic)[ \t]",
        r"(?i:\b(?:bearer|basic))[ \t]+(?P<it>[0-9A-Za-z._~+/-]{8,}=*)",
        _whole(checks.is_token),
    ),
    _Shape(
        "api_key",
        r"-----BEGIN ",
        r"(?s)(?P<it>-----BEGIN [0-9A-Z ]{0,40}PRIVATE KEY-----.*?"
        r"(?:-----END [0-9A-Z ]{0,40}PRIVATE KEY-----|$))",
    ),
    _Shape(
        "api_key",
        r"A[KSBC][IC]A|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|sk-|AIza|ya29\.|[rs]k_(?:live|test)_|whsec_|hf_"
        r"|npm_|pypi-|SG\.|dop_v1_|xapp-|gsk_|AGE-SECRET-KEY-",
        r"\b(?P<it>(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{22,}"
        r"|glpat-[0-9A-Za-z_-]{20,}|xox[abeoprs]-[0-9A-Za-z-]{10,}|sk-[0-9A-Za-z_-]{20,}|AIza[0-9A-Za-z_-]{35}"
        r"|ya29\.[0-9A-Za-z_-]{20,}|[rs]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[0-9A-Za-z]{24,}"
        r"|hf_[0-9A-Za-z]{30,}|npm_[0-9A-Za-z]{36}|pypi-[0-9A-Za-z_-]{50,}"
        r"|SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}"
        r"|dop_v1_[0-9a-f]{64}|xapp-[0-9A-Za-z-]{20,}|gsk_[0-9A-Za-z]{40,}|AGE-SECRET-KEY-1[0-9A-Z]{58})",
    ),
    # Named where it stands: `password = …`, `"api_key": "…"`, `client_secret=…`.
    _Shape(
        "api_key",
        r"(?i:key|token|secret|passwo?r?d|pwd)[\"']?[ \t]{0,4}[:=]",
        r"(?i:\b(?:api[_-]?key|(?:access|auth|refresh|session|id)[_-]?token|client[_-]?secret"
        r"|secret[_-]?(?:access[_-]?)?key|passw(?:or)?d|pwd))"
        r"[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?P<it>[^\s\"',;&<>{}\[\]\\]{6,})",
    ),
    _Shape(
        "email",
        r"@|%40",
        rf"(?P<it>{_LOCAL}(?:@|%40)(?:{_LABEL}\.)+(?:[A-Za-z][A-Za-z]+|xn--[0-9A-Za-z-]+|[\x80-\xff]{{4,}}))",
    ),
    _Shape(
        "iban",
        rf"{_APART}[A-Za-z]{{2}}[0-9]{{2}}(?:[ -]?[0-9A-Za-z]){{11}}",
        rf"{_APART}(?P<it>[A-Za-z]{{2}}[0-9]{{2}}(?:[ -]?[0-9A-Za-z]){{11,30}})",
        _iban,
    ),
    _Shape(
        "payment_card",
        rf"{_APART}[0-9](?:[ -]?[0-9]){{12}}",
        rf"{_APART}(?P<it>[0-9](?:[ -]?[0-9]){{12,}})",
        checks.card_spans,
        _ALNUM,
    ),
    _Shape(
        "us_ssn",
        r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}",
        r"(?:^|[^0-9A-Za-z.-])(?P<it>[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4})",
        _whole(checks.is_ssn),
        _ALNUM + b"-",
    ),
    _Shape(
        "ipv6",
        r"[0-9A-Fa-f:]:[0-9A-Fa-f]{0,4}:",
        r"(?:^|[^0-9A-Za-z:.])(?P<it>(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}))",
        _whole(checks.is_ipv6),
        _ALNUM + b":",
    ),
    _Shape(
        "ipv4",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        rf"(?:^|[^0-9A-Za-z.])(?P<it>{_OCTET}(?:\.{_OCTET}){{3}})",
        _always,
        _ALNUM,
    ),
    _Shape(
        "phone",
        r"\+[1-9][0-9 ()./-]{6}",
        r"(?:^|[^0-9A-Za-z.+-])(?P<it>\+[1-9][0-9]{0,14}(?:[ ./-]?(?:\([0-9]{1,5}\)|[0-9]{1,12})){1,6})",
        _whole(checks.is_phone),
    ),
    _Shape(
        "phone",
        r"(?:^|[^0-9A-Za-z.+-])0[0-9][0-9]{1,14}[ ()./-]{0,2}[0-9]{2}"
        r"|\([0-9]{3}\) ?[0-9]{3}|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}",
        r"(?:^|[^0-9A-Za-z.+-])(?P<it>00[1-9][0-9]{0,14}(?:[ ./-]?(?:\([0-9]{1,5}\)|[0-9]{1,12})){1,6}"
        r"|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}|[0-9]{3} [0-9]{3} [0-9]{4}"
        r"|0[1-9][0-9]{1,4}[ /-][0-9]{3,12}(?:[ -][0-9]{1,5})?)",
        _whole(checks.is_phone),
        _ALNUM,
    ),
)


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.max_mem = 64 << 20
    options.log_errors = False
    return options


class Scanner:
    """Finds what belongs to the chosen classes."""

    def __init__(self, kinds: frozenset[str]) -> None:
        chosen = [shape for shape in _SHAPES if shape.kind in kinds]
        self._shapes = [(shape, re2.compile(shape.pattern.encode("ascii"), _options())) for shape in chosen]
        self._hints = _all_hints(chosen)

    def may_hold(self, data: bytes) -> bool:
        """Whether there is any candidate in `data`."""
        return self._hints is not None and bool(self._hints.Match(data))

    def spans(self, data: bytes) -> list[Span]:
        """What was found, in order, without overlaps."""
        if self._hints is None:
            return []
        # One pass over the text for all hints: most texts have none.
        hinted = self._hints.Match(data) or ()
        found: list[Span] = []
        for number in hinted:
            shape, pattern = self._shapes[number]
            found += _matches(shape, pattern, data)
        return without_overlaps(found)


def _all_hints(shapes: list[_Shape]) -> Any:
    """The hints of `shapes` as a set that tells which of them a text holds; None for no shapes."""
    if not shapes:
        return None
    hints = re2.Set.SearchSet(_options())
    for shape in shapes:
        hints.Add(shape.hint.encode("ascii"))
    hints.Compile()
    return hints


def _matches(shape: _Shape, pattern: Any, data: bytes) -> Iterator[Span]:
    for match in pattern.finditer(data):
        start, end = match.span(1)
        for first, last in shape.narrow(data[start:end]):
            if not shape.ends or _may_end(data, start + last, shape.ends):
                yield Span(start + first, start + last, shape.kind)


def _may_end(data: bytes, end: int, ends: bytes) -> bool:
    """Whether what ends before `end` is not part of something longer, such as 1.2.3.4.5."""
    following = data[end : end + 2]
    return not (following and following[:1] in ends) and not (
        following[:1] == b"." and following[1:].isdigit()
    )


def without_overlaps(found: list[Span]) -> list[Span]:
    """Of overlapping spans the one that begins first, then the longest; its end grows to cover the others."""
    if len(found) < 2:
        return found
    found.sort(key=lambda span: (span.start, -span.end))
    kept = [found[0]]
    for span in found[1:]:
        last = kept[-1]
        if span.start >= last.end:
            kept.append(span)
        elif span.end > last.end:
            kept[-1] = Span(last.start, span.end, last.kind)
    return kept
