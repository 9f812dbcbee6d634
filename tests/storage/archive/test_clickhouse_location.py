"""Where a ClickHouse archive is: read from a setting, and never shown with its password."""

from pathlib import Path

import pytest

from storage.archive import ArchiveError, describe_location, open_archive
from storage.archive.clickhouse_location import read_location

URL = "clickhouse://ada:s3cret@db.example:9000/infertap"


def test_all_that_it_says() -> None:
    """Host, port, database, user, password, TLS and cluster."""
    read = read_location(
        "clickhouse://ada:p%40ss%2Fword@[::1]/records?secure=on&cluster=main&ca_file=/ca.pem"
    )
    assert (read.host, read.port, read.database) == ("::1", 8443, "records")
    assert (read.user, read.password, read.is_secure) == ("ada", "p@ss/word", True)
    assert (read.cluster, read.ca_file) == ("main", "/ca.pem")


def test_defaults() -> None:
    """ClickHouse's own port and user, no TLS, a single server."""
    read = read_location("clickhouse://db/records")
    assert (read.port, read.user, read.password, read.is_secure, read.cluster) == (
        8123,
        "default",
        "",
        False,
        "",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("clickhouse://db:99999/records", "port"),
        ("clickhouse:///records", "host"),
        ("clickhouse://db/", "database"),
        ("clickhouse://db/re`cords", "database"),
        ("clickhouse://db/records; DROP TABLE x", "database"),
        ("clickhouse://db/records?cluster=a'b", "cluster"),
        ("clickhouse://db/records?secure=maybe", "secure"),
        ("clickhouse://db/records?compress=1", "compress"),
    ],
)
def test_what_it_may_not_say(text: str, why: str) -> None:
    """What is wrong is named; no name can become a part of a statement."""
    with pytest.raises(ValueError, match=why):
        read_location(text)


def test_password_from_a_file(tmp_path: Path) -> None:
    """Without the line's end; a file that isn't there, or a second password, is said."""
    file = tmp_path / "password"
    file.write_text("from a file\n")
    assert read_location("clickhouse://ada@db/records", str(file)).password == "from a file"
    with pytest.raises(ValueError, match="keep the file"):
        read_location(URL, str(file))
    with pytest.raises(ArchiveError, match="nowhere"):
        read_location("clickhouse://ada@db/records", str(tmp_path / "nowhere"))


def test_the_password_is_never_shown() -> None:
    """Neither by what was read, nor where the setting is logged, nor in an error."""
    read = read_location(URL)
    assert "s3cret" not in f"{read} {read!r}"
    assert describe_location(URL) == "clickhouse://ada@db.example:9000/infertap"
    assert describe_location("clickhouse://ada:p@s/s@db/x") == "clickhouse://ada@db/x"
    assert describe_location("/var/lib/infertap") == "/var/lib/infertap"
    for text in (
        "clickhouse://ada:s3cret@db:1/x?nope=1",
        "clickhouse://ada:s3cret\u2100@db/x",
        "clickhouse://ada:s3cret[@db/x",
        "clickhouse://ada:s3cret/more@db/x",
        "clickhouse://ada:s3cret#more@db/x",
    ):
        with pytest.raises(ArchiveError) as error:
            open_archive(text, 1 << 28)
        assert "s3cret" not in str(error.value)
        assert "s3cret" not in describe_location(text)
