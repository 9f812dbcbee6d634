"""Formats: what each form of export is made of, and which records it needs. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infertap import v1
from infertap.export.chats import to_fine_tuning
from infertap.export.delta import MOST_PART_BYTES, Commit
from infertap.export.parts import Lines, Parquet, Part, to_object
from infertap.export.places import File
from infertap.export.preferences import Pairs

_CHAT_FIELDS: Final = ("call_id", "state", "model", "request", "response", "timing.start")
DEFAULT_PART_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """One form. `fields` of records are fetched, all where there are none; `needs` packages."""

    suffix: str
    open: Callable[[File | None], Part]
    fields: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: str = "export"
    most_part_bytes: int = 1 << 62
    # Whether it can go on behind what is written; else it begins anew.
    is_resumable: bool = True
    # Records without feedback are of no use.
    wants_feedback: bool = False


def _of_file(make: Callable[[File], Part]) -> Callable[[File | None], Part]:
    def opened(file: File | None) -> Part:
        assert file is not None
        return make(file)

    return opened


FORMATS: Final = {
    "parquet": Format(".parquet", _of_file(Parquet), needs=("pyarrow",)),
    "jsonl": Format(".jsonl", _of_file(lambda file: Lines(file, to_object))),
    "delta": Format(
        "",
        lambda _: Commit(),
        needs=("pyarrow", "deltalake"),
        extra="delta",
        most_part_bytes=MOST_PART_BYTES,
    ),
    "openai-jsonl": Format(".jsonl", _of_file(lambda file: Lines(file, to_fine_tuning)), fields=_CHAT_FIELDS),
    "preference-jsonl": Format(
        ".jsonl",
        _of_file(Pairs),
        fields=(*_CHAT_FIELDS, "feedback"),
        is_resumable=False,
        wants_feedback=True,
        most_part_bytes=1 << 62,
    ),
}


def filter_for(format: Format, asked: v1.RecordFilter) -> v1.RecordFilter:
    """What is fetched: `asked`, of that only what the form can use."""
    made = v1.RecordFilter()
    made.CopyFrom(asked)
    if format.wants_feedback and not asked.HasField("feedback"):
        made.feedback.SetInParent()
    return made
