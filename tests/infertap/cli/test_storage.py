"""`infertap storage delete | backup | status`, as far as no storage is needed: journeys have one."""

import json
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from infertap import v1
from infertap.cli import main


class Admin(v1.AdminServiceServicer):
    """Counts three calls, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[v1.DeleteRecordsRequest] = []
        self.records = 3

    def DeleteRecords(self, request: v1.DeleteRecordsRequest, context: object) -> v1.DeleteRecordsResponse:  # noqa: N802
        self.asked.append(request)
        return v1.DeleteRecordsResponse(records=self.records, feedback=1, record_bytes=7000)


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    made = Admin()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    v1.add_AdminServiceServicer_to_server(made, server)
    monkeypatch.setenv("INFERTAP_ADDRESS", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    yield made
    server.stop(0).wait()


def test_deletion_says_something(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any condition nothing is asked."""
    assert main(["storage", "delete"]) == 2
    assert "say which records" in capsys.readouterr().err
    assert admin.asked == []


def test_counted_only(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run counts, and deletes nothing."""
    assert main(["storage", "delete", "--model", "iris", "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 calls, 7,000 bytes, 1 piece of feedback\n"
    assert [asked.dry_run for asked in admin.asked] == [True]


def test_not_of_a_storage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers but has no archive, as a sidecar's API, is told apart from a storage."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    monkeypatch.setenv("INFERTAP_ADDRESS", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    try:
        assert main(["storage", "status"]) == 1
    finally:
        server.stop(0).wait()
    assert capsys.readouterr().err.endswith(": keeps no archive; storage does (port 9903)\n")


def test_not_confirmed(
    admin: Admin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can be asked, and where the answer is no, nothing is deleted."""
    assert main(["storage", "delete", "--model", "iris"]) == 1
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(["storage", "delete", "--model", "iris"]) == 1
    assert all(asked.dry_run for asked in admin.asked)


def test_nothing_matches(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Then nobody is asked, and nothing goes wrong."""
    admin.records = 0
    assert main(["storage", "delete", "--model", "iris"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("nothing to delete\n")
    assert said.err == ""
    assert all(asked.dry_run for asked in admin.asked)


def test_nothing_matches_of_a_user(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's request is about late records too, so it is asked for, and made, all the same."""
    admin.records = 0
    assert main(["storage", "delete", "--user", "hmac:k:1"]) == 1
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "yes")
    assert main(["storage", "delete", "--user", "hmac:k:1"]) == 0
    assert asked == ["Delete what comes late, for good? Type yes: "]
    assert [each.dry_run for each in admin.asked] == [True, True, False]


def test_confirmed(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --yes, and where somebody says yes, the same is asked again, to be deleted."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert main(["storage", "delete", "--model", "iris"]) == 0
    assert main(["storage", "delete", "--user", "hmac:k:1", "--yes"]) == 0
    assert [(asked.dry_run, asked.filter.model, asked.filter.user) for asked in admin.asked] == [
        (True, "iris", ""),
        (False, "iris", ""),
        (True, "", "hmac:k:1"),
        (False, "", "hmac:k:1"),
    ]


def test_what_storage_refuses(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words, and exit status 1."""
    assert main(["storage", "status"]) == 1
    assert "infertap: " in capsys.readouterr().err


class OfSinks(Admin):
    """Has one sink, which refused two records."""

    def __init__(self) -> None:
        super().__init__()
        self.resent: list[str] = []

    def ListSinks(self, request: v1.ListSinksRequest, context: object) -> v1.ListSinksResponse:  # noqa: N802
        sink = v1.Sink(name="events", kind="cloudevents", delivered=1200, waiting=3, refused=2, lost=1)
        sink.behind.FromSeconds(90)
        sink.last_error = "http 503"
        sink.last_error_at.FromSeconds(1_767_225_600)
        return v1.ListSinksResponse(sinks=[sink])

    def ListRefusedRecords(  # noqa: N802
        self, request: v1.ListRefusedRecordsRequest, context: object
    ) -> v1.ListRefusedRecordsResponse:
        if request.sink == "well":
            return v1.ListRefusedRecordsResponse()
        number = 2 if request.page_token else 1
        told = [v1.RefusedRecord(id=f"id-{number}", call_id=f"call-{number}", reason="http \x1b400")]
        return v1.ListRefusedRecordsResponse(records=told, next_page_token="" if request.page_token else "x")

    def ResendRefusedRecords(  # noqa: N802
        self, request: v1.ResendRefusedRecordsRequest, context: grpc.ServicerContext
    ) -> v1.ResendRefusedRecordsResponse:
        if request.sink != "events":
            context.abort(grpc.StatusCode.NOT_FOUND, "no sink of that name is configured")
        self.resent.append(request.sink)
        return v1.ResendRefusedRecordsResponse(records=2)

    def DropRefusedRecords(  # noqa: N802
        self, request: v1.DropRefusedRecordsRequest, context: object
    ) -> v1.DropRefusedRecordsResponse:
        return v1.DropRefusedRecordsResponse(records=2)


@pytest.fixture
def of_sinks(monkeypatch: pytest.MonkeyPatch) -> Iterator[OfSinks]:
    made = OfSinks()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    v1.add_AdminServiceServicer_to_server(made, server)
    monkeypatch.setenv("INFERTAP_ADDRESS", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    yield made
    server.stop(0).wait()


def test_sinks(of_sinks: OfSinks, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of how they stand; what was refused, page after page, made harmless; sent again on request."""
    assert main(["storage", "sinks"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:7] == ["name", "kind", "delivered", "waiting", "behind", "refused", "lost"]
    assert row.startswith("events  cloudevents  1,200      3        90 s    2        1     http 503 at ")
    assert main(["storage", "sinks", "refused", "events"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["id-1", "id-2"]
    assert lines[0].endswith("http \\u001b400")
    assert main(["storage", "sinks", "refused", "well"]) == 0
    assert capsys.readouterr().out == "nothing is set aside\n"
    assert main(["storage", "sinks", "resend", "events"]) == 0
    assert capsys.readouterr().out == "sent again: 2 records\n"
    assert of_sinks.resent == ["events"]
    assert main(["storage", "sinks", "resend", "other"]) == 1
    assert capsys.readouterr().err == "infertap: no sink of that name is configured\n"
    assert main(["storage", "sinks", "resend"]) == 2


def test_sinks_as_json(of_sinks: OfSinks, capsys: pytest.CaptureFixture[str]) -> None:
    """An object for each sink, and for each record that was refused, made harmless; of what is done the
    number; nothing where there is nothing.
    """
    asked = {
        "": [
            {
                "name": "events",
                "kind": "cloudevents",
                "delivered": "1200",
                "waiting": "3",
                "refused": "2",
                "lost": "1",
                "behind": "90s",
                "last_error": "http 503",
                "last_error_at": "2026-01-01T00:00:00Z",
            }
        ],
        "refused events": [
            {"id": f"id-{number}", "call_id": f"call-{number}", "reason": "http \x1b400"} for number in (1, 2)
        ],
        "refused well": [],
        "resend events": [{"records": "2"}],
        "drop events": [{"records": "2"}],
    }
    for act, told in asked.items():
        assert main(["storage", "sinks", *act.split(), "--json"]) == 0
        out = capsys.readouterr().out
        assert [json.loads(line) for line in out.splitlines()] == told
        assert "\x1b" not in out
