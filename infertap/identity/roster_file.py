"""Roster file: the identities file, read again when it changes. Touches that file."""

from infertap.identity.changing import Changing, Say
from infertap.identity.roster import MOST_BYTES, Roster, RosterError
from infertap.setting_files import UnusableFileError, read_file


def open_roster(path: str, say: Say) -> Changing[Roster]:
    """The roster in the file at `path`; raises UnusableFileError."""

    def read() -> Roster:
        try:
            return Roster.parse(read_file(path, MOST_BYTES))
        except RosterError as error:
            raise UnusableFileError(f"{path}: {error}") from None

    return Changing("identities file", [path], read, say)
