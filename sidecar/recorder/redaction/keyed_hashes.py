"""Keyed hashes: what stands in place of a value whose equality is to be seen, not the value itself. Pure."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_HASH_DIGITS: Final = 32


@dataclass(frozen=True)
class HashKey:
    """The key of keyed hashes. Its id is no secret; it tells hashes of two keys apart."""

    secret: bytes

    @cached_property
    def identity(self) -> str:
        return hashlib.sha256(b"infertap hash key\0" + self.secret).hexdigest()[:8]

    def hash(self, value: bytes) -> str:
        """`hmac:KEYID:` and 128 bits of HMAC-SHA-256 (RFC 2104) in hex: the same for the same value."""
        digest = hmac.new(self.secret, value, hashlib.sha256).hexdigest()[:_HASH_DIGITS]
        return f"hmac:{self.identity}:{digest}"
