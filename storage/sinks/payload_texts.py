"""Payload texts: a body as text, for sinks that show one. Pure.

What is masked in the record is masked here.
"""

from infertap import v1


def text_of(payload: v1.Payload, most_bytes: int) -> tuple[str, bool]:
    """The body as it was read, else as UTF-8, cut at `most_bytes`; and whether that, or the record, cut it.

    Empty where there is none, or where it is no text.
    """
    whole = payload.decoded_json.encode() or payload.data
    try:
        # A body that the record cut may end within a character.
        text = whole.decode(errors="ignore" if payload.truncated else "strict")
    except UnicodeDecodeError:
        return "", False
    is_cut = payload.truncated or len(whole) > most_bytes
    return (whole[:most_bytes].decode(errors="ignore") if len(whole) > most_bytes else text), is_cut
