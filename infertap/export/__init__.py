"""Export: records as files for analysis and training: Parquet, JSON Lines, Delta, chats, preferences."""

from infertap.export.chats import Conversation, conversation
from infertap.export.delta import Commit, DeltaTable
from infertap.export.errors import ExportError
from infertap.export.formats import DEFAULT_PART_BYTES, FORMATS
from infertap.export.parts import Lines, Parquet, Part, json_line, to_object
from infertap.export.places import File, Place, open_place
from infertap.export.running import export_records
from infertap.export.state import STATE_NAME, State

__all__ = [
    "DEFAULT_PART_BYTES",
    "FORMATS",
    "STATE_NAME",
    "Commit",
    "Conversation",
    "DeltaTable",
    "ExportError",
    "File",
    "Lines",
    "Parquet",
    "Part",
    "Place",
    "State",
    "conversation",
    "export_records",
    "json_line",
    "open_place",
    "to_object",
]
