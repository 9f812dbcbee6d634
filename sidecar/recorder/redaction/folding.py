"""Folding: characters that mean the same as ASCII ones which the patterns read.

Pure. Compatibility forms (full-width, circled, mathematical: Unicode's NFKC) and every script's decimal
digits become ASCII, spaces of every width a space, dashes of every length a dash; characters without width
go. So a card number in full-width or Arabic digits, or grouped by no-break spaces, is one to the scanner.
"""

import re
import unicodedata
from typing import Final

# Where such characters are; scanning all of Unicode would take a second of every start.
_BLOCKS: Final = (
    (0xA0, 0x3400),
    (0xA620, 0xAC00),
    (0xF900, 0x10000),
    (0x104A0, 0x104AA),
    (0x10D30, 0x10D3A),
    (0x11066, 0x11DAA),
    (0x16A60, 0x16B5A),
    (0x1D400, 0x1D800),
    (0x1E140, 0x1E95A),
    (0x1F100, 0x1F16A),
    (0x1FBF0, 0x1FBFA),
)
_SPACES: Final = dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
_DASHES: Final = dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63), "-")
# Unicode's Default_Ignorable_Code_Point, but for letters.
_WITHOUT_WIDTH: Final = dict.fromkeys(
    (
        *(0xAD, 0x34F, 0x61C, 0xFEFF),
        *range(0x180B, 0x1810),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE0080),
        *range(0xE0100, 0xE01F0),
    ),
    "",
)


def _meant(character: str) -> str | None:
    """The ASCII text that `character` stands for; None for none."""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and plain.isprintable() else None


def _all_folds() -> dict[int, str]:
    meant = {code: _meant(chr(code)) for block in _BLOCKS for code in range(*block)}
    folds = {code: text for code, text in meant.items() if text is not None}
    return folds | _SPACES | _DASHES | _WITHOUT_WIDTH


_FOLDS: Final = _all_folds()
# A run of characters to fold; in a group, so that splitting by it keeps them. Beyond the basic plane it takes
# whatever is there, as one set is the quickest: what has no fold stays what it is.
FOLDABLE: Final = re.compile(
    "(["
    + "".join(re.escape(chr(code)) for code in sorted(_FOLDS) if code < 0x10000)
    + "\U00010000-\U0001ffff\U000e0000-\U000e0fff]+)"
)


def fold(run: str) -> str:
    """What a run of foldable characters stands for."""
    return run.translate(_FOLDS)
