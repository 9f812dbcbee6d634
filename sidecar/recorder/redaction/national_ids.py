"""National identity, tax and health insurance numbers: their forms; the checks are python-stdnum's.

A number of digits alone that its check can't tell from an order number counts only where words before it say
what it is.
"""

from operator import mul
from typing import Final, Protocol

from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cn import ric
from stdnum.de import idnr as tax_id
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import pan
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import itin
from stdnum.za import idnr as south_african

from sidecar.recorder.redaction.aadhaar import aadhaar_spans, is_aadhaar
from sidecar.recorder.redaction.checks import PLAIN, luhn
from sidecar.recorder.redaction.shapes import ALNUM, APART, Check, Shape, hint_of

_MORE: Final = ALNUM + b"-"


class _Standard(Protocol):
    """A module of python-stdnum."""

    def is_valid(self, number: str) -> bool: ...


def _any_of(*standards: _Standard) -> Check:
    def check(candidate: bytes) -> bool:
        number = candidate.decode("ascii")
        return any(standard.is_valid(number) for standard in standards)

    return check


def _is_nino(candidate: bytes) -> bool:
    """United Kingdom, national insurance: prefixes that are never given (HMRC, NIM39110)."""
    return candidate[:2] not in (b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ")


_FNR_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
_is_fodselsnummer: Final = _any_of(fodselsnummer)


def _is_fnr(candidate: bytes) -> bool:
    """Norway: the first check digit, which rules out most, then what else the issuer asks."""
    digits = candidate.translate(PLAIN, b" ")
    return sum(map(mul, _FNR_WEIGHTS, digits)) % 11 == 0 and _is_fodselsnummer(candidate)


_is_south_african: Final = _any_of(south_african)


def _is_za_id(candidate: bytes) -> bool:
    return luhn(candidate) and _is_south_african(candidate)


_NRIC_LETTERS: Final = {
    b"S": b"JZIHGFEDCBA",
    b"T": b"JZIHGFEDCBA",
    b"F": b"XWUTRQPNMLK",
    b"G": b"XWUTRQPNMLK",
}
_NRIC_OFFSETS: Final = {b"T": 4, b"G": 4}


def _is_nric(candidate: bytes) -> bool:
    """Singapore: a letter by the weighted sum of the digits and the series."""
    series = candidate[:1]
    total = sum(
        (byte - 0x30) * weight for byte, weight in zip(candidate[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True)
    )
    return _NRIC_LETTERS[series][(total + _NRIC_OFFSETS.get(series, 0)) % 11] == candidate[8]


def _shape(kind: str, form: str, check: Check) -> Shape:
    """A number that its form and check tell from all others."""
    return Shape(kind, APART + form, f"{APART}(?P<it>{form})", check, _MORE, is_short=True, is_alone=True)


def _named(kind: str, words: str, form: str, check: Check) -> Shape:
    """A number that counts only after words that say what it is."""
    gap = r"[\"']?(?i:[ _-]?(?:no|nr|num|number|id))?[\"'.]?[ \t]{0,3}(?:[:=#]|is)?[ \t]{0,3}[\"']?"
    return Shape(kind, hint_of(words), f"(?i:{words}){gap}(?P<it>{form})", check, _MORE, is_short=True)


_TAX_WORDS: Final = r"steuer-?(?:id|identifikations|nummer)|\bidnr|tax[ _-]?id"

NATIONAL_IDS: Final = (
    _shape("us_itin", r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}", _any_of(itin)),
    _shape("ca_sin", r"[0-9]{3}-[0-9]{3}-[0-9]{3}", _any_of(sin)),
    _named("ca_sin", r"\bsin\b|social[ _-]insurance", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", _any_of(sin)),
    _shape("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _any_of(cpf)),
    _named("br_cpf", r"\bcpf", r"[0-9]{11}", _any_of(cpf)),
    _shape("mx_curp", r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", _any_of(curp)),
    _shape("uk_nino", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", _is_nino),
    _named("uk_nhs", r"\bnhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", _any_of(nhs)),
    _shape("es_dni", r"[0-9]{8}-?[A-HJ-NP-TV-Z]|[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]", _any_of(dni, nie)),
    _shape(
        "it_fiscal_code",
        r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        _any_of(codicefiscale),
    ),
    _shape(
        "fr_nir",
        r"[1-478] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        _any_of(nir),
    ),
    _shape("de_tax_id", r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}", _any_of(tax_id)),
    _named("de_tax_id", _TAX_WORDS, r"[1-9][0-9]{10}", _any_of(tax_id)),
    _named("pl_pesel", r"\bpesel", r"[0-9]{11}", _any_of(pesel)),
    _named(
        "nl_bsn", r"\bbsn|burgerservicenummer|sofinummer", r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}", _any_of(bsn)
    ),
    _shape("be_nrn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", _any_of(nn)),
    _shape("se_pin", r"(?:[0-9]{2})?[0-9]{6}[+-][0-9]{4}", _any_of(personnummer)),
    _shape("fi_hetu", r"[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", _any_of(hetu)),
    _shape("no_fnr", r"[0-7][0-9][01][0-9]{3} ?[0-9]{5}", _is_fnr),
    _shape("dk_cpr", r"[0-3][0-9][01][0-9]{3}-[0-9]{4}", _any_of(cpr)),
    _shape("ch_ahv", r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", _any_of(ahv)),
    Shape(
        "in_aadhaar",
        rf"{APART}[2-9][0-9]{{3}}[ -][0-9]{{4}}[ -][0-9]{{4}}",
        rf"{APART}(?P<it>[2-9][0-9]{{3}}(?:[ -][0-9]{{4}}){{2,}})",
        ends=_MORE,
        rows=aadhaar_spans,
        is_alone=True,
    ),
    _named("in_aadhaar", r"aadha+r", r"[2-9][0-9]{11}", is_aadhaar),
    _shape("in_pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", _any_of(pan)),
    _shape("cn_resident_id", r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]", _any_of(ric)),
    _shape("kr_rrn", r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{7}", _any_of(rrn)),
    _shape("sg_nric", r"[STFG][0-9]{7}[A-Z]", _is_nric),
    _shape("za_id", r"[0-9]{2}[01][0-9][0-3][0-9]{5}[012][89][0-9]", _is_za_id),
    _named("au_tfn", r"\btfn|tax[ _-]file", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", _any_of(tfn)),
)
