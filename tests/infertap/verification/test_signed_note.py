"""Signed notes and keys, held against the published example; anything changed is refused."""

import pytest

from infertap.verification import (
    NoteError,
    make_key,
    open_note,
    read_private_key,
    read_public_key,
    sign_note,
)

# From c2sp.org/signed-note.
KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""


def test_the_published_note() -> None:
    """What the specification signed is read with its key."""
    assert open_note(NOTE, [read_public_key(KEY)]) == "This is an example message.\n"
    assert str(read_public_key(KEY)) == KEY


def test_a_key_is_written_and_read() -> None:
    """A new key signs; its public half, passed on as text, checks."""
    key = make_key("storage.example/prod")
    again = read_private_key(key.secret())
    note = sign_note("one\n\ntwo\n", [again])
    assert open_note(note, [read_public_key(str(key.public))]) == "one\n\ntwo\n"
    assert key.secret() not in repr(key)


def test_two_keys_while_one_replaces_the_other() -> None:
    """A note with both signatures is good for those who know either key."""
    old, new = make_key("storage"), make_key("storage")
    note = sign_note("text\n", [old, new])
    for trusted in ([old.public], [new.public], [old.public, new.public]):
        assert open_note(note, trusted) == "text\n"
    with pytest.raises(NoteError, match="trusted"):
        open_note(note, [make_key("storage").public])


@pytest.mark.parametrize(
    "changed",
    [
        NOTE.replace("example message", "exemplary message"),
        NOTE.replace("Uw2QOkn8", "Uw2QOkn9"),
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("Uw2Q", "U!2Q"),
        NOTE[:-1],
        "",
        "\n\n",
    ],
)
def test_a_changed_note_is_refused(changed: str) -> None:
    """Any change of text, signature or form."""
    with pytest.raises(NoteError):
        open_note(changed, [read_public_key(KEY)])


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+530d903a", KEY.replace("530d903a", "530d903b"), KEY.replace("AekyeR", "AekyeS"),
     KEY.replace("example.com/foo", "a b"), "n+00000000+AQ=="],
)  # fmt: skip
def test_a_mistyped_key_is_refused(text: str) -> None:
    """Its id is a checksum; nothing else than a key is one."""
    with pytest.raises(NoteError):
        read_public_key(text)
    with pytest.raises(NoteError) as refused:
        read_private_key("PRIVATE+KEY+" + text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "x" * 201])
def test_names_that_a_note_could_not_carry(name: str) -> None:
    """Spaces and plus signs stand between the parts of a line."""
    with pytest.raises(NoteError):
        make_key(name)
