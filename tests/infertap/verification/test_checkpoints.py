"""Checkpoints and statements: written, read, refused."""

import pytest

from infertap.verification import (
    HEAD,
    Checkpoint,
    LogId,
    NoteError,
    make_key,
    open_checkpoint,
    read_public_key,
    read_statement,
    sign_checkpoint,
    sign_note,
    state,
)

KEY = make_key("storage.example")


def test_a_checkpoint_is_a_signed_note() -> None:
    """Origin, size and root, one a line, as c2sp.org/tlog-checkpoint has it."""
    checkpoint = Checkpoint("storage.example", 12, b"r" * 32)
    note = sign_checkpoint(checkpoint, [KEY])
    assert note.splitlines()[:2] == ["storage.example", "12"]
    assert open_checkpoint(note, [KEY.public]) == checkpoint


def test_the_published_checkpoint_is_read() -> None:
    """The example of the specification, with extension lines too, but for its key, which is not published."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    key = make_key("example.com/behind-the-sofa")
    for extended in (text, text + "extension\n"):
        read = open_checkpoint(sign_note(extended, [key]), [key.public])
        assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20852163)


@pytest.mark.parametrize(
    "text", ["a\n", "a\n1\n", "a\n01\n{}\n", "a\n-1\n{}\n", "a\n1\nAAAA\n", "\n1\n{}\n", "a\n٣\n{}\n"]
)
def test_a_signed_note_that_is_no_checkpoint(text: str) -> None:
    """A good signature under something else."""
    root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    key = make_key("a")
    with pytest.raises(NoteError):
        open_checkpoint(sign_note(text.format(root), [key]), [read_public_key(str(key.public))])


def test_a_key_signs_for_its_own_archive_only() -> None:
    """Of two archives that are both trusted, one can't sign for the other: the origin is the key's name."""
    other = make_key("storage.elsewhere")
    note = sign_checkpoint(Checkpoint("storage.example", 12, b"r" * 32), [other])
    with pytest.raises(NoteError, match="trusted here"):
        open_checkpoint(note, [KEY.public, other.public])
    both = sign_checkpoint(Checkpoint("storage.example", 12, b"r" * 32), [other, KEY])
    assert open_checkpoint(both, [KEY.public, other.public]).size == 12


def test_statements_are_read_as_they_were_written() -> None:
    """Their bytes are kept, for those are hashed."""
    made = state(HEAD, LogId("acme", "2026-11-21", "ab" * 8), (3, b"r" * 32), 1_767_225_600_000_000_000)
    assert read_statement(made.data) == made
    assert made.time_ns == 1_767_225_600_000_000_000
    assert b'"time":"2026-01-01T00:00:00Z"' in made.data


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"nothing", b"\xff", b"[" * 100_000])
def test_what_is_no_statement(data: bytes) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError, match="statement"):
        read_statement(data)
