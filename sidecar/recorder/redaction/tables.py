"""Tables: redacts columns of CSV (RFC 4180) by their names, where the first row has names that tell.

Pure. All other values are found as in any text, which is not done here.
"""

import csv
import io
from typing import Final

from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.named_values import NamedValues
from sidecar.recorder.redaction.redacted_body import UnreadableError, Withheld

_DELIMITERS: Final = ",;\t|"


def redact_table(text: str, values: NamedValues, findings: Findings) -> str:
    """`text` with columns masked or dropped as `values` says of their names; as it was where it says nothing.

    Raises UnreadableError where a column is to be masked and the rows can't be told apart.
    """
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter, strict=True), [])]
        if not any(map(values.matters, names)):
            return text
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        if any(values.matters(name.strip(' "\r')) for name in first.split(delimiter)):
            raise UnreadableError(Withheld.MALFORMED) from None
        return text
    out = io.StringIO()
    end = "\r\n" if first.endswith("\r") else "\n"
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    dropped = {place for place, name in enumerate(names) if values.is_dropped(name)}
    writer.writerow([name for place, name in enumerate(rows[0]) if place not in dropped])
    for row in rows[1:]:
        writer.writerow(_row(row, names, values, findings))
    redacted = out.getvalue()
    return redacted if text.endswith("\n") else redacted.removesuffix(end)


def _row(row: list[str], names: list[str], values: NamedValues, findings: Findings) -> list[str]:
    kept = []
    for place, cell in enumerate(row):
        name = names[place] if place < len(names) else ""
        value = values.value(name, cell, "body", findings) if cell or values.is_dropped(name) else cell
        if value is not None:
            kept.append(value)
    return kept
