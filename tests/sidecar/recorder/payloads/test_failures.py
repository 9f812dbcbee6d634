"""What answers say of their failures, in the shapes of many servers."""

from typing import Any

import pytest

from sidecar.recorder.payloads import CallPayloads, Failure, Side, View, understand

TRACEBACK = """Traceback (most recent call last):
  File "/app/serve.py", line 3, in predict
    return model(x)
ValueError: x has 3 features, expected 4"""


def failed(media_type: str, data: str, status: int = 500) -> Failure:
    return understand(CallPayloads("/x", Side(), Side(media_type, (), data.encode()), status)).failure


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"error": {"message": "Bad key", "type": "invalid_request_error", "param": None, "code": "k"}},
            "invalid_request_error",
            "Bad key",
        ),
        (
            {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
            "BadRequestError",
            "too long",
        ),
        (
            {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
            "not_found_error",
            "model: x",
        ),
        ({"error": "Input is too large", "error_type": "validation"}, "validation", "Input is too large"),
        ({"error": "model 'x' not found"}, "", "model 'x' not found"),
        ({"detail": "Not Found"}, "", "Not Found"),
        (
            {"detail": [{"loc": ["body", "items", 0], "msg": "field required", "type": "missing"}]},
            "missing",
            "body.items.0: field required",
        ),
        (
            {"__type": "ValidationException", "message": "no such endpoint"},
            "ValidationException",
            "no such endpoint",
        ),
        ({"ErrorCode": "CLIENT_ERROR", "OriginalMessage": "bad"}, "CLIENT_ERROR", "bad"),
        (
            {
                "type": "https://example.org/p",
                "title": "Out of credit",
                "status": 403,
                "detail": "Balance is 30",
            },
            "https://example.org/p",
            "Balance is 30",
        ),
        (
            {"timestamp": 1, "status": 500, "error": "Internal Server Error", "message": "boom"},
            "500",
            "boom",
        ),
    ],
)
def test_json(read, body: Any, kind: str, message: str) -> None:
    """Type and message, by whatever names the server has for them."""
    assert read("/x", {}, body, status=422).failure == Failure(kind, message)


def test_stack_trace_in_a_member(read) -> None:
    """Where a message is a traceback, its last line is type and message."""
    failure = read("/x", {}, {"error": TRACEBACK}, status=500).failure
    assert failure == Failure("ValueError", "x has 3 features, expected 4", TRACEBACK)
    failure = read("/x", {}, {"error": "no", "traceback": ["a", "b"]}, status=500).failure
    assert failure == Failure("", "no", "a\nb")


def test_text() -> None:
    """A text is the message; a traceback in it is taken apart."""
    assert failed("text/plain; charset=utf-8".partition(";")[0], "upstream timed out\n") == Failure(
        message="upstream timed out"
    )
    assert failed("text/plain", f"Oh no\n{TRACEBACK}\n") == Failure(
        "ValueError", "x has 3 features, expected 4", TRACEBACK
    )


def test_page() -> None:
    """An HTML page is told as text: its title is the type; what redaction put into it stays."""
    page = """<!doctype html><html lang=en><head><title>502 Bad&nbsp;Gateway</title><style>p {}</style></head>
    <body><h1>Bad Gateway</h1><!-- x --><p>The server of <email> is
    <b>down</b> &amp; out</p><script>alert(1)</script></body></html>"""
    failure = failed("text/html", page, 502)
    assert failure.type == "502 Bad Gateway"
    assert " ".join(failure.message.split()) == "Bad Gateway The server of <email> is down & out"


@pytest.mark.parametrize(
    "page", ["<" * 200_000, "<p" * 100_000, "<!--" * 60_000, "<title>" * 40_000, "&" * 200_000]
)
def test_pages_that_are_none(page: str) -> None:
    """Reading takes time that grows with the page only: these would otherwise take minutes."""
    failed("text/html", page)


@pytest.mark.parametrize("status", [200, 302])
def test_no_failure(read, status: int) -> None:
    """What did not fail has no error, whatever its words are."""
    assert not read("/x", {}, {"message": "fine", "error": 0.02}, status=status).failure


def test_bodies_that_are_no_text() -> None:
    """Nothing is told of them."""
    assert not failed("application/octet-stream", "abc")


# -- gRPC


def of_grpc(status: int, message: str = "", *details: dict[str, Any]) -> View:
    call = CallPayloads("/a.B/C", status=200, grpc_status=status, grpc_message=message, grpc_details=details)
    return understand(call)


def test_grpc_status() -> None:
    """The status by its name, and its message."""
    assert of_grpc(14, "no backend").failure == Failure("UNAVAILABLE", "no backend")
    assert of_grpc(99).failure == Failure("99", "")
    assert not of_grpc(0).failure


def test_grpc_details() -> None:
    """Details tell the reason, the fields at fault and the stack."""
    view = of_grpc(
        3,
        "bad input",
        {"@type": "google.rpc.ErrorInfo", "reason": "SHAPE_MISMATCH", "domain": "example.org"},
        {"@type": "google.rpc.BadRequest", "field_violations": [{"field": "x", "description": "no such"}]},
        {"@type": "google.rpc.DebugInfo", "stack_entries": ["a.py:1", "b.py:2"], "detail": "boom"},
    )
    assert view.failure == Failure("SHAPE_MISMATCH", "bad input\nx: no such\nboom", "a.py:1\nb.py:2")


def test_grpc_traceback() -> None:
    """Python's servers put tracebacks into the message."""
    assert of_grpc(2, f"Exception calling application: {TRACEBACK}").failure == Failure(
        "UNKNOWN", "x has 3 features, expected 4", TRACEBACK
    )
