"""Signed note: text signed by Ed25519 keys, and how keys are written (c2sp.org/signed-note). Pure.

    note           text, ending in a newline ‖ newline ‖ one or more signature lines
    signature line "— " ‖ name ‖ " " ‖ base64(key id ‖ signature) ‖ newline
    key id         the first 4 bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ public key)
    public key     name "+" key id in hex "+" base64(0x01 ‖ public key)
    private key    "PRIVATE+KEY+" name "+" key id in hex "+" base64(0x01 ‖ seed), as Go's sumdb/note has it

So other tools of transparency logs read what is signed here, and may sign it too: signatures of unknown keys
are passed over.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519: Final = b"\x01"
_PRIVATE: Final = "PRIVATE+KEY+"
_NAME: Final = re.compile(r"[^\s+]{1,200}")
_MOST_BYTES: Final = 1 << 20
_MOST_SIGNATURES: Final = 100


class NoteError(ValueError):
    """A note or a key that can't be used; the message says why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whose signatures count."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes: tells keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.key)}"


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """What signs; never shown but by `secret`."""

    name: str
    seed: bytes

    @property
    def public(self) -> PublicKey:
        """The key that others check with."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        return PublicKey(self.name, key.public_key().public_bytes_raw())

    def secret(self) -> str:
        """As it stands in a key file."""
        return f"{_PRIVATE}{self.name}+{self.public.key_id.hex()}+{_base64(_ED25519 + self.seed)}"

    def sign(self, text: str) -> str:
        """The signature line for `text`."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"— {self.name} {_base64(self.public.key_id + signature)}\n"


def make_key(name: str) -> PrivateKey:
    """A new key; raises NoteError for a name with spaces or plus signs."""
    _check_name(name)
    return PrivateKey(name, Ed25519PrivateKey.generate().private_bytes_raw())


def read_public_key(text: str) -> PublicKey:
    """The key that `text` says; raises NoteError."""
    name, key_id, key = _read_key(text.strip())
    public = PublicKey(name, key)
    if public.key_id.hex() != key_id:
        raise NoteError("a key whose id is another key's: mistyped?")
    return public


def read_private_key(text: str) -> PrivateKey:
    """The key that a line of a key file says; raises NoteError, which never quotes it."""
    if not text.startswith(_PRIVATE):
        raise NoteError("not a private key")
    name, key_id, seed = _read_key(text.strip().removeprefix(_PRIVATE))
    private = PrivateKey(name, seed)
    if private.public.key_id.hex() != key_id:
        raise NoteError("a key whose id is another key's: damaged?")
    return private


def sign_note(text: str, keys: Sequence[PrivateKey]) -> str:
    """The note of `text`, which ends in a newline, signed by all keys."""
    return text + "\n" + "".join(key.sign(text) for key in keys)


def open_note(note: str, keys: Sequence[PublicKey]) -> str:
    """The text of a note that at least one of the keys signed, and none of them wrongly. Raises NoteError."""
    text, gap, lines = note.rpartition("\n\n")
    if not gap or len(note) > _MOST_BYTES or not lines.endswith("\n"):
        raise NoteError("not a signed note")
    text += "\n"
    signed = 0
    for line in lines.splitlines()[:_MOST_SIGNATURES]:
        name, key_id, signature = _read_signature(line)
        for key in keys:
            if key.name == name and key.key_id == key_id:
                _check(key, signature, text)
                signed += 1
    if not signed:
        raise NoteError("not signed by a key that is trusted here")
    return text


def _check(key: PublicKey, signature: bytes, text: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        raise NoteError(f"the signature of {key.name} ({key.key_id.hex()}) is wrong") from None


def _read_signature(line: str) -> tuple[str, bytes, bytes]:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    signature = _unbase64(encoded)
    if mark != "—" or not name or len(signature) < 5:
        raise NoteError("not a signature line")
    return name, signature[:4], signature[4:]


def _read_key(text: str) -> tuple[str, str, bytes]:
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    key = _unbase64(encoded)
    _check_name(name)
    if len(key) != 33 or key[:1] != _ED25519:
        raise NoteError("not an Ed25519 key")
    return name, key_id, key[1:]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise NoteError("a key's name has neither spaces nor plus signs, and at most 200 characters")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("not base64") from None
