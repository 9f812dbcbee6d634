"""`infertap storage migrate` without a server: what it shows, and what it refuses."""

import pytest

from storage.migrate import main

PLACE = {"INFERTAP_ARCHIVE": "clickhouse://ada:s3cret@127.0.0.1:1/records"}


def test_statements_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends with a semicolon; nobody is asked, and no password is in them."""
    assert main(["--print"], PLACE) == 0
    single = capsys.readouterr().out
    assert single.startswith("CREATE DATABASE IF NOT EXISTS records;\n")
    assert single.rstrip().endswith(";")
    assert "Replicated" not in single
    assert main(["--print", "--cluster", "main"], PLACE) == 0
    on_cluster = capsys.readouterr().out
    assert "ReplicatedReplacingMergeTree" in on_cluster
    assert on_cluster.count("ON CLUSTER 'main'") == on_cluster.count("CREATE ")
    assert "s3cret" not in single + on_cluster


@pytest.mark.parametrize(
    ("arguments", "environ", "status", "said"),
    [
        ([], PLACE, 1, "INFERTAP_ARCHIVE: ClickHouse at 127.0.0.1:1: no answer"),
        (["--cluster", "a b"], PLACE, 2, "INFERTAP_ARCHIVE: cluster"),
        ([], {"INFERTAP_ARCHIVE": "clickhouse://ada:s3cret@db"}, 2, "INFERTAP_ARCHIVE: database"),
        ([], PLACE | {"INFERTAP_ARCHIVES": ""}, 2, "no such setting"),
    ],
)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environ: dict[str, str], status: int, said: str
) -> None:
    """In one line, without the password."""
    assert main(arguments, environ) == status
    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error


def test_embedded_archive(capsys: pytest.CaptureFixture[str]) -> None:
    """Needs no such thing, and says so."""
    assert main([], {"INFERTAP_ARCHIVE": "/var/lib/infertap/archive"}) == 0
    assert "brings itself forward" in capsys.readouterr().out
