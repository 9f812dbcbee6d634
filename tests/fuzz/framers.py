"""The HTTP/1 framers against `h11` and llhttp: same messages or flagged, however the bytes are split."""

from sidecar.protocols import Answer
from tests.fuzz.reads import read_reads
from tests.oracles.http1 import (
    assert_same_or_flagged,
    our_requests,
    our_responses,
    requests_by_h11,
    responses_by_h11,
)
from tests.oracles.llhttp import assert_none_is_hidden, requests_by_llhttp, responses_by_llhttp


def requests(data: bytes) -> None:
    """The reads of `data`, whichever side they name, as one client's."""
    pieces = [read for _, read in read_reads(data)]
    stream = b"".join(pieces)
    ours = our_requests([stream])
    assert our_requests(pieces) == ours
    assert_same_or_flagged(ours, requests_by_h11(stream))
    assert_none_is_hidden(ours, requests_by_llhttp(stream))


def responses(data: bytes) -> None:
    """Four bytes tell of requests, the rest are the reads of their answers."""
    answers = [Answer(byte % len(Answer)) for byte in data[:4]]
    pieces = [read for _, read in read_reads(data[4:])]
    stream = b"".join(pieces)
    ours = our_responses([stream], answers)
    assert our_responses(pieces, answers) == ours
    assert_same_or_flagged(ours, responses_by_h11(stream, answers))
    if set(answers) == {Answer.PLAIN}:
        assert_none_is_hidden(ours, responses_by_llhttp(stream))
