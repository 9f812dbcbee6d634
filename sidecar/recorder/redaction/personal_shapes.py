"""Personal data that looks alike in every country: addresses, numbers of cards, accounts and phones."""

from collections.abc import Iterator
from typing import Final

from sidecar.recorder.redaction import checks
from sidecar.recorder.redaction.cards import card_spans
from sidecar.recorder.redaction.shapes import ALNUM, APART, Shape


def _iban(candidate: bytes) -> Iterator[tuple[int, int]]:
    for start in checks.iban_starts(candidate):
        length = checks.iban_length(candidate[start:])
        if length is not None:
            yield start, start + length


def _is_email(candidate: bytes) -> bool:
    return not candidate.startswith((b"@", b"%40"))


_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LOCAL: Final = r"[0-9A-Za-z%+_~.\x80-\xff-]+"
_LABEL: Final = r"[0-9A-Za-z\x80-\xff-]+"

# Words that announce a value, and what may stand between them and it, quotes of a JSON member included.
_IS: Final = r"[\"']?[ \t]{0,3}(?:[:=#]|is|was)?[ \t]{0,3}[\"']?"
_NUMBER_WORD: Final = r"(?i:[ _-]?(?:no|nr|num|number|nummer|id|card))?\.?"
_PASSPORT: Final = r"(?i:passport|reisepass|passeport|pasaporte|passaporto|paspoort)"
_BIRTH: Final = (
    r"(?i:\bd\.?o\.?b\b\.?|(?:date[ _-]?of[ _-]?)birth|birth[ _-]?(?:date|day)|\bborn(?: on)?"
    r"|geburts(?:datum|tag)"
    r"|geboren am|n\xc3\xa9e? le|date de naissance|fecha de nacimiento|data di nascita|geboortedatum)"
)
_MONTH: Final = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|m\xc3\xa4r|mai|okt|dez)[a-z]{0,7}\.?"
_DATE: Final = (
    r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}|[0-9]{8}"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.)?[ -](?:of )?{_MONTH},?[ -][0-9]{{2,4}}"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}"
)
_STREET_AFTER: Final = (
    r"Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Terrace|Parkway|Pkwy|Highway|Hwy"
    r"|Crescent|Close|Gardens|Square"
)
_STREET_BEFORE: Final = r"rue|avenue|boulevard|place|via|calle|plaza"
_STREET_WITHIN: Final = r"(?:stra\xc3\x9fe|strasse|str\.|weg|platz|allee|gasse|straat|laan)"

PERSONAL: Final = (
    Shape(
        "email",
        r"@|%40",
        rf"(?P<it>{_LOCAL}(?:@|%40)(?:{_LABEL}\.)+(?:[A-Za-z][A-Za-z]+|xn--[0-9A-Za-z-]+|[\x80-\xff]{{4,}}))",
        _is_email,
    ),
    Shape(
        "iban",
        rf"{APART}{checks.IBAN_HINT}",
        rf"{APART}(?P<it>[A-Za-z]{{2}}[0-9]{{2}}(?:[ -]?[0-9A-Za-z]){{11,30}})",
        narrow=_iban,
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "payment_card",
        # Coarser than the pattern: an automaton that counts digits among separators has no end of states.
        r"[0-9]{13}|[0-9]{3}[ -][0-9]{3}",
        rf"{APART}(?P<it>[0-9](?:[ -]?[0-9]){{12,}})",
        ends=ALNUM,
        rows=card_spans,
        is_alone=True,
    ),
    # As programs write large numbers, among them columns of integers of which one is missing.
    Shape(
        "payment_card",
        r"[0-9][0-9.]{9,}[eE]\+?[0-9]",
        rf"{APART}(?P<it>[0-9]{{1,19}}(?:\.[0-9]{{1,18}})?[eE]\+?[0-9]{{1,2}})",
        checks.is_float_of_card,
        ALNUM,
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "us_ssn",
        r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}",
        r"(?:^|[^0-9A-Za-z-])(?P<it>[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4})",
        checks.is_ssn,
        ALNUM + b"-",
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "ipv6",
        r"[0-9A-Fa-f]::|::[0-9A-Fa-f]|:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:",
        r"(?:^|[^0-9A-Za-z:])(?P<it>(?:(?:[0-9A-Fa-f]{0,4}:){3,7}|[0-9A-Fa-f]{0,4}::)"
        r"(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}))",
        checks.is_ipv6,
        ALNUM + b":",
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "ipv4",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        rf"(?:^|[^0-9A-Za-z.])(?P<it>{_OCTET}(?:\.{_OCTET}){{3}})",
        ends=ALNUM,
        is_short=True,
    ),
    # After the full stop of a word, or dots: apart, as in numbers with many points each part is after one.
    Shape(
        "ipv4",
        r"[A-Za-z.)\]}\"'>]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        rf"[A-Za-z.)\]}}\"'>]\.(?P<it>{_OCTET}(?:\.{_OCTET}){{3}})",
        ends=ALNUM,
        is_short=True,
    ),
    Shape(
        "phone",
        r"\+[1-9][0-9 ()./-]{6}",
        r"(?:^|[^0-9A-Za-z+-])(?P<it>\+[1-9][0-9]{0,14}(?:[ ./-]?(?:\([0-9]{1,5}\)|[0-9]{1,12})){1,6})",
        checks.is_phone,
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "phone",
        r"(?:^|[^0-9A-Za-z+-])0[0-9][0-9]{1,14}[ ()./-]{0,3}[0-9]{2}"
        r"|\([0-9]{3}\) ?[0-9]{3}|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}",
        r"(?:^|[^0-9A-Za-z+-])(?P<it>00[1-9][0-9]{0,14}(?:[ ./-]?(?:\([0-9]{1,5}\)|[0-9]{1,12})){1,6}"
        r"|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}|[0-9]{3} [0-9]{3} [0-9]{4}"
        r"|0[1-9][0-9]{1,4}(?: ?/ ?|[ -])(?:[0-9]{4,12}|[0-9]{3}[ -][0-9]{2,5})(?:[ -][0-9]{1,5})?)",
        checks.is_phone,
        ALNUM,
        is_short=True,
        is_alone=True,
    ),
    Shape(
        "mac",
        r"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}",
        r"(?:^|[^0-9A-Za-z:-])(?P<it>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}"
        r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})",
        checks.is_hardware_address,
        ALNUM + b":-",
        is_short=True,
        is_alone=True,
    ),
    # After a word and a colon: apart, as in longer rows of groups each is after one.
    Shape(
        "ipv6",
        r"[G-Zg-z]:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]",
        r"[G-Zg-z]:(?P<it>(?:(?:[0-9A-Fa-f]{0,4}:){3,7}|[0-9A-Fa-f]{0,4}::)"
        r"(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}))",
        checks.is_ipv6,
        ALNUM + b":",
        is_short=True,
    ),
    Shape(
        "mac",
        r"[A-Za-z]{3}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:",
        r"[A-Za-z]{3}:(?P<it>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})",
        checks.is_hardware_address,
        ALNUM + b":-",
        is_short=True,
    ),
    # Told by the words before it.
    Shape(
        "passport",
        _PASSPORT,
        rf"{_PASSPORT}{_NUMBER_WORD}{_IS}(?P<it>[A-Za-z]{{0,3}}[0-9](?:[0-9A-Za-z][ -]?){{4,10}}[0-9A-Za-z])",
        checks.has_five_digits,
        ALNUM,
    ),
    Shape(
        "birth_date",
        r"(?i:d\.?o\.?b|birth|born|geb(?:urt|oren|oorte)|n\xc3\xa9e? le|naissance|nacimiento|nascita)",
        rf"{_BIRTH}{_IS}(?P<it>{_DATE})",
        ends=b"0123456789",
    ),
    Shape(
        "street_address",
        rf"(?:{_STREET_AFTER})|{_STREET_WITHIN}|(?:{_STREET_BEFORE}) ",
        r"(?:^|[^0-9A-Za-z])(?P<it>[0-9]{1,5}[A-Za-z]?,? (?:[NSEW]\.? )?"
        r"(?:[A-Z0-9][0-9A-Za-z'.\x80-\xff-]* ){1,4}"
        rf"(?:{_STREET_AFTER})\b\.?(?:,? (?:Apt|Apartment|Suite|Unit|Ste|\#)\.? ?[0-9A-Za-z]{{1,6}})?"
        rf"|[A-Z\x80-\xff][A-Za-z\x80-\xff-]*{_STREET_WITHIN} [0-9]{{1,4}}(?: ?[a-z]\b)?"
        rf"|[0-9]{{1,4}}(?: ?bis)?,? (?:{_STREET_BEFORE}) [A-Za-z\x80-\xff' -]{{3,40}})",
    ),
)
