"""A ClickHouse server in tests: an interpreter of its own (`make clickhouse`) runs clickhouse_server."""

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

MEMORY = 256 << 20
ROOT = Path(__file__).absolute().parents[3]
# An interpreter of its own, which has chdb: half a gigabyte that nothing else needs.
PYTHON = ROOT / "build" / "clickhouse" / "bin" / "python"
SERVER = Path(__file__).with_name("clickhouse_server.py")
USER, PASSWORD = "storage", "s3cret/pass word"
PASSWORD_IN_URL = "s3cret%2Fpass%20word"


@dataclass
class ClickhouseServer:
    """A server process, on one directory and port for its whole life, killed and started as a test likes."""

    directory: Path
    port: int = 0
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    def start(self) -> None:
        given = ["--directory", str(self.directory), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [str(PYTHON), str(SERVER), *given, "--user", USER, "--password", PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server did not start"
        self.port = json.loads(line)["port"]

    def kill(self) -> None:
        """As kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
            self.process = None

    def url(self, database: str) -> str:
        return f"clickhouse://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{self.port}/{database}"

    def control(self, **asked: object) -> int:
        """What is to go wrong; see clickhouse_server. Returns how many statements were held so far."""
        address = f"http://127.0.0.1:{self.port}/control?{urlencode(asked)}"
        with urlopen(Request(address, data=b"", method="POST"), timeout=10) as answer:
            return int(json.load(answer)["held"])

    def database(self) -> str:
        """The name of a database whose tables have just been made."""
        from storage.archive.clickhouse_connection import Connection
        from storage.archive.clickhouse_location import read_location
        from storage.archive.clickhouse_migration import migrate

        name = f"t_{uuid.uuid4().hex[:12]}"
        connection = Connection(read_location(self.url(name)), MEMORY)
        with contextlib.closing(connection):
            assert migrate(connection) is None
        return name


@contextlib.contextmanager
def running_server(directory: Path) -> Iterator[ClickhouseServer]:
    if not PYTHON.exists():
        pytest.skip("no ClickHouse here: make clickhouse")
    server = ClickhouseServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
