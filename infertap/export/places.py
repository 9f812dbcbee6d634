"""Places: where an export's files go: a local directory, or a folder of an object store.

Promises: a file appears whole or not at all, also where the machine dies (local: written beside it, fsync,
rename; object store: an upload in parts, which only its completion makes an object). Touches the directory,
or what `pyarrow.fs` reaches by its URI, with the keys and endpoints of its environment
(AWS_ACCESS_KEY_ID, ...).
"""

import fcntl
import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from infertap.export.errors import ExportError

_PARTIAL: Final = ".partial"


class File(Protocol):
    """A file that is being written."""

    stream: Any

    def keep(self) -> None:
        """Make it appear."""

    def discard(self) -> None:
        """Leave nothing of it."""


class Place(ABC):
    """A directory. OSError where it can't be used."""

    @abstractmethod
    def open(self, name: str) -> File:
        """A new file; it takes the place of one of that name once it is kept. The name may have folders."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""

    @abstractmethod
    def names(self) -> list[str]:
        """The files there, those that were being written too."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""

    @abstractmethod
    def close(self) -> None:
        """Let others write here."""

    def put(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        file = self.open(name)
        try:
            file.stream.write(content)
        except OSError:
            file.discard()
            raise
        file.keep()


def open_place(out: str) -> Place:
    """A path, or a URI that `pyarrow.fs` knows: s3://BUCKET/FOLDER, gs://, abfs://. Raises ExportError."""
    if "://" not in out:
        return _Directory(Path(out))
    if importlib.util.find_spec("pyarrow") is None:
        raise ExportError(f"{out}: an object store needs pyarrow: pip install 'infertap[export]'")
    import pyarrow as pa  # noqa: PLC0415  (an extra)
    from pyarrow import fs  # noqa: PLC0415

    try:
        filesystem, path = fs.FileSystem.from_uri(out)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ExportError(f"{out.partition('?')[0]}: {error}") from None
    return _Folder(filesystem, path.rstrip("/"))


class _Directory(Place):
    """A local directory, for one export at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ExportError(f"{path}: {error.strerror}; an export needs a directory of its own") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise ExportError(f"{path}: another export is writing there") from None

    def open(self, name: str) -> File:
        folder = (self._path / name).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Those whose entries must be durable for the file to be found.
        folders = [folder, *(each for each in folder.parents if each.is_relative_to(self._path))]
        return _LocalFile(self._path / name, folders)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        return [each.name.removesuffix(_PARTIAL) for each in self._path.iterdir() if each.is_file()]

    def remove(self, name: str) -> None:
        for each in (name, name + _PARTIAL):
            (self._path / each).unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._descriptor)


class _LocalFile:
    def __init__(self, path: Path, folders: Sequence[Path]) -> None:
        self._path, self._folders = path, folders
        self._partial = path.with_name(path.name + _PARTIAL)
        self.stream = self._partial.open("wb")

    def keep(self) -> None:
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        self._partial.rename(self._path)
        for folder in self._folders:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        self.stream.close()
        self._partial.unlink(missing_ok=True)


class _Folder(Place):
    """A folder of an object store."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem, self._path = filesystem, path

    def open(self, name: str) -> File:
        return _Object(self._filesystem, f"{self._path}/{name}")

    def read(self, name: str) -> bytes | None:
        try:
            with self._filesystem.open_input_stream(f"{self._path}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        from pyarrow import fs  # noqa: PLC0415

        found = self._filesystem.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        return [each.base_name for each in found if each.is_file]

    def remove(self, name: str) -> None:
        self._filesystem.delete_file(f"{self._path}/{name}")

    def close(self) -> None:
        """Nothing is held."""


class _Object:
    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem, self._path = filesystem, path
        self.stream = filesystem.open_output_stream(path)

    def keep(self) -> None:
        self.stream.close()

    def discard(self) -> None:
        # pyarrow has no way to give an upload up.
        self.stream.close()
        self._filesystem.delete_file(self._path)
