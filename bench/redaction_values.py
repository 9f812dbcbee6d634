"""Redaction values: made-up personal data and secrets of each class, by rules of their own.

Nothing here is taken from what the product looks for: numbers follow their issuers' documents, national ones
are those that python-stdnum finds valid. No value is anybody's, but by chance.
"""

import base64
import ipaddress
import json
import random
import string
from collections.abc import Callable, Mapping
from typing import Final

from stdnum import iban, luhn
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni
from stdnum.fi import hetu
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.kr import rrn
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import itin
from stdnum.za import idnr as za_idnr

Make = Callable[[random.Random], str]

_DIGITS: Final = string.digits
_ALNUM: Final = string.ascii_letters + string.digits
_UPPER: Final = string.ascii_uppercase + string.digits
_HEX: Final = "0123456789abcdef"
_URL_SAFE: Final = _ALNUM + "-_"


def _some(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


# -- numbers of cards and accounts

# Prefix and length by issuer, as their number ranges are published.
_ISSUERS: Final = (
    ("4", 16),
    ("4", 16),
    ("4", 13),
    *((str(two), 16) for two in range(51, 56)),
    ("2221", 16),
    ("2500", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
    ("36", 14),
    ("305", 14),
    ("3528", 16),
    ("3589", 16),
    ("62", 16),
    ("5018", 16),
    ("6304", 16),
    ("2200", 16),
)


def card(rng: random.Random) -> str:
    """As it is embossed, with dashes, or without anything."""
    prefix, length = rng.choice(_ISSUERS)
    number = prefix + _some(rng, _DIGITS, length - len(prefix) - 1)
    number += luhn.calc_check_digit(number)
    groups = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}.get(length)
    separator = rng.choice(("", "", " ", "-"))
    return _grouped(number, groups, separator) if groups and separator else number


def _grouped(text: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, start = [], 0
    for size in sizes:
        parts.append(text[start : start + size])
        start += size
    return separator.join(parts)


# Country: the BBAN, n for a digit, a for a capital, c for either (SWIFT's registry of IBANs).
_ACCOUNTS: Final = {
    "DE": "n" * 18,
    "GB": "aaaa" + "n" * 14,
    "FR": "n" * 10 + "c" * 11 + "nn",
    "NL": "aaaa" + "n" * 10,
    "CH": "n" * 5 + "c" * 12,
    "AT": "n" * 16,
    "NO": "n" * 11,
    "PL": "n" * 24,
    "SE": "n" * 20,
    "IE": "aaaa" + "n" * 14,
    "MT": "aaaa" + "n" * 5 + "c" * 18,
    "SA": "nn" + "c" * 18,
    "PT": "n" * 21,
    "LU": "nnn" + "c" * 13,
}
_LETTERS: Final = {"n": _DIGITS, "a": string.ascii_uppercase, "c": _UPPER}


def account(rng: random.Random) -> str:
    """An IBAN, on paper in fours."""
    country = rng.choice(list(_ACCOUNTS))
    bban = "".join(rng.choice(_LETTERS[kind]) for kind in _ACCOUNTS[country])
    number = country + iban.calc_check_digits(f"{country}00{bban}") + bban
    if rng.random() < 0.4:
        return " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    return number


# -- where people and machines are reached

_FIRST_NAMES: Final = "anna ben carla david elif farid greta hugo ines jonas kim lena mehmet nora olga paul"
_LAST_NAMES: Final = "smith mueller rossi garcia nowak kim-lee o.brien jansen silva kaya dubois berg costa"
_FIRST: Final = _FIRST_NAMES.split()
_LAST: Final = _LAST_NAMES.split()
_HOSTS: Final = (
    "example.org",
    "mail.example.com",
    "acme-corp.de",
    "uni.ac.uk",
    "post.co.jp",
    "startup.io",
    "firm.com.br",
    "hospital.health",
    "gov.example.museum",
    "x.y.z.example.net",
)


def email(rng: random.Random) -> str:
    """Of the forms that people have."""
    first, last, number = rng.choice(_FIRST), rng.choice(_LAST), rng.randrange(1000)
    local = rng.choice(
        (
            f"{first}.{last}",
            f"{first}{number}",
            f"{first[0]}{last}",
            f"{first}_{last}",
            f"{first}+list{number}",
            f"{last}-{number}",
            f"{first.upper()}.{last.title()}",
        )
    )
    return f"{local}@{rng.choice(_HOSTS)}"


def phone(rng: random.Random) -> str:
    """With or without the country, in notations of several of them."""
    forms = (
        "+49 30 ########",
        "+1 (2##) 5##-####",
        "+44 20 7### ####",
        "+33 6 ## ## ## ##",
        "(2##) 5##-####",
        "2##-5##-####",
        "030 / ########",
        "0171-#######",
        "+4917########",
        "0044 20 7### ####",
        "+91 98### #####",
    )
    return _filled(rng, rng.choice(forms))


def _filled(rng: random.Random, form: str) -> str:
    return "".join(rng.choice(_DIGITS) if each == "#" else each for each in form)


def ipv4(rng: random.Random) -> str:
    """Any but those that mean no host."""
    return ".".join(str(rng.randrange(first, 255)) for first in (1, 0, 0, 1))


def ipv6(rng: random.Random) -> str:
    """Full, with a run of zeros left out, or with IPv4 in it."""
    start = rng.choice(("2001:db8", "fd12:3456", "fe80", "2a02:8108"))
    number = int(ipaddress.IPv6Address(f"{start}::")) | rng.getrandbits(rng.choice((16, 40, 64)))
    address = ipaddress.IPv6Address(number)
    forms = (address.compressed, address.compressed, address.exploded, address.compressed.upper())
    return rng.choice((*forms, f"::ffff:{ipv4(rng)}"))


def mac(rng: random.Random) -> str:
    """Pairs with colons or dashes."""
    return rng.choice(":-").join(_some(rng, _HEX, 2) for _ in range(6))


# -- secrets


def jwt(rng: random.Random) -> str:
    """Header, claims and signature (RFC 7519)."""
    claims = {"sub": str(rng.randrange(10**9)), "iat": rng.randrange(10**9, 2 * 10**9)}
    parts = [json.dumps({"alg": rng.choice(("HS256", "RS256")), "typ": "JWT"}), json.dumps(claims)]
    encoded = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, _some(rng, _URL_SAFE, 43)])


# Prefix, letters, count: as issuers document them, or as their secret scanning partners do.
_ISSUED: Final = (
    ("AKIA", _UPPER, 16),
    ("ASIA", _UPPER, 16),
    ("ghp_", _ALNUM, 36),
    ("gho_", _ALNUM, 36),
    ("github_pat_11", _UPPER, 80),
    ("glpat-", _URL_SAFE, 20),
    ("xoxb-", _DIGITS, 24),
    ("sk-", _ALNUM, 48),
    ("sk-proj-", _ALNUM, 64),
    ("sk-ant-api03-", _URL_SAFE, 93),
    ("AIza", _URL_SAFE, 35),
    ("GOCSPX-", _URL_SAFE, 28),
    ("sk_live_", _ALNUM, 24),
    ("rk_test_", _ALNUM, 24),
    ("whsec_", _ALNUM, 32),
    ("hf_", _ALNUM, 34),
    ("npm_", _ALNUM, 36),
    ("pypi-AgEIcHlwaS5vcmc", _ALNUM, 100),
    ("dop_v1_", _HEX, 64),
    ("gsk_", _ALNUM, 52),
    ("dapi", _HEX, 32),
    ("shpat_", _HEX, 32),
    ("lin_api_", _ALNUM, 40),
    ("hvs.", _ALNUM, 24),
    ("glsa_", _ALNUM, 32),
)


def api_key(rng: random.Random) -> str:
    """Of one of the common issuers."""
    prefix, letters, count = rng.choice(_ISSUED)
    # Ends in a letter or digit, as most do: a dash at the end would be punctuation to a reader.
    found = prefix + _some(rng, letters, count - 1) + rng.choice(_DIGITS)
    return f"{found}_{_some(rng, _HEX, 8)}" if prefix == "glsa_" else found


def private_key(rng: random.Random) -> str:
    """In PEM (RFC 7468)."""
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", ""))
    lines = [_some(rng, _ALNUM + "+/", 64) for _ in range(rng.randrange(3, 12))]
    return "\n".join([f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"])


def credential(rng: random.Random) -> str:
    """Of a URL."""
    return f"{rng.choice(_FIRST)}:{_some(rng, _ALNUM, rng.randrange(6, 20))}"


def token(rng: random.Random) -> str:
    """That a header bears."""
    return _some(rng, _ALNUM, 40) + rng.choice(_DIGITS)


# -- numbers of people


def ssn(rng: random.Random) -> str:
    """With dashes, of ranges that are issued."""
    area = rng.choice([each for each in range(1, 900) if each != 666])
    return f"{area:03}-{rng.randrange(1, 100):02}-{rng.randrange(1, 10000):04}"


def birth_date(rng: random.Random) -> str:
    """In the orders of several countries."""
    year, month, day = rng.randrange(1930, 2010), rng.randrange(1, 13), rng.randrange(1, 29)
    name = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")[
        month - 1
    ]
    return rng.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{month}/{day}/{year}",
            f"{day} {name} {year}",
        )
    )


def passport(rng: random.Random) -> str:
    """A letter or two, and digits."""
    return _filled(rng, rng.choice(("C0#######", "X#######", "AB######", "#########")))


_STANDARDS: Final = {
    "us_itin": (itin, "9##-7#-####"),
    "ca_sin": (sin, "###-###-###"),
    "br_cpf": (cpf, "###.###.###-##"),
    "uk_nhs": (nhs, "### ### ####"),
    "es_dni": (dni, "########?"),
    "de_tax_id": (idnr, "## ### ### ###"),
    "pl_pesel": (pesel, "85061######"),
    "nl_bsn": (bsn, "#########"),
    "be_nrn": (nn, "85.06.1#-###.##"),
    "se_pin": (personnummer, "85061#-####"),
    "fi_hetu": (hetu, "15068#-###?"),
    "no_fnr": (fodselsnummer, "15068######"),
    "dk_cpr": (cpr, "15068#-####"),
    "ch_ahv": (ahv, "756.####.####.##"),
    "in_aadhaar": (aadhaar, "#### #### ####"),
    "in_pan": (pan, "???P?####?"),
    "kr_rrn": (rrn, "85061#-1######"),
    "za_id": (za_idnr, "85061#####08#"),
    "au_tfn": (tfn, "### ### ###"),
}


def _national(kind: str) -> Make:
    standard, form = _STANDARDS[kind]

    def make(rng: random.Random) -> str:
        while True:
            letters = "".join(rng.choice(string.ascii_uppercase) if each == "?" else each for each in form)
            number = _filled(rng, letters)
            if standard.is_valid(number):
                return number

    return make


def french(rng: random.Random) -> str:
    """A number of the register of persons: 13 digits and their key."""
    number = _filled(rng, f"{rng.choice('12')}{rng.randrange(100):02}{rng.randrange(1, 13):02}75######")
    return f"{number}{97 - int(number) % 97:02}"


# For which the bars hold.
PROMISED: Final[Mapping[str, Make]] = {
    "payment_card": card,
    "iban": account,
    "email": email,
    "us_ssn": ssn,
    "ipv4": ipv4,
    "ipv6": ipv6,
    "jwt": jwt,
    "api_key": api_key,
}
# Which are measured.
MEASURED: Final[Mapping[str, Make]] = {
    "private_key": private_key,
    "bearer": token,
    "url_credential": credential,
    "phone": phone,
    "mac": mac,
    "birth_date": birth_date,
    "passport": passport,
    **{kind: _national(kind) for kind in _STANDARDS},
    "fr_nir": french,
}
MAKERS: Final[Mapping[str, Make]] = {**PROMISED, **MEASURED}
