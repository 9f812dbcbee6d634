"""What people see in a terminal: readable, and never more than text."""

import time

import pytest

from infertap import v1
from infertap.rendering import Table, duration, in_full, kept_by, local_time, status, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 日本", "plain ü 日本"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\nb\tc\rd\x00", "a\\u000ab\\u0009c\\u000dd\\u0000"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028end", "line\\u2028end"),
        ("\x9b31m", "\\u009b31m"),
    ],
)
def test_nothing_controls_the_terminal(text: str, shown: str) -> None:
    """Control and direction characters are shown as their code points."""
    assert visible(text) == shown


def test_record_of_a_newer_sidecar() -> None:
    """A value that this version has no name for is shown as its number."""
    record = v1.Record(state=99, protocol=98, ended_by=97)  # type: ignore[arg-type]
    record.sampling.reason = 96  # type: ignore[assignment]
    assert "99" in Table().row(record)
    for number in ("99", "98", "97", "96"):
        assert number in in_full(record)


def test_record_of_an_attacker() -> None:
    """Whatever stands in any text of a record, no control character reaches the terminal."""
    evil = "\x1b]0;owned\x07\u202e"
    record = v1.Record(
        call_id=evil,
        request_id=evil,
        method=evil,
        path=evil,
        query=evil,
        grpc_message=evil,
        context={evil: evil},
        logging_error_codes=[evil],
    )
    record.model.name = record.model.version = record.model.parameters_json = evil
    record.payload_id = record.trace_id = record.span_id = record.caller.address = evil
    record.source.pod = record.source.node = record.source.infertap_version = evil
    record.model.finish_reasons.append(evil)
    record.model.inputs.add(name=evil, datatype=evil, shape=[1])
    record.caller.user = record.caller.session = evil
    for payload in (record.request, record.response):
        payload.data = evil.encode()
        payload.content_type = evil
        payload.redactions.add(count=1, field=evil, **{"class": evil})
        payload.headers.add(name=evil, value=evil)
        payload.trailers.add(name=evil, value=evil)
    record.response.ClearField("data")
    record.response.digest = evil
    for text in (in_full(record), Table().row(record)):
        assert not [char for char in text if (ord(char) < 32 and char != "\n") or char in "\x07\x1b\u202e"]


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [(-1, "-"), (0, "0 us"), (999, "999 us"), (1000, "1.0 ms"), (999_949, "999.9 ms"), (1_500_000, "1.50 s")],
)
def test_durations(microseconds: int, shown: str) -> None:
    """In the unit that reads best; a dash for what did not happen."""
    assert duration(microseconds) == shown


def test_times_have_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time to the millisecond, with its offset."""
    record = v1.Record()
    record.timing.start.FromNanoseconds(1_767_225_600_007_000_000)
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert local_time(record.timing.start) == "2026-01-01 05:30:00.007+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_status() -> None:
    """The gRPC status where there is one; a dash where nothing was answered."""
    assert status(v1.Record(http_status=404)) == "404"
    assert status(v1.Record(http_status=200, grpc_status=0)) == "gRPC 0"
    assert status(v1.Record()) == "-"


def test_kept_by() -> None:
    """The reason, and the share where it is not all."""
    whole = v1.Record(sampling=v1.Sampling(reason=v1.Sampling.ERROR, fraction=1))
    part = v1.Record(sampling=v1.Sampling(reason=v1.Sampling.RATE, fraction=0.1))
    assert (kept_by(whole), kept_by(part)) == ("error", "rate 0.1")


def test_long_cells_are_cut(record: v1.Record) -> None:
    """Columns stay in line whatever is in them; the head comes once."""
    table = Table()
    record.path = "/" + "x" * 500
    first, second = table.row(record), table.row(record)
    assert first.count("\n") == 1
    assert second == first.splitlines()[1]
    assert len(second) < 160
    assert "…" in second


def test_long_bodies_are_cut(record: v1.Record) -> None:
    """Of a long body the beginning is shown, and how much more there is."""
    record.response.data = b"x" * 10_000
    assert "6000 more characters" in in_full(record)


def test_broken_off(record: v1.Record) -> None:
    """What was broken off says by whom, and a digest is shown where there is no body."""
    record.state, record.ended_by = v1.CANCELLED, v1.EndedBy.MODEL_ABORTED
    record.response.digest = "hmac:1234:5678"
    shown = in_full(record)
    assert "cancelled, ended by model aborted" in shown
    assert "kept as a digest: hmac:1234:5678" in shown


def test_call_in_flight() -> None:
    """It has no number yet; its age and what came so far are shown, and nothing that only its end tells."""
    record = v1.Record(state=v1.INFERENCING, method="POST", path="/v1/slow")
    record.timing.duration_us = 3_200_000
    record.request.size_bytes, record.response.size_bytes = 120, 4096
    row = Table().row(record).splitlines()[1]
    assert row.startswith("- ")
    for text in ("3.20 s", "inferencing ", "in flight: 120 bytes asked, 4096 answered"):
        assert text in row
    shown = in_full(record)
    assert "inferencing\n" in shown
    assert "ended by" not in shown
    assert "kept by" not in shown


def test_call_that_went_with_its_relay() -> None:
    """It says what became of it."""
    record = v1.Record(state=v1.FAILED, logging_error_codes=["RELAY_LOST"])
    assert Table().row(record).endswith("failed       relay lost")


def test_long_calls() -> None:
    """A call in segments says how many are there; a WebSocket what closed it; and where the time went."""
    record = v1.Record(segments_joined=3, segments_missing=1, is_continued=True)
    record.close_code, record.close_reason = 1011, "out of memory"
    record.timing.accepted_us, record.timing.relay_wait_us = -2000, 300
    record.timing.grpc_timeout_us = 5_000_000
    shown = in_full(record)
    assert "3 joined, 1 missing, it goes on" in shown
    assert "1011 out of memory" in shown
    assert "accepted 2.0 ms before" in shown
    assert "waited 300 us in the relay" in shown
    assert "caller's timeout 5.00 s" in shown


def test_what_the_payloads_told() -> None:
    """Interface, tokens, the error, and what an image is; nothing where nothing was told."""
    told = v1.Record(
        model=v1.Model(api="openai", operation="chat", input_tokens=9, output_tokens=0, reasoning_tokens=4),
        error=v1.Error(type="ValueError", message="no\x1b[2J"),
        request=v1.Payload(
            media=v1.Media(format="png", width=640, height=480, channels=3),
            content_type="image/png",
        ),
        response=v1.Payload(
            media=v1.Media(format="wav", channels=1, sample_rate=8000, duration_ms=1500),
            content_type="audio/wav",
        ),
    )
    text = in_full(told)
    assert "openai chat" in text
    assert "9 in, 0 out, 4 for reasoning" in text
    assert "ValueError no\\u001b[2J" in text
    assert "png, 640 x 480 pixels, 3 channels" in text
    assert "wav, 1 channels, 8000 samples a second, 1.50 s" in text
    assert "interface" not in in_full(v1.Record())


def test_business_facts() -> None:
    """What the settings name of a call, and the model's own phases; each only where it is."""
    record = v1.Record(cohort="blue", application_version="2.1", intent="bu\x1by", tags=["a", "b"])
    record.timing.phases.add(name="gpu", duration_us=3500, description="on the card")
    record.timing.phases.add(name="cached")
    text = in_full(record)
    assert "cohort        blue" in text
    assert "application   2.1" in text
    assert "intent        bu\\u001by" in text
    assert "tags          a, b" in text
    assert "phases        gpu 3.5 ms (on the card), cached" in text
    assert not {"cohort", "intent", "tags", "phases"} & set(in_full(v1.Record()).split())


def test_no_spaces_at_ends_of_lines() -> None:
    """A WebSocket's code without a reason ends its line."""
    assert "closed by     1000\n" in in_full(v1.Record(close_code=1000))
