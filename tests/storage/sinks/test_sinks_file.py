"""The sinks file: what it says, and what is wrong with it."""

from pathlib import Path

import pytest

from infertap import v1
from infertap.setting_files import UnusableFileError
from storage.sinks import read_sinks

WHOLE = """
[[sink]]
name = "events"
kind = "cloudevents"
url = "https://events.example.com/in"
from = "beginning"
tenant = "team-a"
filter = { model = "iris", states = ["FAILED"], http_statuses = [500] }
batch_records = 7
batch_bytes = "1MiB"
linger = "2s"

[[sink]]
name = "lines"
kind = "jsonl"
path = "/var/lib/records.jsonl"
"""


def written(directory: Path, text: str) -> str:
    path = directory / "sinks.toml"
    path.write_text(text)
    return str(path)


def test_what_it_says(tmp_path: Path) -> None:
    """Each sink with its kind, filter, beginning and limits; what is not said is as its kind has it."""
    events, lines = read_sinks(written(tmp_path, WHOLE))
    assert (events.name, events.kind, events.begins_at_beginning) == ("events", "cloudevents", True)
    assert (events.query.model, events.query.tenant, events.query.states) == ("iris", "team-a", {v1.FAILED})
    assert (events.limits.records, events.limits.bytes, events.limits.linger_seconds) == (7, 1 << 20, 2.0)
    assert (lines.begins_at_beginning, lines.query.tenant, lines.limits.records) == (False, None, 500)


def sink(**settings: str) -> str:
    told = {"name": '"s"', "kind": '"jsonl"', "path": '"/x"', **settings}
    return "[[sink]]\n" + "\n".join(f"{key} = {value}" for key, value in told.items() if value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[sink", "not TOML"),
        ("number = " + "9" * 5000, "not TOML"),
        ("", r"expected 1 to 32 tables \[\[sink\]\]"),
        ("other = 1\n" + sink(), r"expected 1 to 32 tables \[\[sink\]\]"),
        (sink(name='"a b"'), "sink 1: name: expected"),
        (sink() + "\n" + sink(), r"sink 2 \(s\): name: a second one"),
        (sink(kind='"carrier-pigeon"'), r"sink 1 \(s\): kind: expected one of jsonl, "),
        (sink(path=""), r"sink 1 \(s\): path: expected a text"),
        (sink(path='"relative"'), "path: expected an absolute path"),
        (sink(pth='"/x"'), "no setting 'pth' here"),
        (sink(**{"from": '"yesterday"'}), "from: expected one of now, beginning"),
        (
            sink(filter='{ modle = "x" }'),
            "filter: 'modle': no such condition; there are start_time, [a-z_, ]+$",
        ),
        (sink(filter="{ feedback = {} }"), "without feedback"),
        (sink(filter='{ states = ["INFERENCING"] }'), "filter: states"),
        (sink(batch_records="0"), "batch_records: expected a whole number from 1"),
        (sink(batch_bytes='"1B"'), "batch_bytes: expected 65536 to"),
        (sink(linger='"soon"'), "linger: expected a time"),
        (
            sink(kind='"cloudevents"', path="", url='"ftp://x"'),
            "url: expected a URL that begins with https://",
        ),
        (sink(kind='"cloudevents"', path="", url='"http://me:secret@x"'), "url: no user or password"),
        (
            sink(kind='"cloudevents"', path="", url='"http://x"', token_file='"/nowhere/token"'),
            "token_file: /nowhere/token: No such file",
        ),
        (
            sink(kind='"cloudevents"', path="", url='"https://x"', ca_file='"/nowhere/ca"'),
            "ca_file, cert_file, key_file: No such file",
        ),
        (
            sink(
                kind='"cloudevents"', path="", url='"http://x"', headers='{ Authorization = "Bearer secret" }'
            ),
            "headers: authorization: no credential belongs here",
        ),
        (
            sink(kind='"cloudevents"', path="", url='"http://x"', headers='{ a = "b\\n" }'),
            "headers: expected",
        ),
        (sink(kind='"cloudevents"', path="", url='"http://x"', events='"kserve"'), 'needs mode = "binary"'),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, fault: str) -> None:
    """Whatever is wrong is said at the start: the file, the sink, the setting; and no secret."""
    path = written(tmp_path, text)
    with pytest.raises(UnusableFileError, match=fault) as caught:
        read_sinks(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind whose package is not installed says which extra has it."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.delitem(__import__("sys").modules, "storage.sinks.objects", raising=False)
    text = sink(kind='"objects"', path="", url='"s3://bucket/records"')
    with pytest.raises(
        UnusableFileError, match=r"kind: objects needs pyarrow: pip install 'infertap\[export\]'"
    ):
        read_sinks(written(tmp_path, text))
