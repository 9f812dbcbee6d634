"""Masks: which fields of a record a caller wants (google.protobuf.FieldMask, AIP-157)."""

from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from infertap import v1
from infertap.query.errors import InvalidArgumentError

_PATHS_MOST: Final = 100


class ReadMask:
    """A checked mask. No paths, or `*`, mean everything."""

    def __init__(self, mask: FieldMask) -> None:
        """Raises InvalidArgumentError for a path that no record has."""
        if len(mask.paths) > _PATHS_MOST:
            raise InvalidArgumentError("read_mask", f"more than {_PATHS_MOST} paths")
        self._mask = None if not mask.paths or list(mask.paths) == ["*"] else mask
        for path in mask.paths if self._mask else ():
            if not FieldMask(paths=[path]).IsValidForDescriptor(v1.Record.DESCRIPTOR):
                raise InvalidArgumentError("read_mask", f"a record has no field {path[:100]!r}")

    def wants(self, field: str) -> bool:
        """Whether it lets through anything of that field of a record."""
        return self._mask is None or any(path.split(".")[0] == field for path in self._mask.paths)

    def apply(self, record: v1.Record) -> v1.Record:
        """`record` with the wanted fields only; the very record where all are wanted."""
        if self._mask is None:
            return record
        wanted = v1.Record()
        self._mask.MergeMessage(record, wanted)
        return wanted
