"""Records that are too large shrink in a fixed order, say so, and stay readable."""

from hashlib import sha256

import pytest

from infertap import v1
from sidecar.recorder.shrinking import RECORD_BYTES, TOO_LARGE, encode


def record(**fields: object) -> v1.Record:
    made = v1.Record(call_id="c", path="/p", **fields)  # type: ignore[arg-type]
    made.timing.duration_us = 7
    return made


def shrunk(made: v1.Record) -> v1.Record:
    encoded = encode(made)
    assert len(encoded) <= RECORD_BYTES
    return v1.Record.FromString(encoded)


def test_what_fits_stays() -> None:
    """A record that fits is encoded as it is."""
    made = record(request=v1.Payload(data=b"x" * 1000, decoded_json="{}"))
    assert shrunk(made) == made
    assert TOO_LARGE not in made.logging_error_codes


def test_views_go_first() -> None:
    """A view of a body that is there is left out before anything else; the body is whole."""
    body = b"x" * (2 << 20)
    small = shrunk(record(request=v1.Payload(data=body, decoded_json="y" * (2 << 20))))
    assert (small.request.data, small.request.decoded_json) == (body, "")
    assert not small.request.truncated
    assert list(small.logging_error_codes) == [TOO_LARGE]


def test_a_view_that_is_the_body_stays_while_it_fits() -> None:
    """Where only the view is kept, other bodies are cut first."""
    view = '"' + "v" * 1000 + '"'
    small = shrunk(
        record(
            request=v1.Payload(decoded_json=view),
            response=v1.Payload(data=b"x" * (4 << 20), sha256=b"old"),
        )
    )
    assert small.request.decoded_json == view
    assert not small.request.truncated
    assert (len(small.response.data), small.response.truncated) == (1 << 20, True)
    assert small.response.sha256 == sha256(small.response.data).digest()


def test_a_view_is_never_cut_in_two() -> None:
    """Half a JSON document is none: a view that is too large goes as a whole."""
    small = shrunk(record(response=v1.Payload(decoded_json="v" * (4 << 20))))
    assert (small.response.decoded_json, small.response.truncated) == ("", True)


@pytest.mark.parametrize(
    "large",
    [
        record(query="q" * (4 << 20)),
        record(context={str(number): "x" * 100 for number in range(40_000)}),
        record(model=v1.Model(parameters_json="p" * (4 << 20), name="n" * (4 << 20))),
        record(request=v1.Payload(headers=[v1.Header(name="h", value="x" * (4 << 20))])),
        record(request=v1.Payload(content_type="c" * (4 << 20), trailers=[v1.Header(value="x" * (4 << 20))])),
        record(model=v1.Model(finish_reasons=["stop" * (1 << 20)])),
        record(error=v1.Error(message="m" * (4 << 20), stack_trace="s" * (4 << 20))),
        record(tags=["t" * (4 << 20)]),
    ],
)
def test_anything_can_be_too_large(large: v1.Record) -> None:
    """Whatever makes a record too large, what remains is its essence."""
    small = shrunk(large)
    assert (small.call_id, small.path, small.timing.duration_us) == ("c", "/p", 7)
    assert list(small.logging_error_codes) == [TOO_LARGE]


def test_same_bytes_again() -> None:
    """The same record shrinks to the same bytes."""
    made = [record(request=v1.Payload(data=b"x" * (5 << 20), decoded_json="y" * 99)) for _ in range(2)]
    assert encode(made[0]) == encode(made[1])
