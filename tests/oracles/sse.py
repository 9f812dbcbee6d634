"""Server-sent events by the standard's own steps (WHATWG HTML, section 9.2.6), over a whole stream."""

import re

Event = tuple[str, str, str]


def events_by_the_standard(stream: bytes) -> list[Event]:
    """Type, data and last id of each event that is dispatched."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # what follows the last line end is no line
    events: list[Event] = []
    data = kind = last_id = ""
    for line in lines:
        if line == "":
            if data:
                events.append((kind or "message", data[:-1], last_id))
            data = kind = ""
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return events
