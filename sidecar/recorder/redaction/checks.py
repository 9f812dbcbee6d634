"""Checks: what a candidate must satisfy beyond its shape. Pure functions on ASCII bytes."""

import ipaddress
import re
import string
from decimal import Decimal
from itertools import islice
from typing import Final

# ISO 13616: length of an IBAN by country.
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ XK LT LU MN",
        21: "HR LV LI CH",
        22: "BH BG CR GE DE IE ME RS GB VA",
        23: "GI IL IQ OM SO TL AE",
        24: "AD CZ MD PK RO SA SK ES SE TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MR MC SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


_NO_DIGITS: Final = bytes({*range(256)} - {*range(0x30, 0x3A)})
# For each digit what doubling it adds up to: 7 → 14 → 5.
DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B: the check digit of card numbers."""
    total = sum(digits[-1::-2].translate(PLAIN)) + sum(digits[-2::-2].translate(DOUBLED))
    return total % 10 == 0


def is_card_number(digits: bytes) -> bool:
    """Length and prefix of an issuer that exists, and a right check digit."""
    return is_issued(digits) and luhn(digits)


def is_issued(digits: bytes) -> bool:
    """Length and prefix of an issuer of cards that exists, and not one digit over and over."""
    length = len(digits)
    first, two, four = digits[0], int(digits[:2]), int(digits[:4])
    if first == 0x34:  # Visa
        known = length in (13, 16, 19)
    elif two in (34, 37):  # American Express
        known = length == 15
    elif 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        known = length == 16
    elif two in (36, 38, 39) or 300 <= four // 10 <= 305:  # Diners Club
        known = 14 <= length <= 19
    else:  # Discover, UnionPay, Maestro; JCB; Mir
        known = (first in (0x35, 0x36) or 3528 <= four <= 3589 or 2200 <= four <= 2204) and 13 <= length <= 19
    return known and len(set(digits)) > 1


# Fewer digits are a rounded number's.
_LEAST_EXACT: Final = 12


def is_float_of_card(candidate: bytes) -> bool:
    """A number with an exponent that is a whole one, and a card's: 4.111111111111111e+15."""
    _, digits, exponent = Decimal(candidate.decode("ascii")).normalize().as_tuple()
    if not isinstance(exponent, int) or exponent < 0 or not _LEAST_EXACT <= len(digits) <= 19 - exponent:
        return False
    return len(digits) + exponent >= 13 and is_card_number(
        bytes(0x30 + each for each in digits) + b"0" * exponent
    )


# Countries whose accounts have digits only (SWIFT's registry of IBANs).
_NUMERIC_COUNTRIES: Final = "AT|BA|BE|CZ|DE|DK|EE|ES|FI|FO|GL|HR|HU|IL|LT|ME|NO|PL|PT|RS|SE|SI|SK|XK"
_NUMERIC: Final = b"(?i:" + _NUMERIC_COUNTRIES.encode() + b")"
_OTHER_COUNTRIES: Final = "|".join(sorted(_IBAN_LENGTHS.keys() - set(_NUMERIC_COUNTRIES.split("|"))))
# What every IBAN begins with: a country, and as many digits or characters as the shortest has.
IBAN_HINT: Final = (
    rf"(?:(?i:{_NUMERIC_COUNTRIES})[0-9]{{2}}(?:[ -]?[0-9]){{11}}"
    rf"|(?i:{_OTHER_COUNTRIES})[0-9]{{2}}(?:[ -]?[0-9A-Za-z]){{14}})"
)
_IBAN_START: Final = re.compile(
    rb"(?<![0-9A-Za-z])(?:(?="
    + _NUMERIC
    + rb"[0-9]{2}(?:[ -]?[0-9]){11})|(?!"
    + _NUMERIC
    + rb")(?=[A-Za-z]{2}[0-9]{2}))"
)


def iban_starts(candidate: bytes) -> list[int]:
    """Where in `candidate` an IBAN may begin: at its start, and after each space or dash."""
    return [match.start() for match in _IBAN_START.finditer(candidate)]


def iban_length(candidate: bytes) -> int | None:
    """How many bytes of `candidate`, spaces among them, are an IBAN with a right checksum; None for none."""
    country = candidate[:2].upper().decode("ascii")
    needed = _IBAN_LENGTHS.get(country)
    if needed is None or len(candidate) < needed:
        return None
    iban = candidate.translate(None, b" -")[:needed]
    if len(iban) < needed or not _iban_checksum(iban):
        return None
    return next(match.end() for match in islice(_IBAN_LETTER.finditer(candidate), needed - 1, None))


_IBAN_LETTER: Final = re.compile(rb"[^ \-]")
# ISO 13616: letters count from 10 on, in both cases.
_IBAN_VALUES: Final = {ord(each): b"%d" % int(each, 36) for each in string.digits + string.ascii_letters}


def _iban_checksum(iban: bytes) -> bool:
    """ISO 13616: the rearranged number is 1 modulo 97 (ISO/IEC 7064, MOD 97-10)."""
    return int(b"".join(map(_IBAN_VALUES.__getitem__, iban[4:] + iban[:4]))) % 97 == 1


def is_ssn(candidate: bytes) -> bool:
    """Numbers that the Social Security Administration can have issued."""
    area, group, serial = int(candidate[:3]), int(candidate[4:6]), int(candidate[7:])
    return area not in (0, 666) and area < 900 and group != 0 and serial != 0


_SHORTEST_IPV6: Final = 4
_DIGIT: Final = re.compile(rb"[0-9]")


def is_ipv6(candidate: bytes) -> bool:
    """A valid address with a digit in it: `a::b` is rather a name in a program."""
    if len(candidate) < _SHORTEST_IPV6 or _DIGIT.search(candidate) is None:
        return False
    try:
        ipaddress.IPv6Address(candidate.decode("ascii"))
    except ValueError:
        return False
    return True


def is_token(candidate: bytes) -> bool:
    """Rather a secret than a word: long, or with a digit in it."""
    return len(candidate) >= 32 or any(0x30 <= byte <= 0x39 for byte in candidate)


def digits_of(candidate: bytes) -> bytes:
    """Its digits alone."""
    return candidate.translate(None, _NO_DIGITS)


def is_phone(candidate: bytes) -> bool:
    """A plausible count of digits (ITU-T E.164: at most 15), not all the same."""
    digits = candidate.translate(None, _NO_DIGITS)
    return 8 <= len(digits) <= 15 and len({*digits}) > 2


def is_hardware_address(candidate: bytes) -> bool:
    """A hardware address that is one: not all zeros, nor all ones, which mean none and everyone."""
    return len(set(candidate.lower()) - set(b":-.")) > 1


def has_five_digits(candidate: bytes) -> bool:
    """Rather a number of a document than a word."""
    return len(digits_of(candidate)) >= 5
